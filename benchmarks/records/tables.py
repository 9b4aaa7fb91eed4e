"""Recorded results as Markdown tables: each a pure function of records; TABLES says of which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.records.instrument import Record
from engine.avatar.bundled import bundled_names
from engine.errors import SettingsError
from engine.stages import RANKS

NONE = "-"  # nothing was measured there
VIEWERS = ("headless aiortc peer", "headless Chromium")
BASELINE_ROWS = {
    "sd_turbo": "SD-Turbo, one step, tiny autoencoder (random weights)",
    "denoiser": "our denoiser, as served",
    "denoiser_torch": "our denoiser, in torch",
    "pipeline": "our whole pipeline, every tracker on every picture",
}
MOTIONS = {"yaw": "yaw", "pitch": "pitch", "roll": "roll", "lip_aperture": "lips", "lid_aperture": "lids"}
MOTIONS |= {"wrists": "wrists", "fingers": "fingers"}
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


@dataclass(frozen=True, slots=True)
class Table:
    """One table: the records it is made of, by the names of their files less .json, and how it is drawn."""

    records: Sequence[str]
    draw: Callable[..., str]  # takes the records in that order
    of_one_place: bool = True  # below the table stands where and when it was measured; else in its rows

    def text(self, records: Sequence[Record]) -> str:
        """The Markdown."""
        places = dict.fromkeys(map(place, records))  # each once, in order
        below = f"\n\n*{'; '.join(places)}*" if self.of_one_place else ""
        return self.draw(*records) + below


def place(record: Record) -> str:
    """Where and when it was measured. Raises SettingsError where it was only tried."""
    if record["config"].get("quick"):
        raise SettingsError(f"a record of {record['benchmark']} was made with --quick: record it in full")
    machine = record["machine"]
    return f"{machine['cpu']}, {machine['cores']} cores, {record['date']}, commit {record['commit']}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as GitHub draws it."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    lines.insert(1, "|" + "---|" * len(head))
    return "\n".join(lines)


def number(value: float | None, digits: int = 0) -> str:
    """The figure with so many digits behind the point; NONE of nothing."""
    return NONE if value is None else f"{value:,.{digits}f}"


def ranks(values: Record, names: Sequence[str] = RANKS, digits: int = 0) -> str:
    """Percentiles beside each other."""
    return " / ".join(number(values[name], digits) for name in names)


def summary(*records: Record) -> str:
    """Six figures of the whole, one a row."""
    aiortc, chromium, first, quality, cross, network = records
    calls = [
        f"{number(call['fps_delivered'], 1)} pictures a second; motion to photon "
        f"{ranks(call['motion_to_photon_ms'], ('p50', 'p95'))} ms"
        for call in (aiortc, chromium)
    ]
    avatar = first["cases"]["cold"]["steps_ms"]["avatar"]
    tails = [
        f"{one['label']}: {number(one['held_out']['psnr_db']['frame'], 1)} dB "
        f"({number(one['baselines']['warp_only']['frame'], 1)})"
        for one in quality["avatars"]
        if one["name"] in bundled_names()
    ]
    apart = [
        f"{run['avatar']}: "
        + " / ".join(_off(run["landmarks_px"][part]) for part in ("face", "lips", "lids"))
        for run in cross["runs"]
        if not run["own"]
    ]
    served = network["paths"]["onnxruntime denoiser-int8"]["ms"]
    rows = (
        ("a call, 640x480 at 30 fps, p50 / p95", calls[0], aiortc),
        ("the same in Chromium", calls[1], chromium),
        (
            "from the granted camera to the avatar on the page, p50 / worst",
            f"{ranks(avatar, ('p50', 'worst'))} ms",
            first,
        ),
        ("unseen end of the footage, PSNR (warped key frames alone)", "; ".join(tails), quality),
        (
            "driven by the other presenter: face / lips / lids off the true render by, px, p50 (p95)",
            "; ".join(apart),
            cross,
        ),
        ("the network on one core, p50 / p95", f"{ranks(served, ('p50', 'p95'), 1)} ms", network),
    )
    return markdown(
        ("what", "measured", "where and when"), [(what, text, place(of)) for what, text, of in rows]
    )


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


def udp_fuzz(record: Record) -> str:
    """What datagrams of strangers do to two calls, beside its bounds."""
    shown = {
        "calls_lost": "calls lost, of 2",
        "exceptions": "exceptions in the log",
        "log_bytes": "bytes of log",
        "memory_mb": "memory, MB more",
        "p99_ms": "motion to photon, 99th percentile, ms more",
    }
    rows = [(text, f"{record[name]:g}", f"{record['bounds'][name]:,.0f}") for name, text in shown.items()]
    return markdown(
        (f"{record['sent']:,} datagrams in {number(record['seconds'])} s", "measured", "bound"), rows
    )


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


def follow(record: Record) -> str:
    """How faithfully the avatar follows each driver, and in how many of the driver's pictures hands show."""
    rows = [
        (
            driver["label"],
            *(_motion(driver["motion"][part]) for part in MOTIONS),
            f"{100 * driver['visible']['wrists']:.0f} %",
        )
        for driver in record["drivers"]
    ]
    return markdown(("driver", *MOTIONS.values(), "hands shown"), rows)


