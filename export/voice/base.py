"""Trains the base: what lips do for what is heard, by rule, in the middle of all virtual speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from engine.arrays import FloatArray
from engine.voice.base import AROUND, LIP_NUMBERS, around, edged
from engine.voice.motion_code import LIP_GAP
from export.voice.virtual import HEARD, Spoken, Way, lips_of

HIDDEN = (128, 64)
EPOCHS = 8
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
    lips = [lips_of(one, Way.usual()) for one in spoken]
    used = [(one, told) for one, told in zip(spoken[held:], lips[held:], strict=True)]
    heard = np.concatenate([_heard(one, k) for one, _ in used for k in range(HEARD)])
    wanted = np.concatenate([told[one.known] for one, told in used for _ in range(HEARD)])
    mean, scale = heard.mean(0), heard.std(0) + 0.1
    net = nn.Sequential(
        nn.Linear(AROUND, HIDDEN[0]), nn.SiLU(), nn.Dropout(_DROPPED),
        nn.Linear(HIDDEN[0], HIDDEN[1]), nn.SiLU(),
        nn.Linear(HIDDEN[1], LIP_NUMBERS),
    )  # fmt: skip
    weigh = _weights(wanted)
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
    kept_back = list(zip(spoken[:held], lips[:held], strict=True))
    with torch.no_grad():
        told = net(
            torch.from_numpy((np.concatenate([_heard(one, 0) for one, _ in kept_back]) - mean) / scale)
        )
    truth = np.concatenate([lip[one.known] for one, lip in kept_back])
    found = float(np.corrcoef(told[:, LIP_GAP].numpy(), truth[:, LIP_GAP])[0, 1])
    return arrays, BaseRecord(len(heard) // HEARD, len(used), found)


def _heard(one: Spoken, version: int) -> FloatArray:
    """(k, AROUND) of the known rows."""
    return np.asarray(around(edged(one.rows[version].astype(np.float32)))[one.known], np.float32)


def _weights(lips: FloatArray) -> Tensor:
    """(22,): the components count together as much as the gap alone."""
    variance = lips.var(0)
    others = float(variance.sum() - variance[LIP_GAP])
    weigh: Tensor = torch.full((LIP_NUMBERS,), 1.0 / others)
    weigh[LIP_GAP] = 1.0 / float(variance[LIP_GAP])
    return weigh
