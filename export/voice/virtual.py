"""Virtual speakers: aligned speech, heard as it might come, and lips that follow rules in many ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from io import BytesIO
from pathlib import Path
from zlib import crc32

import numpy as np

from engine.arrays import DoubleArray, FloatArray
from engine.files import write_file
from engine.voice.features import LOUDNESS, ROWS_HZ, features_of
from engine.voice.motion_code import LIP_GAP
from export.voice.articulation import LEAD_S, VISEMES, articulate, blurred
from export.voice.phones import load_aligned
from export.voice.speech import as_it_came, clean_speech

HEARD = 3  # versions of each recording, the first clean
FINE_HZ = 100  # of the shapes, so that a speaker may be early or late


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """One aligned recording. F = 100 a second, n = 25 a second."""

    rows: FloatArray  # (HEARD, n, ROW) float16
    shapes: FloatArray  # (F, 16) float16: visemes and jaw, formed when they are heard
    known: FloatArray  # (n,) bool: rows inside an aligned stretch


def prepare_spoken(
    files: Sequence[Path],
    aligned: Path,
    folder: Path,
    weights: Mapping[str, FloatArray],
    told: Callable[[int, int], None],
) -> None:
    """Writes each aligned recording's rows and the shapes of its sounds; those that are there are left.

    aligned: folder of export.voice.phones.align; weights: of the student.
    """
    for number, path in enumerate(files):
        kept = folder / f"{path.stem}.npz"
        stretches = load_aligned(aligned / f"{path.stem}.json")
        if stretches and not kept.exists():
            rng = np.random.default_rng(crc32(path.name.encode()))
            clean, others = clean_speech(path), clean_speech(files[int(rng.integers(len(files)))])
            heard = [clean, *(as_it_came(clean, others, rng) for _ in range(HEARD - 1))]
            rows = np.stack([features_of(samples, weights) for samples in heard])
            at = np.arange(int(len(clean) / 16_000 * FINE_HZ) + 1) / FINE_HZ
            shapes = np.zeros((len(at), len(VISEMES) + 1))
            known = np.zeros(rows.shape[1], bool)
            for start, end, phones in stretches:
                inside = (at >= start) & (at < end)
                if inside.sum() > FINE_HZ // 2:
                    shapes[inside] = np.column_stack(articulate(phones, at[inside], lead_s=0.0))
                    known[int(np.ceil(start * ROWS_HZ)) + 2 : int(end * ROWS_HZ) - 4] = True
            buffer = BytesIO()
            np.savez(buffer, rows=rows.astype(np.float16), shapes=shapes.astype(np.float16), known=known)
            write_file(kept, buffer.getvalue())
        told(number + 1, len(files))


def load_spoken(folder: Path) -> list[Spoken]:
    """All recordings in `folder`, by name."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            found.append(Spoken(stored["rows"], stored["shapes"], stored["known"]))
    return found


@dataclass(frozen=True, slots=True)
class Way:
    """How one virtual speaker forms lips."""

    gains: FloatArray  # (16,) of visemes and jaw
    lead_s: float  # before the sound
    blur_s: float  # on top of the rule's
    with_loudness: float  # how much wider for each unit of loudness
    smile: FloatArray  # (22,) code that never goes away

    @classmethod
    def usual(cls) -> Way:
        """The one in the middle of all."""
        return cls(np.ones(len(VISEMES) + 1, np.float32), LEAD_S, 0.015, 0.15, np.zeros(22, np.float32))

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Way:
        """Somebody who does not exist."""
        usual = cls.usual()
        gains = np.exp(rng.normal(0.0, 0.4, len(usual.gains))).astype(np.float32)
        smile = rng.normal(0.0, 0.05, 22).astype(np.float32)
        smile[LIP_GAP] = 0.0
        return cls(gains, rng.uniform(0.0, 0.13), rng.uniform(0.0, 0.04), rng.uniform(0.0, 0.3), smile)


def lips_of(spoken: Spoken, way: Way) -> FloatArray:
    """(n, 22) float32: the lips of the motion code at each row's time."""
    lips = shapes_of(spoken, way) @ _mouths()
    loud = spoken.rows[0, :, LOUDNESS].astype(np.float32)
    spoken_loud = loud[spoken.known] if spoken.known.any() else loud
    lips *= (
        1.0
        + way.with_loudness
        * np.clip((loud - spoken_loud.mean()) / (spoken_loud.std() + 0.1), -1.5, 1.5)[:, None]
    )
    lips = lips.astype(np.float32) + way.smile
    lips[:, LIP_GAP] = np.maximum(lips[:, LIP_GAP], 0.0)
    return np.asarray(lips, np.float32)


def shapes_of(spoken: Spoken, way: Way) -> DoubleArray:
    """(n, SHAPES): visemes and jaw at each row's time."""
    shapes = spoken.shapes.astype(np.float64) * way.gains
    if way.blur_s > 0.002:
        shapes = blurred(shapes, way.blur_s * FINE_HZ)
    at = np.arange(len(spoken.known)) / ROWS_HZ + way.lead_s
    return np.asarray(shapes[np.clip(np.round(at * FINE_HZ).astype(int), 0, len(shapes) - 1)])


@cache
def _mouths() -> FloatArray:
    """(16, 22): the code of each viseme and of an open jaw, of benchmarks.synthetic.motion_basis."""
    with resources("export").joinpath("assets/mouths.npz").open("rb") as stream, np.load(stream) as stored:
        rows = np.concatenate([stored["visemes"], stored["jaw"][None]])
    return np.asarray(rows, np.float32)
