"""The tables of the documents: drawn from records, and in step with those in the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.command import instruments
from benchmarks.records import readme, tables
from benchmarks.records.table import Table, cell
from benchmarks.records.tables import TABLES, drawn
from engine.errors import SettingsError

LATENCY = {"p50": 64.12, "p95": 87.57, "p99": None}
ORIGIN = {"machine": {"cpu": "made up", "cores": 2}, "date": "2026-01-02", "commit": "abc", "config": {}}


def block(name: str, text: str = "") -> str:
    return f"<!-- figures:{name} -->\n{text}<!-- end -->"


def write(results: Path, name: str, record: Any) -> None:
    (results / f"{name}.json").write_text(json.dumps(record))


def read(results: Path, name: str) -> Any:
    return json.loads((results / f"{name}.json").read_text())


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for call, fps, seconds in (("10min", 25.96, 600.02), ("chromium", 21.3, 60.1)):
        figures = {"fps_delivered": fps, "motion_to_photon_ms": LATENCY, "duration_s": seconds, "frozen": 0}
        peer = {"config": {"peer": "chromium" if call == "chromium" else "aiortc"}}
        write(tmp_path, f"glass_to_glass_{call}", ORIGIN | figures | peer)
    return tmp_path


def test_the_documents_say_what_the_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert readme.main(["--check"]) == 0, capsys.readouterr().err
    shown = [name for page in readme.DOCUMENTS for name in page.read_text().split("<!-- figures:")[1:]]
    assert sorted(name.partition(" ")[0] for name in shown) == sorted(TABLES)  # each once, somewhere


def test_below_a_table_stands_where_and_when_it_was_measured(results: Path) -> None:
    new, _ = readme.rewrite(block("live"), results)
    assert "\n\n*made up, 2 cores, 2026-01-02, commit abc*\n<!-- end -->" in new
    write(results, "glass_to_glass_chromium", read(results, "glass_to_glass_chromium") | {"commit": "def"})
    new, _ = readme.rewrite(block("live"), results)
    assert "commit abc; made up, 2 cores, 2026-01-02, commit def*" in new


def test_what_was_only_tried_is_in_no_table(results: Path) -> None:
    tried = read(results, "glass_to_glass_10min") | {"config": {"quick": True}, "benchmark": "glass_to_glass"}
    write(results, "glass_to_glass_10min", tried)
    new, complaints = readme.rewrite(block("live"), results)
    assert new == block("live")
    assert "a record of glass_to_glass was made with --quick: record it in full" in complaints[0]


def test_six_figures() -> None:
    call = ORIGIN | {"fps_delivered": 29.96, "motion_to_photon_ms": LATENCY}
    first = ORIGIN | {"cases": {"cold": {"steps_ms": {"avatar": {"p50": 315.2, "worst": 327.0}}}}}
    tail = {"held_out": {"psnr_db": {"frame": 27.84}}, "baselines": {"warp_only": {"frame": 26.6}}}
    quality = ORIGIN | {
        "avatars": [{"label": "Theo", "name": "theo", **tail}, {"label": "x", "name": "no presenter", **tail}]
    }
    run = {"avatar": "theo", "own": False}
    run |= {"landmarks_px": {part: {"p50": 0.7, "p95": 2.1} for part in ("face", "lips", "lids")}}
    cross = ORIGIN | {"runs": [run, run | {"own": True}], "date": "2026-01-03"}
    network = ORIGIN | {"paths": {"onnxruntime denoiser-int8": {"ms": {"p50": 6.4, "p95": 6.93}}}}
    text = TABLES["summary"].draw(call, call, first, quality, cross, network)
    assert len(text.splitlines()) == 2 + 6
    for row, measured in enumerate(
        (
            "30.0 pictures a second; motion to photon 64 / 88 ms",
            "30.0 pictures a second; motion to photon 64 / 88 ms",
            "315 / 327 ms",
            "Theo: 27.8 dB (26.6)",
            "theo: 0.7 (2.1) / 0.7 (2.1) / 0.7 (2.1)",
            "6.4 / 6.9 ms",
        )
    ):
        day = "2026-01-03" if row == 4 else "2026-01-02"
        assert line(text, row).endswith(f"| {measured} | made up, 2 cores, {day}, commit abc |")


def test_cells() -> None:
    row = {"ms": LATENCY, "none": None, "holds": True, "share": 0.256, "many": 2350.4}
    assert cell("{none:.1f}", row) == "-"
    assert cell("{many:,.0f} {ms[p50]:.1f}", row) == "2,350 64.1"
    assert cell("{ms:.0f}", row) == "64 / 88 / -"
    assert cell("{holds} {share:.0%}", row) == "yes 26 %"
    assert cell(lambda row: str(len(row)), row) == "5"


def test_rows_are_a_list_a_mapping_or_the_records() -> None:
    columns = {"{title}": "{a}", " ": "{b}"}
    of_list = Table("x", columns, "rows").draw({"title": "T", "rows": [{"a": 1, "b": 2}]})
    assert of_list == "| T |  |\n|---|---|\n| 1 | 2 |"
    of_mapping = Table("x", {"what": "{name}", "a": "{a}"}, "rows").draw({"rows": {"one": {"a": 3}}})
    assert line(of_mapping, 0) == "| one | 3 |"
    assert line(Table("x", {"a": "{a}"}).draw({"a": 4}, {"a": 5}), 1) == "| 5 |"


def test_a_table_is_drawn_between_its_marks_and_nothing_else_changes(results: Path) -> None:
    old = f"before\n\n{block('live', 'an old table')}\n\nafter 26.0"
    new, complaints = readme.rewrite(old, results)
    assert complaints == []
    assert new.startswith("before\n\n<!-- figures:live -->\n| viewer |")
    assert new.endswith("<!-- end -->\n\nafter 26.0")
    assert "| headless aiortc peer, 10 min | 26.0 | 64 / 88 / - | 0 |" in new
    assert "old table" not in new
    assert readme.out_of_step(old, new) == ["live"]
    assert readme.rewrite(new, results) == (new, [])


def test_where_a_record_is_missing_stands_how_to_take_it(results: Path) -> None:
    new, complaints = readme.rewrite(f"{block('follow', 'old')}\n{block('live')}", results)
    assert complaints == []
    text = "*Not measured yet: `avatarcast bench follow --out follow.json`.*\n"
    assert block("follow", text) in new
    assert "headless Chromium" in new


def test_a_record_without_the_figure_is_named(results: Path) -> None:
    write(results, "glass_to_glass_10min", ORIGIN | {"duration_s": 3.0, "config": {"peer": "aiortc"}})
    _, complaints = readme.rewrite(block("live"), results)
    assert "figures:live" in complaints[0]
    assert "fps_delivered" in complaints[0]


@pytest.mark.parametrize(
    ("record", "complaint"), [("[1]", "holds a JSON list"), ("{", "not a readable record")]
)
def test_a_record_that_is_not_one(results: Path, record: str, complaint: str) -> None:
    (results / "glass_to_glass_10min.json").write_text(record)
    _, complaints = readme.rewrite(block("live"), results)
    assert complaint in complaints[0]


def test_marks_without_an_end_are_refused(results: Path) -> None:
    with pytest.raises(SettingsError, match="figures:live has no <!-- end -->"):
        readme.rewrite(f"<!-- figures:live -->\n| a |\n\n{block('follow')}", results)
    with pytest.raises(SettingsError, match="1 marks"):
        readme.rewrite("<!-- figures:live -->\n| a |\n", results)


def test_an_unknown_table_is_named(results: Path) -> None:
    _, complaints = readme.rewrite(block("speed"), results)
    assert "figures:speed is unknown; wanted one of" in complaints[0]


def test_check_writes_nothing_and_fails_when_out_of_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: Path
) -> None:
    page = results / "README.md"
    page.write_text(block("live", "old\n"))
    monkeypatch.setattr(readme, "DOCUMENTS", (page,))
    monkeypatch.setattr(readme, "RESULTS", results)
    assert readme.main(["--check"]) == 1
    assert "figures:live is not what its records say" in capsys.readouterr().err
    assert page.read_text() == block("live", "old\n")
    assert readme.main([]) == 0
    assert "headless Chromium" in page.read_text()
    (results / "glass_to_glass_chromium.json").write_text("{")
    assert readme.main([]) == 1
    assert page.read_text() == block("live")


def test_held_out_of_several_avatars() -> None:
    regions = {"frame": 27.81, "mouth": 30.0, "hands": None}
    avatar = {
        "label": "one",
        "held_out": {
            "psnr_db": regions,
            "motion": {"lip_aperture": {"correlation": 0.943, "gain": 1.08}},
            "wrist_px": 5.28,
            "fingertip_px": None,
            "sharpness": {"frame": 0.58},
        },
        "baselines": {"warp_only": {**regions, "frame": 25.6}, "nearest_frame": {**regions, "frame": 20.0}},
    }
    text = TABLES["held_out"].draw({"avatars": [avatar, avatar | {"label": "two"}]})
    assert text.splitlines()[2] == (
        "| one | 27.8 / 25.6 / 20.0 | 30.0 / 30.0 / 30.0 | - / - / - | 0.94 / 1.08 | 5.3, - | 0.58 |"
    )
    assert text.splitlines()[3].startswith("| two")


def test_motion_of_each_driver() -> None:
    motion = {part: {"correlation": 0.915, "gain": 1.292} for part in tables.MOTIONS} | {"wrists": None}
    driver = {"label": "selfie", "motion": motion, "visible": {"wrists": 0.256}}
    text = TABLES["follow"].draw({"drivers": [driver]})
    assert line(text, 0) == "| selfie |" + " 0.92 / 1.29 |" * 5 + " - | 0.92 / 1.29 | 26 % |"


def test_drift_beside_its_bounds() -> None:
    figures: dict[str, object] = {name: {"apart": -0.0312, "slope_per_min": 0.002} for name in tables.DRIFTS}
    figures["flicker"] = {"apart": 0.2, "slope_per_min": None}
    record = {
        "drift": figures,
        "bounds": {name: [0.05, 0.005] for name in tables.DRIFTS},
        "config": {"minutes": 10.0},
    }
    text = TABLES["drift"].draw(record)
    assert text.startswith("| over 10 minutes |")
    assert line(text, 0) == "| colour of the cheeks, CIEDE2000 | -0.031 (bound 0.05) | 0.002 (bound 0.005) |"
    assert (
        line(text, 3) == "| change from picture to picture, share | +0.200 (bound 0.05) | - (bound 0.005) |"
    )


def line(text: str, row: int) -> str:
    return text.splitlines()[2 + row]


def test_stages_end_with_their_total() -> None:
    ms = {"p50": 1.17, "p95": 1.58, "p99": None}
    text = TABLES["stages"].draw(
        {"stage_ms": {"to_rgb": ms}, "total_ms": ms, "cpu_process_ms": {"to_rgb": ms, "total": {"p50": 52.9}}}
    )
    assert line(text, 0) == "| to rgb | 1.2 | 1.6 | - | 1.2 |"
    assert line(text, 1) == "| total | 1.2 | 1.6 | - | 52.9 |"


def test_floor() -> None:
    ranks_ms = {"p50": 20.0, "p95": 21.0, "p99": 22.0}
    call = {"motion_to_photon_ms": LATENCY, "floor": {"motion_to_photon_ms": ranks_ms}, "ours_ms": LATENCY}
    calls = [{**call, "config": {"peer": peer}} for peer in ("aiortc", "chromium")]
    text = TABLES["floor"].draw(*calls)
    assert line(text, 1) == "| headless Chromium | 64 / 88 / - | 20 / 21 / 22 | 64 / 88 / - |"


def test_load_and_its_promise() -> None:
    step: dict[str, object] = {"sessions": 1, "fps_least": 24.96, "p50_worst_ms": 64.2, "p95_worst_ms": 90.0}
    step |= {"server_cores": 1.4, "server_mb": None, "holds": True}
    text = TABLES["load"].draw({"config": {"promise": {"fps": 25.0, "p95_ms": 150.0}}, "steps": [step]})
    assert "25 fps within 150 ms for all" in text
    assert line(text, 0) == "| 1 | 25.0 | 64 / 90 | 1.40 | - | yes |"


def test_soak_beside_its_bounds() -> None:
    record = {
        "config": {"minutes": 30.0},
        "call": {"latency_ms_per_min": 0.0401, "queue_age_ms_per_min": -0.01, "call_mb_per_min": 0.2},
        "calls": {
            "sessions": 200,
            "mb_per_session": 0.01,
            "threads": 0,
            "files": 0,
            "sockets": 1,
            "tasks": 0,
        },
    }
    bounds = {"latency_ms_per_min": 0.5, "queue_age_ms_per_min": 0.2, "call_mb_per_min": 0.5}
    bounds |= {"mb_per_session": 0.1, "threads": 0, "files": 0, "sockets": 2, "tasks": 0}
    text = TABLES["soak"].draw(record | {"bounds": bounds})
    assert line(text, 0) == "| latency over one call of 30 minutes, ms per minute | +0.0401 | 0.5 |"
    assert line(text, 6) == "| sockets after 200 calls | +1 | 2 |"
    assert line(text, 7) == "| server's tasks after 200 calls | +0 | 0 |"


def test_strangers_datagrams_beside_their_bounds() -> None:
    figures = {"calls_lost": 0, "exceptions": 0, "log_bytes": 99, "memory_mb": 2.4, "p99_ms": -6.93}
    bounds = {"calls_lost": 0, "exceptions": 0, "log_bytes": 1_000_000, "memory_mb": 20.0, "p99_ms": 5.0}
    record = {"sent": 1_000_000, "seconds": 251.6, "bounds": bounds, "config": {}, **figures}
    text = TABLES["udp_fuzz"].draw(record)
    assert text.startswith("| 1,000,000 datagrams in 252 s |")
    assert line(text, 2) == "| bytes of log | 99 | 1,000,000 |"
    assert line(text, 4) == "| motion to photon, 99th percentile, ms more | -6.93 | 5 |"


def test_baselines() -> None:
    ms = {"p50": 1336.25, "p95": 1489.0}
    faster = {"value": 152.3, "low": 140.7, "high": 166.4}
    record = {
        "picture_ms": dict.fromkeys(tables.BASELINES, ms),
        "times_faster": {name: faster for name in tables.BASELINES if name != "sd_turbo"},
        "live": {
            name: {"fps_delivered": 0.7, "motion_to_photon_ms": ms} for name in ("echo", "avatar", "sd_turbo")
        },
    }
    assert line(TABLES["baselines"].draw(record), 0).endswith("| 1,336.2 / 1,489.0 | - |")
    assert line(TABLES["baselines"].draw(record), 1).endswith("| 1,336.2 / 1,489.0 | 152 (141 to 166) |")
    assert line(TABLES["baselines_live"].draw(record), 2).endswith("| 0.7 | 1,336 / 1,489 |")


def test_networks() -> None:
    path = {"ms": {"p50": 8.45, "p95": 16.64}, "times_float32": 2.994, "psnr_db": None}
    text = TABLES["networks"].draw({"config": {"threads": 1}, "paths": {"onnxruntime denoiser-int8": path}})
    assert text.startswith("| network, threads: 1 |")
    assert line(text, 0) == "| onnxruntime denoiser-int8 | 8.4 / 16.6 | 2.99 | - |"


def test_voice_and_picture() -> None:
    ranks_ms = {"p50": -3.0, "p95": 12.25, "p99": 20.0}
    record = {"offset_ms": {"by_reports": ranks_ms, "by_arrival": ranks_ms}, "drift_ms_per_min": 0.019}
    text = TABLES["av_sync"].draw(record)
    assert line(text, 0) == "| as a browser plays them | -3.0 / 12.2 / 20.0 |"
    assert line(text, 2) == "| drift, ms per minute | +0.02 |"


def test_harm_beside_its_bounds() -> None:
    offers = {"kept": 0.973, "fps": [30.0, 29.2, 30.0], "healthz_p99_ms": 20.4, "descriptors": 60}
    bounds = {"kept_least": 0.95, "healthz_p99_ms": 50.0, "descriptors": 64, "memory_mb": 100.0}
    text = TABLES["harm"].draw({"harm": {"offers": {**offers, "memory_mb": 12.04}}, "bounds": bounds})
    assert "| kept (at least 95 %) | `/healthz`, p99 ms (at most 50) |" in text
    assert line(text, 0) == "| offers | 30.0 / 29.2 / 30.0 | 97 % | 20 | 60 | 12.0 |"


def test_what_went_on_after_a_crash() -> None:
    cells = {"export": dict.fromkeys(tables.FAULTS, "7 of 7") | {"SIGHUP": "5 of 6"}}
    outcomes = {"went on": 33, "said why": 0, "failed": 1}
    text = TABLES["crash_matrix"].draw({"cases": 34, "outcomes": outcomes, "cells": cells})
    assert text.startswith("| 34 cases: 33 went on, 0 said why | SIGTERM | SIGHUP |")
    assert line(text, 0).startswith("| export | 7 of 7 | 5 of 6 |")


def test_damaged_avatars() -> None:
    record = {"ran": 100_000, "refused": 95_000, "served": 5_000, "failed": 0, "read_outside": 0}
    text = TABLES["damaged_avatars"].draw({**record, "seconds": 1.234, "floor_s": 0.5, "memory_mb": 99.6})
    assert line(text, 0) == "| 100,000 | 95,000 | 5,000 | 0 | 0 | 1.23 (0.50) | 100 |"


def test_an_instrument_shows_the_tables_of_its_record_alone() -> None:
    call = {"benchmark": "glass_to_glass", "config": {"peer": "aiortc"}, "fps_delivered": 30.0, "frozen": 0}
    call |= {"motion_to_photon_ms": LATENCY, "duration_s": 3.0, "floor": None, "ours_ms": None}
    assert [text.splitlines()[0] for text in drawn(call)] == [
        "| viewer | pictures per second | motion to photon, p50 / p95 / p99 ms | freezes |"
    ]
    call |= {"floor": {"motion_to_photon_ms": LATENCY}, "ours_ms": LATENCY}
    assert len(drawn(call)) == 2
    assert drawn({"benchmark": "something else"}) == []


def test_every_table_is_of_an_instrument() -> None:
    assert {table.instrument for table in TABLES.values()} <= {*instruments(), ""}
