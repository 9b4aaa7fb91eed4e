"""How much sooner does an avatar get good when it starts from base weights?

    python -m benchmarks.pictures.base_gain --clip LABEL X.prepared.npz [--clip ...] [--base bundled]
        [--minutes 6]

Trains on each clip twice, from the base weights and from nothing, for the same time with the product's own
schedule, and records the quality of the held-out frames as training goes: PSNR of the steady first step of up
to 24 frames of the tail, of the weights' moving average. Both runs build on the same warped prior, whose own
figure is in the record: it is where no training at all stands.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.records.machine import describe_machine
from benchmarks.records.options import instrument_parser
from benchmarks.records.record import file_name
from benchmarks.records.report import add_out, finish, record
from engine.network.denoiser import DenoiserConfig
from export.footage.prepared import Prepared, learn_identity
from export.training.base_weights import BUNDLED, NONE, load_base, starting_network
from export.training.train import TrainConfig, Trainer, TrainingProgress
from export.training.training_set import TrainingSet


def curves(prepared: Prepared, base_name: str, minutes: float) -> dict[str, Any]:
    """`prior_db`, and of `base` and `scratch`: steps, best dB, and the curve as (seconds, dB)."""
    identity = learn_identity(prepared)
    found: dict[str, Any] = {}
    for start, name in (("base", base_name), ("scratch", NONE)):
        data = TrainingSet(prepared, identity, seed=7)
        validation = data.validation(prepared, identity)
        found["prior_db"] = round(_db(float(((validation.prior - validation.clean) ** 2).mean())), 3)
        network = starting_network(DenoiserConfig(size=prepared.size), load_base(name))
        with TemporaryDirectory() as folder:
            config = TrainConfig(minutes * 60.0, device="cpu")
            trainer = Trainer(config, network, Path(folder) / "checkpoint.pt")
            made = trainer.run(data, validation, _tell)
        found[start] = {
            "steps": made.steps,
            "best_db": round(_db(made.best_mse), 3),
            "curve": [list(point) for point in made.curve],
        }
        print(f"\n{start}: {found[start]['best_db']} dB after {made.steps} steps", file=sys.stderr)
    return found


def sooner(found: Mapping[str, Any]) -> float | None:
    """How many times sooner the run from base weights stood where the one from scratch ended; None: never."""
    target = max(value for _, value in found["scratch"]["curve"])
    reached = [seconds for seconds, value in found["base"]["curve"] if value >= target]
    end = next(seconds for seconds, value in found["scratch"]["curve"] if value >= target)
    return round(end / reached[0], 2) if reached else None


def describe(figures: Mapping[str, Any]) -> str:
    """The figures for people."""
    return "\n".join(
        f"{clip['label']}: prior {clip['prior_db']:.2f} dB; from scratch {clip['scratch']['best_db']:.2f}, "
        f"from base weights {clip['base']['best_db']:.2f} dB, as good {clip['sooner'] or 'no'} times sooner"
        for clip in figures["clips"]
    )


def _db(mse: float) -> float:
    return 10.0 * math.log10(4.0 / mse)  # pictures on [-1, 1]


def _tell(now: TrainingProgress) -> None:
    print(
        f"\rstep {now.steps}, {now.elapsed_s:.0f} of {now.budget_s:.0f} s",
        end="",
        file=sys.stderr,
        flush=True,
    )


def main() -> int:
    """Run from the command line."""
    parser = instrument_parser(__doc__, "base_gain")
    parser.add_argument("--clip", nargs=2, action="append", required=True, metavar=("LABEL", "PREPARED"))
    parser.add_argument("--base", default=BUNDLED, help="bundled (default), or a file of avatarcast base")
    parser.add_argument("--minutes", type=float, default=6.0, help="of each training (default 6)")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU for training (default 1)")
    add_out(parser)
    args = parser.parse_args()
    machine = describe_machine()
    torch.set_num_threads(args.threads)
    clips = []
    for label, path in args.clip:
        print(label, file=sys.stderr)
        found = curves(Prepared.load(Path(path)), args.base, args.minutes)
        clips.append({"label": label, **found, "sooner": sooner(found)})
    config = {"base": file_name(args.base), "minutes": args.minutes, "threads": args.threads}
    figures = record("base_gain", {"clips": clips}, config, machine)
    finish(figures, describe(figures), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
