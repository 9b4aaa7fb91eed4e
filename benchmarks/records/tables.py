"""Recorded results as the README's tables: those of speed and endurance, and which tables there are.

Each table is a pure function of records; TABLES says of which. Knows nothing of the README's text or
of files, and measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.records.table_cells import NONE, Record, markdown, number, ranks
from benchmarks.records.tables_quality import (
    ablation,
    base_gain,
    cross_driving,
    cross_motion,
    distillation,
    drift,
    follow,
    held_out,
)

VIEWERS = ("headless aiortc peer", "headless Chromium")
BASELINE_ROWS = {
    "sd_turbo": "SD-Turbo, one step, tiny autoencoder (random weights)",
    "denoiser": "our denoiser, as served",
    "denoiser_torch": "our denoiser, in torch",
    "pipeline": "our whole pipeline, every tracker on every picture",
}


@dataclass(frozen=True, slots=True)
class Table:
    """One table: the records it is made of, by the names of their files less .json, and how it is drawn."""

    records: Sequence[str]
    draw: Callable[..., str]  # takes the records in that order


def live(long: Record, chromium: Record) -> str:
    """A long call by a headless peer, and one by a browser."""
    rows = [
        (
            f"{viewer}, {number(record['duration_s'] / 60)} min",
            number(record["fps_delivered"], 1),
            ranks(record["motion_to_photon_ms"]),
            number(record["frozen"]),
        )
        for viewer, record in zip(VIEWERS, (long, chromium), strict=True)
    ]
    return markdown(
        ("viewer", "pictures per second", "motion to photon, p50 / p95 / p99 ms", "freezes"), rows
    )


def floor(aiortc: Record, chromium: Record) -> str:
    """What of the two calls' latency is transport, and what is ours."""
    rows = [
        (
            viewer,
            ranks(record["motion_to_photon_ms"]),
            ranks(record["floor"]["motion_to_photon_ms"]),
            ranks(record["ours_ms"]),
        )
        for viewer, record in zip(VIEWERS, (aiortc, chromium), strict=True)
    ]
    return markdown(("p50 / p95 / p99 ms", "avatar", "echo: transport alone", "difference"), rows)


def first_frame(record: Record) -> str:
    """How long after the camera was granted the avatar is on the page, and what lies between."""
    cases = {
        "cold": "first call of a server",
        "warm": "a later call",
        "other": "another presenter, loaded only now",
    }
    steps = ("answered", "connected", "received", "avatar", "calibrated")
    rows = [
        (cases[case], *(ranks(found["steps_ms"][step], ("p50", "worst")) for step in steps))
        for case, found in record["cases"].items()
    ]
    head = ("answered", "connected", "first picture arrives", "avatar on the page", "calibrated, said")
    return markdown((f"ms, p50 / worst of {record['config']['calls']}", *head), rows)


def stages(record: Record) -> str:
    """Each stage of one picture, by the wall and in CPU time."""
    cpu = record["cpu_process_ms"]
    rows = [
        (name.replace("_", " "), *_ranked(wall), number(cpu[name]["p50"], 1))
        for name, wall in {**record["stage_ms"], "total": record["total_ms"]}.items()
    ]
    return markdown(("stage", "p50 ms", "p95 ms", "p99 ms", "CPU of all threads, p50 ms"), rows)


def load(record: Record) -> str:
    """More and more sessions at once."""
    rows = [
        (
            number(step["sessions"]),
            number(step["fps_least"], 1),
            f"{number(step['p50_worst_ms'])} / {number(step['p95_worst_ms'])}",
            number(step["server_cores"], 2),
            number(step["server_mb"]),
            "yes" if step["holds"] else "no",
        )
        for step in record["steps"]
    ]
    promise = record["config"]["promise"]
    held = f"{promise['fps']:g} fps within {promise['p95_ms']:g} ms for all"
    head = ("sessions", "fewest pictures per second", "worst p50 / p95 ms", "server cores", "server MB", held)
    return markdown(head, rows)


