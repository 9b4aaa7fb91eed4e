"""A network of half its canvas: what it changes is coarse, what is fine comes from the key frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar, save_avatar
from engine.errors import PackageError
from engine.network.contract import (
    PRIOR,
    Array,
    NullRunner,
    Runner,
    denoiser_inputs,
    denoiser_outputs,
    network_px,
)
from engine.picture.step_renderer import StepRenderer
from engine.runners.choice import choose_runner
from engine.runners.onnx_runner import OnnxRunner
from engine.stages import StageClock
from tests.support.puppet import Pose, Puppet
from tests.support.small_avatar import least_network, noise_avatar

CANVAS_PX = 512
FIRST_RUNS = 2  # of the network, for a picture that follows none
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


class Counting:
    """A network that brightens a little more each time."""

    def __init__(self, size: int) -> None:
        self.inputs, self.outputs, self.runs = denoiser_inputs(size), denoiser_outputs(size), 0

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        self.runs += 1
        return {"clean": feed[PRIOR] + np.float32(0.02 * self.runs)}

    def close(self) -> None: ...


def test_a_network_that_paints_every_second_picture_is_followed_by_the_others() -> None:
    """Its change goes on with the person; where other key frames are shown it paints all the same."""
    avatar, network = noise_avatar(256), Counting(256)
    renderer, plain = StepRenderer(avatar, network), StepRenderer(avatar, null(256))

    def drawn_at(yaw_deg: float) -> float:
        """Draws both; by how much the network's is brighter, in levels."""
        target = Puppet(256).landmarks(Pose(yaw_deg=yaw_deg))
        for one in (renderer, plain):
            one.draw(target, StageClock())
        shown, without = (one.picture.astype(int) for one in (renderer, plain))
        changed = (shown - without)[(without > 20) & (without < 200) & (shown != without)]
        return float(np.median(changed))

    renderer.paint_every(2)
    bright = [drawn_at(0.1 * step) for step in range(5)]
    assert network.runs == FIRST_RUNS + 2
    assert bright[1::2] == pytest.approx(bright[:-1:2], abs=1)
    assert bright[2:4] == pytest.approx([0.02 * 127.5 * (FIRST_RUNS + 1)] * 2, abs=1)
    renderer.rest()  # a cut: nothing is carried over it
    drawn_at(0.0)
    assert network.runs == 2 * FIRST_RUNS + 2
    drawn_at(0.1)
    renderer.paint_every(1)
    drawn_at(0.2)
    drawn_at(0.3)
    assert network.runs == 2 * FIRST_RUNS + 4


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
