"""Training batches, and a few steps of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import SettingsError
from engine.person import topology as topo
from engine.person.landmarks import RIGHT, Landmarks
from engine.render.keyframes import KeyFrame
from export.footage.prepared import Identity, Prepared, learn_identity
from tests.support.puppet import Pose, Puppet, lively

pytest.importorskip("torch", reason="needs torch")
import torch

from engine.network.denoiser import DenoiserConfig
from export.training.base_weights import starting_network
from export.training.loop import TrainingProgress, pick_device
from export.training.train import TrainConfig, Trainer, restoration_loss
from export.training.training_set import AWAY_FRAMES, Batch, TrainingSet

SIZE = 128
TINY = DenoiserConfig(SIZE, (8, 8, 8), 1)
TRAINED = 60  # frames of the fixture before its held-out tail


@pytest.fixture(scope="module")
def built(prepared: Prepared, identity: Identity) -> TrainingSet:
    """For tests that at most change what the network is said to have made."""
    return TrainingSet(prepared, identity, seed=1)


@pytest.fixture(scope="module")
def validation(prepared: Prepared, identity: Identity, built: TrainingSet) -> Batch:
    return built.validation(prepared, identity)


@pytest.fixture
def data(prepared: Prepared, identity: Identity) -> TrainingSet:
    return TrainingSet(prepared, identity, seed=1)


# Batches


def test_a_batch_is_what_the_network_takes(prepared: Prepared, built: TrainingSet) -> None:
    batch = built.draw(6)
    for name, shape in {
        "noisy": (6, 3, SIZE, SIZE),
        "prior": (6, 3, SIZE, SIZE),
        "clean": (6, 3, SIZE, SIZE),
        "guidance": (6, 8, SIZE // 2, SIZE // 2),
        "level": (6,),
        "weight": (6, 1, SIZE, SIZE),
    }.items():
        array = getattr(batch, name)
        assert array.shape == shape, name
        assert array.dtype == np.float32, name
        assert np.isfinite(array).all(), name
    for pictures in (batch.prior, batch.clean):
        assert -1.0 <= pictures.min() < pictures.max() <= 1.0
    assert 0.0 <= batch.guidance.min() < batch.guidance.max() <= 1.0
    for frame, moved, clean in zip(batch.frames, batch.moved, batch.clean, strict=True):
        truth = prepared.rgb[frame].transpose(2, 0, 1) / 127.5 - 1.0
        assert np.allclose(clean, truth, atol=1e-5) != moved


def test_a_moved_sample_moves_as_a_whole(built: TrainingSet) -> None:
    """Guidance still lies on the picture: the drawn mouth is where the weight says the mouth is."""
    batch = built.draw(40)
    assert 0.3 < batch.moved.mean() < 0.9
    for guidance, weight in zip(batch.guidance[batch.moved], batch.weight[batch.moved, 0], strict=True):
        mouth = guidance[1].repeat(2, axis=0).repeat(2, axis=1) > 0.3
        assert weight[mouth].mean() > 2.0


def test_validation_is_the_tail_as_it_is(prepared: Prepared, validation: Batch) -> None:
    assert validation.frames.min() >= prepared.tail_start
    assert not validation.moved.any()
    truth = prepared.rgb[validation.frames].transpose(0, 3, 1, 2) / 127.5 - 1.0
    assert np.allclose(validation.clean, truth, atol=1e-5)


def test_what_the_network_made_is_remembered_as_serving_would_show_it(built: TrainingSet) -> None:
    """It used to be cut off instead of rounded: the warm start was half a grey level darker than live."""
    batch = next(batch for batch in iter(lambda: built.draw(4), None) if not batch.moved.all())
    built.remember(batch, batch.clean + np.float32(0.4 * 2 / 255))
    own = np.flatnonzero(~batch.moved)[-1]
    assert np.array_equal(built._own_output[batch.frames[own]], built._clean[batch.frames[own]])


def test_batches_hold_every_frame_but_none_of_the_tail(built: TrainingSet) -> None:
    frames = np.concatenate([built.draw(50).frames for _ in range(12)])
    assert frames.max() < TRAINED
    assert len(np.unique(frames)) > 0.9 * TRAINED


def test_all_kinds_of_levels_are_drawn(built: TrainingSet) -> None:
    levels = np.concatenate([built.draw(50).level for _ in range(8)])
    assert 0.2 < levels.min() < 0.25
    assert 0.9 < levels.max() <= 1.0
    assert 0.2 < np.mean((levels > 0.21) & (levels < 0.6)) < 0.9


def test_at_level_one_the_picture_is_noise(built: TrainingSet) -> None:
    batch = built.draw(200)
    late = batch.level > 0.9
    assert late.any()
    for noisy, clean in zip(batch.noisy[late], batch.clean[late], strict=True):
        assert float(noisy.var()) > 0.7
        assert abs(np.corrcoef(noisy.ravel(), clean.ravel())[0, 1]) < 0.2


def test_steady_steps_start_from_the_networks_own_output(data: TrainingSet) -> None:
    """What they start from gets whiter when all frames are said to have come out white."""

    def start_brightness(level: float) -> float:
        batch = data.draw(100)
        small = batch.level < 0.3
        assert small.any()
        for frame in range(TRAINED):
            made = replace(batch.sample(0), frames=np.array([frame]), moved=np.array([False]))
            data.remember(made, np.full((1, 3, SIZE, SIZE), level, np.float32))
        return float(batch.noisy[small].mean())

    start_brightness(-1.0)
    dark = start_brightness(1.0)
    assert start_brightness(1.0) > dark + 0.2


def test_mouth_eyes_and_hands_weigh_more(prepared: Prepared, built: TrainingSet) -> None:
    batch = built.draw(20)
    still = ~batch.moved
    for frame, weight in zip(batch.frames[still], batch.weight[still, 0], strict=True):
        landmarks = prepared.landmarks[frame]
        assert weight[2, 2] == 1.0
        for rows in (topo.LIPS_OUTER, *topo.EYES):
            x, y = np.round(landmarks.face[rows, :2].mean(0)).astype(int)
            assert weight[y, x] > 1.0
        if landmarks.hand_confidence[RIGHT] > 0:
            x, y = np.round(landmarks.hands[RIGHT, 9, :2]).astype(int)
            if 0 <= x < SIZE and 0 <= y < SIZE:
                assert weight[y, x] > 1.0


def test_the_prior_of_a_frame_never_comes_from_around_it(prepared: Prepared, identity: Identity) -> None:
    """One key frame is painted green; no frame near it in time may show green."""
    bank = np.array(identity.bank)
    painted = int(np.argmin(bank))
    rgba = identity.keys[painted].rgba.copy()
    rgba[..., :3] = (0, 255, 0)
    keys = list(identity.keys)
    keys[painted] = KeyFrame(rgba, keys[painted].landmarks)
    data = TrainingSet(prepared, replace(identity, keys=tuple(keys)), seed=2)
    far = [f for f in range(TRAINED) if (np.abs(bank - f) >= AWAY_FRAMES).any()]
    near = [f for f in far if abs(int(bank[painted]) - f) < AWAY_FRAMES]
    greens = {"near": 0, "elsewhere": 0}
    for _ in range(8):
        batch = data.draw(40)
        for frame, prior in zip(batch.frames.tolist(), batch.prior, strict=True):
            green = bool((prior[1] - prior[0] > 1.5).sum() > 20)
            if frame in near:
                greens["near"] += green
            elif abs(int(bank[painted]) - frame) >= AWAY_FRAMES:
                greens["elsewhere"] += green
    assert near
    assert greens["near"] == 0
    assert greens["elsewhere"] > 0


def test_one_seed_one_sequence(prepared: Prepared, identity: Identity) -> None:
    one, other = (TrainingSet(prepared, identity, seed=5).draw(4) for _ in range(2))
    assert np.array_equal(one.frames, other.frames)
    assert np.array_equal(one.noisy, other.noisy)


def test_rare_poses_are_drawn_more_often() -> None:
    """The mouth is open in 4 of 80 training frames; drawn evenly that would be 5 %."""
    poses = [Pose(yaw_deg=0.1 * np.sin(i), mouth=0.2 if i % 20 == 10 else 0.0) for i in range(100)]
    rgb, matte, landmarks = Puppet(SIZE).film(poses)
    prepared = Prepared(25.0, rgb, matte, landmarks, np.zeros(100, np.int32))
    data = TrainingSet(prepared, learn_identity(prepared, bank_size=4), seed=0)
    frames = np.concatenate([data.draw(40).frames for _ in range(10)])
    assert np.mean(frames % 20 == 10) > 0.08


def test_faceless_frames_are_not_drawn() -> None:
    rgb, matte, landmarks = Puppet(SIZE).film(lively(40))
    landmarks[10:20] = [Landmarks(SIZE, SIZE)] * 10
    prepared = Prepared(25.0, rgb, matte, landmarks, np.zeros(40, np.int32))
    heard: list[float] = []
    data = TrainingSet(prepared, learn_identity(prepared, bank_size=4), seed=0, progress=heard.append)
    assert len(data) == 22
    assert not np.isin(data.draw(200).frames, range(10, 20)).any()
    assert heard == sorted(heard)
    assert 0 <= heard[0] <= heard[-1] <= 1


# Training


def interrupt_at(step: int, heard: list[TrainingProgress]) -> Callable[[TrainingProgress], None]:
    def report(progress: TrainingProgress) -> None:
        heard.append(progress)
        if progress.steps == step:
            raise KeyboardInterrupt

    return report


def trainer(checkpoint: Path, shape: DenoiserConfig = TINY, budget_s: float = 300.0) -> Trainer:
    return Trainer(
        TrainConfig(budget_s, batch=4, learning_rate=4e-3, warm_up=0.0, device="cpu"),
        starting_network(shape, None),
        checkpoint,
    )


def loss_of(network: torch.nn.Module, batch: Batch) -> float:
    inputs = [torch.from_numpy(a) for a in (batch.noisy, batch.prior, batch.guidance, batch.level)]
    with torch.inference_mode():
        output = network.eval()(*inputs)
    return float(restoration_loss(output, torch.from_numpy(batch.clean), torch.from_numpy(batch.weight)))


def test_forty_steps_lower_the_loss(built: TrainingSet, validation: Batch, tmp_path: Path) -> None:
    judged = built.draw(24)
    one = trainer(tmp_path / "checkpoint.pt")
    before = loss_of(one.network, judged)
    with pytest.raises(KeyboardInterrupt):
        one.run(built, validation, interrupt_at(40, []))
    assert loss_of(one.network, judged) < 0.97 * before


def test_an_interrupted_training_goes_on(built: TrainingSet, validation: Batch, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    first = trainer(checkpoint)
    with pytest.raises(KeyboardInterrupt):
        first.run(built, validation, interrupt_at(6, []))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
    again = trainer(checkpoint)
    for name, weight in first.network.state_dict().items():
        assert torch.equal(weight, again.network.state_dict()[name]), name
    heard: list[TrainingProgress] = []
    with pytest.raises(KeyboardInterrupt):
        again.run(built, validation, interrupt_at(9, heard))
    assert [progress.steps for progress in heard] == [7, 8, 9]
    assert heard[0].elapsed_s > 0
    assert again.optimiser.state_dict()["state"][0]["step"] == 9


def test_the_budget_ends_training(built: TrainingSet, validation: Batch, tmp_path: Path) -> None:
    heard: list[TrainingProgress] = []
    one = trainer(tmp_path / "checkpoint.pt", budget_s=2.0)
    record = one.run(built, validation, heard.append)
    assert record.seconds >= 2.0
    assert record.steps == len(heard) > 0
    assert record.device == "cpu"
    assert record.parameters == sum(p.numel() for p in one.network.parameters())
    assert np.isfinite(record.final_loss)
    assert all(progress.elapsed_s < 2.0 for progress in heard[:-1])
    # Run again, nothing is left to do.
    assert (
        trainer(tmp_path / "checkpoint.pt", budget_s=2.0).run(built, validation, heard.append).steps
        == record.steps
    )


def test_the_result_is_the_best_average_of_the_weights(
    built: TrainingSet, validation: Batch, tmp_path: Path
) -> None:
    one = trainer(tmp_path / "checkpoint.pt", budget_s=2.0)
    record = one.run(built, validation, lambda progress: None)
    result = one.result()
    assert not result.training
    assert 0 < record.best_step <= record.steps
    inputs = [torch.from_numpy(a) for a in (validation.noisy, validation.prior, validation.guidance)]
    with torch.inference_mode():
        output = result(*inputs, torch.from_numpy(validation.level)).clamp(-1, 1).numpy()
    assert float(((output - validation.clean) ** 2).mean()) == pytest.approx(record.best_mse, rel=1e-3)
    for worse in one.averaged.parameters():
        worse.data.add_(1.0)
    one._validate(validation)
    kept = one.result().state_dict()
    assert all(torch.equal(kept[name], weight) for name, weight in result.state_dict().items())


@pytest.mark.parametrize("damage", ["empty", "cut", "changed"])
def test_a_damaged_checkpoint_is_set_aside_and_training_begins_anew(
    built: TrainingSet, validation: Batch, tmp_path: Path, damage: str
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        trainer(checkpoint).run(built, validation, interrupt_at(2, []))
    whole = bytearray(checkpoint.read_bytes())
    whole[len(whole) // 2] ^= 1  # torch itself does not notice
    cut = {"empty": 0, "cut": len(whole) - 50, "changed": len(whole)}[damage]
    checkpoint.write_bytes(whole[:cut])
    told: list[str] = []
    again = Trainer(
        TrainConfig(2.0, device="cpu"), starting_network(TINY, None), checkpoint, warn=told.append
    )
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("checkpoint.pt.broken-")
    assert aside.stat().st_size == cut
    (line,) = told
    assert line == f"{checkpoint} is damaged: training begins anew, and the file is now {aside.name}"
    heard: list[TrainingProgress] = []
    with pytest.raises(KeyboardInterrupt):
        again.run(built, validation, interrupt_at(1, heard))
    assert heard[0].steps == 1


def test_a_checkpoint_of_another_shape_is_refused(
    built: TrainingSet, validation: Batch, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        trainer(checkpoint).run(built, validation, interrupt_at(1, []))
    with pytest.raises(SettingsError, match="another network"):
        trainer(checkpoint, DenoiserConfig(SIZE, (16, 8, 8), 1))


def test_the_loss_is_least_for_the_truth_and_weighs_pixels() -> None:
    clean = torch.rand(1, 3, 16, 16)
    weight = torch.ones(1, 1, 16, 16)
    weight[..., :8, :] = 3.0
    above, below = clean.clone(), clean.clone()
    above[..., 2:6, 4:12] += 0.2
    below[..., 10:14, 4:12] += 0.2
    exact, heavy, light = (float(restoration_loss(x, clean, weight)) for x in (clean, above, below))
    assert exact < 0.01
    assert exact < light < heavy


@pytest.mark.parametrize(("field", "value"), [("budget_s", 0.0), ("budget_s", -1.0), ("batch", 0)], ids=str)
def test_settings_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{field}={value}"):
        TrainConfig(**{"budget_s": 1.0, field: value})  # type: ignore[arg-type]


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(SettingsError, match="device=tpu"):
        pick_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_not_replaced_silently() -> None:
    with pytest.raises(SettingsError, match="no CUDA GPU"):
        pick_device("cuda")
