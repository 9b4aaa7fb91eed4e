"""Convert an avatar's network to run faster, prove that it looks the same, and keep it in its file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.avatar.avatar import Avatar, HeldOutFrame
from engine.avatar.avatar_file import load_avatar
from engine.avatar.bundled import bundled_name
from engine.avatar.records import number, printable, table
from engine.commands.options import add_frame
from engine.errors import AvatarcastError, SettingsError
from engine.files import sweep
from engine.picture.graph_files import FP16, FP32, GraphOf
from engine.render.frame import SQUARE, checked_frame
from engine.render.sampler import check_steps
from engine.runners import trt_cache
from engine.runners.names import TENSORRT
from engine.runners.trt_build import rebuild_command
from export.progress import Bars

if TYPE_CHECKING:
    from export.convert.variants import Variant

TARGETS = ("onnx", "onnx-fp16", "onnx-int8", *TENSORRT)
DEFAULT_TARGET = "onnx-int8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast export`."""
    parser.add_argument("avatar", help="an .avatar file; it is changed in place, all or nothing")
    parser.add_argument(
        "--target",
        choices=TARGETS,
        default=DEFAULT_TARGET,
        help=f"what to make (default {DEFAULT_TARGET}, the fastest on a CPU); TensorRT engines are kept "
        "outside the file, for this machine",
    )
    parser.add_argument(
        "--compute-capability",
        metavar="8.9",
        help="of the GPU that tensorrt-rtx builds for; without it, the one in this machine",
    )
    parser.add_argument(
        "--steps",
        type=int,
        choices=(1,),
        help="distil first: one step that looks like eight, and sharper; needs --footage",
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="of distillation (default 20)")
    parser.add_argument(
        "--footage",
        nargs="+",
        type=Path,
        help="what it was enrolled from: for --steps, or for an avatar that holds no held-out frames",
    )
    parser.add_argument(
        "--graph",
        action="store_true",
        help="the whole picture as one graph, for a GPU, instead of the network; kept outside the file, for "
        "this machine",
    )
    parser.add_argument("--draws", type=int, default=1, help="of the graph, see render --steps (default 1)")
    add_frame(parser, SQUARE)
    parser.add_argument("--list", action="store_true", help="only show the networks in the file")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Converts, judges and stores; or lists."""
    sweep(Path(args.avatar).parent)
    avatar = load_avatar(args.avatar)
    if args.list:
        return _list(avatar, args.json)
    if bundled_name(args.avatar) and not args.graph:
        raise SettingsError(f"{args.avatar}: is part of avatarcast and stays as it is; give a file of yours")
    if args.compute_capability and args.target != "tensorrt-rtx":
        raise SettingsError(f"--compute-capability: is for --target tensorrt-rtx; found {args.target}")
    if not args.graph and (args.frame, args.draws) != (SQUARE, 1):
        raise SettingsError(
            "--frame, --draws: are for --graph; found neither network nor engine that has any"
        )
    for package in ("torch", "onnx"):
        if find_spec(package) is None:
            raise AvatarcastError(f"export needs {package}: pip install 'avatarcast[train]'")
    if args.graph:
        return _make_graph(avatar, args)
    if args.steps is not None:
        _distill(avatar, args)
        avatar, args.footage = load_avatar(args.avatar), None
    if args.target in TENSORRT:
        return _build_engine(avatar, args)
    variant, dropped = _convert(avatar, args.target, args)
    if args.json:
        print(json.dumps({"out": args.avatar, "model": variant.name, "dropped": dropped, **variant.facts}))
        return 0
    print(f"{args.avatar}: {describe(variant.name, len(variant.model), variant.facts)}")
    _print_losses(variant)
    if dropped:
        print(f"dropped, since they held other weights: {', '.join(dropped)}; export them again")
    return 0


def _make_graph(avatar: Avatar, args: argparse.Namespace) -> int:
    """The picture graph, in the cache."""
    from export.convert.picture_graph import make_graph
    from export.convert.trt_engines import require_buildable

    targets = {"onnx": ("onnx", FP32), "onnx-fp16": ("onnx", FP16)} | {
        name: (name, FP16) for name in TENSORRT
    }
    if args.target not in targets:
        raise SettingsError(f"--graph: is for --target {', '.join(targets)}; found {args.target}")
    target, precision = targets[args.target]
    if target in TENSORRT:
        require_buildable(target, args.compute_capability)
    check_steps(args.draws)
    graph = GraphOf(avatar, checked_frame(args.frame), args.draws)
    report = make_graph(graph, target, precision, args.compute_capability)
    if args.json:
        print(json.dumps(report.to_dict()))
        return 0
    size, parity = f"{report.facts['bytes'] / 1e6:.1f} MB", report.facts["parity"]["psnr_db"]
    print(
        f"{report.path}: picture graph  {size}  {precision}, {parity:.1f} dB of the pictures drawn in steps"
    )
    return 0


def _distill(avatar: Avatar, args: argparse.Namespace) -> None:
    """Puts a distilled float32 network into the file, and says how sharp it became."""
    from export.distill_avatar import distill_avatar

    if not args.footage:
        raise SettingsError(
            f"--steps {args.steps}: needs the footage of {args.avatar}: give it with --footage"
        )
    if not args.minutes > 0:
        raise SettingsError(f"--minutes {args.minutes}: must be above 0; 20 sharpens well on two cores")
    with Bars() as bars:
        student, dropped = distill_avatar(Path(args.avatar), avatar, args.footage, args.minutes, bars.show)
    found = student.facts["distillation"]
    before, after = found["teacher"]["sharpness"], found["student"]["sharpness"]
    print(f"distilled: sharpness {before:.2f} -> {after:.2f} of the footage's", file=sys.stderr)
    if dropped:
        print(f"dropped, since they held other weights: {', '.join(dropped)}", file=sys.stderr)


def _convert(avatar: Avatar, target: str, args: argparse.Namespace) -> tuple[Variant, list[str]]:
    """The variant, now in the file, and the names it drove out."""
    from export.convert.put_variant import put_variant
    from export.convert.variants import convert, network_of

    path = Path(args.avatar)
    frames = _held_out(avatar, path, args.footage)
    with Bars() as bars:
        variant = convert(avatar, network_of(avatar), target, frames, bars.show)
    return variant, put_variant(path, avatar, variant, () if avatar.held_out else frames)


def _build_engine(avatar: Avatar, args: argparse.Namespace) -> int:
    """The engine, and before it the fp16 network that it is built from, where that is missing or old."""
    from export.convert.trt_engines import build_engine, require_buildable
    from export.convert.variants import is_current

    require_buildable(args.target, args.compute_capability)
    if not is_current(avatar, "onnx-fp16"):
        _convert(avatar, "onnx-fp16", args)
        avatar = load_avatar(args.avatar)
    report = build_engine(avatar, args.target, args.compute_capability)
    if args.json:
        print(json.dumps(report.to_dict()))
    else:
        print(f"{report.path}: {describe_engine(report.key, report.facts)}")
    return 0


def describe(name: str, size_bytes: int, facts: dict[str, Any]) -> str:
    """One line for people: size, precision, parity, speed; what was never measured is left out."""
    parts = [f"{name}  {size_bytes / 1e6:.1f} MB  {facts.get('precision', '?')}"]
    if (psnr := number(facts, "parity", "psnr_db")) is not None:
        parts.append(f"{psnr:.1f} dB of the float32 output")
    loss, frames = (number(facts, "held_out", key) for key in ("loss_db", "frames"))
    if loss is not None and frames is not None:
        parts.append(f"loses {loss:.2f} dB on {frames:.0f} held-out frames")
    took, float_took = (number(facts, "speed", key) for key in ("p50_ms", "fp32_p50_ms"))
    if took and float_took:
        machine = table(facts, "speed").get("machine", "?")
        parts.append(f"{took:.1f} ms ({float_took / took:.2f}x float32) on one core of {machine}")
    return printable(", ".join(parts))


def describe_engine(key: dict[str, Any], facts: dict[str, Any]) -> str:
    """One line for people."""
    built_for = f"compute capability {key['compute_capability']}, gpu: {key['gpu']}"
    size = f"{facts['bytes'] / 1e6:.1f} MB"
    return f"{key['target']} {key['library']} engine  {size}  {key['precision']}, for {built_for}"


def _print_losses(variant: Variant) -> None:
    before, after = (variant.facts["held_out"][key] for key in ("before_db", "after_db"))
    for region in before:
        if before[region] is not None:
            print(f"  held-out {region:<6} {before[region]:6.2f} dB before, {after[region]:6.2f} dB after")
    facts = variant.facts["held_out"]
    print(f"  FLIP error {facts['flip_growth']:+.1%}, {facts['sharpness_kept']:.0%} as sharp as before")
    motion = variant.facts["held_out"]["motion"]
    if motion["note"]:
        print(f"  motion was not judged: {motion['note']}")
    for name, part in motion["parts"].items():
        if part is not None:
            print(f"  {name:<12} moves {part['gain']:.2f} +-{part['error']:.2f} times as far as before")


def _list(avatar: Avatar, as_json: bool) -> int:
    engines = [
        trt_cache.read_trt_engine(path, rebuild_command(target))
        for target in TENSORRT
        for path in trt_cache.trt_engines_of(avatar, target)
    ]
    if as_json:
        found = {
            name: {**facts, "bytes": len(avatar.models[name])} for name, facts in avatar.variants.items()
        }
        built = [{**asdict(stored.key), **stored.facts} for stored in engines]
        held_out = {"held_out_frames": len(avatar.held_out)}
        print(json.dumps({"avatar": avatar.name, **held_out, "models": found, "engines": built}))
        return 0
    for name, facts in avatar.variants.items():
        print(describe(name, len(avatar.models[name]), facts))
    for stored in engines:
        print(describe_engine(asdict(stored.key), stored.facts))
    return 0


def _held_out(avatar: Avatar, path: Path, footage: Sequence[Path] | None) -> Sequence[HeldOutFrame]:
    """The frames to judge by."""
    if avatar.held_out:
        if footage:
            raise SettingsError(
                f"--footage: {path} holds {len(avatar.held_out)} held-out frames already; leave it out"
            )
        return avatar.held_out
    if not footage:
        raise SettingsError(
            f"{path}: holds no held-out frames, which an export is judged by: "
            "give the footage that it was enrolled from, with --footage"
        )
    from export.convert.gate import held_out_frames
    from export.footage.prepare import prepare_again

    with Bars() as bars:
        return held_out_frames(prepare_again(avatar, footage, bars.show))
