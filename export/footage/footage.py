"""Reads the footage of a person: tracks every frame once, splits clips at cuts, judges whether it will do.

At a cut the tracker starts afresh; only the chest is followed across: its shift counts from one picture.

Pictures are not kept (a minute in Full HD takes 11 GB): `Footage.frames` reads them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.arrays import U8Image
from engine.errors import FootageError
from engine.media.video import VideoFrame, VideoInfo, probe, read_frames
from engine.person.face_measures import face_crop, one_sidedness
from engine.person.landmarks import Landmarks
from engine.tracking.chest import ChestTracker
from engine.tracking.mediapipe_parts import FaceCounter
from engine.tracking.tracker import EveryFrameTracker, Tracker
from export.footage.checks import FrameStats, judge, sharpness, usable
from export.footage.cuts import CutWatch, face_jumps, find_cuts, thumbnail
from export.progress import FramesDone

_COUNT_EVERY = 10  # frames between two looks for other people
_MAX_S = 600.0  # tracking takes about twice as long as the footage lasts, and a minute of it is enough
_MAX_FRAMES = round(_MAX_S * 240)  # what is kept of each is little, but a file may hold any number of them


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
        """(N,) the frames to learn from, see `export.footage.checks.usable`."""
        return usable(self.landmarks, self.stats)

    @property
    def duration_s(self) -> float:
        """By the frames' own times: what a file says of its rate and length need not be true."""
        steps = len(self.stats) - 1
        if steps < 1:
            return 1.0 / self.info.fps
        return (self.stats[-1].time_s - self.stats[0].time_s) * (steps + 1) / steps


@dataclass(frozen=True, slots=True)
class FootageFrame:
    """One frame, read again for training."""

    clip: int
    index: int  # within the clip
    rgb: U8Image  # (H, W, 3) uint8
    landmarks: Landmarks


@dataclass(frozen=True, slots=True)
class Footage:
    """The clips of one person that passed the gate; `warnings` say what to film for a better avatar."""

    clips: tuple[Clip, ...]
    warnings: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        """Of all clips together."""
        return sum(clip.duration_s for clip in self.clips)

    @property
    def fps(self) -> float:
        """The mean frame rate."""
        return sum(len(clip.landmarks) for clip in self.clips) / self.duration_s

    def frames(self) -> Iterator[FootageFrame]:
        """All frames in order, usable or not, decoded again."""
        for number, clip in enumerate(self.clips):
            for frame in read_frames(clip.path):
                yield FootageFrame(number, frame.index, frame.rgb, clip.landmarks[frame.index])


def load_footage(
    paths: Sequence[str | Path], tracker: Tracker | None = None, progress: FramesDone | None = None
) -> Footage:
    """Tracks and judges the clips of one person. VideoError for a bad file, FootageError for bad footage."""
    if not paths:
        raise FootageError("no footage given: name one or more video files, 30 s of one person in all")
    files = [Path(path) for path in paths]
    infos = [probe(path) for path in files]  # all of them first: a bad last file should not cost minutes
    if (length_s := sum(info.duration_s for info in infos)) > _MAX_S:
        raise FootageError(
            f"{length_s / 60:.0f} minutes of footage, wanted {_MAX_S / 60:.0f} at most, best half a minute "
            "or a whole one: cut out the best part"
        )
    total = sum(info.frames for info in infos)
    own = tracker or EveryFrameTracker()
    counter = FaceCounter()
    chests: dict[tuple[int, int], ChestTracker] = {}  # one for all clips of a picture size
    clips: list[Clip] = []
    try:
        for path, info in zip(files, infos, strict=True):
            done = sum(len(clip.landmarks) for clip in clips)
            tell = (lambda index, done=done: progress(done + index + 1, total)) if progress else None
            chest = chests.setdefault((info.width, info.height), ChestTracker())
            clips.append(_track(path, info, own, chest, counter, tell))
            own.reset()
    finally:
        counter.close()
        if tracker is None:
            own.close()
    landmarks = [frame for clip in clips for frame in clip.landmarks]
    stats = [frame for clip in clips for frame in clip.stats]
    duration_s = sum(clip.duration_s for clip in clips)
    return Footage(tuple(clips), judge(stats, landmarks, duration_s / len(landmarks)))


def _track(
    path: Path,
    info: VideoInfo,
    tracker: Tracker,
    chest: ChestTracker,
    counter: FaceCounter,
    tell: Callable[[int], None] | None,
) -> Clip:
    landmarks: list[Landmarks] = []
    stats: list[FrameStats] = []
    for frame, change, cut in _watched(read_frames(path)):
        if frame.time_s > _MAX_S or frame.index >= _MAX_FRAMES:
            raise FootageError(
                f"{path}: more than {_MAX_S / 60:.0f} minutes or {_MAX_FRAMES:,} frames, though it says "
                f"{info.duration_s:.0f} s: cut out the best half minute and export it anew"
            )
        if cut:
            tracker.reset()
        found = _with_chest(tracker.track(frame.rgb, int(frame.time_s * 1e9)), frame.rgb, chest)
        grey = face_crop(frame.rgb, found)
        stats.append(
            FrameStats(
                time_s=frame.time_s,
                change=change,
                luma=float("nan") if grey is None else float(grey.mean()),
                sharpness=float("nan") if grey is None else sharpness(grey),
                one_sided=float("nan") if grey is None else one_sidedness(grey),
                second_face=_second_face(counter, frame.rgb) if frame.index % _COUNT_EVERY == 0 else None,
            )
        )
        landmarks.append(found)
        if tell:
            tell(frame.index)
    changes = np.array([frame.change for frame in stats], np.float32)
    bounds = [0, *find_cuts(changes, face_jumps(landmarks)), len(landmarks)]
    shots = tuple(Shot(start, stop) for start, stop in pairwise(bounds))
    return Clip(path, info, tuple(landmarks), tuple(stats), shots)


def _watched(frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, float, bool]]:
    """Each frame, its change since the one before, and whether it is a cut; read one frame ahead to know."""
    watch = CutWatch()
    waiting: VideoFrame | None = None
    for frame in frames:
        watch.next(thumbnail(frame.rgb))
        if waiting is not None:
            yield waiting, watch.change, watch.cut
        waiting = frame
    watch.end()
    if waiting is not None:
        yield waiting, watch.change, watch.cut


def _with_chest(found: Landmarks, rgb: U8Image, chest: ChestTracker) -> Landmarks:
    """The landmarks with the motion of the chest since the first picture of all, not since the last cut."""
    face = found.face if found.face_confidence > 0 else None
    moved = chest.update(np.ascontiguousarray(rgb), face)
    return replace(
        found,
        chest=moved.shift,
        chest_middle=moved.middle,
        chest_shape=moved.shape,
        chest_confidence=moved.confidence,
    )


def _second_face(counter: FaceCounter, rgb: U8Image) -> float:
    """Width of the second largest face by the largest; 0 if there are fewer than two."""
    widths = sorted((float(box[2]) for box in counter.find(rgb)), reverse=True)
    return widths[1] / widths[0] if len(widths) > 1 else 0.0
