"""One contract, every runner: the same tests over ONNX Runtime, torch and null; parity; the choice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.errors import RunnerError
from engine.network.contract import Array, NullRunner, Runner, TensorSpec, denoiser_inputs, denoiser_outputs
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.runners import choice, onnx_runner
from engine.runners.choice import choose_runner, default_threads
from engine.runners.onnx_runner import OnnxRunner
from engine.runners.torch_runner import TorchRunner
from export.convert.onnx_export import PARITY_BOUND, export_onnx, parity

SIZE = 64
INPUTS = denoiser_inputs(SIZE)


class TinyDenoiser(nn.Module):
    """All that the real one is made of, small: pixel (un)shuffle, FiLM, group norm, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = nn.Conv2d(2 * 3 * 16 + 8 * 4, 16, 3, padding=1)
        self.norm = nn.GroupNorm(4, 16)
        self.film = nn.Linear(1, 32)
        self.exit = nn.Conv2d(16, 3 * 16, 3, padding=1)

    def forward(
        self, noisy: torch.Tensor, prior: torch.Tensor, guidance: torch.Tensor, noise_level: torch.Tensor
    ) -> torch.Tensor:
        cells = [nn.functional.pixel_unshuffle(x, f) for x, f in ((noisy, 4), (prior, 4), (guidance, 2))]
        x = self.norm(self.entry(torch.cat(cells, 1)))
        scale, shift = self.film(noise_level[:, None]).chunk(2, dim=1)
        x = nn.functional.silu(x * (1 + scale[..., None, None]) + shift[..., None, None])
        tokens = x.flatten(2).transpose(1, 2)[:, None]  # one head
        tokens = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        x = x + tokens[:, 0].transpose(1, 2).reshape(x.shape)
        return prior + nn.functional.pixel_shuffle(self.exit(x), 4).tanh()


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(3)
    return TinyDenoiser().eval()


@pytest.fixture(scope="module")
def model(module: nn.Module) -> bytes:
    return export_onnx(module, {name: torch.zeros(spec.shape) for name, spec in INPUTS.items()})


@pytest.fixture
def avatar(avatar_file: Path, model: bytes) -> Avatar:
    return replace(load_avatar(avatar_file), models={"denoiser-fp32.onnx": model})


def make_feed(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0, 1, spec.shape).astype(np.float32) for name, spec in INPUTS.items()}


@pytest.fixture(params=["onnx-cpu", "torch", "null"])
def runner(request: pytest.FixtureRequest, module: nn.Module, model: bytes) -> Runner:
    make: Mapping[str, Callable[[], Runner]] = {
        "onnx-cpu": lambda: OnnxRunner(model, threads=1),
        "torch": lambda: TorchRunner(module, INPUTS),
        "null": lambda: NullRunner(INPUTS, denoiser_outputs(SIZE)),
    }
    return make[request.param]()


def test_specs(runner: Runner) -> None:
    assert dict(runner.inputs) == dict(INPUTS)
    assert list(runner.inputs) == list(INPUTS)
    assert dict(runner.outputs) == dict(denoiser_outputs(SIZE))


def test_run_gives_the_promised_tensors_in_the_same_buffers(runner: Runner) -> None:
    first = runner.run(make_feed(0))
    kept = first["clean"].copy()
    second = runner.run(make_feed(1))
    assert second["clean"] is first["clean"]
    assert second["clean"].shape == (1, 3, SIZE, SIZE)
    assert second["clean"].dtype == np.float32
    assert not np.array_equal(kept, second["clean"])
    assert np.array_equal(kept, runner.run(make_feed(0))["clean"])  # and the same feed gives the same result


def test_the_feed_is_copied_and_may_be_strided(runner: Runner) -> None:
    feed = make_feed()
    want = runner.run(feed)["clean"].copy()
    strided = {
        name: np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim == 4 else array
        for name, array in feed.items()
    }
    assert not strided["prior"].flags.c_contiguous
    assert np.array_equal(runner.run(strided)["clean"], want)
    frozen = {name: array.copy() for name, array in feed.items()}
    for array in frozen.values():
        array.flags.writeable = False
    assert np.array_equal(runner.run(frozen)["clean"], want)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prior": None}, r"lacks \['prior'\]"),
        ({"extra": np.zeros(1, np.float32)}, r"unknown \['extra'\]"),
        (
            {"prior": np.zeros((1, 3, 32, 32), np.float32)},
            r"prior is float32 \(1, 3, 32, 32\); wanted float32 \(1",
        ),
        ({"prior": np.zeros((1, 3, SIZE, SIZE))}, "prior is float64"),
    ],
)
def test_a_wrong_feed(runner: Runner, change: dict[str, Any], complaint: str) -> None:
    feed = {name: array for name, array in {**make_feed(), **change}.items() if array is not None}
    with pytest.raises(RunnerError, match=complaint):
        runner.run(feed)


