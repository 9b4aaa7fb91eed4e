"""The pipeline with a network: how often it is asked, equal pictures from all runners, parts of the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from engine.avatar.avatar import Avatar
from engine.network.contract import NullRunner, Runner, denoiser_inputs, denoiser_outputs
from engine.pipeline import PipelineConfig
from engine.render.temporal_cache import CacheConfig
from tests.support.puppet import Pose, lively
from tests.support.puppet_stage import Make

SIZE = 128


class CountingRunner(NullRunner):
    """Remembers the noise levels it was asked for."""

    def __init__(self) -> None:
        super().__init__(denoiser_inputs(SIZE), denoiser_outputs(SIZE))
        self.levels: list[float] = []

    def run(self, feed):  # type: ignore[no-untyped-def]
        self.levels.append(round(float(feed["noise_level"][0]), 2))
        return super().run(feed)


@pytest.mark.parametrize(("steps", "first", "later"), [(1, 2, 1), (2, 3, 2), (3, 4, 3)])
def test_a_start_and_a_jump_take_one_step_more(make: Make, steps: int, first: int, later: int) -> None:
    runner = CountingRunner()
    config = PipelineConfig(steps=steps, cache=CacheConfig(pose_gate=False))
    stage = make([Pose(), Pose(yaw_deg=1), Pose(x=-0.2), Pose(x=0.4), Pose(x=0.4)], config, runner=runner)
    stage.calibrated()
    counts = []
    for _ in range(2):
        before = len(runner.levels)
        stage.next()
        counts.append(len(runner.levels) - before)
    assert counts == [first, later]
    assert runner.levels[0] == 1.0
    assert runner.levels[first] == 0.3


@pytest.fixture(scope="module")
def runners(puppet_avatar: Avatar) -> Iterator[tuple[Runner, Runner]]:
    """One tiny network of random weights, in ONNX Runtime and in torch."""
    torch = pytest.importorskip("torch", reason="needs torch")
    from engine.network.denoiser import Denoiser, DenoiserConfig
    from engine.runners.onnx_runner import OnnxRunner
    from engine.runners.torch_runner import TorchRunner
    from export.convert.onnx_export import export_onnx

    torch.manual_seed(3)
    torch.set_num_threads(1)
    module = Denoiser(DenoiserConfig(SIZE, (8, 8, 8), 1))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape))
    inputs = denoiser_inputs(SIZE)
    model = export_onnx(module, {name: torch.rand(spec.shape) for name, spec in inputs.items()})
    pair = OnnxRunner(model, threads=1), TorchRunner(module, inputs)
    yield pair
    for runner in pair:
        runner.close()


@pytest.mark.parametrize("steps", [1, 2])
def test_onnx_and_torch_give_the_same_picture(make: Make, runners: tuple[Runner, Runner], steps: int) -> None:
    onnx, torch_twin, null = (
        make(lively(8, hands=True), PipelineConfig(steps=steps), runner=runner).calibrated()
        for runner in (*runners, NullRunner(denoiser_inputs(SIZE), denoiser_outputs(SIZE)))
    )
    for _ in range(8):
        one, other, without = onnx.next().rgb, torch_twin.next().rgb, null.next().rgb
        difference = np.abs(one.astype(int) - other)
        # A level by rounding, and one more where a step begins from a picture that was rounded.
        assert difference.max() <= 2, f"at most {difference.max()}, on average {difference.mean():.4f}"
        assert difference.mean() < 0.01
    assert np.abs(one.astype(int) - without).mean() > 1.0  # the network really takes part


def test_the_previous_output_can_be_left_out(make: Make, runners: tuple[Runner, Runner]) -> None:
    """Without it, it gives other pictures of the same person, from the same number of frames."""
    poses = lively(24, seed=2, hands=True)[::3]
    whole, lacking = (
        make(poses, PipelineConfig(cache=CacheConfig(pose_gate=False, **parts)), runner=runners[0])
        for parts in ({}, {"previous_output": False})
    )
    differences = [np.abs(whole.next().rgb.astype(int) - lacking.next().rgb).mean() for _ in poses]
    assert max(differences) > 0.02
    assert max(differences) < 20.0
