"""Clips of the synthetic presenter, as long as a test needs them."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain, cycle, islice
from pathlib import Path

from engine.media.video import VideoWriter, read_frames
from tests.support.places import PRESENTER

FPS = 15  # of the presenter's own film


def write_presenter(path: Path, frames: int, every: int = 1) -> Path:
    """So many frames, every so-manieth of the film at its own pace: forward, then backward, and again."""
    pictures = [frame.rgb for frame in read_frames(PRESENTER)][::every]
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, width, height, Fraction(FPS, every)) as writer:
        for rgb in islice(cycle(chain(pictures, reversed(pictures))), frames):
            writer.write(rgb)
    return path
