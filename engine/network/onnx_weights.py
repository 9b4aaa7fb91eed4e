"""Reads a denoiser's weights back out of its ONNX file, so that torch can run what was exported.

Needs torch. Knows nothing of avatars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from engine.errors import RunnerError, SettingsError
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.network.onnx_file import read_graph


def denoiser_from_onnx(model: bytes, shape: Mapping[str, Any]) -> Denoiser:
    """The torch denoiser whose weights `model` holds under their own names, as the exporter keeps them.

    shape: of `DenoiserConfig.to_dict`. Raises RunnerError when the model is not such a denoiser.
    """
    try:
        config = DenoiserConfig.from_dict(dict(shape))
        stored = read_graph(model).weights
        with torch.device("meta"):  # takes no memory, whatever the shape says
            wanted = Denoiser(config).state_dict()
        for name, values in wanted.items():
            if stored[name].shape != values.shape:
                raise ValueError(f"{name} is {stored[name].shape}; wanted {tuple(values.shape)}")
        network = Denoiser(config)
        network.load_state_dict({name: torch.from_numpy(stored[name].copy()) for name in wanted})
    except (KeyError, TypeError, ValueError, RuntimeError, RunnerError, SettingsError) as error:
        raise RunnerError(
            f"the ONNX network is not a denoiser of this version ({type(error).__name__}: {error}); "
            "use --runner onnx-cpu, or enrol again"
        ) from error
    return network.eval()
