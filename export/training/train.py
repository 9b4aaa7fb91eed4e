"""Fits a denoiser to one person within a time budget; can be stopped and resumed.

Needs torch, but neither a tracker nor a video file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from engine.arrays import FloatArray
from engine.network.denoiser import Denoiser
from export.progress import note
from export.training.checkpoint import load_state, save_state
from export.training.loop import LoopConfig, TrainingLoop, TrainingProgress, pick_device, to_device
from export.training.training_set import Batch

SQUARED_WEIGHT = 25.0  # of the squared error against the absolute one
EDGE_WEIGHT = 0.5  # of the gradient term, likewise
CHARBONNIER = 1e-3  # about a quarter of a grey level
AVERAGE_DECAY = 0.998  # of the weights' moving average, which is what is exported
MAX_GRADIENT = 0.5  # norm; ten times the usual


@dataclass(frozen=True, slots=True)
class TrainConfig(LoopConfig):
    """How to train."""

    batch: int = 4
    learning_rate: float = 1e-3
    seed: int = 7
    warm_up: float = 0.03  # share of the budget


@dataclass(frozen=True, slots=True)
class TrainRecord:
    """What the manifest keeps of a training."""

    steps: int
    seconds: float
    device: str
    parameters: int
    final_loss: float
    best_step: int  # whose averaged weights were kept
    best_mse: float  # on the held-out frames it was chosen by, of pictures on [-1, 1]
    curve: tuple[tuple[float, float], ...]  # (seconds of training, dB on those frames), as it went


def restoration_loss(output: Tensor, clean: Tensor, weight: Tensor) -> Tensor:
    """Squared error plus Charbonnier on colours and on their gradients, weighted per pixel.

    output, clean: (B, 3, S, S); weight: (B, 1, S, S). The prior is right in most pixels, and absolute errors
    alone leave it as it is: 300 steps gained nothing, with the squared term they took 12 % off the squared
    error.
    """
    difference = output - clean
    squared = (difference**2 * weight).mean()
    colour = (torch.sqrt(difference**2 + CHARBONNIER**2) * weight).mean()
    across, down = difference.diff(dim=3), difference.diff(dim=2)
    edges = (across.abs() * weight[..., 1:]).mean() + (down.abs() * weight[..., 1:, :]).mean()
    return SQUARED_WEIGHT * squared + colour + EDGE_WEIGHT * edges


def _averaged(average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
    """Moving average that forgets the untrained start."""
    done = float(steps)
    return torch.lerp(current, average, min(AVERAGE_DECAY, (1.0 + done) / (10.0 + done)))


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


class Samples(Protocol):
    """Where batches come from: a `TrainingSet`, or several people's."""

    def draw(self, size: int) -> Batch:
        """A batch of `size` samples."""

    def remember(self, batch: Batch, output: FloatArray) -> None:
        """Takes what the network made of the batch (B, 3, S, S), [-1, 1]."""


class Trainer:
    """Holds the network, its averaged weights and the optimiser; `run` trains until the budget is spent."""

    def __init__(
        self,
        config: TrainConfig,
        network: Denoiser,
        checkpoint: Path,
        clock: Callable[[], float] = perf_counter,
        warn: Callable[[str], None] = note,
    ) -> None:
        """network: what to begin with; a checkpoint that is there goes first.

        clock: s, asked once a step. warn: is told of a checkpoint that is damaged and set aside.
        """
        torch.manual_seed(config.seed)
        self.config = config
        self.device = pick_device(config.device)
        self.network = network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = torch.optim.swa_utils.AveragedModel(self.network, avg_fn=_averaged)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=1e-3
        )
        self._checkpoint = checkpoint
        self._loop = TrainingLoop(config.budget_s, clock)
        self._best, self._best_step, self._best_mse = _copied(self.averaged.module), 0, math.inf
        self._curve: list[tuple[float, float]] = []
        self._resume(warn)

    def run(
        self, data: Samples, validation: Batch, report: Callable[[TrainingProgress], None]
    ) -> TrainRecord:
        """Trains, and keeps the averaged weights that were best on `validation`.

        On KeyboardInterrupt the state is saved before it goes on to the caller.
        """
        self._loop.run(lambda: self._step(data), lambda: self._validate(validation), self._save, report)
        parameters = sum(p.numel() for p in self.network.parameters())
        return TrainRecord(
            self._loop.steps,
            self._loop.elapsed_s,
            str(self.device),
            parameters,
            self._loop.loss,
            self._best_step,
            self._best_mse,
            tuple(self._curve),
        )

    def result(self) -> Denoiser:
        """The network with the best averaged weights, on the CPU, ready for export."""
        network = deepcopy(self.network).cpu()
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        network.load_state_dict(self._best)
        return network.eval()

    @torch.no_grad()
    def _validate(self, validation: Batch) -> None:
        """Keeps the averaged weights if they beat the best so far on squared error."""
        clean, squared = self._tensor(validation.clean), 0.0
        inputs = self._inputs(validation)
        for index in range(len(clean)):  # one at a time: memory stays that of a small batch
            output = self.averaged(*(tensor[index : index + 1] for tensor in inputs))
            squared += float(((output.clamp(-1, 1) - clean[index]) ** 2).mean())
        mse = squared / len(clean)
        self._curve.append((round(self._loop.elapsed_s, 1), round(10.0 * math.log10(4.0 / mse), 3)))
        if mse < self._best_mse:
            self._best_mse, self._best_step = mse, self._loop.steps
            self._best = _copied(self.averaged.module)

    def _step(self, data: Samples) -> float:
        """The loss of one batch that was learnt from."""
        batch = data.draw(self.config.batch)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * self._schedule()
        mixed = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            output = self.network(*self._inputs(batch)).float()
        loss = restoration_loss(output, self._tensor(batch.clean), self._tensor(batch.weight))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        self.optimiser.step()
        self.averaged.update_parameters(self.network)
        data.remember(batch, output.detach().cpu().numpy())
        return float(loss.detach())

    def _schedule(self) -> float:
        """Learning rate factor: a short rise, then a cosine to 2 % at the end of the budget."""
        done = min(self._loop.elapsed_s / self.config.budget_s, 1.0)
        if done < self.config.warm_up:
            return max(done / self.config.warm_up, 0.02)
        return 0.02 + 0.98 * 0.5 * (
            1 + math.cos(math.pi * (done - self.config.warm_up) / (1 - self.config.warm_up))
        )

    def _inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        return tuple(self._tensor(array) for array in (batch.noisy, batch.prior, batch.guidance, batch.level))

    def _tensor(self, array: np.ndarray[Any, Any]) -> Tensor:
        return to_device(array, self.device)

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": self._loop.state,
            "best": self._best,
            "best_progress": [self._best_step, self._best_mse],
            "curve": [list(point) for point in self._curve],
            "shape": self.network.config.to_dict(),
            "config": asdict(self.config),
        }
        save_state(self._checkpoint, state)

    def _resume(self, warn: Callable[[str], None]) -> None:
        state = load_state(self._checkpoint, self.network.config.to_dict(), self.device, warn)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._loop.state = state["progress"]
        self._best = state["best"]
        self._best_step, self._best_mse = state["best_progress"]
        self._curve = [(seconds, decibels) for seconds, decibels in state["curve"]]
