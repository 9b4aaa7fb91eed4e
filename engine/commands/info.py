"""What an avatar file holds: who it shows and who agreed, its key frames and networks, how they came about.

The file is verified as if it were to be used, hashes included. What it says is shown as it stands; nothing is
measured again (see evaluate) and no network is run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.avatar.bundled import BUNDLED, avatar_help
from engine.avatar.records import number, printable, table
from engine.expression.feeling import EMOTIONS
from engine.expression.repertoire import repertoire_of
from engine.provenance.consent import clip_words
from engine.provenance.keys import fingerprint
from engine.voice.own import OwnVoice

_MB = 1_000_000
_MS = 10_000  # no offset is larger
FILMED = 0.5  # share from which an emotion is said to be filmed
_DIGEST_SHOWN = 12  # characters
_PRINT_KEPT = "; a print of their voice is kept"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast info`."""
    parser.add_argument("avatar", nargs="?", default=BUNDLED, help=avatar_help())
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def run(args: argparse.Namespace) -> int:
    """Prints what the file holds."""
    found = facts(load_avatar(args.avatar, even_withdrawn=True))
    if args.json:
        print(json.dumps(found))
        return 0
    print("\n".join(as_lines(found)))
    return 0


def facts(avatar: Avatar) -> dict[str, Any]:
    """The machine-readable summary."""
    stored = avatar.stored
    assert stored is not None  # it was loaded
    return {
        "name": avatar.name,
        "digest": stored.digest,
        "format_version": stored.format_version,
        "consent": avatar.consent,
        "consent_clip": clip_words(avatar.consent, stored.standing),
        "signed": stored.standing.state,
        "signature": stored.standing.words,
        "chain": [dict(record) for record in stored.standing.records],
        "withdrawn": stored.standing.withdrawn or None,
        "marked": avatar.wants_mark,
        "size_px": avatar.size,
        "scene_px": None if avatar.scene is None else list(avatar.scene.rgb.shape[1::-1]),  # width, height
        "fps": avatar.fps,
        "keyframes": len(avatar.keyframes),
        "emotions_filmed": emotions_filmed(avatar),  # share of each that key frames show; the rest is a warp
        "held_out_frames": len(avatar.held_out),  # in the file, to judge exports by
        "report_picture": bool(avatar.report_png),  # evaluate --picture writes it
        "bytes": sum(stored.member_bytes.values()),  # unpacked
        "models": [
            {**avatar.variants[name], "name": name, "bytes": stored.member_bytes[f"models/{name}"]}
            for name in sorted(avatar.models)
        ],
        "training": avatar.training,
        "voice": voice_words(avatar.voice, avatar.report),
        "sound": avatar.report.get("sound"),
        "held_out": avatar.report.get("held_out"),
        "baselines": avatar.report.get("baselines"),
        "tools": stored.tools,
    }


def emotions_filmed(avatar: Avatar) -> dict[str, float]:
    """How strongly some key frame shows each emotion, 0 to 1."""
    shown = repertoire_of(avatar.neutral, [frame.landmarks for frame in avatar.keyframes]).filmed
    return {emotion: round(share, 2) for emotion, share in zip(EMOTIONS, shown, strict=True)}


def as_lines(found: Mapping[str, Any]) -> list[str]:
    """The summary for people; no text of the file can steer the terminal."""
    return [f"{title:<11}{printable(text)}" for title, text in _lines(found)]


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Title and text of each line for people."""
    consent = found["consent"]
    yield "avatar", f"{found['name']}, digest {found['digest'][:_DIGEST_SHOWN]}"
    yield "person", f"{consent['person']}; {consent['who']} agreed on {consent['date']}"
    yield "consent", f"{consent['statement']} ({found['consent_clip']})"
    if found["withdrawn"]:
        yield "withdrawn", f"on {found['withdrawn']}: it is not used any more"
    yield "signature", found["signature"]
    for record in found["chain"]:
        yield "", f"{record['action']} on {record['date']}, key {fingerprint(record['key'])}"
    yield "mark", "in every picture" if found["marked"] else "none: the presenters' key says nobody is shown"
    room = " in a room of {}x{} px".format(*found["scene_px"]) if found["scene_px"] else ""
    yield "canvas", f"{found['size_px']} px{room}, from footage at {found['fps']:g} frames/s"
    frames = f"{found['keyframes']} key frames, {found['held_out_frames']} held-out frames"
    if found["report_picture"]:
        frames += ", a picture of the report"
    yield "holds", f"{frames}, {found['bytes'] / _MB:.1f} MB unpacked"
    yield "voice", found["voice"]
    shown = [emotion for emotion, share in found["emotions_filmed"].items() if share >= FILMED]
    yield "emotions", f"filmed: {', '.join(shown) or 'none'}; what was not is a warp of other pictures"
    for model in found["models"]:
        known = [f"{key} {model[key]}" for key in ("precision", "steps") if key in model]
        yield "network", ", ".join([model["name"], *known, f"{model['bytes'] / _MB:.1f} MB"])
    if not found["models"]:
        yield "network", "none"
    yield "training", _pairs(found["training"]) or "not recorded"
    yield "held out", _psnr(found["held_out"]) or "not measured; see avatarcast evaluate"
    if nearest := _psnr({"psnr_db": table(found["baselines"], "nearest_frame")}):
        yield "", f"{nearest}: the nearest training frame, to compare with"
    yield "made with", _pairs(found["tools"])


def voice_words(voice: OwnVoice | None, report: Mapping[str, Any]) -> str:
    """How it speaks where a voice drives it, and what of its footage's sound that comes of."""
    if voice is None or voice.fit is None:
        nobodys = "nobody's own way: too little speech was learnt from, or by an earlier version; enrol again"
        return nobodys + (_PRINT_KEPT if voice is not None and voice.print is not None else "")
    said = ["its person's own way"]
    if (speech_s := number(report, "sound", "speech_s")) is not None:
        said.append(f"of {speech_s:.0f} s of speech")
    if (lips := number(report, "sound", "lips")) is not None:
        said.append(f"lips correlate by {lips:.2f} on speech it was not fitted to")
    offsets, sure = (table(report, "sound").get(key) for key in ("offset_ms", "certainty"))
    if isinstance(offsets, list) and isinstance(sure, list):
        for offset_ms, certainty in zip(offsets, sure, strict=False):
            if type(offset_ms) is int and abs(offset_ms) < _MS and type(certainty) is float:
                said.append(f"picture {offset_ms} ms before its sound ({certainty:.0%} sure)")
    return ", ".join(said) + (_PRINT_KEPT if voice.print is not None else "")


def _psnr(report: object) -> str:
    """PSNR by region; empty where the report, which may say anything, has none."""
    values = table(report, "psnr_db")
    shown = [f"{region} {db:.1f}" for region in values if (db := number(values, region)) is not None]
    return f"PSNR in dB {', '.join(shown)}" if shown else ""


def _pairs(record: Mapping[str, Any]) -> str:
    """The plain values of a record; lists and tables within it are left to --json."""
    plain = {key: value for key, value in record.items() if isinstance(value, (str, int, float))}
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in plain.items()
    )
