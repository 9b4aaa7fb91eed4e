"""Student and base: what is trained is what runs, a stopped training goes on, rules are learnt."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.errors import SettingsError

pytest.importorskip("torch", reason="needs torch")
import torch

from engine.voice.base import AROUND, PRESSED, Base, around, edged, parted
from engine.voice.expert import SyncExpert, agreement
from engine.voice.features import LOUDNESS, ROW
from engine.voice.motion_code import LIP_GAP
from engine.voice.student import FEATURES, Student
from export.commands import voice_base
from export.training.loop import LoopConfig
from export.voice import base as base_training
from export.voice import expert as expert_training
from export.voice.articulation import VISEMES
from export.voice.base import train_base
from export.voice.expert import train_expert
from export.voice.student import (
    HEARD,
    StudentNet,
    components_of,
    exported,
    load_prepared,
    train_student,
)
from export.voice.virtual import FINE_HZ, Spoken, Way, lips_of


def random_net() -> StudentNet:
    """A network whose norms do something."""
    torch.manual_seed(1)
    net = StudentNet()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
            module.running_mean = torch.randn(module.num_features) * 0.3
            module.running_var = torch.rand(module.num_features) + 0.5
    return net.eval()


def frames(count: int) -> FloatArray:
    return np.random.default_rng(2).normal(size=(count, 40)).astype(np.float32)


def test_what_runs_is_what_was_trained() -> None:
    net, mels = random_net(), frames(200)
    with torch.inference_mode():
        trained = net(torch.from_numpy(mels.reshape(1, 100, 80)).transpose(1, 2))[0].T.numpy()
    weights = exported(net)
    assert sum(array.nbytes for array in weights.values()) < 1_000_000
    run = Student(weights).push(mels)
    assert run.shape == (100, FEATURES)
    assert np.sqrt(np.mean((run - trained) ** 2)) < 0.03 * trained.std()  # of INT8: 0.015


def test_the_student_is_the_same_in_pieces() -> None:
    weights, mels = exported(random_net()), frames(200)
    stream = Student(weights)
    pieces = np.concatenate([stream.push(mels[at : at + 4]) for at in range(0, 200, 4)])
    np.testing.assert_allclose(pieces, Student(weights).push(mels), atol=1e-4)


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    """Six recordings: what the teacher says is a mixture of what was heard."""
    rng = np.random.default_rng(3)
    mixture = rng.normal(size=(40, 288))
    for number in range(6):
        mels = rng.normal(-9.0, 2.0, (2 * 450, 40))
        target = mels.reshape(450, 2, 40).mean(1) @ mixture
        stored = {"mels": np.stack([mels] * HEARD).astype(np.float16), "target": target.astype(np.float16)}
        np.savez(tmp_path / f"{number}.npz", **stored)
    return tmp_path


def test_components_are_white_and_ordered(heard: Path) -> None:
    utterances = load_prepared(heard)
    components, kept = components_of(utterances)
    rows = np.concatenate([components.of(u.target.astype(np.float32)) for u in utterances])
    np.testing.assert_allclose(rows[:, :40].std(0), 1.0, atol=0.05)
    assert kept > 0.99  # 40 bands make 40 dimensions
    assert (np.diff(components.share) <= 1e-6).all()


def test_a_student_learns_and_goes_on_where_it_was(heard: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "student.pt"
    said: list[float] = []
    first = train_student(heard, checkpoint, LoopConfig(0.4, 2, 3e-3, 0), lambda now: said.append(now.loss))
    again = train_student(heard, checkpoint, LoopConfig(1.0, 2, 3e-3, 0), lambda now: said.append(now.loss))
    assert first[2].steps >= 1
    assert again[2].steps > first[2].steps
    assert again[2].seconds >= 1.0
    assert said[-1] < said[0]


def spoken(seed: int) -> Spoken:
    """Rows in which the open jaw is heard in one column, 60 ms before its loudest."""
    rng = np.random.default_rng(seed)
    jaw = np.convolve(rng.normal(size=12 * FINE_HZ), np.hanning(30), "same") / 3.0
    shapes = np.zeros((12 * FINE_HZ, len(VISEMES) + 1))
    shapes[:, -1] = np.maximum(jaw, 0.0)
    rows = 0.3 * rng.normal(size=(HEARD, 300, ROW))
    rows[:, :, 3] += np.maximum(jaw[::4], 0.0)
    rows[:, :, LOUDNESS] = 2.0
    return Spoken(rows.astype(np.float16), shapes.astype(np.float16), np.ones(300, bool))


def test_a_base_learns_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_training, "EPOCHS", 4)
    arrays, record = train_base([spoken(seed) for seed in range(8)])
    assert record.recordings == 7
    assert record.held_out_correlation > 0.7
    assert arrays["0.weight"].shape[0] == AROUND
    new = spoken(99)
    told = Base(arrays)(around(edged(new.rows[0].astype(np.float32))))[0][:, LIP_GAP]
    assert np.corrcoef(told, lips_of(new, Way.usual())[:, LIP_GAP])[0, 1] > 0.7


def test_an_expert_learns_which_moment_a_mouth_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expert_training, "_HELD_OUT", 2)
    monkeypatch.setattr(expert_training, "_RATE", 1e-2)
    monkeypatch.setattr(expert_training, "_UTTERANCES", 2)
    monkeypatch.setattr(expert_training, "_MOMENTS", 4)
    weights, record = train_expert([spoken(seed) for seed in range(6)], 25, lambda done, total: None)
    assert record.recordings == 4
    assert record.held_out_first > 2.0 / 9.0  # by chance 1 of 9
    net, new = SyncExpert(weights), spoken(99)
    sound = net.sound(new.rows[0].astype(np.float32))
    mouth = net.mouth(lips_of(new, Way.usual()))
    in_time, late = agreement(sound, mouth), agreement(sound[10:], mouth[:-10])
    assert in_time.mean() > late.mean() + 0.1


def test_speakers_differ_and_lips_lead() -> None:
    one = spoken(5)
    early, late = (
        lips_of(one, dataclasses.replace(Way.usual(), lead_s=lead, blur_s=0.0))[:, LIP_GAP]
        for lead in (0.12, 0.0)
    )
    np.testing.assert_allclose(early[:-3], late[3:], atol=1e-6)
    ways = [Way.drawn(np.random.default_rng(seed)) for seed in range(2)]
    assert np.abs(lips_of(one, ways[0]) - lips_of(one, ways[1])).max() > 0.01
    assert min(lips_of(one, way)[:, LIP_GAP].min() for way in ways) >= 0.0


def refused(*words: str) -> str:
    """What the command says of these words."""
    parser = argparse.ArgumentParser()
    voice_base.add_arguments(parser)
    with pytest.raises(SettingsError) as error:
        voice_base.run(parser.parse_args(words))
    return str(error.value)


def test_the_command_says_what_it_wants(tmp_path: Path) -> None:
    here = str(tmp_path)
    assert "wanted a folder that exists" in refused(here, "--out", f"{here}/none")
    assert "no .flac or .wav" in refused(here, "--out", here)
    assert "must be above 0" in refused(here, "--out", here, "--minutes", "0")
    (tmp_path / "a.wav").write_bytes(b"")
    assert "no such encoder" in refused(here, "--out", here, "--encoder", f"{here}/e.ort")


def test_lips_that_are_pressed_together_are_shut() -> None:
    assert VISEMES[PRESSED] == "PP"
    shapes = np.zeros((3, len(VISEMES) + 1), np.float32)
    shapes[:, PRESSED] = (-0.4, 0.5, 2.0)
    free, closing, shut = parted(shapes)
    assert (free, shut) == (1.0, 0.0)
    assert 0.0 < closing < 1.0
