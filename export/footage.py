"""Reads the footage of a person: tracks every frame once, splits clips at cuts, judges whether it will do.

Pictures are not kept (a minute in Full HD takes 11 GB): `Footage.frames` reads them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import FootageError
from engine.face_measures import face_crop
from engine.landmarks import Landmarks
from engine.mediapipe_parts import FaceCounter
from engine.tracking import EveryFrameTracker, Tracker
from engine.video import VideoInfo, probe, read_frames
from export.cuts import face_jumps, find_cuts, thumbnail
from export.quality import FrameStats, judge, sharpness, usable

Image = NDArray[np.uint8]
Progress = Callable[[int, int], None]  # frames done, frames in all (an estimate)

_COUNT_EVERY = 10  # frames between two looks for other people


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames `start` to `stop` (exclusive) of a clip that follow each other without a cut."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Clip:
    """One file, tracked: a Landmarks and a FrameStats per frame, in source px, not filtered."""

    path: Path
    info: VideoInfo
    landmarks: tuple[Landmarks, ...]
    stats: tuple[FrameStats, ...]
    shots: tuple[Shot, ...]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(N,) the frames that show the face."""
        return usable(self.landmarks)


@dataclass(frozen=True, slots=True)
class FootageFrame:
    """One frame, read again for training."""

    clip: int
    shot: int  # within the clip
    index: int  # within the clip
    rgb: Image  # (H, W, 3) uint8
    landmarks: Landmarks


@dataclass(frozen=True, slots=True)
class Footage:
    """The clips of one person that passed the gate; `warnings` say what to film for a better avatar."""

    clips: tuple[Clip, ...]
    warnings: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        """Of all clips together."""
        return sum(len(clip.landmarks) / clip.info.fps for clip in self.clips)

    @property
    def fps(self) -> float:
        """The mean frame rate."""
        return sum(len(clip.landmarks) for clip in self.clips) / self.duration_s

    def frames(self) -> Iterator[FootageFrame]:
        """All frames in order, usable or not, decoded again."""
        for number, clip in enumerate(self.clips):
            shot = 0
            for frame in read_frames(clip.path):
                while frame.index >= clip.shots[shot].stop:
                    shot += 1
                yield FootageFrame(number, shot, frame.index, frame.rgb, clip.landmarks[frame.index])


def load_footage(
    paths: Sequence[str | Path], tracker: Tracker | None = None, progress: Progress | None = None
) -> Footage:
    """Tracks and judges the clips of one person. VideoError for a bad file, FootageError for bad footage."""
    if not paths:
        raise FootageError("no footage given: name one or more video files, 30 s of one person in all")
    files = [Path(path) for path in paths]
    infos = [probe(path) for path in files]  # all of them first: a bad last file should not cost minutes
    total = sum(info.frames for info in infos)
    own = tracker or EveryFrameTracker()
    counter = FaceCounter()
    clips: list[Clip] = []
    try:
        for path, info in zip(files, infos, strict=True):
            done = sum(len(clip.landmarks) for clip in clips)
            tell = (lambda index, done=done: progress(done + index + 1, total)) if progress else None
            clips.append(_track(path, info, own, counter, tell))
            own.reset()
    finally:
        counter.close()
        if tracker is None:
            own.close()
    landmarks = [frame for clip in clips for frame in clip.landmarks]
    stats = [frame for clip in clips for frame in clip.stats]
    duration_s = sum(len(clip.landmarks) / clip.info.fps for clip in clips)
    return Footage(tuple(clips), judge(stats, landmarks, duration_s / len(landmarks)))


def _track(
    path: Path, info: VideoInfo, tracker: Tracker, counter: FaceCounter, tell: Callable[[int], None] | None
) -> Clip:
    landmarks: list[Landmarks] = []
    stats: list[FrameStats] = []
    before = None
    for frame in read_frames(path):
        found = tracker.track(frame.rgb, int(frame.time_s * 1e9))
        small = thumbnail(frame.rgb)
        grey = face_crop(frame.rgb, found)
        stats.append(
            FrameStats(
                time_s=frame.time_s,
                change=0.0 if before is None else float(np.abs(small - before).mean()),
                luma=float("nan") if grey is None else float(grey.mean()),
                sharpness=float("nan") if grey is None else sharpness(grey),
                second_face=_second_face(counter, frame.rgb) if frame.index % _COUNT_EVERY == 0 else None,
            )
        )
        landmarks.append(found)
        before = small
        if tell:
            tell(frame.index)
    changes = np.array([frame.change for frame in stats], np.float32)
    bounds = [0, *find_cuts(changes, face_jumps(landmarks)), len(landmarks)]
    shots = tuple(Shot(start, stop) for start, stop in pairwise(bounds))
    return Clip(path, info, tuple(landmarks), tuple(stats), shots)


def _second_face(counter: FaceCounter, rgb: Image) -> float:
    """Width of the second largest face by the largest; 0 if there are fewer than two."""
    widths = sorted((float(box[2]) for box in counter.find(rgb)), reverse=True)
    return widths[1] / widths[0] if len(widths) > 1 else 0.0
