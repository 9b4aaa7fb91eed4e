"""Trains the base: what is said, and what lips do for it by rule, in the middle of all virtual speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from engine.arrays import FloatArray
from engine.voice.base import AROUND, LIP_NUMBERS, SHAPES, Base, around, edged
from engine.voice.motion_code import LIP_GAP
from export.voice.virtual import HEARD, Spoken, Way, lips_of, shapes_of

HIDDEN = (128, 64)
EPOCHS = 5
_BATCH, _RATE = 256, 2e-3
_DROPPED, _DECAY = 0.3, 3e-2
_HELD_OUT = 0.1


@dataclass(frozen=True, slots=True)
class BaseRecord:
    """How the base came about."""

    rows: int  # that it was trained on, of HEARD versions each
    recordings: int
    held_out_correlation: float  # of the gap between the lips, by rule, of recordings that were held out


def train_base(spoken: Sequence[Spoken], seed: int = 0) -> tuple[dict[str, FloatArray], BaseRecord]:
    """Weights as engine.voice.base reads them. A minute on one core."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    held = max(1, int(_HELD_OUT * len(spoken)))
    usual = Way.usual()
    both = [
        np.column_stack([lips_of(one, usual), shapes_of(one, usual)]).astype(np.float32) for one in spoken
    ]
    used = [(one, told) for one, told in zip(spoken[held:], both[held:], strict=True)]
    heard = np.concatenate([_heard(one, k) for one, _ in used for k in range(HEARD)])
    wanted = np.concatenate([told[one.known] for one, told in used for _ in range(HEARD)])
    mean, scale = heard.mean(0), heard.std(0) + 0.1
    middle, spread = wanted.mean(0), wanted.std(0) + 1e-4
    wanted = (wanted - middle) / spread
    net = nn.Sequential(
        nn.Linear(AROUND, HIDDEN[0]), nn.SiLU(), nn.Dropout(_DROPPED),
        nn.Linear(HIDDEN[0], HIDDEN[1]), nn.SiLU(),
        nn.Linear(HIDDEN[1], LIP_NUMBERS + SHAPES),
    )  # fmt: skip
    weigh = _weights()
    optimiser = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=_DECAY)
    steps = EPOCHS * (len(heard) // _BATCH)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * max(0.02, 1.0 - step / steps)
        chosen = rng.integers(0, len(heard), _BATCH)
        given = torch.from_numpy((heard[chosen] - mean) / scale)
        loss = ((net(given) - torch.from_numpy(wanted[chosen])) ** 2 * weigh).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    arrays = {"mean": mean, "scale": scale}
    for number, layer in enumerate(layer for layer in net if isinstance(layer, nn.Linear)):
        arrays[f"{number}.weight"] = layer.weight.detach().numpy().T.copy()
        arrays[f"{number}.bias"] = layer.bias.detach().numpy().copy()
    # Lips as they are, shapes as they were trained.
    arrays["2.weight"][:, :LIP_NUMBERS] *= spread[:LIP_NUMBERS]
    arrays["2.bias"][:LIP_NUMBERS] = (
        arrays["2.bias"][:LIP_NUMBERS] * spread[:LIP_NUMBERS] + middle[:LIP_NUMBERS]
    )
    kept_back = list(zip(spoken[:held], both[:held], strict=True))
    told, _ = Base(arrays)(np.concatenate([_heard(one, 0) for one, _ in kept_back]))
    truth = np.concatenate([lip[one.known] for one, lip in kept_back])
    found = float(np.corrcoef(told[:, LIP_GAP], truth[:, LIP_GAP])[0, 1])
    return arrays, BaseRecord(len(heard) // HEARD, len(used), found)


def _heard(one: Spoken, version: int) -> FloatArray:
    """(k, AROUND) of the known rows."""
    return np.asarray(around(edged(one.rows[version].astype(np.float32)))[one.known], np.float32)


def _weights() -> Tensor:
    """(LIP_NUMBERS + SHAPES,): the components count together as much as the gap alone, and as the shapes."""
    weigh = torch.full((LIP_NUMBERS + SHAPES,), 1.0 / (LIP_NUMBERS - 1))
    weigh[LIP_GAP] = 1.0
    weigh[LIP_NUMBERS:] = 1.0 / SHAPES
    return weigh
