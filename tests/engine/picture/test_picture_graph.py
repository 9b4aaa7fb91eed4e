"""The one graph of a picture: it draws what the steps draw, in torch, in ONNX Runtime, in any frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.cli import main
from engine.errors import RunnerError
from engine.forgetting import forget_avatar
from engine.network.contract import ResidentRunner
from engine.person.landmarks import VISIBLE
from engine.picture.choice import choose_renderer
from engine.picture.contract import FRAME, I420, graph_inputs, graph_outputs
from engine.picture.graph_files import FP16, FP32, GraphOf
from engine.picture.graph_renderer import GraphRenderer
from engine.picture.renderer import Renderer
from engine.picture.step_renderer import StepRenderer
from engine.pipeline import PipelineConfig, build_pipeline
from engine.render.background import Background
from engine.render.scene import Scene
from engine.runners import trt_build
from engine.runners.onnx_runner import OnnxRunner
from engine.runners.torch_runner import TorchRunner
from engine.stages import STAGES, StageClock
from engine.user_folders import CACHE_VARIABLE
from export.convert.picture_graph import PARITY_DB, graph_module, make_graph, parity_db
from stream.media.tracks import i420_from_rgb
from tests.conftest import PUPPET_PX, SMALL
from tests.support.puppet import Pose, Puppet, lively
from tests.support.puppet_stage import FRAME_NS, Script

PUPPET = Puppet(PUPPET_PX)
POSES = [PUPPET.landmarks(pose) for pose in lively(12, seed=5, hands=True)]
# Far from each other: the second is a jump, which begins anew.
MOVED = [PUPPET.landmarks(Pose()), PUPPET.landmarks(Pose(x=1.0))]


@pytest.fixture(scope="module")
def puppet(puppet_avatar: Avatar, small_network: bytes) -> Avatar:
    """With a network."""
    models = {"denoiser-fp32.onnx": small_network}
    return replace(puppet_avatar, models=models, training={"network": SMALL.to_dict()})


@pytest.fixture(scope="module")
def room() -> Scene:
    """Twice as wide as the canvas, which lies off its middle."""
    rng = np.random.default_rng(3)
    return Scene(rng.integers(0, 256, (144, 256, 3), np.uint8), 50, 16, 128)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An engine cache of these tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def exported(puppet: Avatar, kept: Path) -> Path:
    """The file of the graph, exported and proved."""
    return make_graph(GraphOf(puppet, "square", 1), "onnx", FP32).path


def in_torch(graph: GraphOf, precision: str = FP32) -> TorchRunner:
    """The CPU twin."""
    size = graph.avatar.size
    names = tuple(graph_outputs(size, graph.frame_px))
    return TorchRunner(graph_module(graph, precision), graph_inputs(size), output_names=names)


@pytest.mark.parametrize("precision", [FP32, FP16])
def test_the_twin_draws_what_the_steps_draw(puppet: Avatar, precision: str) -> None:
    graph = GraphOf(puppet, "square", 1)
    found = parity_db(graph, in_torch(graph, precision), [*POSES[:6], *MOVED, *POSES[6:]])
    assert min(found) > PARITY_DB[precision]


def test_so_it_does_with_more_draws_in_a_wider_frame(puppet: Avatar, room: Scene) -> None:
    graph = GraphOf(replace(puppet, scene=room), "320x180", 2)
    assert min(parity_db(graph, in_torch(graph), POSES[::3])) > PARITY_DB[FP32]


def test_hands_that_come_and_go_leave_nothing_behind(puppet: Avatar) -> None:
    """A mask that stays, a part that keeps its box: it would show where the hand was."""
    graph = GraphOf(puppet, "square", 1)
    left, right = (-1.5, 2.2), (1.4, 2.0)
    way = [PUPPET.landmarks(Pose(hands=hands)) for hands in ((left, right), (None, right), (None, None))]
    assert [int((one.hand_confidence > VISIBLE).sum()) for one in way] == [2, 1, 0]
    assert min(parity_db(graph, in_torch(graph), [*way, *way[::-1]])) > PARITY_DB[FP32]


def test_bytes_for_an_encoder_are_those_of_the_picture(puppet: Avatar, room: Scene) -> None:
    graph = GraphOf(replace(puppet, scene=room), "320x180", 1)
    runner = in_torch(graph)
    renderer = GraphRenderer(graph.avatar, runner)
    renderer.draw(POSES[0], StageClock())
    wanted = i420_from_rgb(np.ascontiguousarray(runner.read(FRAME)[0]))
    difference = np.abs(runner.read(I420)[0].astype(int) - wanted)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05  # where a half is rounded


def test_a_chosen_background_and_another_frame_are_laid_on_the_cpu(puppet: Avatar, room: Scene) -> None:
    graph = GraphOf(replace(puppet, scene=room), "square", 1)
    pictures: list[list[U8Image]] = []
    steps = StepRenderer(graph.avatar, OnnxRunner(puppet.models["denoiser-fp32.onnx"], threads=1))
    renderers: list[Renderer] = [steps, GraphRenderer(graph.avatar, in_torch(graph))]
    for renderer in renderers:
        seen = [renderer.picture.copy()]
        renderer.draw(POSES[0], StageClock())
        changes: list[Callable[[Renderer], None]] = [
            lambda one: one.set_background(Background.color("#00b140")),
            lambda one: one.set_frame("320x180"),
            lambda one: one.set_background(Background.original()),
            lambda one: one.rest(),
        ]
        for change in changes:
            change(renderer)
            assert renderer.picture.shape[1::-1] == renderer.frame_px
            seen.append(renderer.picture.copy())
        pictures.append(seen)
    for wanted, found in zip(*pictures, strict=True):
        assert np.abs(found.astype(int) - wanted).mean() < 0.5


def test_the_pipeline_draws_with_the_exported_graph(puppet: Avatar, exported: Path) -> None:
    def driven(renderer: str) -> list[U8Image]:
        config = PipelineConfig("onnx-cpu", threads=1, renderer=renderer)
        pipeline = build_pipeline(puppet, config, Script([]))
        assert ("whole picture" in pipeline.runner_reason) == (renderer == "graph")
        pipeline.drive_by(puppet.neutral)
        made = [
            pipeline.process(np.zeros((8, 8, 3), np.uint8), index * FRAME_NS, pose)
            for index, pose in enumerate(POSES[:4])
        ]
        assert set(made[-1].stage_ms) == set(STAGES)
        pictures = [one.rgb.copy() for one in made[-1:]]
        pipeline.close()
        pipeline.close()
        return pictures

    (found,), (wanted,) = driven("graph"), driven("steps")
    assert 10 * np.log10(255**2 / np.mean((found.astype(float) - wanted) ** 2)) > PARITY_DB[FP32]


def test_the_exported_graph_is_the_twin(puppet: Avatar, exported: Path) -> None:
    graph = GraphOf(puppet, "square", 1)
    model = graph.load("onnx", FP32, graph.key("onnx", FP32))
    runners: list[ResidentRunner] = [OnnxRunner(model, threads=1), in_torch(graph)]
    assert dict(runners[0].inputs) == dict(graph_inputs(PUPPET_PX))
    assert dict(runners[0].outputs) == dict(graph_outputs(PUPPET_PX, (PUPPET_PX, PUPPET_PX)))
    pictures = []
    for runner in runners:
        renderer = GraphRenderer(puppet, runner)
        for pose in POSES[:2]:
            renderer.draw(pose, StageClock())
        pictures.append(renderer.picture.astype(int))
        runner.close()
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


@pytest.mark.skipif(
    trt_build.cannot_build("tensorrt-rtx") is not None, reason=str(trt_build.cannot_build("tensorrt-rtx"))
)
@pytest.mark.parametrize("capability", ["8.9", "12.0"])
def test_tensorrt_builds_the_whole_graph(puppet: Avatar, exported: Path, capability: str) -> None:
    graph = GraphOf(puppet, "square", 1)
    model = graph.load("onnx", FP32, graph.key("onnx", FP32))
    built = trt_build.build("tensorrt-rtx", model, capability)
    assert len(built.engine) > 100_000
    assert dict(built.inputs) == dict(graph_inputs(PUPPET_PX))
    assert dict(built.outputs) == dict(graph_outputs(PUPPET_PX, (PUPPET_PX, PUPPET_PX)))


# Which is chosen


def test_auto_takes_no_graph_on_a_cpu(puppet: Avatar, exported: Path) -> None:
    renderer, reason = choose_renderer(puppet, "auto", "auto", GraphOf(puppet, "square", 1), threads=1)
    assert isinstance(renderer, StepRenderer)
    assert "graph" not in reason


def test_a_graph_that_is_not_there_is_refused_with_the_command(puppet: Avatar, kept: Path) -> None:
    graph = GraphOf(puppet, "320x180", 2)
    command = r"avatarcast export NAME.avatar --graph --target onnx --frame 320x180 --draws 2"
    with pytest.raises(RunnerError, match=command):
        choose_renderer(puppet, "graph", "onnx-cpu", graph)
    with pytest.raises(RunnerError, match="the null runner runs no graph"):
        choose_renderer(puppet, "graph", "null", graph)
    with pytest.raises(RunnerError, match="renderer is 'fast'; wanted one of auto, steps, graph"):
        choose_renderer(puppet, "fast", "auto", graph)


def test_another_room_or_network_makes_it_stale(puppet: Avatar, exported: Path) -> None:
    repainted = replace(puppet, plate=np.invert(puppet.plate))
    with pytest.raises(RunnerError, match="stale"):
        choose_renderer(repainted, "graph", "onnx-cpu", GraphOf(repainted, "square", 1))


def test_a_graph_that_draws_something_else_is_not_kept(
    puppet: Avatar, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = GraphOf(replace(puppet, neutral=replace(puppet.neutral)), "square", 3)
    monkeypatch.setattr("export.convert.picture_graph.graph_onnx", lambda *_: b"a graph")
    monkeypatch.setattr("export.convert.picture_graph.OnnxRunner", lambda *_, **__: None)
    monkeypatch.setattr("export.convert.picture_graph.parity_db", lambda *_: [60.0, 44.0])
    with pytest.raises(RunnerError, match=r"44\.0 dB from those drawn step by step; wanted 45"):
        make_graph(graph, "onnx", FP32)
    assert not graph.path("onnx", FP32).exists()


def test_the_command_says_what_a_graph_is_for(networked_file: Path, error_line: Callable[[], str]) -> None:
    assert main(["export", str(networked_file), "--graph"]) == 1
    assert "--graph: is for --target onnx, onnx-fp16, tensorrt" in error_line()
    assert main(["export", str(networked_file), "--frame", "320x180"]) == 1
    assert "are for --graph" in error_line()


def test_what_is_kept_of_an_avatar_goes_with_it(
    networked_file: Path, kept: Path, puppet: Avatar, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(networked_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert exported in {one.path for one in forget_avatar(networked_file)}
    assert not exported.exists()
