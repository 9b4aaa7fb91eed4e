"""Turns footage into a prepared file: frames on the canvas, tracked and matted.

Needs MediaPipe; training from the prepared file does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from engine.landmarks import Landmarks
from engine.tracking import PersonMatte
from export.footage import Footage
from export.framing import Framing, choose_framing, crop_resize, to_canvas
from export.prepared import Prepared

MAX_FRAMES = 1500  # about a minute at 25 fps; longer footage is thinned, since memory and patience end


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
