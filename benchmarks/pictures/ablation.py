"""What does each part of an enrolment buy, for equal training?

    avatarcast bench ablation --footage X.prepared.npz [--steps 1000] [--base FILE] [--only NAME ...]

Enrols the same footage again and again, each time with one part taken away or one added, for the same number
of steps, and drives the result with the held-out tail, frame after frame as live: PSNR of the frame, the
mouth and the hands; flicker, which is the change between adjacent frames on the person over that of the
footage (1 is as lively as the footage, less is smoother or frozen, more flickers); sharpness, which is the
fine power over the footage's; and milliseconds of the network on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch

from benchmarks.pictures.clips import FILMS, prepared_from
from benchmarks.pictures.drift import PERSON, change_between
from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.record import Record
from engine.arrays import FloatArray, U8Image
from engine.errors import SettingsError
from engine.network.contract import denoiser_inputs
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.runners.onnx_runner import OnnxRunner
from engine.runners.torch_runner import TorchRunner
from export.assembly import assembled
from export.convert.onnx_export import export_onnx
from export.evaluate.held_out import Scores, fine_power, region_boxes
from export.evaluate.replay import replay
from export.footage.prepared import Identity, Prepared, learn_identity
from export.progress import Bars
from export.training.base_weights import NONE, BaseWeights, load_base, starting_network
from export.training.loop import TrainingProgress
from export.training.train import TrainConfig, Trainer
from export.training.training_set import Batch, TrainingSet

REGIONS = ("frame", "mouth", "hands")
METHOD = "network"  # whose pictures are scored
TIMED_RUNS = 30

NetworkOf = Callable[[DenoiserConfig, BaseWeights | None], Denoiser]


class WithoutRollOut(TrainingSet):
    """The previous picture that training sees is the prior, never the network's own."""

    def remember(self, batch: Batch, output: FloatArray) -> None:
        """Forgets it."""


def from_scratch(config: DenoiserConfig, base: BaseWeights | None) -> Denoiser:
    """Without base weights, whatever there are."""
    return starting_network(config, None)


def without_plate(identity: Identity) -> Identity:
    """Key frames are warped with their background."""

    def opaque(rgba: U8Image) -> U8Image:
        return np.dstack([rgba[..., :3], np.full(rgba.shape[:2], 255, np.uint8)])

    keys = tuple(replace(key, rgba=opaque(key.rgba)) for key in identity.keys)
    return replace(identity, keys=keys, bare_torso=None)


def without_hands(identity: Identity) -> Identity:
    """No key frame lends its hands or forearms: they are those of the torso's key frame."""

    def handless(landmarks: Any) -> Any:
        return replace(landmarks, hand_confidence=np.zeros(2, np.float32))

    keys = tuple(replace(key, landmarks=handless(key.landmarks)) for key in identity.keys)
    return replace(identity, keys=keys, bare_torso=None)


@dataclass(frozen=True, slots=True)
class Variation:
    """One way to enrol."""

    network: NetworkOf = starting_network
    identity: Callable[[Identity], Identity] = lambda identity: identity
    data: type[TrainingSet] = TrainingSet
    bank: int | None = None  # key frames; None: as many as the product takes


VARIATIONS: Mapping[str, Variation] = {
    "as shipped": Variation(),
    "no base weights": Variation(network=from_scratch),
    "no roll-out": Variation(data=WithoutRollOut),
    "no background plate": Variation(identity=without_plate),
    "no hand memory": Variation(identity=without_hands),
    "8 key frames": Variation(bank=8),
}


def enrolled(
    variation: Variation, prepared: Prepared, base: BaseWeights | None, steps: int, seed: int
) -> tuple[Denoiser, Identity, float]:
    """The trained network, what it was trained with, and seconds of training."""
    identity = (
        learn_identity(prepared) if variation.bank is None else learn_identity(prepared, variation.bank)
    )
    identity = variation.identity(identity)
    data = variation.data(prepared, identity, seed=seed)
    network = variation.network(DenoiserConfig(size=prepared.size), base)
    began = perf_counter()
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            TrainConfig(float(steps), seed=seed, device="cpu"),
            network,
            Path(folder) / "checkpoint.pt",
            clock=count(0.0).__next__,  # a second is a step: every variation trains for as many
        )
        with Bars(disable=None) as bars:
            trainer.run(data, data.validation(prepared, identity), partial(_tell, bars))
        return trainer.result(), identity, perf_counter() - began


