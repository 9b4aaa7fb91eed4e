"""TensorRT: real engines where it is installed, a cache that refuses what is stale, how a frame is queued.

Building needs no GPU. Running does: what is tried here without one is the order of calls, against a fake GPU,
and that is marked; the test marked gpu runs the real thing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.cli import main
from engine.errors import FileError, RunnerError, SettingsError
from engine.network.contract import Array, TensorSpec, denoiser_inputs, denoiser_outputs
from engine.runners import trt_build, trt_cache, trt_runner
from engine.runners.choice import choose_runner
from engine.runners.trt_build import SOURCE, build, cannot_run
from engine.runners.trt_cache import ANY_GPU, TrtEngineKey
from engine.user_folders import CACHE_VARIABLE
from export.convert.fused import HalfDenoiser
from export.convert.onnx_export import export_onnx
from export.convert.trt_engines import build_engine
from export.convert.variants import network_of

REBUILD = "avatarcast export NAME.avatar --target tensorrt-rtx"
KEY = TrtEngineKey("tensorrt-rtx", "1.7.1", "ab" * 32, "fp16", "noisy float32 (1, 3, 8, 8)", "8.9", ANY_GPU)

needs_rtx = pytest.mark.skipif(
    trt_build.cannot_build("tensorrt-rtx") is not None, reason=str(trt_build.cannot_build("tensorrt-rtx"))
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine cache of the test's own."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def presenter() -> Avatar:
    """The bundled avatar with the fp16 network that engines are built from."""
    avatar = load_avatar("bundled")
    example = {name: torch.zeros(spec.shape) for name, spec in denoiser_inputs(avatar.size).items()}
    half = export_onnx(HalfDenoiser(network_of(avatar)).eval(), example)
    facts = {"weights_sha256": "w", "parity": {"psnr_db": 90.0}}
    variants = {**avatar.variants, SOURCE: facts}
    return replace(avatar, models={**avatar.models, SOURCE: half}, variants=variants)


@needs_rtx
@pytest.mark.parametrize("capability", ["8.9", "12.0"])
def test_a_real_engine_is_built_without_a_gpu(presenter: Avatar, capability: str) -> None:
    built = build("tensorrt-rtx", presenter.models[SOURCE], capability)
    assert len(built.engine) > 1_000_000
    assert dict(built.inputs) == dict(denoiser_inputs(presenter.size))
    assert dict(built.outputs) == dict(denoiser_outputs(presenter.size))


@needs_rtx
def test_an_engine_is_kept_and_a_changed_network_makes_it_stale(presenter: Avatar) -> None:
    report = build_engine(presenter, "tensorrt-rtx", "8.9")
    assert trt_cache.trt_engines_of(presenter, "tensorrt-rtx") == [report.path]
    wanted = trt_build.engine_key("tensorrt-rtx", presenter, "8.9", "some GPU")
    assert len(trt_cache.load_trt_engine(report.path, wanted, REBUILD)) == report.facts["bytes"]
    changed = replace(presenter, models={**presenter.models, SOURCE: b"another"})
    key = trt_build.engine_key("tensorrt-rtx", changed, "8.9", "some GPU")
    path = trt_cache.trt_engine_path(changed, "tensorrt-rtx", "8.9")
    with pytest.raises(RunnerError, match=r"stale \(model_sha256 is .* wanted .*\): avatarcast export"):
        trt_cache.load_trt_engine(path, key, REBUILD)


@needs_rtx
def test_building_says_what_is_wrong(presenter: Avatar) -> None:
    with pytest.raises(RunnerError, match=r"compute capability is 9\.0; tensorrt-rtx wanted one of .*8\.9"):
        build("tensorrt-rtx", presenter.models[SOURCE], "9.0")
    with pytest.raises(RunnerError, match=r"cannot (build|read) the network"):
        build("tensorrt-rtx", b"no network", "8.9")


@needs_rtx
def test_the_command_makes_the_source_then_the_engine(
    networked_file: Path, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    path = networked_file
    command = ["export", str(path), "--target", "tensorrt-rtx", "--compute-capability", "8.9"]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert Path(result["engine"]).parent == folder
    assert result["compute_capability"] == "8.9"
    assert SOURCE in load_avatar(path).models
    assert main(command) == 0
    capsys.readouterr()
    assert main(["export", str(path), "--list"]) == 0
    assert "for compute capability 8.9" in capsys.readouterr().out.splitlines()[-1]


@needs_rtx
@pytest.mark.skipif(trt_build.no_gpu() is None, reason="this machine has a GPU")
def test_without_a_gpu_the_commands_say_so(
    networked_file: Path, presenter: Avatar, error_line: Callable[[], str]
) -> None:
    path = networked_file
    before = path.read_bytes()
    assert main(["export", str(path), "--target", "tensorrt-rtx"]) == 1
    assert "NVIDIA GPU and its driver; or name the GPU to build for: --compute-capability" in error_line()
    assert main(["export", str(path), "--target", "onnx", "--compute-capability", "8.9"]) == 1
    assert "is for --target tensorrt-rtx; found onnx" in error_line()
    assert path.read_bytes() == before
    with pytest.raises(RunnerError, match=r"NVIDIA GPU and its driver|is not installed"):
        choose_runner("tensorrt-rtx", presenter)


def test_auto_looks_at_tensorrt_only_where_an_engine_was_built(presenter: Avatar) -> None:
    assert "tensorrt" not in choose_runner("auto", presenter, threads=1)[1]
    path = trt_cache.trt_engine_path(presenter, "tensorrt-rtx", "8.9")
    trt_cache.save_trt_engine(path, KEY, b"an engine", {})
    if cannot_run("tensorrt-rtx"):
        reason = choose_runner("auto", presenter, threads=1)[1]
        assert reason.startswith("onnx-")
        assert "tensorrt-rtx unavailable: " in reason


def test_the_cache_gives_back_what_fits(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "one.engine"
    trt_cache.save_trt_engine(path, KEY, b"an\nengine", {"seconds": 1.0})
    assert trt_cache.load_trt_engine(path, KEY, REBUILD) == b"an\nengine"
    assert trt_cache.read_trt_engine(path, REBUILD).facts == {"seconds": 1.0}
    assert [file.name for file in path.parent.iterdir()] == ["one.engine"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"library": "1.8"}, r"library is 1\.7\.1, wanted 1\.8"),
        ({"compute_capability": "12.0", "gpu": "RTX 5090"}, r"compute_capability is 8\.9, .*; gpu is any of"),
        ({"shapes": "other"}, "shapes is noisy float32"),
        ({"precision": "fp32"}, "precision is fp16, wanted fp32"),
    ],
)
def test_a_stale_engine_is_refused_with_the_cure(
    tmp_path: Path, change: dict[str, str], complaint: str
) -> None:
    path = tmp_path / "one.engine"
    trt_cache.save_trt_engine(path, KEY, b"an engine", {})
    with pytest.raises(RunnerError, match=rf"stale \(.*{complaint}.*\): {REBUILD}"):
        trt_cache.load_trt_engine(path, replace(KEY, **change), REBUILD)


def test_a_damaged_cache_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "one.engine"
    with pytest.raises(RunnerError, match=f"there is no engine for this GPU yet: {REBUILD}"):
        trt_cache.load_trt_engine(path, KEY, REBUILD)
    trt_cache.save_trt_engine(path, KEY, b"an engine", {})
    whole = path.read_bytes()
    for damaged in (b"", b"\x00", whole[:20], b"{}\n", b"[]\n", whole[:-1], whole + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(RunnerError, match=f"(not a readable engine|damaged).*{REBUILD}"):
            trt_cache.load_trt_engine(path, KEY, REBUILD)


def test_an_engine_that_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "one.engine"
    trt_cache.save_trt_engine(path, KEY, b"an engine", {})
    with pytest.raises(FileError, match="cannot be written"):
        trt_cache.save_trt_engine(path / "below", KEY, b"another", {})
    assert trt_cache.load_trt_engine(path, KEY, REBUILD) == b"an engine"


class FakeGpu:
    """Not a GPU: notes the order of calls; its network negates "x" into "y"."""

    stream = 7

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._host: dict[int, Array] = {}
        self._memory: dict[int, Array] = {}
        self._recording: list[Callable[[], None]] | None = None
        self.addresses: dict[str, int] = {}

    def device_memory(self, size_bytes: int) -> int:
        pointer = 1000 + len(self._memory)
        self._memory[pointer] = np.zeros(size_bytes // 4, np.float32)
        return pointer

    def pinned(self, spec: TensorSpec) -> Array:
        return np.zeros(spec.shape, spec.dtype)

    def to_device(self, target: int, source: Array) -> None:
        self._do("in", lambda: np.copyto(self._memory[target], source.ravel()))

    def to_host(self, target: Array, source: int) -> None:
        self._do("out", lambda: np.copyto(target, self._memory[source].reshape(target.shape)))

    def on_device(self, target: int, source: int, size_bytes: int) -> None:
        self._do("carried", lambda: np.copyto(self._memory[target], self._memory[source]))

    def capture(self, queue: Callable[[], None]) -> list[Callable[[], None]]:
        recording: list[Callable[[], None]] = []
        self._recording = recording
        queue()
        self._recording = None
        self.calls.append("captured")
        return recording

    def launch(self, graph: list[Callable[[], None]]) -> None:
        self.calls.append("launch")
        for step in graph:
            step()

    def wait(self) -> None:
        self.calls.append("wait")

    def close(self, graph: Any) -> None:
        self.calls.append("close" if graph is None else "close graph")

    # What TensorRT would offer, as far as the runner uses it.
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
    num_io_tensors = 2

    def nptype(self, kind: str) -> type:
        return np.float32

    def create_execution_context(self) -> FakeGpu:
        return self

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "x" else "out"

    def get_tensor_shape(self, name: str) -> list[int]:
        return [1, 3]

    def get_tensor_dtype(self, name: str) -> str:
        return "FLOAT"

    def set_tensor_address(self, name: str, pointer: int) -> None:
        self.addresses[name] = pointer

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == self.stream
        x, y = (self._memory[self.addresses[name]] for name in "xy")
        self._do("network", lambda: np.negative(x, out=y))
        return True

    def _do(self, name: str, step: Callable[[], Any]) -> None:
        if self._recording is not None:
            self._recording.append(step)
        else:
            self.calls.append(name)
            step()


@pytest.mark.parametrize("eager", [False, True])
def test_scheduling_on_a_fake_gpu(eager: bool) -> None:
    gpu = FakeGpu()
    runner = trt_runner.TrtRunner(gpu, gpu, gpu, eager)
    setting_up = ["in", "network", "out", "wait"]
    assert gpu.calls == (setting_up if eager else [*setting_up, "captured"])
    assert dict(runner.inputs) == {"x": TensorSpec((1, 3))}
    assert dict(runner.outputs) == {"y": TensorSpec((1, 3))}
    first = None
    for value in (1.0, 2.0):
        gpu.calls.clear()
        found = runner.run({"x": np.full((1, 3), value, np.float32)})["y"]
        assert np.array_equal(found, np.full((1, 3), -value, np.float32))
        assert gpu.calls == (["in", "network", "out", "wait"] if eager else ["launch", "wait"])
        assert first is None or found is first
        first = found
    with pytest.raises(RunnerError, match="lacks"):
        runner.run({})
    runner.close()
    runner.close()
    assert gpu.calls.count("close") + gpu.calls.count("close graph") == 1
    with pytest.raises(RunnerError, match="closed"):
        runner.run({"x": np.zeros((1, 3), np.float32)})


def test_a_resident_runner_moves_only_what_it_is_told_to() -> None:
    gpu = FakeGpu()
    runner = trt_runner.ResidentTrtRunner(gpu, gpu, gpu)
    runner.put({"x": np.full((1, 3), 2.0, np.float32)})
    gpu.calls.clear()
    runner.infer()
    runner.carry("y", "x")
    runner.infer()
    assert gpu.calls == ["launch", "carried", "launch"]
    assert np.array_equal(runner.read("y"), np.full((1, 3), 2.0, np.float32))
    assert gpu.calls[3:] == ["out", "wait"]
    with pytest.raises(RunnerError, match="unknown"):
        runner.put({"z": np.zeros((1, 3), np.float32)})
    runner.close()
    for late in (runner.infer, lambda: runner.read("y"), lambda: runner.carry("y", "x")):
        with pytest.raises(RunnerError, match="closed"):
            late()


def test_a_context_that_cannot_be_made_is_refused() -> None:
    gpu = FakeGpu()
    gpu.create_execution_context = lambda: None  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(RunnerError, match="more GPU memory"):
        trt_runner.TrtRunner(gpu, gpu, gpu)


@pytest.mark.skipif(trt_build.no_gpu() is None, reason="this machine has a GPU")
def test_cuda_without_a_gpu_says_so() -> None:
    pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
    from engine.runners import cuda

    for attempt in (cuda.device, cuda.Cuda):
        with pytest.raises(RunnerError, match=r"CUDA says .*wanted an NVIDIA GPU and its driver"):
            attempt()


@pytest.mark.gpu
@pytest.mark.skipif(cannot_run("tensorrt-rtx") is not None, reason=str(cannot_run("tensorrt-rtx")))
def test_the_real_thing_agrees_with_onnx_runtime(presenter: Avatar) -> None:
    try:
        build_engine(presenter, "tensorrt-rtx", None)
    except (RunnerError, SettingsError) as error:
        pytest.skip(f"no engine for this GPU: {error}")
    runner, reason = choose_runner("tensorrt-rtx", presenter)
    assert "CUDA graph" in reason
    rng = np.random.default_rng(0)
    feed = {name: rng.random(spec.shape, np.float32) for name, spec in denoiser_inputs(256).items()}
    plain = {"denoiser-fp32.onnx": presenter.models["denoiser-fp32.onnx"]}
    wanted = choose_runner("onnx-cpu", replace(presenter, models=plain))[0]
    difference = runner.run(feed)["clean"] - wanted.run(feed)["clean"]
    assert 10 * np.log10(4.0 / np.mean(difference**2)) > 50
    runner.close()
