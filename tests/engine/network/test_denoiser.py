"""The denoiser: shapes, its start as the identity on the prior, its cost, and what it becomes in ONNX."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from engine.errors import SettingsError
from engine.network.contract import denoiser_inputs
from engine.network.denoiser import Denoiser, DenoiserConfig
from export.convert.onnx_export import export_onnx, parity

TINY = (8, 8, 8)


def network(size: int, widths: tuple[int, int, int] = TINY, perturbed: bool = True) -> Denoiser:
    """A network of random weights; as made, its head and modulation are zero."""
    torch.manual_seed(3)
    module = Denoiser(DenoiserConfig(size, widths, 1)).eval()
    if perturbed:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
    return module


def feed(size: int, seed: int = 0, batch: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand((batch, *spec.shape[1:]), generator=generator)
        for name, spec in denoiser_inputs(size).items()
    }


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("batch", [1, 3])
def test_shapes(size: int, batch: int) -> None:
    with torch.inference_mode():
        clean = network(size)(*feed(size, batch=batch).values())
    assert clean.shape == (batch, 3, size, size)
    assert clean.dtype == torch.float32
    assert torch.isfinite(clean).all()


@pytest.mark.parametrize("size", [128, 256])
def test_untrained_it_gives_the_prior(size: int) -> None:
    inputs = feed(size)
    with torch.inference_mode():
        clean = network(size, perturbed=False)(*inputs.values())
    assert torch.equal(clean, inputs["prior"])


@pytest.mark.parametrize("name", ["noisy", "prior", "guidance", "noise_level"])
def test_every_input_matters(name: str) -> None:
    module, inputs = network(128), feed(128)
    with torch.inference_mode():
        before = module(*inputs.values())
        inputs[name] = inputs[name] * 0.5
        after = module(*inputs.values())
    assert float((after - before).abs().mean()) > 1e-4


def test_noise_levels_are_told_apart() -> None:
    """Steady, start and refining levels: each gives the network something else to go by."""
    module, inputs = network(128), feed(128)
    pictures = []
    with torch.inference_mode():
        for level in (0.08, 0.15, 0.3, 1.0):
            pictures.append(module(*{**inputs, "noise_level": torch.tensor([level])}.values()))
    for index, one in enumerate(pictures):
        for other in pictures[index + 1 :]:
            assert float((one - other).abs().max()) > 1e-3


def test_samples_of_a_batch_do_not_mix() -> None:
    module, inputs = network(128), feed(128, batch=3)
    with torch.inference_mode():
        together = module(*inputs.values())
        alone = module(*(tensor[1:2] for tensor in inputs.values()))
    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_every_weight_is_trained() -> None:
    module = network(128).train()
    module(*feed(128).values()).square().mean().backward()
    without = [name for name, weight in module.named_parameters() if weight.grad is None]
    assert not without
    assert all(float(w.grad.abs().max()) > 0 for w in module.parameters() if w.grad is not None)


@pytest.mark.parametrize(("size", "bound"), [(256, 2.0), (512, 2.5)])
def test_the_default_network_is_small_enough_for_two_cores(size: int, bound: float) -> None:
    """At 85 GFLOP/s per core, 2 GMAC take 47 ms of the 80 ms of CPU time that a frame has."""
    module = Denoiser(DenoiserConfig(size)).eval()
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        module(*feed(size).values())
    assert counter.get_total_flops() / 2 / 1e9 < bound


@pytest.mark.parametrize("size", [128, 256])
def test_onnx_gives_the_same_picture(size: int) -> None:
    module = network(size)
    model = export_onnx(module, feed(size))
    feeds = [{name: tensor.numpy() for name, tensor in feed(size, seed).items()} for seed in (1, 2)]
    feeds.append({**feeds[0], "noise_level": np.ones(1, np.float32)})
    report = parity(module, model, feeds)
    assert report.max_abs_error < 2e-4
    assert report.feeds == 3


@pytest.mark.parametrize("size", [0, 64, 192, 200, 250])
def test_odd_sizes_are_refused(size: int) -> None:
    with pytest.raises(SettingsError, match=f"size={size}: must be a multiple of 128"):
        DenoiserConfig(size)


def test_the_shape_survives_storing() -> None:
    config = DenoiserConfig(512, (16, 24, 32), 2)
    assert DenoiserConfig.from_dict(config.to_dict()) == config
    with pytest.raises(TypeError):
        DenoiserConfig.from_dict({**config.to_dict(), "depth": 3})
