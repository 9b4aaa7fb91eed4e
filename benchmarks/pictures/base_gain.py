"""How much sooner does an avatar get good when it starts from base weights?

    avatarcast bench base_gain --clip LABEL=X.prepared.npz [--clip ...] [--base bundled] [--minutes 6]

Trains on each clip twice, from the base weights and from nothing, for the same time with the product's own
schedule, and records the quality of the held-out frames as training goes: PSNR of the steady first step of up
to 24 frames of the tail, of the weights' moving average. Both runs build on the same warped prior, whose own
figure is in the record: it is where no training at all stands.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.pictures.clips import FILMS, Labelled, prepared_from
from benchmarks.records.instrument import Instrument, add_common
from benchmarks.records.record import Record
from engine.network.denoiser import DenoiserConfig
from export.footage.prepared import Prepared, learn_identity
from export.progress import Bars
from export.training.base_weights import BUNDLED, NONE, load_base, starting_network
from export.training.loop import TrainingProgress
from export.training.train import TrainConfig, Trainer
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
            with Bars(disable=None) as bars:
                made = trainer.run(data, validation, partial(_tell, bars, start))
        found[start] = {
            "steps": made.steps,
            "best_db": round(_db(made.best_mse), 3),
            "curve": [list(point) for point in made.curve],
        }
    return found


def sooner(found: Mapping[str, Any]) -> float | None:
    """How many times sooner the run from base weights stood where the one from scratch ended; None: never."""
    target = max(value for _, value in found["scratch"]["curve"])
    reached = [seconds for seconds, value in found["base"]["curve"] if value >= target]
    end = next(seconds for seconds, value in found["scratch"]["curve"] if value >= target)
    return round(end / reached[0], 2) if reached else None


def _db(mse: float) -> float:
    return 10.0 * math.log10(4.0 / mse)  # pictures on [-1, 1]


def _tell(bars: Bars, start: str, now: TrainingProgress) -> None:
    bars.show(f"from {start}", now.elapsed_s, now.budget_s, "s")


def add_options(parser: argparse.ArgumentParser) -> None:
    """On what, how long."""
    parser.add_argument("--clip", action="append", help="LABEL=X.prepared.npz, or a video; may be repeated")
    parser.add_argument("--base", default=BUNDLED, help="bundled (default), or a file of avatarcast base")
    add_common(parser, minutes=6.0, threads=1)


def measure(args: argparse.Namespace) -> Record:
    """Both trainings on every clip."""
    torch.set_num_threads(args.threads)
    clips = []
    for clip in map(Labelled.parse, args.clip or [str(FILMS["theo"])]):
        found = curves(prepared_from(Path(clip.file)), args.base, args.minutes)
        clips.append({"label": clip.label, **found, "sooner": sooner(found)})
    return {"clips": clips}


main = Instrument("base_gain", __doc__, add_options, measure, quick={"minutes": 0.05})
