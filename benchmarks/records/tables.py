"""The tables of all records: what an instrument prints, and what the documents hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from benchmarks.records.conversation_tables import CONVERSATION_TABLES
from benchmarks.records.fleet_tables import FLEETS
from benchmarks.records.gpu_tables import GPU
from benchmarks.records.record import Record
from benchmarks.records.table import NONE, Table, cell, place
from benchmarks.records.trust_tables import TRUST_TABLES
from benchmarks.records.voice_live_tables import VOICE_LIVE_TABLES
from benchmarks.records.voice_tables import VOICE_TABLES
from engine.avatar.bundled import bundled_names

VIEWERS = {"aiortc": "headless aiortc peer", "chromium": "headless Chromium"}
FAULTS = ("SIGTERM", "SIGHUP", "SIGKILL", "full disk", "cut file")
BASELINES = {
    "sd_turbo": "SD-Turbo, one step, tiny autoencoder (random weights)",
    "denoiser": "our denoiser, as served",
    "denoiser_torch": "our denoiser, in torch",
    "pipeline": "our whole pipeline, every tracker on every picture",
}
MOTIONS = {"yaw": "yaw", "pitch": "pitch", "roll": "roll", "lip_aperture": "lips", "lid_aperture": "lids"}
MOTIONS |= {"wrists": "wrists", "fingers": "fingers"}
LIVE_BASELINES = {
    "echo": "nothing (echo: transport alone)",
    "avatar": "our pipeline",
    "sd_turbo": "SD-Turbo's graph on each picture (random weights, nothing tracked)",
}
CROSS_BASELINES = {
    "nearest_frame": "nearest training frame",
    "previous_frame": "previous true frame",
    "warp_only": "warped key frames alone",
    "shuffled_conditions": "conditions of another moment",
    "zero_prior": "no prior",
}
DRIFTS = {
    "cheek": "colour of the cheeks, CIEDE2000",
    "cloth": "colour of the clothes, CIEDE2000",
    "sharpness": "sharpness of the face, share",
    "flicker": "change from picture to picture, share",
}

FIRST_FRAME_CASES = {
    "cold": "first call of a server",
    "warm": "a later call",
    "other": "another presenter, loaded only now",
}
SOAKED = {
    "latency_ms_per_min": "latency over one call of {minutes:g} minutes, ms per minute",
    "queue_age_ms_per_min": "age of waiting pictures over one call of {minutes:g} minutes, ms per minute",
    "call_mb_per_min": "memory over one call of {minutes:g} minutes, MB per minute",
    "mb_per_session": "memory over {sessions} calls, MB per call",
    "threads": "threads after {sessions} calls",
    "files": "files after {sessions} calls",
    "sockets": "sockets after {sessions} calls",
    "tasks": "server's tasks after {sessions} calls",
}
FUZZED = {
    "calls_lost": "calls lost, of 2",
    "exceptions": "exceptions in the log",
    "log_bytes": "bytes of log",
    "memory_mb": "memory, MB more",
    "p99_ms": "motion to photon, 99th percentile, ms more",
}


def _summed_up(*records: Record) -> Iterator[Record]:
    """Six figures of the whole, one a row."""
    aiortc, chromium, first, quality, cross, network = records
    call = "{fps_delivered:.1f} pictures a second; motion to photon {motion_to_photon_ms[p50]:.0f} / "
    call += "{motion_to_photon_ms[p95]:.0f} ms"
    tail = "{label}: {held_out[psnr_db][frame]:.1f} dB ({baselines[warp_only][frame]:.1f})"
    tails = [cell(tail, one) for one in quality["avatars"] if one["name"] in bundled_names()]
    runs = [run for run in cross["runs"] if not run["own"]]
    apart = [f"{run['avatar']}: {_off(run, 'face', 'lips', 'lids')}" for run in runs]
    served = (
        "{paths[onnxruntime denoiser-int8][ms][p50]:.1f} / {paths[onnxruntime denoiser-int8][ms][p95]:.1f} ms"
    )
    first_avatar = "{cases[cold][steps_ms][avatar]:.0f} ms"
    for what, form, record in (
        ("a call, 640x480 at 30 fps, p50 / p95", call, aiortc),
        ("the same in Chromium", call, chromium),
        ("from the granted camera to the avatar on the page, p50 / worst", first_avatar, first),
        ("unseen end of the footage, PSNR (warped key frames alone)", "; ".join(tails), quality),
        (
            "driven by the other presenter: face / lips / lids off the true render by, px, p50 (p95)",
            "; ".join(apart),
            cross,
        ),
        ("the network on one core, p50 / p95", served, network),
    ):
        yield {"what": what, "measured": cell(form, record), "place": place(record)}


def _named(names: Mapping[str, str], *parts: str) -> Callable[[Record], Iterable[Record]]:
    """A row for each of these names in a part of the record; `what` is how people call it."""

    def rows(record: Record) -> Iterable[Record]:
        found = record
        for part in parts:
            found = found[part]
        return [{"what": what, **found[name]} for name, what in names.items() if name in found]

    return rows


def _bounded(names: Mapping[str, str], *parts: str) -> Callable[[Record], Iterable[Record]]:
    """A row for each figure that was taken, beside its bound; parts: of the record, where figures are."""

    def rows(record: Record) -> Iterable[Record]:
        found = dict(record)
        for part in parts:
            found |= record[part] or {}
        about = {**record["config"], **found}
        return [
            {"what": cell(what, about), "value": found[name], "bound": record["bounds"][name]}
            for name, what in names.items()
            if name in found
        ]

    return rows


def _stages(record: Record) -> Iterable[Record]:
    walls = {**record["stage_ms"], "total": record["total_ms"]}
    cpu = record["cpu_process_ms"]
    return [{"name": name.replace("_", " "), "wall": wall, "cpu": cpu[name]} for name, wall in walls.items()]


def _baselines(record: Record) -> Iterator[Record]:
    """times: how many times faster than the first, with its interval."""
    for name, what in BASELINES.items():
        faster = record["times_faster"].get(name)
        times = None if faster is None else cell("{value:.0f} ({low:.0f} to {high:.0f})", faster)
        yield {"what": what, "ms": record["picture_ms"][name], "times": times}


def _offsets(record: Record) -> Iterable[Record]:
    return [
        {"what": "as a browser plays them", "offset": cell("{by_reports:.1f}", record["offset_ms"])},
        {"what": "as they arrive", "offset": cell("{by_arrival:.1f}", record["offset_ms"])},
        {"what": "drift, ms per minute", "offset": cell("{drift_ms_per_min:+.2f}", record)},
    ]


def _crossed(record: Record) -> Iterator[tuple[Record, Record]]:
    """Each run with another's video, and the one of the same avatar with its own."""
    own = {run["truth"]: run for run in record["runs"] if run["own"]}
    return ((run, own[run["truth"]]) for run in record["runs"] if not run["own"])


