"""Base weights: a denoiser trained on rendered people who do not exist, from which every enrolment starts.

It has learnt what all people share (how a warped picture is mended where guidance and texture disagree), so
that a person's minutes go into what is theirs. One file serves every canvas size. Needs torch; knows nothing
of footage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from engine.errors import SettingsError
from engine.files import write_file
from engine.network.denoiser import GRID, Denoiser, DenoiserConfig
from engine.render.guidance import GUIDANCE_CHANNELS

BUNDLED, NONE = "bundled", "none"  # the weights that come with avatarcast; from scratch
_RECORD = "record"  # the array that holds the training record, as JSON


@dataclass(frozen=True, slots=True)
class BaseWeights:
    """name: as it was asked for; weights: by the names of `Denoiser`; record: how they came about."""

    name: str
    config: DenoiserConfig
    weights: dict[str, Tensor]
    record: dict[str, Any]

    def fitted(self, config: DenoiserConfig) -> dict[str, Tensor]:
        """The weights for a canvas of another size: the same function of the picture made smaller.

        Raises SettingsError when the networks differ in more than the canvas.
        """
        if {**config.to_dict(), "size": 0} != {**self.config.to_dict(), "size": 0}:
            raise SettingsError(
                f"--base {self.name}: its network is {self.config.to_dict()}; wanted {config.to_dict()}: "
                "give --base none, or base weights of this version"
            )
        before, after = self.config.size // GRID, config.size // GRID
        weights = dict(self.weights)
        weights["stem.weight"] = _resized_stem(weights["stem.weight"], before, after)
        for part in ("head.weight", "head.bias"):
            weights[part] = _resized_head(weights[part], before, after)
        return weights


def load_base(name: str) -> BaseWeights | None:
    """The base weights of that name: "bundled", "none" (gives None) or a file made by `save_base`.

    Raises SettingsError for a file that is not one.
    """
    if name == NONE:
        return None
    if name != BUNDLED:
        return _read(name, Path(name))
    with resources.as_file(resources.files("export") / "assets" / "base.npz") as path:
        return _read(name, path)


def starting_network(config: DenoiserConfig, base: BaseWeights | None) -> Denoiser:
    """An untrained denoiser: with the base weights, or random ones where there are none.

    Raises SettingsError when they are of another network.
    """
    torch.manual_seed(7)
    network = Denoiser(config)
    if base is not None:
        network.load_state_dict(base.fitted(config))
    return network


def save_base(path: Path, network: Denoiser, record: Mapping[str, Any]) -> None:
    """Writes one .npz of float16 arrays, all or nothing. Raises FileError."""
    arrays = {
        name: value.detach().cpu().numpy().astype(np.float16) for name, value in network.state_dict().items()
    }
    text = json.dumps({**record, "network": network.config.to_dict()})
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays, **{_RECORD: np.frombuffer(text.encode(), np.uint8)})
    write_file(path, buffer.getvalue(), shared=True)


def _read(name: str, path: Path) -> BaseWeights:
    try:
        with path.open("rb") as stream:  # NumPy leaves a file open that is not a zip
            data = np.load(stream, allow_pickle=False)
            arrays = {key: data[key] for key in data.files}
        record = json.loads(arrays.pop(_RECORD).tobytes())
        config = DenoiserConfig.from_dict(record["network"])
        weights = {key: torch.from_numpy(value.astype(np.float32)) for key, value in arrays.items()}
        Denoiser(config).load_state_dict(weights)
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        EOFError,
        BadZipFile,
        RuntimeError,
        AttributeError,
    ) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"--base {name}: not base weights ({reason}); "
            "give bundled, none, or a file made by avatarcast base"
        ) from None
    return BaseWeights(name, config, weights, record)


def _resized_stem(weight: Tensor, before: int, after: int) -> Tensor:
    """The 1x1 convolution over pixel-unshuffled input, so that each pixel counts as the mean of its cell."""
    pixels = 3 * before**2
    noisy, prior, guidance = weight[..., 0, 0].tensor_split((pixels, 2 * pixels), dim=1)
    parts = [
        _spread(noisy, 3, before, after),
        _spread(prior, 3, before, after),
        _spread(guidance, GUIDANCE_CHANNELS, before // 2, after // 2),
    ]
    return torch.cat(parts, dim=1)[..., None, None]


def _spread(weight: Tensor, channels: int, before: int, after: int) -> Tensor:
    """(O, C before**2) to (O, C after**2); the sum of the weights stays."""
    cells = weight.reshape(len(weight), channels, before, before)
    grown = torch.nn.functional.interpolate(cells, size=(after, after), mode="area")
    return (grown * (before / after) ** 2).reshape(len(weight), channels * after**2)


def _resized_head(value: Tensor, before: int, after: int) -> Tensor:
    """Each pixel of a cell gets what the pixel there got on the other canvas."""
    rest = value.shape[1:]
    cells = value.reshape(3, before, before, -1).permute(0, 3, 1, 2)
    grown = torch.nn.functional.interpolate(cells, size=(after, after), mode="area")
    return grown.permute(0, 2, 3, 1).reshape(3 * after**2, *rest)
