"""A network of half its canvas: what it changes is coarse, what is fine comes from the key frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar, save_avatar
from engine.errors import PackageError
from engine.network.contract import NullRunner, Runner, denoiser_inputs, denoiser_outputs, network_px
from engine.picture.step_renderer import StepRenderer
from engine.runners.choice import choose_runner
from engine.runners.onnx_runner import OnnxRunner
from engine.stages import StageClock
from tests.support.puppet import Pose, Puppet
from tests.support.small_avatar import least_network, noise_avatar

CANVAS_PX = 512
BRIGHTER = 0.1  # on [-1, 1]


@pytest.fixture(scope="module")
def large() -> Avatar:
    whole, half = least_network(CANVAS_PX), least_network(CANVAS_PX // 2, BRIGHTER)
    return replace(noise_avatar(CANVAS_PX), models={"denoiser-fp32.onnx": whole, "denoiser-int8.onnx": half})


def drawn(avatar: Avatar, runner: Runner) -> list[U8Image]:
    renderer, pictures = StepRenderer(avatar, runner), []
    for yaw in (0.0, 2.0, 4.0):
        renderer.draw(Puppet(CANVAS_PX).landmarks(Pose(yaw_deg=yaw)), StageClock())
        pictures.append(renderer.picture.copy())
    renderer.close()
    return pictures


def null(size: int) -> Runner:
    return NullRunner(denoiser_inputs(size), denoiser_outputs(size))


def test_where_it_changes_nothing_the_picture_is_as_sharp(large: Avatar) -> None:
    whole, half = (drawn(large, null(size)) for size in (CANVAS_PX, CANVAS_PX // 2))
    assert all(np.array_equal(*pair) for pair in zip(whole, half, strict=True))
    assert not np.array_equal(half[0], half[2])


def test_brightness_is_its_own_and_texture_the_key_frames(large: Avatar) -> None:
    plain = drawn(large, null(CANVAS_PX))[1].astype(int)
    brighter = drawn(large, OnnxRunner(large.models["denoiser-int8.onnx"], threads=1))[1].astype(int)
    changed = (brighter - plain)[(plain > 20) & (plain < 230) & (brighter != plain)]
    assert changed.size > 10_000
    assert np.median(changed) == pytest.approx(BRIGHTER * 127.5, abs=1)
    assert np.percentile(np.abs(changed - np.median(changed)), 90) <= 1


def test_such_a_network_is_chosen_and_only_a_large_canvas_has_one(large: Avatar, tmp_path: Path) -> None:
    save_avatar(tmp_path / "large.avatar", large)
    runner, reason = choose_runner("onnx-cpu", load_avatar(tmp_path / "large.avatar"), threads=1)
    assert (network_px(runner), "denoiser-int8.onnx" in reason) == (CANVAS_PX // 2, True)
    runner.close()
    torchs = replace(large, models={"denoiser-fp32.onnx": large.models["denoiser-int8.onnx"]})
    small = replace(noise_avatar(256), models={"denoiser-int8.onnx": least_network(128)})
    for name, wrong in (("torchs", torchs), ("small", small)):
        with pytest.raises(PackageError, match=r"the network's inputs are"):  # written, it is read again
            save_avatar(tmp_path / f"{name}.avatar", wrong)
