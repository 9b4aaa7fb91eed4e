"""What else could be heard in a sound, as rows of the kind that a fit reads. See `avatarcast bench voice`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.voice.clips import Clip, phones_in
from engine.arrays import FloatArray
from engine.errors import SettingsError
from engine.voice.features import LOUDNESS, MEL, ROW, ROWS_HZ
from export.voice.articulation import articulate
from export.voice.teacher import Teacher, at_rate

Heard = Callable[[Clip], FloatArray | None]

_HEADAUDIO = Path(__file__).with_name("headaudio.mjs")
_VISEMES = 15  # that HeadAudio tells apart
_FINE_HZ, _EASE_S = 100, 0.1  # it passes from one into the next in so long


def heard_by(work: Path | None, encoder: Path | None, headaudio: Path | None) -> Mapping[str, Heard]:
    """Each gives (n, any) at the clip's rows, or None where nothing is known."""
    found: dict[str, Heard] = {
        "log_mel": lambda clip: clip.rows[:, MEL],
        "loudness": lambda clip: clip.rows[:, LOUDNESS : LOUDNESS + 1],
    }
    if encoder is not None:
        found["moonshine"] = partial(_moonshine, Teacher(encoder))
        found["phones"] = partial(_phones, work, encoder)
    if headaudio is not None:
        found["headaudio"] = partial(_headaudio, headaudio)
    return found


def alone(heard: FloatArray, seen: slice) -> FloatArray:
    """(n, ROW): rows in which nothing else is heard, together as strong as speech is in rows.

    seen: of which the scale is, and the principal components where there are more columns than a row has.
    """
    known = heard - heard[seen].mean(0)
    if known.shape[1] > ROW:
        axes = np.linalg.eigh(np.cov(known[seen].T))[1][:, ::-1]
        known = known @ axes[:, :ROW]
    rows = np.zeros((len(heard), ROW), np.float32)
    rows[:, : known.shape[1]] = known * np.sqrt(ROW / max(float(known[seen].var(0).sum()), 1e-9))
    return rows


def _moonshine(teacher: Teacher, clip: Clip) -> FloatArray:
    return at_rate(teacher.features(clip.samples), len(clip.rows), 1.0 / ROWS_HZ)


def _phones(work: Path | None, encoder: Path, clip: Clip) -> FloatArray | None:
    phones = phones_in(clip, work, encoder)
    if not phones:
        return None
    visemes, jaw = articulate(phones, np.arange(len(clip.rows)) / ROWS_HZ)
    return np.column_stack([visemes, jaw]).astype(np.float32)


def _headaudio(package: Path, clip: Clip) -> FloatArray:
    """Its visemes, eased as it eases them. Raises SettingsError where node or the package is not there."""
    try:
        done = subprocess.run(
            ["node", str(_HEADAUDIO), str(package.resolve())],
            input=clip.samples.astype("<f4").tobytes(),
            capture_output=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise SettingsError("--headaudio: node is not installed; wanted Node.js 18 or later") from error
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise SettingsError(
            f"--headaudio {package}: {''.join(last)}; wanted the unpacked npm package @met4citizen/headaudio"
        ) from error
    active = np.zeros((len(clip.rows) * _FINE_HZ // ROWS_HZ, _VISEMES), np.float32)
    for at_s, viseme in json.loads(done.stdout):
        active[round(at_s * _FINE_HZ) :] = 0.0
        if viseme >= 0:
            active[round(at_s * _FINE_HZ) :, viseme] = 1.0
    ease = np.full(round(_EASE_S * _FINE_HZ), 1.0 / (_EASE_S * _FINE_HZ))
    eased = np.stack([np.convolve(one, ease)[: len(active)] for one in active.T], 1)
    return np.asarray(eased[:: _FINE_HZ // ROWS_HZ], np.float32)