def cross_driving(record: Record) -> str:
    """Each avatar driven by another's video, beside its own video and the baselines: pictures, landmarks."""
    regions, parts = ("face", "mouth", "hands", "torso"), (("face", "lips", "lids"), ("wrists", "fingertips"))
    rows = []
    for run, own in _crossed(record):
        shown = {"the avatar": run, "driven by its own video": own}
        shown |= {text: run["baselines"][name] for name, text in CROSS_BASELINES.items()}
        for text, found in shown.items():
            label = f"{run['avatar']} driven by {run['driver']}" if found is run else ""
            decibels = (number(found["psnr_db"][region], 1) for region in regions)
            apart = (" / ".join(_off(found["landmarks_px"][part]) for part in cell) for cell in parts)
            hands = NONE if found["hands_found"] is None else f"{100 * found['hands_found']:.0f} %"
            whole = number(found["psnr_db"]["frame"], 1), number(found["ssim"]["frame"], 2)
            rows.append((label, text, *whole, *decibels, *apart, hands))
    head = ["", "", "frame, dB", "SSIM", *(f"{region}, dB" for region in regions)]
    head += [*(f"{' / '.join(cell)} off by, px" for cell in parts), "hands found"]
    return markdown(head, rows)


def cross_motion(record: Record) -> str:
    """How the same avatars move beside the truth, and what the tracker reads in the driver's own video."""
    rows = []
    for run, own in _crossed(record):
        shown = {
            f"{run['avatar']} driven by {run['driver']}": run["motion"],
            f"{run['avatar']} driven by its own video": own["motion"],
            f"{run['driver']}'s video itself": run["motion_of_driver"],
        }
        for text, motion in shown.items():
            rows.append((text, *(_motion(motion and motion[part]) for part in MOTIONS)))
    return markdown(("", *MOTIONS.values()), rows)


def drift(record: Record) -> str:
    """What changes over a long drive, beside its bounds."""
    rows = [
        (
            text,
            f"{record['drift'][name]['apart']:+.3f} (bound {record['bounds'][name][0]:g})",
            f"{number(record['drift'][name]['slope_per_min'], 3)} (bound {record['bounds'][name][1]:g})",
        )
        for name, text in DRIFTS.items()
    ]
    minutes = f"{record['config']['minutes']:g} minutes"
    return markdown((f"over {minutes}", "most, against the first time round", "per minute"), rows)