def test_a_closed_runner(runner: Runner) -> None:
    runner.close()
    runner.close()
    with pytest.raises(RunnerError, match="closed"):
        runner.run(make_feed())


def test_contract_and_network_agree() -> None:
    assert list(signature(Denoiser.forward).parameters)[1:] == list(denoiser_inputs(256))


def test_null_passes_the_prior_through_or_zeros() -> None:
    feed = make_feed()
    assert np.array_equal(NullRunner(INPUTS, denoiser_outputs(SIZE)).run(feed)["clean"], feed["prior"])
    other = NullRunner(INPUTS, {"score": TensorSpec((2,))}).run(feed)["score"]
    assert np.array_equal(other, np.zeros(2, np.float32))


def test_specs_are_fixed_lengths() -> None:
    with pytest.raises(RunnerError, match="fixed lengths"):
        TensorSpec((1, -1))


def test_parity_of_torch_and_onnx(module: nn.Module, model: bytes) -> None:
    report = parity(module, model, [make_feed(seed) for seed in range(4)])
    assert report.max_abs_error < PARITY_BOUND
    assert report.psnr_db > 80
    assert report.feeds == 4


def test_parity_refuses_another_network(model: bytes) -> None:
    torch.manual_seed(4)
    with pytest.raises(RunnerError, match=r"differs from torch by .* wanted at most 1e-03"):
        parity(TinyDenoiser(), model, [make_feed()])
    with pytest.raises(RunnerError, match="at least one"):
        parity(TinyDenoiser(), model, [])


def test_parity_refuses_values_that_are_not_finite(module: nn.Module, model: bytes) -> None:
    feed = make_feed()
    feed["prior"][0, 0, 0, 0] = np.nan
    with pytest.raises(RunnerError, match="by inf"):
        parity(module, model, [feed])


def test_export_is_quiet_and_leaves_the_module_as_it_was(
    module: nn.Module, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    twin = TinyDenoiser().train()
    export_onnx(twin, {name: torch.zeros(spec.shape) for name, spec in INPUTS.items()})
    assert twin.training
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


@pytest.mark.filterwarnings("ignore")  # the exporter's notes on the module it cannot trace
def test_export_of_a_module_that_depends_on_data() -> None:
    class Branches(nn.Module):
        def forward(self, noisy: torch.Tensor) -> torch.Tensor:
            return noisy if noisy.sum() > 0 else -noisy

    with pytest.raises(RunnerError, match="cannot export the network"):
        export_onnx(Branches(), {"noisy": torch.zeros(1, 3)})


@pytest.mark.parametrize("data", [b"", b"not a network", bytes(1000)])
def test_a_broken_network(data: bytes) -> None:
    with pytest.raises(RunnerError, match="cannot load the network") as caught:
        OnnxRunner(data)
    assert "\n" not in str(caught.value)


def test_an_unknown_provider(model: bytes) -> None:
    with pytest.raises(RunnerError, match="provider is 'tpu'; wanted one of cpu, cuda"):
        OnnxRunner(model, provider="tpu")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_cuda_says_what_to_install(avatar: Avatar) -> None:
    with pytest.raises(RunnerError, match=r"avatarcast\[gpu\]"):
        choose_runner("onnx-cuda", avatar)


def test_torch_without_a_gpu(module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunnerError, match="sees no CUDA device"):
        TorchRunner(module, INPUTS, device="cuda")


def test_the_choice_says_why(avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, reason = choose_runner("onnx-cpu", avatar, threads=1)
    assert isinstance(runner, OnnxRunner)
    assert reason.startswith("onnx-cpu (asked for): denoiser-fp32.onnx in onnxruntime ")
    assert choose_runner("null", avatar)[1].startswith("null (asked for)")
    monkeypatch.setattr(
        onnx_runner, "unavailable", lambda provider: "no GPU here" if provider == "cuda" else None
    )
    runner, reason = choose_runner("auto", avatar)
    assert isinstance(runner, OnnxRunner)
    assert reason.startswith("onnx-cpu: denoiser-fp32.onnx in onnxruntime")
    assert reason.endswith("; onnx-cuda unavailable: no GPU here")


def test_the_quantised_network_goes_first_on_a_cpu(avatar: Avatar, model: bytes) -> None:
    both = replace(avatar, models={**avatar.models, "denoiser-int8.onnx": model})
    assert "denoiser-int8.onnx" in choose_runner("onnx-cpu", both, threads=1)[1]


def test_torch_reads_the_weights_back_from_onnx(avatar: Avatar) -> None:
    shape = DenoiserConfig(128, (8, 8, 8), 1)
    network = Denoiser(shape)
    for parameter in network.parameters():  # as after training: the exporter merges tensors that are equal
        torch.nn.init.normal_(parameter, std=0.1)
    feed = {
        name: np.random.default_rng(3).random(spec.shape, np.float32)
        for name, spec in denoiser_inputs(128).items()
    }
    exported = export_onnx(network, {name: torch.from_numpy(array) for name, array in feed.items()})
    packed = replace(
        avatar,
        size=128,
        models={"denoiser-fp32.onnx": exported},
        training={"network": shape.to_dict()},
    )
    runner, reason = choose_runner("torch", packed)
    assert reason.startswith("torch (asked for): torch ")
    with torch.inference_mode():
        wanted = network.eval()(*(torch.from_numpy(array) for array in feed.values())).numpy()
    np.testing.assert_allclose(runner.run(feed)["clean"], wanted, atol=1e-6)
    with pytest.raises(RunnerError, match="not a denoiser of this version"):
        choose_runner("torch", replace(packed, models={"denoiser-fp32.onnx": b"not a network"}))


def test_choices_that_cannot_be(avatar: Avatar) -> None:
    for name, threads, complaint in [
        ("tpu", 0, "runner is 'tpu'; wanted one of auto, onnx-cpu"),
        ("onnx-cpu", -1, "threads is -1"),
        ("torch", 0, r"the torch runner wanted denoiser-fp32\.onnx and its shape"),
    ]:
        with pytest.raises(RunnerError, match=complaint):
            choose_runner(name, avatar, threads)
    empty = replace(avatar, models={})
    with pytest.raises(RunnerError, match=r"holds no networks; onnx-cpu wanted denoiser-int8\.onnx or"):
        choose_runner("onnx-cpu", empty)
    with pytest.raises(
        RunnerError, match=r"no runner can start: onnx-cuda unavailable: .*; onnx-cpu unavailable: "
    ):
        choose_runner("auto", empty)


@pytest.mark.parametrize(("package", "name"), [("onnxruntime", "onnx-cpu"), ("torch", "torch")])
def test_a_missing_backend(avatar: Avatar, monkeypatch: pytest.MonkeyPatch, package: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RunnerError, match=rf"{package} does not load .*pip install 'avatarcast\["):
        choose_runner(name, avatar)
    assert choice.unavailable("null") is None


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (3, 2), (4, 2), (8, 6), (64, 8)])
def test_default_threads(cores: int, threads: int) -> None:
    assert default_threads(cores) == threads