def driven(network: Denoiser, identity: Identity, prepared: Prepared) -> dict[str, float | None]:
    """The figures of the held-out tail."""
    avatar = assembled("trial", prepared, identity, {}, {})
    runner = TorchRunner(network, denoiser_inputs(prepared.size))
    seen = prepared.landmarks
    tail = [i for i in range(prepared.tail_start, len(seen)) if seen[i].face_confidence > 0]
    scores, fine = Scores(()), []
    changes: list[tuple[float, float]] = []  # of the footage and of the avatar
    before: tuple[int, U8Image] | None = None
    for index, rendered in zip(tail, replay(avatar, runner, [seen[i] for i in tail]), strict=True):
        truth, picture = prepared.rgb[index], rendered.rgb.copy()
        scores.add({METHOD: picture}, truth, region_boxes(seen[index], prepared.size))
        fine.append(fine_power(picture) / fine_power(truth))
        if before is not None and prepared.shot[before[0]] == prepared.shot[index]:
            person = prepared.matte[index] > PERSON
            real = change_between(prepared.rgb[before[0]], truth, person)
            changes.append((real, change_between(before[1], picture, person)))
        before = index, picture
    real, made = np.sum(changes, axis=0)
    means = scores.means(METHOD)
    return {
        **{f"{region}_db": means[region] for region in REGIONS},
        "flicker": round(float(made / real), 3),
        "sharpness": round(float(np.mean(fine)), 3),
    }


def network_ms(network: Denoiser, size: int) -> float:
    """Time of the network in ONNX Runtime, float32, one thread: the least of many runs, others add to it."""
    generator = torch.Generator().manual_seed(0)
    feed = {name: torch.rand(spec.shape, generator=generator) for name, spec in denoiser_inputs(size).items()}
    runner = OnnxRunner(export_onnx(network, feed), threads=1)
    arrays = {name: tensor.numpy() for name, tensor in feed.items()}
    times = []
    try:
        for _ in range(TIMED_RUNS):
            began = perf_counter()
            runner.run(arrays)
            times.append(perf_counter() - began)
    finally:
        runner.close()
    return round(min(times) * 1e3, 2)


def measure(args: argparse.Namespace) -> Record:
    """One row for each variation."""
    unknown = [name for name in args.only or () if name not in VARIATIONS]
    if unknown:
        raise SettingsError(f"--only {unknown[0]}: wanted one of {', '.join(VARIATIONS)}")
    prepared, base = prepared_from(args.footage), load_base(args.base)
    torch.set_num_threads(args.threads)
    rows = []
    for name in args.only or VARIATIONS:
        network, identity, seconds = enrolled(VARIATIONS[name], prepared, base, args.steps, args.seed)
        rows.append(
            {
                "part": name,
                **driven(network, identity, prepared),
                "network_ms": network_ms(network, prepared.size),
                "training_s": round(seconds, 1),
            }
        )
    return {"rows": rows}


def _tell(bars: Bars, now: TrainingProgress) -> None:
    bars.show("training", now.steps, now.budget_s, "steps")


def add_options(parser: argparse.ArgumentParser) -> None:
    """On what, how long, which."""
    parser.add_argument(
        "--footage", type=Path, default=FILMS["theo"], help="X.prepared.npz, or a video (default theo's film)"
    )
    parser.add_argument("--label", default="", help="what the footage shows, for the record")
    parser.add_argument("--steps", type=counted, default=1000, help="of training, each (default 1000)")
    parser.add_argument("--base", default=NONE, help="base weights: bundled, none (default), or a file")
    parser.add_argument("--only", action="append", help="one variation; may be repeated (default all)")
    add_common(parser, threads=1, seed=7)


main = Instrument("ablation", __doc__, add_options, measure, quick={"steps": 2, "only": ["as shipped"]})