def _beside_truth(record: Record) -> Iterator[Record]:
    """Each avatar driven by another's video, beside its own video and the baselines."""
    for run, own in _crossed(record):
        shown = {"the avatar": run, "driven by its own video": own}
        shown |= {what: run["baselines"][name] for name, what in CROSS_BASELINES.items()}
        for method, found in shown.items():
            label = f"{run['avatar']} driven by {run['driver']}" if found is run else ""
            yield {**found, "run": label, "method": method}


def _moving(record: Record) -> Iterator[Record]:
    """How the same avatars move beside the truth, and what the tracker reads in the driver's own video."""
    for run, own in _crossed(record):
        for who, motion in (
            (f"{run['avatar']} driven by {run['driver']}", run["motion"]),
            (f"{run['avatar']} driven by its own video", own["motion"]),
            (f"{run['driver']}'s video itself", run["motion_of_driver"]),
        ):
            yield {"who": who, "motion": motion or dict.fromkeys(MOTIONS)}


def _drifts(record: Record) -> Iterable[Record]:
    rows = _named(DRIFTS, "drift")(record)
    return [{**row, "bounds": record["bounds"][name]} for name, row in zip(DRIFTS, rows, strict=True)]


def _distilled(record: Record) -> Iterator[Record]:
    for clip in record["clips"]:
        for who, what in (("teacher", "before"), ("student", "distilled")):
            cells = {
                f"of_{steps}": cell("{psnr_db[frame]:.2f} / {sharpness:.2f}", of)
                for steps, of in clip[who].items()
            }
            yield {"what": f"{clip['label']}, {what}", **cells}


