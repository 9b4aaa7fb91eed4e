"""A network of half the size, made of the weights of the whole one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.network.contract import denoiser_inputs
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.network.onnx_file import read_graph
from export.convert.gate import held_out_frame
from export.convert.halved import halved
from export.convert.onnx_export import export_onnx
from export.convert.variants import convert
from tests.support.small_avatar import noise_avatar

SMALL = DenoiserConfig(size=512, widths=(8, 8, 8), middle_blocks=1)


def doubled(picture: Tensor) -> Tensor:
    return picture.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_it_changes_what_the_whole_one_changes_on_the_mean() -> None:
    torch.manual_seed(0)
    whole = Denoiser(SMALL)
    for parameter in whole.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.05)
    noisy, prior = torch.rand(2, 1, 3, 256, 256) * 2 - 1
    guidance, level = torch.rand(1, 8, 128, 128), torch.tensor([0.3])
    with torch.no_grad():
        wanted = whole(doubled(noisy), doubled(prior), doubled(guidance), level) - doubled(prior)
        found = halved(whole)(noisy, prior, guidance, level) - prior
    assert float(found.abs().mean()) > 0.01
    torch.testing.assert_close(found, F.avg_pool2d(wanted, 2), atol=1e-4, rtol=1e-4)


@pytest.mark.long
def test_int8_of_a_large_canvas_is_of_half_its_size() -> None:
    network = Denoiser(SMALL)
    example = {name: torch.zeros(spec.shape) for name, spec in denoiser_inputs(SMALL.size).items()}
    noise = noise_avatar(SMALL.size)
    avatar = replace(noise, models={"denoiser-fp32.onnx": export_onnx(network, example)})
    frames = [held_out_frame(key.rgb, key.landmarks) for key in noise.keyframes]
    variant = convert(avatar, network, "onnx-int8", frames)
    assert read_graph(variant.model).inputs == denoiser_inputs(SMALL.size // 2)
    assert variant.facts["inputs"]["prior"] == "float32 (1, 3, 256, 256)"
    assert variant.facts["held_out"]["sharpness_kept"] == pytest.approx(1.0, abs=0.02)