def test_buffers_on_a_device_keep_their_place(model: bytes) -> None:
    """The path that a GPU takes, on the device that every machine has."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    buffers = onnx_runner.DeviceBuffers(session, INPUTS, denoiser_outputs(SIZE), "cpu")
    wanted = OnnxRunner(model, threads=1)
    kept = buffers.read("clean")
    for seed in range(3):
        feed = make_feed(seed)
        buffers.put({**feed, "prior": np.asfortranarray(feed["prior"])})
        session.run_with_iobinding(buffers.binding)
        assert buffers.read("clean") is kept
        np.testing.assert_allclose(kept, wanted.run(feed)["clean"], atol=1e-6)


def test_a_network_that_no_cuda_graph_takes_runs_without_and_says_so(
    avatar: Avatar, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bool] = []

    def start(model: bytes, provider: str, threads: int, eager: bool = False) -> Any:
        tried.append(eager)
        if not eager:
            raise RunnerError("a part must run on the CPU")
        return NullRunner(INPUTS, denoiser_outputs(SIZE))

    monkeypatch.setattr(onnx_runner, "unavailable", lambda provider: None)
    monkeypatch.setattr(onnx_runner, "OnnxRunner", start)
    reason = choose_runner("onnx-cuda", avatar)[1]
    assert tried == [False, True]
    assert reason.endswith("without a CUDA graph (a part must run on the CPU)")


@pytest.mark.gpu
@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="this onnxruntime has no CUDA",
)
@pytest.mark.parametrize("eager", [False, True])
def test_cuda_agrees_with_the_cpu(model: bytes, eager: bool) -> None:
    wanted, runner = OnnxRunner(model), OnnxRunner(model, "cuda", eager=eager)
    for seed in range(3):
        feed = make_feed(seed)
        np.testing.assert_allclose(runner.run(feed)["clean"], wanted.run(feed)["clean"], atol=2e-3)


def test_an_output_does_not_grow_memory(model: bytes) -> None:
    """A binding per frame would leak about 50 kB each; the buffers must be the ones bound at the start."""
    runner = OnnxRunner(model, threads=1)
    addresses = {runner.run(make_feed(seed))["clean"].ctypes.data for seed in range(20)}
    assert len(addresses) == 1