def _off(row: Record, *parts: str) -> str:
    """How far each part's landmarks are off, p50 (p95)."""
    distances = [row["landmarks_px"][part] for part in parts]
    return " / ".join(NONE if px is None else f"{px['p50']:.1f} ({px['p95']:.1f})" for px in distances)


def _viewer(call: Record) -> str:
    return VIEWERS[call["config"]["peer"]]


def _of_all(region: str) -> str:
    names = (
        f"held_out[psnr_db][{region}]",
        f"baselines[warp_only][{region}]",
        f"baselines[nearest_frame][{region}]",
    )
    return " / ".join(f"{{{name}:.1f}}" for name in names)


_AIORTC, _CHROMIUM = "glass_to_glass_aiortc", "glass_to_glass_chromium"
_MOTION = {head: f"{{motion[{part}]:.2f}}" for part, head in MOTIONS.items()}  # correlation / gain
_RENDERED = "{motion_to_photon_ms[p50]:,.0f} / {motion_to_photon_ms[p95]:,.0f}"

TABLES: Mapping[str, Table] = {
    **TRUST_TABLES,
    **GPU,
    **FLEETS,
    "summary": Table(
        "",
        {"what": "{what}", "measured": "{measured}", "where and when": "{place}"},
        _summed_up,
        (_AIORTC, _CHROMIUM, "first_frame", "quality", "cross_driving", "export_bundled"),
        of_one_place=False,
    ),
    "live": Table(
        "glass_to_glass",
        {
            "viewer": lambda call: f"{_viewer(call)}, {call['duration_s'] / 60:.0f} min",
            "pictures per second": "{fps_delivered:.1f}",
            "motion to photon, p50 / p95 / p99 ms": "{motion_to_photon_ms:.0f}",
            "freezes": "{frozen}",
        },
        files=("glass_to_glass_10min", _CHROMIUM),
        part="motion_to_photon_ms",
    ),
    "floor": Table(
        "glass_to_glass",
        {
            "p50 / p95 / p99 ms": _viewer,
            "avatar": "{motion_to_photon_ms:.0f}",
            "echo: transport alone": "{floor[motion_to_photon_ms]:.0f}",
            "difference": "{ours_ms:.0f}",
        },
        files=(_AIORTC, _CHROMIUM),
        part="floor",
    ),
    "stages": Table(
        "stages",
        {
            "stage": "{name}",
            "p50 ms": "{wall[p50]:.1f}",
            "p95 ms": "{wall[p95]:.1f}",
            "p99 ms": "{wall[p99]:.1f}",
            "CPU of all threads, p50 ms": "{cpu[p50]:.1f}",
        },
        _stages,
    ),
    "first_frame": Table(
        "first_frame",
        {
            "ms, p50 / worst of {config[calls]}": "{what}",
            "answered": "{steps_ms[answered]:,.0f}",
            "connected": "{steps_ms[connected]:,.0f}",
            "first picture arrives": "{steps_ms[received]:,.0f}",
            "avatar on the page": "{steps_ms[avatar]:,.0f}",
            "calibrated, said": "{steps_ms[calibrated]:,.0f}",
        },
        _named(FIRST_FRAME_CASES, "cases"),
    ),
    "load": Table(
        "load",
        {
            "sessions": "{sessions}",
            "fewest pictures per second": "{fps_least:.1f}",
            "worst p50 / p95 ms": "{p50_worst_ms:.0f} / {p95_worst_ms:.0f}",
            "server cores": "{server_cores:.2f}",
            "server MB": "{server_mb:,.0f}",
            "{config[promise][fps]:g} fps within {config[promise][p95_ms]:g} ms for all": "{holds}",
        },
        "steps",
    ),
    "soak": Table(
        "soak",
        {"growth of": "{what}", "measured": "{value:+g}", "bound": "{bound:g}"},
        _bounded(SOAKED, "call", "calls"),
    ),
    "udp_fuzz": Table(
        "udp_fuzz",
        {
            "{sent:,} datagrams in {seconds:,.0f} s": "{what}",
            "measured": "{value:g}",
            "bound": "{bound:,.0f}",
        },
        _bounded(FUZZED),
    ),
    "harm": Table(
        "harm",
        {
            "harm by": "{name}",
            "pictures a second: before / meanwhile / between": "{fps[0]:.1f} / {fps[1]:.1f} / {fps[2]:.1f}",
            "kept (at least {bounds[kept_least]:.0%})": "{kept:.0%}",
            "`/healthz`, p99 ms (at most {bounds[healthz_p99_ms]:g})": "{healthz_p99_ms:.0f}",
            "descriptors more (at most {bounds[descriptors]})": "{descriptors}",
            "memory, MB more (at most {bounds[memory_mb]:g})": "{memory_mb:.1f}",
        },
        "harm",
    ),
    "crash_matrix": Table(
        "crash_matrix",
        {
            "{cases} cases: {outcomes[went on]} went on, {outcomes[said why]} said why": "{name}",
            **{fault: f"{{{fault}}}" for fault in FAULTS},
        },
        "cells",
    ),
    "damaged_avatars": Table(
        "damaged_avatars",
        {
            "damaged files": "{ran:,}",
            "refused in a line": "{refused:,}",
            "served": "{served:,}",
            "failed": "{failed}",
            "read other files": "{read_outside}",
            "longest, s of CPU (undamaged)": "{seconds:.2f} ({floor_s:.2f})",
            "memory, MB more": "{memory_mb:.0f}",
        },
    ),
    "baselines": Table(
        "baselines",
        {
            "per picture": "{what}",
            "p50 / p95 ms": "{ms[p50]:,.1f} / {ms[p95]:,.1f}",
            "times faster": "{times}",
        },
        _baselines,
    ),
    "baselines_live": Table(
        "baselines",
        {
            "renderer": "{what}",
            "pictures per second": "{fps_delivered:.1f}",
            "motion to photon, p50 / p95 ms": _RENDERED,
        },
        _named(LIVE_BASELINES, "live"),
        part="live",
    ),
    "offers": Table(
        "offers",
        {"offer": "{name}", "status": "{status}", "outcome": "{outcome}", "wrong": "{mistake}"},
        "offers",
    ),
    "av_sync": Table(
        "av_sync",
        {"voice before the picture, ms (negative: after)": "{what}", "p50 / p95 / p99": "{offset}"},
        _offsets,
    ),
    "networks": Table(
        "cpu_paths",
        {
            "network, threads: {config[threads]}": "{name}",
            "p50 / p95 ms": "{ms[p50]:.1f} / {ms[p95]:.1f}",
            "times float32": "{times_float32:.2f}",
            "dB of the float32 output": "{psnr_db:.1f}",
        },
        "paths",
        ("export_bundled",),
    ),
    "follow": Table(
        "follow", {"driver": "{label}", **_MOTION, "hands shown": "{visible[wrists]:.0%}"}, "drivers"
    ),
    **VOICE_TABLES,
    **VOICE_LIVE_TABLES,
    **CONVERSATION_TABLES,
    "cross_driving": Table(
        "cross_driving",
        {
            "": "{run}",
            " ": "{method}",
            "frame, dB": "{psnr_db[frame]:.1f}",
            "SSIM": "{ssim[frame]:.2f}",
            "face, dB": "{psnr_db[face]:.1f}",
            "mouth, dB": "{psnr_db[mouth]:.1f}",
            "hands, dB": "{psnr_db[hands]:.1f}",
            "torso, dB": "{psnr_db[torso]:.1f}",
            "face / lips / lids off by, px": lambda row: _off(row, "face", "lips", "lids"),
            "wrists / fingertips off by, px": lambda row: _off(row, "wrists", "fingertips"),
            "hands found": "{hands_found:.0%}",
        },
        _beside_truth,
    ),
    "cross_motion": Table("cross_driving", {"": "{who}", **_MOTION}, _moving),
    "films": Table(
        "films",
        {
            "film": "{kind}",
            "read": "{read}",
            "face off by, px": "{px:.2f}",
            "cheeks off by, CIEDE2000": "{de:.2f}",
        },
        "films",
    ),
    "films_long": Table(
        "films",
        {
            "length, minutes": "{minutes}",
            "prepared in, s": "{seconds:.0f}",
            "most memory, MB": "{memory_mb:,}",
            "said": "{said}",
        },
        "long",
        part="long",
    ),
    "drift": Table(
        "drift",
        {
            "over {config[minutes]:g} minutes": "{what}",
            "most, against the first time round": "{apart:+.3f} (bound {bounds[0]:g})",
            "per minute": "{slope_per_min:.3f} (bound {bounds[1]:g})",
        },
        _drifts,
    ),
    "ablation": Table(
        "ablation",
        {
            "": "{part}",
            "frame, dB": "{frame_db:.2f}",
            "mouth, dB": "{mouth_db:.2f}",
            "hands, dB": "{hands_db:.2f}",
            "flicker": "{flicker:.2f}",
            "sharpness": "{sharpness:.2f}",
            "network, ms": "{network_ms:.1f}",
        },
        "rows",
    ),
    "base_gain": Table(
        "base_gain",
        {
            "": "{label}",
            "warped prior": "{prior_db:.2f} dB",
            "from scratch": "{scratch[best_db]:.2f} dB, {scratch[steps]} steps",
            "from base weights": "{base[best_db]:.2f} dB, {base[steps]} steps",
            "as good as scratch, times sooner": "{sooner:.1f}",
        },
        "clips",
    ),
    "distillation": Table(
        "distillation",
        {
            "PSNR in dB / sharpness (1 is the footage's)": "{what}",
            "1 step": "{of_1}",
            "2 steps": "{of_2}",
            "4 steps": "{of_4}",
            "8 steps": "{of_8}",
        },
        _distilled,
    ),
    "held_out": Table(
        "quality",
        {
            "footage": "{label}",
            "frame, dB: avatar / warp alone / nearest frame": _of_all("frame"),
            "mouth, dB": _of_all("mouth"),
            "hands, dB": _of_all("hands"),
            "lips: correlation / gain": "{held_out[motion][lip_aperture]:.2f}",
            "wrists, fingertips off by, px": "{held_out[wrist_px]:.1f}, {held_out[fingertip_px]:.1f}",
            "sharpness": "{held_out[sharpness][frame]:.2f}",
        },
        "avatars",
    ),
    "found": Table(
        "found",
        {
            "clip": "{name}",
            "frames": "{frames:,}",
            "face found": "{face:.0%}",
            "body found": "{pose:.0%}",
            "hands found, of those in view": "{hands:.0%} of {hands_visible}",
            "joints of hands off by, p50 / p95 px": "{hand_joints_px:.1f}",
        },
        "clips",
        ("presenter_found",),
    ),
}


def drawn(record: Record) -> list[str]:
    """The tables that one record fills."""
    tables = [table for table in TABLES.values() if table.instrument == record["benchmark"]]
    return [table.draw(record) for table in tables if not table.part or record.get(table.part)]