def held_out(record: Record) -> str:
    """Each avatar on the tail of its footage: PSNR beside its baselines, motion, sharpness."""
    head = (
        "footage",
        "frame, dB: avatar / warp alone / nearest frame",
        "mouth, dB",
        "hands, dB",
        "lips: correlation / gain",
        "wrists, fingertips off by, px",
        "sharpness",
    )
    rows = []
    for avatar in record["avatars"]:
        measured, baselines = avatar["held_out"], avatar["baselines"]
        regions = (measured["psnr_db"], baselines["warp_only"], baselines["nearest_frame"])
        rows.append(
            (
                avatar["label"],
                *(
                    " / ".join(number(region[name], 1) for region in regions)
                    for name in ("frame", "mouth", "hands")
                ),
                _motion(measured["motion"]["lip_aperture"]),
                f"{number(measured['wrist_px'], 1)}, {number(measured['fingertip_px'], 1)}",
                number(measured["sharpness"]["frame"], 2),
            )
        )
    return markdown(head, rows)


def distillation(record: Record) -> str:
    """PSNR and sharpness by steps, before and after."""
    rows = []
    for clip in record["clips"]:
        for who, text in (("teacher", "before"), ("student", "distilled")):
            cells = (
                f"{number(found['psnr_db']['frame'], 2)} / {number(found['sharpness'], 2)}"
                for found in clip[who].values()
            )
            rows.append((f"{clip['label']}, {text}", *cells))
    steps = [f"{steps} step{'s' * (steps != '1')}" for steps in record["clips"][0]["teacher"]]
    return markdown(("PSNR in dB / sharpness (1 is the footage's)", *steps), rows)


def ablation(record: Record) -> str:
    """What each part buys for equal training."""
    head = ["", "frame, dB", "mouth, dB", "hands, dB", "flicker", "sharpness", "network, ms"]
    columns = (("frame_db", 2), ("mouth_db", 2), ("hands_db", 2), ("flicker", 2), ("sharpness", 2))
    rows = [
        (
            row["part"],
            *(number(row[name], digits) for name, digits in columns),
            number(row["network_ms"], 1),
        )
        for row in record["rows"]
    ]
    return markdown(head, rows)


def base_gain(record: Record) -> str:
    """What base weights buy."""
    head = ["", "warped prior", "from scratch", "from base weights", "as good as scratch, times sooner"]
    rows = [
        (
            clip["label"],
            f"{clip['prior_db']:.2f} dB",
            *(f"{clip[name]['best_db']:.2f} dB, {clip[name]['steps']} steps" for name in ("scratch", "base")),
            number(clip["sooner"], 1),
        )
        for clip in record["clips"]
    ]
    return markdown(head, rows)


def _ranked(values: Record) -> tuple[str, ...]:
    return tuple(number(values[name], 1) for name in ("p50", "p95", "p99"))


def _crossed(record: Record) -> list[tuple[Record, Record]]:
    """Each run with another's video, and the one of the same avatar with its own."""
    own = {run["truth"]: run for run in record["runs"] if run["own"]}
    return [(run, own[run["truth"]]) for run in record["runs"] if not run["own"]]


def _off(distance: Record | None) -> str:
    return NONE if distance is None else f"{distance['p50']:.1f} ({distance['p95']:.1f})"


def _motion(found: Record | None) -> str:
    return NONE if found is None else f"{found['correlation']:.2f} / {found['gain']:.2f}"


CALLS = ("glass_to_glass_aiortc", "glass_to_glass_chromium")
TABLES: Mapping[str, Table] = {
    "summary": Table(
        (*CALLS, "first_frame", "quality", "cross_driving", "export_bundled"), summary, of_one_place=False
    ),
    "live": Table(("glass_to_glass_10min", "glass_to_glass_chromium"), live),
    "floor": Table(CALLS, floor),
    "stages": Table(("stages",), stages),
    "first_frame": Table(("first_frame",), first_frame),
    "load": Table(("load",), load),
    "soak": Table(("soak",), soak),
    "udp_fuzz": Table(("udp_fuzz",), udp_fuzz),
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
