"""Trains the sync expert: sound and mouths of virtual speakers, a moment told from others around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engine.arrays import DoubleArray, FloatArray
from engine.voice.expert import MOUTH_NUMBERS, WINDOW
from engine.voice.features import ROW
from export.voice.virtual import HEARD, Spoken, Way, lips_of

STEPS = 400
EMBEDDED = 32
_HIDDEN = {"sound": 96, "mouth": 64}
_TAPS = (5, 5, 3, 1)
_RATE, _DECAY, _DROPPED = 2e-3, 3e-2, 0.2
_UTTERANCES, _MOMENTS, _OTHERS = 6, 12, 16  # a step: utterances, moments in each, other moments beside each
_APART, _REACH = 3, 28  # rows between a moment and others, at least and at most
_LEAD_S = (0.04, 0.08)  # of lips before the sound: what the expert takes for in time
_HELD_OUT = 20  # recordings


@dataclass(frozen=True, slots=True)
class ExpertRecord:
    """How the expert came about."""

    steps: int
    seconds: float
    recordings: int
    held_out_first: float  # of moments of recordings that were held out: found among 8 others


class _Tower(nn.Module):
    """See engine.voice.expert, which runs it."""

    def __init__(self, numbers: int, hidden: int) -> None:
        super().__init__()
        sizes = (numbers, hidden, hidden, hidden, EMBEDDED)
        self.layers = nn.ModuleList(
            nn.Conv1d(into, out, taps, padding=taps // 2)
            for into, out, taps in zip(sizes, sizes[1:], _TAPS, strict=False)
        )
        self.dropped = nn.Dropout(_DROPPED)

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, numbers); (n, EMBEDDED)."""
        x = x.T[None]
        for number, layer in enumerate(self.layers):
            x = layer(x if number == 0 else functional.silu(x))
            if number in (0, 1):
                x = self.dropped(x)
        out: Tensor = x[0].T
        return out


def train_expert(
    spoken: Sequence[Spoken], steps: int, told: Callable[[int, int], None], seed: int = 0
) -> tuple[dict[str, FloatArray], ExpertRecord]:
    """Weights as engine.voice.expert reads them. A minute or two on one core for STEPS."""
    torch.manual_seed(seed)
    rng, started = np.random.default_rng(seed), time.process_time()
    spoken = [one for one in spoken if len(_moments(one))]
    held, used = spoken[:_HELD_OUT], spoken[_HELD_OUT:]
    rows = np.concatenate([one.rows[0][one.known] for one in used]).astype(np.float32)
    mean, scale = rows.mean(0), rows.std(0) + 0.1
    towers = {
        "sound": _Tower(ROW, _HIDDEN["sound"]),
        "mouth": _Tower(len(MOUTH_NUMBERS), _HIDDEN["mouth"]),
    }
    sharpness = nn.Parameter(torch.tensor(1.5))
    parameters = [sharpness, *(one for tower in towers.values() for one in tower.parameters())]
    optimiser = torch.optim.AdamW(parameters, _RATE, weight_decay=_DECAY)

    def alike(one: Spoken, others: int) -> Tensor:
        """(_MOMENTS, 1 + others): how a mouth goes with its moment, and with others."""
        heard = (one.rows[rng.integers(HEARD)].astype(np.float32) - mean) / scale
        mouth = towers["mouth"](torch.from_numpy(_mouth(one, rng)))
        at = rng.choice(_moments(one), _MOMENTS)
        by = rng.integers(_APART, _REACH + 1, (_MOMENTS, others)) * rng.choice([-1, 1], (_MOMENTS, others))
        shifts = np.column_stack([np.zeros(_MOMENTS, int), by])
        return _alike(towers["sound"](torch.from_numpy(heard)), mouth, at, shifts)

    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, (step + 1) / 100) * max(0.02, 1.0 - step / steps)
        loss = torch.zeros(())
        for number in rng.integers(len(used), size=_UTTERANCES):
            scores = sharpness.exp() * alike(used[number], _OTHERS)
            loss = loss + functional.cross_entropy(scores, torch.zeros(_MOMENTS, dtype=torch.long))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        told(step + 1, steps)
    for tower in towers.values():
        tower.eval()
    with torch.no_grad():
        found = [float((alike(one, 8).argmax(1) == 0).float().mean()) for one in held]
    weights = {"mean": mean, "scale": scale}
    for name, tower in towers.items():
        for key, value in tower.state_dict().items():  # layers.0.weight, ...
            weights[f"{name}.{key.removeprefix('layers.')}"] = value.numpy().T.copy()
    return weights, ExpertRecord(steps, time.process_time() - started, len(used), float(np.mean(found)))