def soak(record: Record) -> str:
    """What grows in one long call and over many short ones, beside its bounds."""
    call, calls, config = record["call"], record["calls"], record["config"]
    long, many = f"one call of {config['minutes']:g} minutes", f"{calls['sessions']} calls"
    shown = (
        (f"latency over {long}, ms per minute", call, "latency_ms_per_min"),
        (f"age of waiting pictures over {long}, ms per minute", call, "queue_age_ms_per_min"),
        (f"memory over {long}, MB per minute", call, "call_mb_per_min"),
        (f"memory over {many}, MB per call", calls, "mb_per_session"),
        (f"threads after {many}", calls, "threads"),
        (f"files after {many}", calls, "files"),
        (f"sockets after {many}", calls, "sockets"),
        (f"server's tasks after {many}", calls, "tasks"),
    )
    rows = [(text, f"{part[name]:+g}", f"{record['bounds'][name]:g}") for text, part, name in shown]
    return markdown(("growth of", "measured", "bound"), rows)


def baselines(record: Record) -> str:
    """Time of a picture beside the diffusion graph."""
    rows = []
    for name, text in BASELINE_ROWS.items():
        found = record["times_faster"].get(name)
        times = NONE if found is None else f"{found['value']:.0f} ({found['low']:.0f} to {found['high']:.0f})"
        rows.append((text, ranks(record["picture_ms"][name], ("p50", "p95"), 1), times))
    return markdown(("per picture", "p50 / p95 ms", "times faster"), rows)


def baselines_live(record: Record) -> str:
    """Calls through the real server, with each in the renderer's place."""
    names = {
        "echo": "nothing (echo: transport alone)",
        "avatar": "our pipeline",
        "sd_turbo": "SD-Turbo's graph on each picture (random weights, nothing tracked)",
    }
    rows = [
        (
            text,
            number(record["live"][name]["fps_delivered"], 1),
            ranks(record["live"][name]["motion_to_photon_ms"], ("p50", "p95")),
        )
        for name, text in names.items()
    ]
    return markdown(("renderer", "pictures per second", "motion to photon, p50 / p95 ms"), rows)


def networks(record: Record) -> str:
    """Each way to run the avatar's network on the CPU."""
    rows = [
        (
            name,
            ranks(path["ms"], ("p50", "p95"), 1),
            number(path["times_float32"], 2),
            number(path["psnr_db"], 1),
        )
        for name, path in record["paths"].items()
    ]
    threads = record["config"]["threads"]
    many = "one thread" if threads == 1 else f"{threads} threads"
    return markdown((f"network, {many}", "p50 / p95 ms", "times float32", "dB of the float32 output"), rows)


def av_sync(record: Record) -> str:
    """How far voice and picture are apart."""
    ways = {"by_reports": "as a browser plays them", "by_arrival": "as they arrive"}
    rows = [(text, ranks(record["offset_ms"][name], digits=1)) for name, text in ways.items()]
    rows.append(("drift, ms per minute", f"{record['drift_ms_per_min']:+.2f}"))
    return markdown(("voice before the picture, ms (negative: after)", "p50 / p95 / p99"), rows)


def _ranked(values: Record) -> tuple[str, ...]:
    return tuple(number(values[name], 1) for name in ("p50", "p95", "p99"))


CALLS = ("glass_to_glass_aiortc", "glass_to_glass_chromium")
TABLES: Mapping[str, Table] = {
    "live": Table(("glass_to_glass_10min", "glass_to_glass_chromium"), live),
    "floor": Table(CALLS, floor),
    "stages": Table(("stages",), stages),
    "first_frame": Table(("first_frame",), first_frame),
    "load": Table(("load",), load),
    "soak": Table(("soak",), soak),
    "baselines": Table(("baselines",), baselines),
    "baselines_live": Table(("baselines",), baselines_live),
    "av_sync": Table(("av_sync",), av_sync),
    "networks": Table(("export_bundled",), networks),
    "follow": Table(("follow",), follow),
    "cross_driving": Table(("cross_driving",), cross_driving),
    "cross_motion": Table(("cross_driving",), cross_motion),
    "drift": Table(("drift",), drift),
    "ablation": Table(("ablation",), ablation),
    "base_gain": Table(("base_gain",), base_gain),
    "distillation": Table(("distillation",), distillation),
    "held_out": Table(("quality",), held_out),
}
