"""Distils a person's denoiser: one step that looks like eight, and sharper.

The student begins as the teacher. On the coarse part of the picture it keeps to the mean of the teacher's
draws, which is where the teacher is right; the fine part, which a mean smooths away, it learns from the
footage through critics of the whole frame and of mouth, eyes and hands (adversarial post-training, Lin et
al., arXiv:2501.08316). Roll-outs of one or two steps, gradients through the last (DMD2, Yin et al.,
arXiv:2405.14867). Needs torch alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import RunnerError
from engine.network.denoiser import Denoiser
from engine.render.planes import to_picture
from engine.render.sampler import STEADY_LEVEL
from export.convert.variants import weights_sha256
from export.evaluate.held_out import fine_power
from export.training.checkpoint import load_state, save_state
from export.training.critic import PatchCritic, critic_loss, deception_loss
from export.training.loop import LoopConfig, TrainingLoop, TrainingProgress, pick_device, to_device
from export.training.train import restoration_loss
from export.training.training_set import Batch, TrainingSet

TEACHER_DRAWS = 2  # per batch; over many batches the student sees the mean of many
COARSE_PX = 4  # the anchor compares means over squares of so many pixels
ANCHOR_SQUARED, TRUTH_WEIGHT, CRITIC_WEIGHT, AGREEMENT_WEIGHT = 25.0, 0.3, 0.02, 0.5
TWO_STEPS = 0.25  # share of the roll-outs
CRITIC_WIDTH, CROP_PX = 32, 48
CRITIC_RATE = 2e-4
AVERAGE_DECAY = 0.995  # of the student's weights' moving average, which is what is kept
MAX_GRADIENT = 0.5  # norm
MAX_LOSS_DB = 0.25  # of PSNR on the validation frames that sharpness may cost


@dataclass(frozen=True, slots=True)
class DistillConfig(LoopConfig):
    """How to distil."""

    batch: int = 2
    learning_rate: float = 2e-4
    seed: int = 11


@dataclass(frozen=True, slots=True)
class NetworkScore:
    """Of one-step pictures of the validation frames."""

    psnr_db: float
    sharpness: float  # fine power over that of the footage


@dataclass(frozen=True, slots=True)
class DistillRecord:
    """What the manifest keeps of a distillation."""

    steps: int
    seconds: float
    device: str
    best_step: int  # whose averaged weights were kept
    teacher: NetworkScore
    student: NetworkScore


class Distiller:
    """Holds student, critics and optimisers; `run` distils until the budget is spent."""

    def __init__(self, config: DistillConfig, teacher: Denoiser, checkpoint: Path) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = pick_device(config.device)
        self.teacher = _placed(copy.deepcopy(teacher), self.device).eval()
        self.student = _placed(copy.deepcopy(teacher), self.device).train()
        self.averaged = copy.deepcopy(self.student)
        self.critic = PatchCritic(CRITIC_WIDTH, guided=True).to(self.device)
        self.crop_critic = PatchCritic(CRITIC_WIDTH, guided=False).to(self.device)
        judges = [*self.critic.parameters(), *self.crop_critic.parameters()]
        self._student_optimiser = torch.optim.Adam(
            self.student.parameters(), lr=config.learning_rate, betas=(0.0, 0.99)
        )
        self._critic_optimiser = torch.optim.Adam(judges, lr=CRITIC_RATE, betas=(0.0, 0.99))
        self._rng = np.random.default_rng(config.seed)
        self._checkpoint = checkpoint
        self._origin = {**self.student.config.to_dict(), "teacher_sha256": weights_sha256(teacher)}
        self._loop = TrainingLoop(config.budget_s)
        self._best: dict[str, Any] | None = None  # weights, step, score
        self._resume()

    def run(
        self, data: TrainingSet, validation: Batch, report: Callable[[TrainingProgress], None]
    ) -> DistillRecord:
        """Distils, and keeps the sharpest averaged weights that lose at most MAX_LOSS_DB on `validation`.

        On KeyboardInterrupt the state is saved before it goes on to the caller. Raises RunnerError when no
        weights were both sharper than the teacher's and within the bound.
        """
        of_teacher = self._score(self.teacher, validation)
        self._loop.run(
            lambda: self._step(data), lambda: self._keep_if_better(validation, of_teacher), self._save, report
        )
        if self._best is None:
            raise RunnerError(
                f"after {self._loop.steps} steps no student is sharper than the teacher "
                f"({of_teacher.sharpness:.3f}) within {MAX_LOSS_DB} dB of its {of_teacher.psnr_db:.2f} dB: "
                "give more --minutes; nothing was changed"
            )
        return DistillRecord(
            self._loop.steps,
            self._loop.elapsed_s,
            str(self.device),
            self._best["step"],
            of_teacher,
            NetworkScore(**self._best["score"]),
        )

    def result(self) -> Denoiser:
        """The student with the best averaged weights, on the CPU, ready for export; after `run`."""
        assert self._best is not None
        network = Denoiser(self.student.config)
        network.load_state_dict(self._best["weights"])
        return network.eval()

    def _step(self, data: TrainingSet) -> float:
        """The loss of one batch that the student learnt from."""
        batch = data.draw(self.config.batch)
        prior, guidance, clean = (self._tensor(a) for a in (batch.prior, batch.guidance, batch.clean))
        noisy, level = self._tensor(batch.noisy), self._tensor(batch.level)
        with torch.no_grad():
            taught = self._taught(noisy, prior, guidance, level)
            first = self.student(noisy, prior, guidance, level) if self._rng.random() < TWO_STEPS else None
            if first is not None:
                noisy = torch.lerp(first, torch.randn_like(first), STEADY_LEVEL)
                level = torch.full_like(level, STEADY_LEVEL)
        made = self.student(noisy, prior, guidance, level)
        crops = self._crops(clean, made, batch.boxes)
        self._train_critics(clean, made.detach(), guidance, crops)

        loss = self._anchor(made, taught) + TRUTH_WEIGHT * restoration_loss(
            made, clean, self._tensor(batch.weight)
        )
        loss = loss + CRITIC_WEIGHT * deception_loss(self.critic, clean, made, guidance)
        if crops is not None:
            loss = loss + CRITIC_WEIGHT * deception_loss(self.crop_critic, *crops)
        if first is not None:
            loss = loss + AGREEMENT_WEIGHT * (made - first).abs().mean()
        self._student_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.student.parameters(), MAX_GRADIENT)
        self._student_optimiser.step()
        with torch.no_grad():
            for average, current in zip(self.averaged.parameters(), self.student.parameters(), strict=True):
                average.lerp_(current, 1 - AVERAGE_DECAY)
        data.remember(batch, made.detach().cpu().numpy())
        return float(loss.detach())

    def _taught(self, noisy: Tensor, prior: Tensor, guidance: Tensor, level: Tensor) -> Tensor:
        """The teacher's mean over draws of the noise; the first draw is the student's own."""
        mean: Tensor = self.teacher(noisy, prior, guidance, level)
        for draw in range(1, TEACHER_DRAWS):
            other = torch.lerp(mean, torch.randn_like(mean), STEADY_LEVEL)
            again = self.teacher(other, prior, guidance, torch.full_like(level, STEADY_LEVEL))
            mean = mean + (again - mean) / (draw + 1)
        return mean

    def _anchor(self, made: Tensor, taught: Tensor) -> Tensor:
        difference = F.avg_pool2d(made - taught, COARSE_PX)
        loss: Tensor = ANCHOR_SQUARED * (difference**2).mean() + difference.abs().mean()
        return loss

    def _train_critics(
        self, clean: Tensor, made: Tensor, guidance: Tensor, crops: tuple[Tensor, Tensor] | None
    ) -> None:
        loss = critic_loss(self.critic, clean, made, guidance)
        if crops is not None:
            loss = loss + critic_loss(self.crop_critic, crops[0], crops[1].detach())
        self._critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._critic_optimiser.step()

    def _crops(
        self, clean: Tensor, made: Tensor, boxes: np.ndarray[Any, Any]
    ) -> tuple[Tensor, Tensor] | None:
        """One region of each sample that shows any, as squares of CROP_PX, of real and made pictures."""
        real: list[Tensor] = []
        ours: list[Tensor] = []
        for index, regions in enumerate(boxes):
            extent = (regions[:, 2:] - regions[:, :2]).min(axis=1)
            shown = np.flatnonzero(extent >= 8)
            if not len(shown):
                continue
            x0, y0, x1, y1 = regions[self._rng.choice(shown)].astype(int)
            for pictures, found in ((clean, real), (made, ours)):
                part = pictures[index : index + 1, :, y0:y1, x0:x1]
                found.append(F.interpolate(part, size=(CROP_PX, CROP_PX), mode="bilinear"))
        return (torch.cat(real), torch.cat(ours)) if real else None

    @torch.no_grad()
    def _score(self, network: Denoiser, validation: Batch) -> NetworkScore:
        """One at a time: memory stays that of a small batch."""
        psnr_db, sharpness = [], []
        arrays = (validation.noisy, validation.prior, validation.guidance, validation.level)
        for index, clean in enumerate(validation.clean):
            inputs = (self._tensor(array[index : index + 1]) for array in arrays)
            made = network(*inputs).clamp(-1, 1)[0].cpu().numpy()
            psnr_db.append(10 * math.log10(4.0 / max(float(((made - clean) ** 2).mean()), 1e-9)))
            sharpness.append(fine_power(to_picture(made)) / fine_power(to_picture(clean)))
        return NetworkScore(float(np.mean(psnr_db)), float(np.mean(sharpness)))

    def _keep_if_better(self, validation: Batch, of_teacher: NetworkScore) -> None:
        """Sharper than the best so far, and near enough to the teacher."""
        found = self._score(self.averaged, validation)
        sharpest = of_teacher.sharpness if self._best is None else self._best["score"]["sharpness"]
        if found.sharpness > sharpest and found.psnr_db >= of_teacher.psnr_db - MAX_LOSS_DB:
            weights = {
                name: value.detach().cpu().clone() for name, value in self.averaged.state_dict().items()
            }
            self._best = {"weights": weights, "step": self._loop.steps, "score": asdict(found)}

    def _tensor(self, array: np.ndarray[Any, Any]) -> Tensor:
        return to_device(array, self.device)

    @property
    def _parts(self) -> dict[str, Any]:
        return {
            "student": self.student,
            "averaged": self.averaged,
            "critic": self.critic,
            "crop_critic": self.crop_critic,
            "student_optimiser": self._student_optimiser,
            "critic_optimiser": self._critic_optimiser,
        }

    def _save(self) -> None:
        state = {name: part.state_dict() for name, part in self._parts.items()}
        kept = {"progress": self._loop.state, "best": self._best, "shape": self._origin}
        save_state(self._checkpoint, {**state, **kept})

    def _resume(self) -> None:
        state = load_state(self._checkpoint, self._origin, self.device)
        if state is None:
            return
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self._loop.state = state["progress"]
        self._best = state["best"]


def _placed(network: Denoiser, device: torch.device) -> Denoiser:
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
