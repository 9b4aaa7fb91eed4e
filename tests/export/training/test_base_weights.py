"""Base weights: kept, fitted to other canvases, learnt from several people, and started from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.errors import SettingsError
from export.footage.prepared import Identity, Prepared

pytest.importorskip("torch", reason="needs torch")
import torch
from torch.nn.functional import interpolate

from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.render.guidance import GUIDANCE_CHANNELS
from export.training.base_training import People
from export.training.base_weights import BaseWeights, load_base, save_base, starting_network
from export.training.train import TrainConfig, Trainer
from export.training.training_set import TrainingSet

TINY = DenoiserConfig(128, (8, 8, 8), 1)


def lively(config: DenoiserConfig) -> Denoiser:
    """A network in which no weight is zero, so that every one counts."""
    torch.manual_seed(3)
    network = Denoiser(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "base.npz"
    save_base(path, lively(TINY), {"people": 2})
    return path


def loaded(path: Path) -> BaseWeights:
    base = load_base(str(path))
    assert base is not None
    return base


def test_weights_come_back_to_half_precision(saved: Path) -> None:
    base = loaded(saved)
    assert base.record["people"] == 2
    for name, value in lively(TINY).state_dict().items():
        assert torch.allclose(base.weights[name], value, atol=1e-3), name
    assert [file.name for file in saved.parent.iterdir()] == ["base.npz"]


@torch.inference_mode()
def test_a_larger_canvas_gets_the_same_picture_larger(saved: Path) -> None:
    base = loaded(saved)
    small, large = (
        Denoiser(TINY).eval(),
        Denoiser(DenoiserConfig(256, TINY.widths, TINY.middle_blocks)).eval(),
    )
    small.load_state_dict(base.weights)
    large.load_state_dict(base.fitted(large.config))
    pictures = [
        torch.rand(1, 3, 128, 128),
        torch.rand(1, 3, 128, 128),
        torch.rand(1, GUIDANCE_CHANNELS, 64, 64),
    ]
    level = torch.full((1,), 0.3)
    made = large(*(interpolate(picture, scale_factor=2) for picture in pictures), level)
    assert torch.allclose(made, interpolate(small(*pictures, level), scale_factor=2), atol=1e-4)


def test_another_network_is_refused(saved: Path) -> None:
    with pytest.raises(SettingsError, match=r"--base none"):
        loaded(saved).fitted(DenoiserConfig(128, (8, 8, 16), 1))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"not base weights"):
        load_base(str(path))


def test_missing_weights_are_refused(saved: Path) -> None:
    with np.load(saved) as data:
        arrays = {name: data[name] for name in data.files if name != "head.bias"}
    np.savez(saved, **arrays)
    with pytest.raises(SettingsError, match=r"not base weights"):
        load_base(str(saved))


def test_from_scratch_there_are_none() -> None:
    assert load_base("none") is None


def test_training_begins_with_them(saved: Path, tmp_path: Path) -> None:
    base = loaded(saved)
    network = starting_network(TINY, base)
    trainer = Trainer(TrainConfig(1.0, device="cpu"), network, tmp_path / "checkpoint.pt")
    for name, value in trainer.result().state_dict().items():
        assert torch.equal(value, base.weights[name]), name


def test_a_batch_holds_several_people(prepared: Prepared, identity: Identity) -> None:
    sets = [TrainingSet(prepared, identity, seed=seed) for seed in (1, 2)]
    people = People(sets, seed=1)
    batch = people.draw(2)
    assert batch.clean.shape[0] == len(batch.frames) == 2
    before = [person.draw(1) for person in sets]
    assert all(one.clean.shape == before[0].clean.shape for one in before)


def test_what_the_network_made_goes_to_whom_it_shows(prepared: Prepared, identity: Identity) -> None:
    class Listening(TrainingSet):
        def remember(self, batch: object, output: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
            self.heard = float(output.mean())

        def mark(self) -> float:
            return self.heard

    sets = [Listening(prepared, identity, seed=seed) for seed in (1, 2)]
    people = People(sets, seed=1)
    batch = people.draw(2)
    output = np.stack([np.full_like(batch.clean[0], value) for value in (0.25, 0.75)])
    people.remember(batch, output)
    assert sorted(person.mark() for person in sets) == [0.25, 0.75]


def test_the_command_trains_and_writes(
    prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    footage, out = tmp_path / "one.prepared.npz", tmp_path / "base.npz"
    prepared.save(footage)
    arguments = ["base", str(footage), str(footage), "--out", str(out), "--device", "cpu", "--json"]
    assert main([*arguments, "--minutes", "0.02"]) == 0
    assert '"steps"' in capsys.readouterr().out
    assert loaded(out).record["people"] == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["base.npz", "one.prepared.npz"]
    assert main([*arguments, "--minutes", "0.02"]) == 1  # nothing is overwritten
    assert "exists already" in capsys.readouterr().err


def test_a_damaged_file_is_refused_before_anything_is_trained(
    prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = replace(prepared, shot=prepared.shot[:-1])
    spoilt.save(tmp_path / "spoilt.prepared.npz")
    out = tmp_path / "base.npz"
    assert main(["base", str(tmp_path / "spoilt.prepared.npz"), "--out", str(out), "--minutes", "0.02"]) == 1
    assert "damaged (shot is int32" in capsys.readouterr().err
    assert not out.exists()


def test_the_bundled_weights_fit_every_canvas() -> None:
    base = load_base("bundled")
    assert base is not None
    for size in (128, 256, 512):
        network = starting_network(DenoiserConfig(size), base)
        assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
    assert base.record["people"] >= 16
