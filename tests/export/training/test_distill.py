"""Distillation: what the critics learn, what the student keeps, and that it can be interrupted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.errors import RunnerError, SettingsError
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.person.landmarks import RIGHT
from export.footage.prepared import Identity, Prepared
from export.training import distill
from export.training.critic import PatchCritic, critic_loss, deception_loss
from export.training.distill import MAX_LOSS_DB, DistillConfig, Distiller, NetworkScore
from export.training.loop import TrainingProgress
from export.training.training_set import Batch, TrainingSet

SIZE = 128


@pytest.fixture(scope="module")
def data(prepared: Prepared, identity: Identity) -> TrainingSet:
    return TrainingSet(prepared, identity, seed=1)


@pytest.fixture(scope="module")
def validation(prepared: Prepared, identity: Identity, data: TrainingSet) -> Batch:
    return data.validation(prepared, identity)


@pytest.fixture
def teacher() -> Denoiser:
    torch.manual_seed(0)
    network = Denoiser(DenoiserConfig(SIZE, widths=(8, 8, 8), middle_blocks=1))
    torch.nn.init.normal_(network.head.weight, std=0.01)
    return network.eval()


def weights(network: Denoiser) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def silent(_: TrainingProgress) -> None:
    """Nobody watches."""


# The critics


def test_a_critic_learns_to_tell_sharp_from_blurred_and_the_maker_feels_it() -> None:
    torch.manual_seed(1)
    critic = PatchCritic(8, guided=True)
    optimiser = torch.optim.Adam(critic.parameters(), lr=3e-3)
    guidance = torch.rand(4, 8, 16, 16)

    def pictures() -> tuple[torch.Tensor, torch.Tensor]:
        sharp = torch.rand(4, 3, 32, 32) * 2 - 1
        return sharp, F.avg_pool2d(sharp, 3, 1, 1)

    before = deception_loss(critic, *pictures(), guidance).item()
    for _ in range(60):
        optimiser.zero_grad()
        critic_loss(critic, *pictures(), guidance).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    sharp, blurred = pictures()
    assert critic(sharp, guidance).mean() > critic(blurred, guidance).mean()
    assert deception_loss(critic, sharp, blurred, guidance).item() > before
    assert deception_loss(critic, sharp, sharp, guidance).item() == pytest.approx(np.log(2), abs=1e-4)


def test_a_critic_that_jumps_at_nothing_pays_for_it() -> None:
    calm, wild = PatchCritic(4, guided=False), PatchCritic(4, guided=False)
    wild.load_state_dict({name: 30 * value for name, value in calm.state_dict().items()})
    picture = torch.rand(2, 3, 32, 32)
    assert critic_loss(wild, picture, picture) > critic_loss(calm, picture, picture) + 1


# Boxes


def test_boxes_follow_moved_samples(prepared: Prepared, data: TrainingSet) -> None:
    """The weight map is moved pixel by pixel; the boxes must lie where it is heavy."""
    batch = data.draw(40)
    assert batch.boxes.shape == (40, 5, 4)
    assert batch.moved.any()
    for frame, boxes, weight in zip(batch.frames, batch.boxes, batch.weight[:, 0], strict=True):
        x0, y0, x1, y1 = np.round(boxes[0]).astype(int)
        assert weight[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].mean() > 2.0
        if prepared.landmarks[frame].hand_confidence[RIGHT] == 0:
            assert np.array_equal(boxes[4, :2], boxes[4, 2:])  # nothing to crop


# The distiller


def test_a_run_changes_the_student_and_not_the_teacher(
    teacher: Denoiser, data: TrainingSet, tmp_path: Path
) -> None:
    given = weights(teacher)
    distiller = Distiller(DistillConfig(60.0), teacher, tmp_path / "state.pt")
    assert torch.equal(weights(distiller.student), given)
    for _ in range(3):
        distiller._step(data)
    assert not torch.equal(weights(distiller.student), given)
    assert torch.equal(weights(distiller.teacher), given)
    assert torch.equal(weights(teacher), given)
    moved = (weights(distiller.averaged) - given).norm() / (weights(distiller.student) - given).norm()
    assert 0 < moved < 0.2  # the average follows slowly


@pytest.mark.parametrize(
    ("sharpness", "loss_db", "kept"),
    [(0.6, 0.0, True), (0.6, MAX_LOSS_DB + 0.01, False), (0.4, -0.5, False), (0.5, 0.0, False)],
    ids=["sharper", "sharper but wrong", "smoother", "the same"],
)
def test_only_sharper_weights_within_the_bound_are_kept(
    monkeypatch: pytest.MonkeyPatch,
    teacher: Denoiser,
    validation: Batch,
    tmp_path: Path,
    sharpness: float,
    loss_db: float,
    kept: bool,
) -> None:
    distiller = Distiller(DistillConfig(60.0), teacher, tmp_path / "state.pt")
    monkeypatch.setattr(distiller, "_score", lambda *_: NetworkScore(28.0 - loss_db, sharpness))
    distiller._keep_if_better(validation, NetworkScore(28.0, 0.5))
    assert (distiller._best is not None) == kept


def test_score_of_the_truth_itself(teacher: Denoiser, validation: Batch, tmp_path: Path) -> None:
    distiller = Distiller(DistillConfig(60.0), teacher, tmp_path / "state.pt")
    answers = iter(validation.clean)
    found = distiller._score(lambda *_: torch.from_numpy(next(answers))[None], validation)  # type: ignore[arg-type]
    assert found.psnr_db > 80
    assert found.sharpness == pytest.approx(1.0, abs=0.02)


def test_an_interrupted_distillation_goes_on(
    monkeypatch: pytest.MonkeyPatch, teacher: Denoiser, data: TrainingSet, validation: Batch, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "state.pt"
    first = Distiller(DistillConfig(600.0), teacher, checkpoint)
    monkeypatch.setattr(first, "_score", lambda *_: NetworkScore(28.0, 0.5))

    def interrupt(progress: TrainingProgress) -> None:
        if progress.steps == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(data, validation, interrupt)
    second = Distiller(DistillConfig(600.0), teacher, checkpoint)
    assert second._loop.steps == 4
    assert torch.equal(weights(second.student), weights(first.student))
    assert torch.equal(weights(second.averaged), weights(first.averaged))
    assert torch.equal(second.critic.first.weight, first.critic.first.weight)


def test_nothing_sharper_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch, teacher: Denoiser, data: TrainingSet, validation: Batch, tmp_path: Path
) -> None:
    distiller = Distiller(DistillConfig(1e-6), teacher, tmp_path / "state.pt")
    monkeypatch.setattr(distiller, "_score", lambda *_: NetworkScore(28.0, 0.5))
    with pytest.raises(RunnerError, match=r"after \d+ steps no student is sharper .* more --minutes"):
        distiller.run(data, validation, silent)


def test_the_kept_student_is_what_comes_out(
    monkeypatch: pytest.MonkeyPatch, teacher: Denoiser, data: TrainingSet, validation: Batch, tmp_path: Path
) -> None:
    distiller = Distiller(DistillConfig(1e-6), teacher, tmp_path / "state.pt")
    scores = iter([NetworkScore(28.0, 0.5), NetworkScore(27.9, 0.7)])
    monkeypatch.setattr(distiller, "_score", lambda *_: next(scores))
    record = distiller.run(data, validation, silent)
    assert (record.teacher.sharpness, record.student.sharpness) == (0.5, 0.7)
    assert record.steps == record.best_step == 1
    assert torch.equal(weights(distiller.result()), weights(distiller.averaged))


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(SettingsError, match="budget_s=0"):
        DistillConfig(0)
    with pytest.raises(SettingsError, match="batch=0"):
        DistillConfig(1.0, batch=0)


def test_the_coarse_part_is_what_is_anchored(teacher: Denoiser, tmp_path: Path) -> None:
    """Detail finer than the anchor's squares is free, a shift of colour is not."""
    distiller = Distiller(DistillConfig(1.0), teacher, tmp_path / "state.pt")
    taught = torch.zeros(1, 3, 32, 32)
    fine = 0.2 * (torch.arange(32) % 2 * 2.0 - 1.0).expand(1, 3, 32, 32)
    assert float(distiller._anchor(taught + fine, taught)) == pytest.approx(0.0, abs=1e-6)
    assert float(distiller._anchor(taught + 0.2, taught)) > distill.ANCHOR_SQUARED * 0.03
