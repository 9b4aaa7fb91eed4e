"""Damaged and forged avatar files: one line of error from every command, or an avatar that renders.

The long run of the same is `avatarcast bench damaged_avatars`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.robustness.damage import Damage
from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar, save_avatar
from engine.avatar.members import encode_arrays
from engine.cli import main
from engine.commands import info
from engine.errors import PackageError
from engine.media.video import VideoWriter
from engine.person.retarget import Retargeter
from engine.runners.onnx_runner import OnnxRunner
from engine.voice.idle import Habits, Idle
from engine.voice.motion_code import CODE, decode
from engine.voice.own import OwnVoice
from engine.voice.speaker import Speaker, fit_speaker
from export.commands.export import describe
from export.convert.gate import held_out_frame
from export.evaluate.replay import replay
from export.evaluate.report_text import held_out_motion_table, held_out_table
from tests.engine.voice.test_speaker import heard, way
from tests.support.forged_package import forge

ROWS = heard(150)
SEEDS = st.integers(0, 2**48)
FEW = settings(
    max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, puppet_avatar: Avatar, small_network: bytes, noise: Avatar
) -> bytes:
    """A small file with every kind of member but `memory/`."""
    path = tmp_path_factory.mktemp("whole") / "whole.avatar"
    keyframes = puppet_avatar.keyframes[:3]
    save_avatar(
        path,
        replace(
            puppet_avatar,
            keyframes=keyframes,
            models={"denoiser-fp32.onnx": small_network},
            variants={"denoiser-fp32.onnx": {"precision": "fp32", "parity": {"psnr_db": 90.0}}},
            consent=noise.consent | {"statement": "Ada, to an avatar with a voice print of hers"},
            report={"held_out": {"frames": 2, "psnr_db": {"face": 20.0}}, "steps": {}},
            preview_jpeg=noise.preview_jpeg,
            held_out=tuple(held_out_frame(key.rgb, key.landmarks) for key in keyframes[:2]),
            voice=OwnVoice(Habits(), fit_speaker(ROWS, way(ROWS, 1)), print=np.full(256, 1 / 16, np.float32)),
        ),
    )
    return path.read_bytes()


@pytest.fixture(scope="module")
def damage(whole: bytes, tmp_path_factory: pytest.TempPathFactory) -> Damage:
    return Damage(whole, tmp_path_factory.mktemp("outside") / "token")


def code_of(lips: FloatArray) -> FloatArray:
    return np.concatenate([lips, np.zeros(CODE - len(lips), np.float32)])


def in_a_line(error: PackageError) -> None:
    assert str(error).isprintable(), repr(error)
    assert len(str(error)) < 1000


@FEW
@given(seed=SEEDS)
def test_whatever_is_damaged(damage: Damage, tmp_path: Path, seed: int) -> None:
    said, data = damage.damaged(seed)
    path = tmp_path / "damaged.avatar"
    path.write_bytes(data)
    try:
        avatar = load_avatar(path)
    except PackageError as error:
        in_a_line(error)
        return
    found = info.facts(avatar)
    json.dumps(found, allow_nan=False)
    shown = [*info.as_lines(found), held_out_table(avatar.report), held_out_motion_table(avatar.report)]
    shown += [describe(name, 1, facts) for name, facts in avatar.variants.items()]
    assert "".join(shown).replace("\n", "").isprintable(), said
    if avatar.voice is not None:
        lips = Speaker(avatar.voice.fit).predict(ROWS[:50])
        speaking = decode(Idle(0, avatar.voice.habits).code_at(3.0) + code_of(lips[25]), avatar.neutral)
        retargeter = Retargeter(avatar.neutral, avatar.support, avatar.torso, avatar.size)
        assert np.isfinite(retargeter.target(speaking).face).all(), said
    for model in avatar.models.values():
        runner = OnnxRunner(model, threads=1)
        for rendered in replay(avatar, runner, [key.landmarks for key in avatar.keyframes[:2]]):
            assert rendered.rgb.shape == (avatar.size, avatar.size, 3)


def test_the_same_seed_is_the_same_damage(damage: Damage) -> None:
    assert damage.damaged(5) == damage.damaged(5)
    kinds = {damage.damaged(seed)[0].partition(":")[0] for seed in range(60)}
    assert kinds == {"arrays", "bytes", "graph", "json", "manifest", "members", "pictures", "signatures"}


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "info": lambda path: ["info", str(path)],
    "evaluate": lambda path: ["evaluate", str(path)],
    "export": lambda path: ["export", str(path)],
    "export --list": lambda path: ["export", str(path), "--list"],
    "render": lambda path: [
        *("render", "--avatar", str(path), "--driver", str(path.with_name("driver.mp4"))),
        *("--out", str(path.with_name("out.mp4"))),
    ],
    "serve": lambda path: ["serve", "--port", "0", "--avatar", "theo", "--avatar", str(path)],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("member", ["neutral.npz", "held_out/landmarks.npz", "models/denoiser-fp32.onnx"])
def test_every_command_says_it_in_one_line(
    whole: bytes, tmp_path: Path, error_line: Callable[[], str], command: str, member: str
) -> None:
    path = tmp_path / "forged.avatar"
    path.write_bytes(whole)
    with VideoWriter(tmp_path / "driver.mp4", 96, 48, Fraction(25)) as writer:
        writer.write(np.zeros((48, 96, 3), np.uint8))
    forge(path, {member: encode_arrays({"face": np.zeros((3, 478, 3), np.float32)})})
    assert main(COMMANDS[command](path)) == 1
    assert f"{path}: member {member}: " in error_line()
    assert not (tmp_path / "out.mp4").exists()
