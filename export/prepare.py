"""Turns footage into a prepared file: frames on the canvas, tracked and matted.

Needs MediaPipe, but not torch; training from the prepared file is the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from engine.errors import SettingsError
from engine.landmarks import Landmarks
from engine.tracking import PersonMatte
from export.enroll_options import DEFAULT_SIZE_PX, EnrollOptions
from export.footage import Footage, load_footage
from export.framing import Framing, choose_framing, crop_resize, to_canvas
from export.prepared import Prepared
from export.prepared_file import Origin, origin_of, save_prepared
from export.progress import Listener

MAX_FRAMES = 1500  # about a minute at 25 fps; longer footage is thinned, since memory and patience end


def prepare_only(options: EnrollOptions, listener: Listener) -> tuple[Prepared, Origin]:
    """Prepares the footage and writes `options.prepared_out`, all or nothing."""
    out = options.prepared_out
    if options.prepared is not None:
        raise SettingsError(f"--prepare-only: {options.prepared} is prepared already; leave the option out")
    if out.exists():
        raise SettingsError(f"{out}: exists already; choose another --out, or remove it first")
    prepared, origin = prepare_footage(options, listener)
    save_prepared(out, prepared, origin)
    return prepared, origin


def prepare_footage(options: EnrollOptions, listener: Listener) -> tuple[Prepared, Origin]:
    """Tracks and judges the videos, then cuts them out. Raises VideoError or FootageError."""
    listener.stage("tracking", 1.0)
    footage = load_footage(
        options.footage, progress=lambda done, total: listener.advance(done / max(total, 1))
    )
    for warning in footage.warnings:
        listener.warn(warning)
    framings = frame_footage(footage, options.framing)
    listener.stage("cutting out", 1.0)
    prepared = prepare(
        footage,
        framings,
        options.size or DEFAULT_SIZE_PX,
        lambda done, total: listener.advance(done / max(total, 1)),
    )
    return prepared, origin_of(options.footage, framings, footage.warnings)


def frame_footage(footage: Footage, mode: str | Framing) -> tuple[Framing, ...]:
    """The square of each clip; clips of one picture size share it, so that the person keeps their scale."""
    by_size: dict[tuple[int, int], list[Landmarks]] = {}
    for clip in footage.clips:
        by_size.setdefault((clip.info.width, clip.info.height), []).extend(clip.landmarks)
    chosen = {size: choose_framing(landmarks, mode) for size, landmarks in by_size.items()}
    return tuple(chosen[clip.info.width, clip.info.height] for clip in footage.clips)


def prepare(
    footage: Footage, framings: Sequence[Framing], size: int, progress: Callable[[int, int], None]
) -> Prepared:
    """Reads the footage again, cut to the canvas. progress is called with frames done and frames in all."""
    total = sum(len(clip.landmarks) for clip in footage.clips)
    step = -(-total // MAX_FRAMES)
    rgb, matte, landmarks, shots = [], [], [], []
    segmenter = PersonMatte()
    try:
        for done, frame in enumerate(footage.frames()):
            progress(done + 1, total)
            if frame.index % step:
                continue
            framing = framings[frame.clip]
            square = crop_resize(frame.rgb, framing, max(size, min(framing.side, 2 * size)))
            alpha = cv2.resize(segmenter.alpha(square), (size, size), interpolation=cv2.INTER_AREA)
            rgb.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))
            matte.append(np.round(np.clip(alpha, 0, 1) * 255).astype(np.uint8))
            landmarks.append(to_canvas(frame.landmarks, framing, size))
            shots.append(sum(len(clip.shots) for clip in footage.clips[: frame.clip]) + frame.shot)
    finally:
        segmenter.close()
    return Prepared(footage.fps / step, np.stack(rgb), np.stack(matte), landmarks, np.array(shots, np.int32))
