"""What an avatar file holds: who it shows and who agreed, its key frames and networks, how they came about.

The file is verified as if it were to be used, hashes included. What it says is shown as it stands; nothing is
measured again (see evaluate) and no network is run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from engine.avatar.avatar import Avatar, load_avatar
from engine.avatar.bundled import BUNDLED, avatar_help

_MB = 1_000_000
_DIGEST_SHOWN = 12  # characters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast info`."""
    parser.add_argument("avatar", nargs="?", default=BUNDLED, help=avatar_help())
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def run(args: argparse.Namespace) -> int:
    """Prints what the file holds."""
    found = facts(load_avatar(args.avatar))
    if args.json:
        print(json.dumps(found))
        return 0
    for title, text in _lines(found):
        print(f"{title:<11}{_printable(text)}")
    return 0


def facts(avatar: Avatar) -> dict[str, Any]:
    """The machine-readable summary."""
    members = avatar.manifest["members"]
    return {
        "name": avatar.name,
        "digest": avatar.manifest["digest"],
        "format_version": avatar.manifest["format_version"],
        "consent": avatar.consent,
        "size_px": avatar.size,
        "fps": avatar.fps,
        "keyframes": len(avatar.keyframes),
        "held_out_frames": len(avatar.held_out),  # in the file, to judge exports by
        "report_picture": bool(avatar.report_png),  # evaluate --picture writes it
        "bytes": sum(member["bytes"] for member in members.values()),  # unpacked
        "models": [
            {**avatar.manifest["models"][name], "name": name, "bytes": members[f"models/{name}"]["bytes"]}
            for name in sorted(avatar.models)
        ],
        "training": avatar.manifest["training"],
        "held_out": avatar.report.get("held_out"),
        "baselines": avatar.report.get("baselines"),
        "tools": avatar.manifest["tools"],
    }


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Title and text of each line for people."""
    consent = found["consent"]
    yield "avatar", f"{found['name']}, digest {found['digest'][:_DIGEST_SHOWN]}"
    yield "person", f"{consent['person']}; {consent['who']} agreed on {consent['date']}"
    yield "consent", consent["statement"]
    yield "canvas", f"{found['size_px']} px, from footage at {found['fps']:g} frames/s"
    frames = f"{found['keyframes']} key frames, {found['held_out_frames']} held-out frames"
    if found["report_picture"]:
        frames += ", a picture of the report"
    yield "holds", f"{frames}, {found['bytes'] / _MB:.1f} MB unpacked"
    for model in found["models"]:
        known = [f"{key} {model[key]}" for key in ("precision", "steps") if key in model]
        yield "network", ", ".join([model["name"], *known, f"{model['bytes'] / _MB:.1f} MB"])
    if not found["models"]:
        yield "network", "none"
    yield "training", _pairs(found["training"]) or "not recorded"
    yield "held out", _psnr(found["held_out"]) or "not measured; see avatarcast evaluate"
    baselines = found["baselines"] if isinstance(found["baselines"], Mapping) else {}
    if nearest := _psnr({"psnr_db": baselines.get("nearest_frame")}):
        yield "", f"{nearest}: the nearest training frame, to compare with"
    yield "made with", _pairs(found["tools"])


def _psnr(report: object) -> str:
    """PSNR by region; empty where the report, which may say anything, has none."""
    values = report.get("psnr_db") if isinstance(report, Mapping) else None
    if not isinstance(values, Mapping):
        return ""
    shown = [f"{region} {db:.1f}" for region, db in values.items() if isinstance(db, (int, float))]
    return f"PSNR in dB {', '.join(shown)}" if shown else ""


def _pairs(record: Mapping[str, Any]) -> str:
    """The plain values of a record; lists and tables within it are left to --json."""
    plain = {key: value for key, value in record.items() if isinstance(value, (str, int, float))}
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in plain.items()
    )


def _printable(text: str) -> str:
    """The text with control characters spelt out: a file from elsewhere must not steer the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
