"""Convert an avatar's network to run faster, prove that it looks the same, and keep it in its file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from engine.avatar import BUNDLED, Avatar, HeldOutFrame, load_avatar
from engine.errors import AvatarcastError, SettingsError

if TYPE_CHECKING:
    from export.variants import Variant

TARGETS = ("onnx", "onnx-fp16", "onnx-int8")
DEFAULT_TARGET = "onnx-int8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast export`."""
    parser.add_argument("avatar", help="an .avatar file; it is changed in place, all or nothing")
    parser.add_argument(
        "--target",
        choices=TARGETS,
        default=DEFAULT_TARGET,
        help=f"what to make (default {DEFAULT_TARGET}, the fastest on a CPU)",
    )
    parser.add_argument(
        "--footage",
        nargs="+",
        type=Path,
        help="what it was enrolled from: for an avatar that holds no held-out frames to be judged by",
    )
    parser.add_argument("--list", action="store_true", help="only show the networks in the file")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Converts, judges and stores; or lists."""
    avatar = load_avatar(args.avatar)
    if args.list:
        return _list(avatar, args.json)
    if args.avatar == BUNDLED:
        raise SettingsError(
            "bundled: is part of avatarcast and stays as it is; give an .avatar file of yours"
        )
    try:
        from export.store import store  # these need torch
        from export.variants import convert, network_of
    except ModuleNotFoundError as error:
        raise AvatarcastError(f"export needs {error.name}: pip install 'avatarcast[train]'") from error

    path = Path(args.avatar)
    frames = _held_out(avatar, path, args.footage)
    with _Bar() as bar:
        variant = convert(avatar, network_of(avatar), args.target, frames, bar.show)
    dropped = store(path, avatar, variant, () if avatar.held_out else frames)
    if args.json:
        print(json.dumps({"out": str(path), "model": variant.name, "dropped": dropped, **variant.facts}))
        return 0
    print(f"{path}: {describe(variant.name, len(variant.model), variant.facts)}")
    _print_losses(variant)
    if dropped:
        print(f"dropped, since they held other weights: {', '.join(dropped)}; export them again")
    return 0


def describe(name: str, size_bytes: int, facts: dict[str, Any]) -> str:
    """One line for people: size, precision, parity, speed; what was never measured is left out."""
    parts = [f"{name}  {size_bytes / 1e6:.1f} MB  {facts.get('precision', '?')}"]
    if parity := facts.get("parity"):
        parts.append(f"{parity['psnr_db']:.1f} dB of the float32 output")
    if held_out := facts.get("held_out"):
        parts.append(f"loses {held_out['loss_db']:.2f} dB on {held_out['frames']} held-out frames")
    if speed := facts.get("speed"):
        parts.append(
            f"{speed['p50_ms']:.1f} ms ({speed['fp32_p50_ms'] / speed['p50_ms']:.2f}x float32) "
            f"on one core of {speed['machine']}"
        )
    return ", ".join(parts)


def _print_losses(variant: Variant) -> None:
    before, after = (variant.facts["held_out"][key] for key in ("before_db", "after_db"))
    for region in before:
        print(f"  held-out {region:<6} {before[region]:6.2f} dB before, {after[region]:6.2f} dB after")


def _list(avatar: Avatar, as_json: bool) -> int:
    models = avatar.manifest["models"]
    if as_json:
        found = {name: {**facts, "bytes": len(avatar.models[name])} for name, facts in models.items()}
        print(json.dumps({"avatar": avatar.name, "held_out_frames": len(avatar.held_out), "models": found}))
        return 0
    for name, facts in models.items():
        print(describe(name, len(avatar.models[name]), facts))
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
    from export.command_evaluate import prepare_again
    from export.quality_gate import held_out_frames

    return held_out_frames(prepare_again(avatar, footage))


class _Bar:
    """One progress bar per stage, on standard error."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._stage = ""

    def show(self, stage: str, share: float) -> None:
        """The stage stands at this share."""
        if stage != self._stage:
            self.close()
            layout = "{desc:16}|{bar}| {percentage:.0f} % [{elapsed}<{remaining}]"
            self._bar = tqdm(total=1.0, desc=stage, bar_format=layout, file=sys.stderr)
            self._stage = stage
        if self._bar is not None:
            self._bar.update(share - self._bar.n)

    def close(self) -> None:
        """Ends the current bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
