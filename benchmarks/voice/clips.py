"""Films of real people as rows of sound and codes of motion, made once and kept in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from engine.arrays import FloatArray
from engine.errors import FootageError
from engine.files import write_file
from engine.media.sound import read_sound
from engine.media.video import read_frames
from engine.person.landmarks import Landmarks
from engine.person.motion import build_neutral, motion_of
from engine.tracking.face_finder import FaceFinder
from engine.voice.features import features_of
from engine.voice.motion_code import encode_all
from engine.voice.speaker import at_rows
from export.voice.articulation import Phone

LARGEST_PX = 960  # side at which films are tracked, as when they are enrolled
CLOSED = ("B", "M", "P")


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One film, on the clock of its first picture."""

    label: str
    samples: FloatArray  # (k,) at 16 kHz
    rows: FloatArray  # (n, ROW), 25 a second
    times_s: FloatArray  # (m,) of the pictures with a face
    codes: FloatArray  # (m, CODE)
    scale_px: float  # px a head unit

    def shown(self, offset_ms: float) -> FloatArray:
        """(n, CODE): the codes at the time of each row, the pictures that much later."""
        return at_rows(self.codes, self.times_s + np.float32(offset_ms / 1000.0), len(self.rows))


def clip_of(label: str, film: Path, work: Path | None) -> Clip:
    """work: where its track is kept between runs. Raises FootageError without sound or face, VideoError."""
    sound = read_sound(film)
    if sound is None:
        raise FootageError(f"{film}: no sound; wanted a film of somebody who speaks")
    samples = sound.from_picture()
    times_s, faces = track(film, work)
    if not len(faces):
        raise FootageError(f"{film}: no face; wanted a film of somebody who speaks")
    frames = [Landmarks(1, 1, face=face, face_confidence=1.0) for face in faces]
    neutral = build_neutral(frames)
    codes = encode_all([motion_of(frame, neutral) for frame in frames], neutral)
    return Clip(label, samples, features_of(samples), times_s, codes, float(neutral.scale))


def track(film: Path, work: Path | None) -> tuple[FloatArray, FloatArray]:
    """(m,) s and (m, 478, 3) px of the pictures with a face; work: see `clip_of`."""
    kept = None if work is None else work / f"{film.stem}.track.npz"
    if kept is not None and kept.exists():
        with np.load(kept) as stored:
            return stored["times_s"], stored["faces"]
    finder, times, faces = FaceFinder(), [], []
    for frame in read_frames(film):
        rgb, side = frame.rgb, max(frame.rgb.shape)
        if side > LARGEST_PX:
            by = LARGEST_PX / side
            rgb = cv2.resize(rgb, None, fx=by, fy=by, interpolation=cv2.INTER_AREA)
        face = finder.find(np.ascontiguousarray(rgb))
        if face is not None:
            times.append(frame.time_s)
            faces.append(face)
    found = np.array(times, np.float32), np.array(faces, np.float32)
    if kept is not None:
        buffer = BytesIO()
        np.savez(buffer, times_s=found[0], faces=found[1])
        write_file(kept, buffer.getvalue())
    return found


def closures_s(clip: Clip, work: Path | None, encoder: Path | None) -> Sequence[float] | None:
    """When the middles of B, M and P are heard; None without the words' tools, or without English."""
    phones = phones_in(clip, work, encoder)
    found = [0.5 * (phone.start_s + phone.end_s) for phone in phones if phone.name in CLOSED]
    return found or None


def phones_in(clip: Clip, work: Path | None, encoder: Path | None) -> Sequence[Phone]:
    """Sounds of speech, where words are understood; none without English, and without an encoder.

    encoder: see export.voice.teacher.encoder_file; work: where they are kept between runs.
    """
    kept = None if work is None else work / f"{clip.label}.phones.json"
    if kept is not None and kept.exists():
        return [Phone(*row) for row in json.loads(kept.read_text())]
    if encoder is None:
        return []
    from export.voice.phones import phones_of

    found = phones_of(clip.samples, encoder)
    if kept is not None:
        rows = [[phone.name, phone.start_s, phone.end_s] for phone in found]
        write_file(kept, json.dumps(rows).encode())
    return found
