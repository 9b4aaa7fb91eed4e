"""The loop of a training within a time budget: steps, reports, validations, checkpoints, and where it stands.

Can be stopped and resumed: what it has done is part of the checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import SettingsError

CHECKPOINT_S = 60.0
VALIDATE_S = 30.0
_LOSS_DECAY = 0.98  # of the loss's moving average


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How long and how. Time is what the user gives, so time is what ends it."""

    budget_s: float  # seconds, over all runs of an interrupted training
    batch: int
    learning_rate: float
    seed: int
    device: str = "auto"  # auto, cpu or cuda

    def __post_init__(self) -> None:
        if self.budget_s <= 0:
            raise SettingsError(f"budget_s={self.budget_s}: must be above 0")
        if self.batch < 1:
            raise SettingsError(f"batch={self.batch}: must be at least 1")


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where training stands."""

    steps: int
    elapsed_s: float
    budget_s: float
    loss: float  # moving average


class TrainingLoop:
    """Counts steps and seconds over all runs of an interrupted training."""

    def __init__(self, budget_s: float, clock: Callable[[], float] = perf_counter) -> None:
        """clock: s, asked once a step."""
        self.budget_s = budget_s
        self.steps, self.elapsed_s, self.loss = 0, 0.0, math.nan
        self._clock = clock

    @property
    def state(self) -> list[float]:
        """What a checkpoint keeps of it."""
        return [self.steps, self.elapsed_s, self.loss]

    @state.setter
    def state(self, state: list[Any]) -> None:
        self.steps, self.elapsed_s, self.loss = state

    def run(
        self,
        step: Callable[[], float],
        validate: Callable[[], None],
        save: Callable[[], None],
        report: Callable[[TrainingProgress], None],
    ) -> None:
        """Steps, each of which gives its loss, until the budget is spent; then validates once more.

        Saves every CHECKPOINT_S and at the end, also when KeyboardInterrupt or any error ends it early.
        """
        started, before = self._clock(), self.elapsed_s
        saved = validated = started
        try:
            while self.elapsed_s < self.budget_s:
                self._count(step())
                now = self._clock()
                self.elapsed_s = before + now - started
                report(TrainingProgress(self.steps, self.elapsed_s, self.budget_s, self.loss))
                if now - validated > VALIDATE_S:
                    validate()
                    validated = now
                if now - saved > CHECKPOINT_S:
                    save()
                    saved = now
            validate()
        finally:
            save()

    def _count(self, loss: float) -> None:
        self.loss = loss if math.isnan(self.loss) else _LOSS_DECAY * self.loss + (1 - _LOSS_DECAY) * loss
        self.steps += 1


def pick_device(name: str) -> torch.device:
    """`auto` takes a GPU when torch sees one. Raises SettingsError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            "device=cuda: torch sees no CUDA GPU here; use --device cpu, or install torch with CUDA"
        )
    if name not in ("cpu", "cuda"):
        raise SettingsError(f"device={name}: must be auto, cpu or cuda")
    return torch.device(name)


def to_device(array: np.ndarray[Any, Any], device: torch.device) -> Tensor:
    """The array as a tensor there; pictures (B, C, H, W) with their channels last, which is quicker."""
    tensor = torch.from_numpy(array)
    if tensor.dim() == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tensor.to(device, non_blocking=True)
