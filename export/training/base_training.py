"""Training base weights: batches from the prepared footage of many people.

Knows nothing of the command line; `export.commands.base` shows its progress.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from engine.arrays import FloatArray
from engine.errors import FootageError
from engine.network.denoiser import DenoiserConfig
from export.footage.prepared import Prepared, learn_identity
from export.training.base_weights import save_base, starting_network
from export.training.loop import TrainingProgress
from export.training.train import TrainConfig, Trainer, TrainRecord
from export.training.training_set import Batch, TrainingSet

VALIDATION_FRAMES = 2  # of each person's tail


class People:
    """Draws batches of several people, as `TrainingSet` does of one."""

    def __init__(self, sets: Sequence[TrainingSet], seed: int) -> None:
        self._sets = list(sets)
        self._rng = np.random.default_rng(seed)
        self._drawn: list[TrainingSet] = []  # whose sample each of the last batch is

    def draw(self, size: int) -> Batch:
        """A batch of `size` samples, each of another person where there are enough."""
        count = len(self._sets)
        self._drawn = [self._sets[i] for i in self._rng.choice(count, size, replace=count < size)]
        return Batch.joined([person.draw(1) for person in self._drawn])

    def remember(self, batch: Batch, output: FloatArray) -> None:
        """Stores what the network made of the last batch (B, 3, S, S), [-1, 1]."""
        for index, person in enumerate(self._drawn):
            person.remember(batch.sample(index), output[index : index + 1])


def train_base(
    footage: Sequence[Path],
    out: Path,
    minutes: float,
    device: str,
    loading: Callable[[int, int], None],
    training: Callable[[TrainingProgress], None],
) -> TrainRecord:
    """Trains on prepared files of one canvas size and writes the base weights to `out`.

    Interrupted, it can be called again and goes on from `out` with the ending .pt. loading is called with
    people done and people in all. Raises FootageError for files that are not prepared footage, or differ in
    size.
    """
    sets, tails, size = [], [], 0
    for done, path in enumerate(footage):
        loading(done, len(footage))
        prepared = Prepared.load(path)
        if size and prepared.size != size:
            raise FootageError(
                f"{path}: its canvas is {prepared.size} px, that of {footage[0]} is {size} px: "
                "give files of one size"
            )
        size = prepared.size
        identity = learn_identity(prepared)
        person = TrainingSet(prepared, identity, seed=done)
        tail = person.validation(prepared, identity)
        chosen = np.linspace(0, len(tail.frames) - 1, VALIDATION_FRAMES).astype(int)
        tails += [tail.sample(int(index)) for index in chosen]
        sets.append(person)
    checkpoint = out.with_suffix(".pt")
    network = starting_network(DenoiserConfig(size=size), None)
    trainer = Trainer(TrainConfig(minutes * 60.0, device=device), network, checkpoint)
    record = trainer.run(People(sets, seed=7), Batch.joined(tails), training)
    save_base(out, trainer.result(), {**asdict(record), "people": len(sets)})
    checkpoint.unlink()
    return record
