"""Reads a denoiser's weights back out of its ONNX file, so that torch can run what was exported.

Needs onnx and torch. Knows nothing of avatars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
import torch
from google.protobuf.message import DecodeError

from engine.errors import RunnerError
from engine.network.denoiser import Denoiser, DenoiserConfig


def denoiser_from_onnx(model: bytes, shape: Mapping[str, Any]) -> Denoiser:
    """The torch denoiser whose weights `model` holds under their own names, as the exporter keeps them.

    shape: of `DenoiserConfig.to_dict`. Raises RunnerError when the model is not such a denoiser.
    """
    try:
        network = Denoiser(DenoiserConfig.from_dict(dict(shape)))
        initializers = {tensor.name: tensor for tensor in onnx.load_from_string(model).graph.initializer}
        weights = {
            name: torch.from_numpy(onnx.numpy_helper.to_array(initializers[name]).copy())
            for name in network.state_dict()
        }
        network.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError, DecodeError) as error:
        raise RunnerError(
            f"the ONNX network is no denoiser of this version ({type(error).__name__}: {error}); "
            "use --runner onnx-cpu, or enrol again"
        ) from error
    return network.eval()
