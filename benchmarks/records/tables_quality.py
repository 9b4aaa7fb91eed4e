"""Records of how good the pictures are, and how faithfully they move, as the README's tables.

Each table is a pure function of one record; benchmarks/records/tables.py says of which.
"""

from __future__ import annotations

from benchmarks.records.table_cells import NONE, Record, markdown, number

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


def _crossed(record: Record) -> list[tuple[Record, Record]]:
    """Each run with another's video, and the one of the same avatar with its own."""
    own = {run["truth"]: run for run in record["runs"] if run["own"]}
    return [(run, own[run["truth"]]) for run in record["runs"] if not run["own"]]


def _off(distance: Record | None) -> str:
    return NONE if distance is None else f"{distance['p50']:.1f} ({distance['p95']:.1f})"


def _motion(found: Record | None) -> str:
    return NONE if found is None else f"{found['correlation']:.2f} / {found['gain']:.2f}"
