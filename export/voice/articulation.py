"""What lips and jaw do for the sounds of speech: phones to viseme and jaw curves. Knows only numpy.

Each phone holds its shape around its middle and blends into its neighbours; lips that must meet (B, M, P) or
touch the teeth (F, V) do so on a frame of their own, however short the sound is. Lips are ahead of the sound:
a shape is formed LEAD_S before it is heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.arrays import DoubleArray

# What lips and tongue do for a sound, as in the Oculus viseme set; "sil" moves nothing.
VISEMES: tuple[str, ...] = (
    "aa", "E", "I", "O", "U", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "sil",
)  # fmt: skip

FINE_RATE_HZ = 120
LEAD_S = 0.06  # real lips are best explained 0.04 to 0.08 s before what is heard
BLEND_S = 0.034  # Gaussian sigma with which a shape passes into the next
SHAPE_GAIN = 1.15  # makes up for what the blending takes from short sounds
CONTACT_S = 0.06  # the shortest lip contact: about one frame
DIPHTHONG_TURN = 0.55  # share of a diphthong after which its second vowel is formed

Shape = dict[str, float]

CONTACTS: dict[str, Shape] = {phone: {"PP": 1.0} for phone in ("B", "M", "P")} | {
    phone: {"FF": 0.95} for phone in ("F", "V")
}
# CMU phones -> shapes in the order in which they are formed
SHAPES: dict[str, tuple[Shape, ...]] = {
    "AA": ({"aa": 0.95},), "AE": ({"aa": 0.6, "E": 0.4},), "AH": ({"aa": 0.5, "E": 0.3},),
    "AO": ({"O": 0.9},), "AW": ({"aa": 0.9}, {"O": 0.4, "U": 0.5}), "AY": ({"aa": 0.9}, {"I": 0.8}),
    "EH": ({"E": 0.85},), "ER": ({"RR": 0.7, "E": 0.25},), "EY": ({"E": 0.85}, {"I": 0.8}),
    "IH": ({"I": 0.75},), "IY": ({"I": 0.9},), "OW": ({"O": 0.95}, {"U": 0.85}),
    "OY": ({"O": 0.95}, {"I": 0.8}), "UH": ({"U": 0.75},), "UW": ({"U": 0.95},), "W": ({"U": 1.0},),
    "Y": ({"I": 0.8},), "CH": ({"CH": 0.9},), "JH": ({"CH": 0.9},), "SH": ({"CH": 0.95},),
    "ZH": ({"CH": 0.9},), "D": ({"DD": 0.8},), "T": ({"DD": 0.8},), "DH": ({"TH": 0.8},),
    "TH": ({"TH": 0.95},), "G": ({"kk": 0.8},), "K": ({"kk": 0.8},), "HH": ({"kk": 0.4, "aa": 0.2},),
    "NG": ({"kk": 0.4, "nn": 0.5},), "L": ({"nn": 0.8},), "N": ({"nn": 0.8},), "R": ({"RR": 0.85},),
    "S": ({"SS": 0.85},), "Z": ({"SS": 0.85},),
}  # fmt: skip
JAW: dict[str, float] = {
    "AA": 0.32, "AE": 0.3, "AH": 0.2, "AO": 0.26, "AW": 0.3, "AY": 0.3, "EH": 0.22, "ER": 0.13, "EY": 0.18,
    "IH": 0.13, "IY": 0.1, "OW": 0.2, "OY": 0.22, "UH": 0.13, "UW": 0.1, "HH": 0.12, "L": 0.1, "K": 0.08,
    "G": 0.08, "R": 0.07, "N": 0.06, "T": 0.05, "D": 0.05, "DH": 0.07, "TH": 0.07, "Y": 0.08, "W": 0.05,
}  # fmt: skip


@dataclass(frozen=True)
class Phone:
    """One sound of speech: its CMU name without stress ("AA", "B", ..., "SIL") and when it is heard."""

    name: str
    start_s: float
    end_s: float
    loudness: float = 1.0  # of the median phone


def articulate(
    phones: Sequence[Phone], times_s: DoubleArray, lead_s: float = LEAD_S
) -> tuple[DoubleArray, DoubleArray]:
    """Lip shapes and jaw at the given times.

    phones: in order of time; times_s: (T,) a frame apart, at least two; lead_s: how long before a sound
    is heard its shape is formed.
    Returns (T, 15) viseme weights 0..1 in the order of VISEMES and (T,) jawOpen weights 0..0.4.
    """
    margin = 0.3
    formed_s = times_s + lead_s
    fine = np.arange(formed_s[0] - margin, formed_s[-1] + margin, 1 / FINE_RATE_HZ)
    shapes, jaw = np.zeros((len(fine), len(VISEMES))), np.zeros(len(fine))
    for phone in phones:
        _hold(shapes, jaw, fine, phone)
    shapes = blurred(shapes, BLEND_S * FINE_RATE_HZ)
    jaw = blurred(jaw[:, None], 1.3 * BLEND_S * FINE_RATE_HZ)[:, 0]
    at = np.clip(np.round((formed_s - fine[0]) * FINE_RATE_HZ).astype(int), 0, len(fine) - 1)
    visemes, opening = np.clip(SHAPE_GAIN * shapes[at], 0, 1), jaw[at]
    for phone in phones:
        if phone.name in CONTACTS:
            _close(visemes, opening, formed_s, phone)
    return visemes, np.clip(opening, 0, 0.4)


def blurred(rows: DoubleArray, sigma: float) -> DoubleArray:
    """(T, D) under a Gaussian of `sigma` rows along T, its edges held."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    held = np.pad(rows, ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, "valid") for column in held.T], 1)


def _hold(shapes: DoubleArray, jaw: DoubleArray, times_s: DoubleArray, phone: Phone) -> None:
    """Writes a phone's unblended shape into the stretch in which it is heard."""
    strength = float(np.clip(0.7 + 0.3 * phone.loudness, 0.8, 1.1)) if phone.name in JAW else 1.0
    parts = SHAPES.get(phone.name, ())
    turn = phone.start_s + DIPHTHONG_TURN * (phone.end_s - phone.start_s)
    for number, part in enumerate(parts):
        begin = phone.start_s if number == 0 else turn
        end = turn if number == 0 and len(parts) > 1 else phone.end_s
        heard = (times_s >= begin) & (times_s < end)
        for name, weight in part.items():
            shapes[heard, VISEMES.index(name)] = strength * weight
    jaw[(times_s >= phone.start_s) & (times_s < phone.end_s)] = strength * JAW.get(phone.name, 0.0)


def _close(visemes: DoubleArray, opening: DoubleArray, times_s: DoubleArray, phone: Phone) -> None:
    """Brings the lips together on the frame nearest to the middle of the sound, and around it."""
    middle = 0.5 * (phone.start_s + phone.end_s)
    frame = int(np.argmin(np.abs(times_s - middle)))
    step_s = float(times_s[1] - times_s[0])
    if abs(times_s[frame] - middle) > step_s:
        return
    half = max(0.5 * (phone.end_s - phone.start_s), 0.5 * CONTACT_S) - 0.5 * step_s
    away = np.maximum(np.abs(times_s - times_s[frame]) - max(half, 0.0), 0.0)
    contact = np.exp(-0.5 * (away / 0.04) ** 2)
    visemes *= 1 - contact[:, None]
    opening *= 1 - contact
    for name, weight in CONTACTS[phone.name].items():
        column = VISEMES.index(name)
        visemes[:, column] = np.maximum(visemes[:, column], weight * contact)