def _moments(one: Spoken) -> NDArray[np.int64]:
    """(k,) rows at which a window may begin, so that all others that it is compared with are known too."""
    known = np.flatnonzero(one.known)
    begin, end = (known[0] + _REACH, known[-1] - WINDOW - _REACH) if len(known) else (0, 0)
    return np.arange(begin, end, dtype=np.int64)


def _alike(sound: Tensor, mouth: Tensor, at: NDArray[np.int64], by: NDArray[np.int64]) -> Tensor:
    """(m, s) -1..1: windows of the sound at `at` (m,), beside those of the mouth, `by` (m, s) rows later."""
    window = np.arange(WINDOW)
    heard = sound[at[:, None] + window]
    seen = mouth[(at[:, None] + by)[..., None] + window]
    heard, seen = heard - heard.mean(-2, keepdim=True), seen - seen.mean(-2, keepdim=True)
    sizes = heard.flatten(1).norm(dim=1)[:, None] * seen.flatten(2).norm(dim=2)
    alike: Tensor = torch.einsum("mte,mste->ms", heard, seen) / (sizes + 1e-6)
    return alike


def _mouth(one: Spoken, rng: np.random.Generator) -> FloatArray:
    """(n, numbers) as `engine.voice.expert.levelled` has them, as if tracked, of nobody in particular."""
    way = replace(Way.drawn(rng), lead_s=float(rng.uniform(*_LEAD_S)))
    moves = _even(lips_of(one, way)[:, MOUTH_NUMBERS])
    count, numbers = moves.shape
    gap = moves[:, 0] - moves[:, 0].min()
    moves[:, 0] = gap ** rng.uniform(0.7, 1.4)  # one opens wide at once, one at last
    moves = _even(moves)
    moves[:, 1:] = moves[:, 1:] @ (np.eye(numbers - 1) + rng.normal(0.0, 0.35, (numbers - 1, numbers - 1)))
    for rows, most in ((rng.uniform(8.0, 30.0), 0.8), (rng.uniform(1.5, 4.0), 0.6)):  # moods, other motion
        moves += _noise(count, numbers, rows, rng) * rng.uniform(0.0, most, numbers)
    moves = _even(moves + rng.normal(size=moves.shape) * rng.uniform(0.0, 0.4))
    lost = rng.random(numbers) < 0.35
    lost[0] = rng.random() < 0.15
    moves[:, lost] = _noise(count, int(lost.sum()), 3.0, rng)
    return moves.astype(np.float32)


def _even(moves: DoubleArray | FloatArray) -> DoubleArray:
    return np.asarray((moves - moves.mean(0)) / (moves.std(0) + 1e-4), np.float64)


def _noise(count: int, numbers: int, sigma: float, rng: np.random.Generator) -> DoubleArray:
    """(count, numbers) smooth over `sigma` rows, each of variance 1."""
    if not numbers:
        return np.zeros((count, 0))
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    drawn = rng.normal(size=(numbers, count + 2 * reach))
    return _even(np.stack([np.convolve(one, kernel, "valid") for one in drawn], 1))
