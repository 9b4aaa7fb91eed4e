"""Reads the footage of a person: tracks each frame it reads once, splits at cuts, judges whether it will do.

At a cut the tracker starts afresh; only the chest is followed across: its shift counts from one picture.

Pictures are not kept (a minute in Full HD takes 11 GB): `Footage.frames` reads them again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.arrays import U8Image
from engine.errors import FootageError
from engine.media.video import Span, VideoFrame, VideoInfo, probe, read_frames
from engine.person.face_measures import face_crop, one_sidedness
from engine.person.landmarks import Landmarks
from engine.tracking.chest import ChestTracker
from engine.tracking.mediapipe_parts import FaceCounter
from engine.tracking.tracker import EveryFrameTracker, Tracker
from export.footage.checks import FrameStats, judge, sharpness, usable
from export.footage.cuts import CutWatch, face_jumps, find_cuts, thumbnail
from export.footage.survey import Survey, survey
from export.progress import StageFramesDone

_COUNT_EVERY = 10  # frames between two looks for other people
# Tracking takes about twice as long as the footage lasts, and a minute of it is enough: what is longer is
# looked through first, and only the best of it is tracked.
_WHOLE_S = 120.0
_MAX_S = 3 * 3600.0  # of all films together
_MAX_UNTOLD_S = 600.0  # of a film that says less: it is not longer than `_WHOLE_S` by its own words
_MAX_FRAMES = round(_MAX_UNTOLD_S * 240)  # what is kept of each is little, but a file may hold any number


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames `start` to `stop` (exclusive) of a clip that follow each other without a cut."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Clip:
    """A film of one picture size, tracked: a Landmarks and a FrameStats per frame, source px, not filtered.

    A file whose size changes midway, as when a phone is turned, is several clips.
    """

    path: Path
    spans: tuple[Span, ...] | None  # of the file, that were read; None: all of it
    first: int  # of its frames, by its place in what was read of the file
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
        times_s = np.array([frame.time_s for frame in self.stats])
        steps_s = np.concatenate([np.diff(times_s[shot.start : shot.stop]) for shot in self.shots])
        return float(len(times_s) * (steps_s.mean() if len(steps_s) else 1.0 / self.info.fps))


@dataclass(frozen=True, slots=True)
class FootageFrame:
    """One frame, read again for training."""

    clip: int
    index: int  # within the clip
    rgb: U8Image  # (H, W, 3) uint8
    landmarks: Landmarks


@dataclass(frozen=True, slots=True)
class Footage:
    """The clips of one person that passed the gate.

    `warnings` say what was chosen of the files, and what to film for a better avatar.
    """

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
        film: Iterator[VideoFrame] = iter(())
        for number, clip in enumerate(self.clips):
            if clip.first == 0:
                film = read_frames(clip.path, clip.spans)
            for index, frame in enumerate(islice(film, len(clip.landmarks))):
                yield FootageFrame(number, index, frame.rgb, clip.landmarks[index])


def load_footage(
    paths: Sequence[str | Path], tracker: Tracker | None = None, progress: StageFramesDone | None = None
) -> Footage:
    """Tracks and judges the clips of one person; of long films, only the stretches that show most.

    progress: its stages are "choosing", for long films, and "tracking". Raises VideoError for a bad file,
    FootageError for bad footage.
    """
    if not paths:
        raise FootageError("no footage given: name one or more video files, 30 s of one person in all")
    files = [Path(path) for path in paths]
    infos = [probe(path) for path in files]  # all of them first: a bad last file should not cost minutes
    if (length_s := sum(info.duration_s for info in infos)) > _MAX_S:
        raise FootageError(
            f"{length_s / 3600:.1f} hours of footage, wanted {_MAX_S / 3600:.0f} at most, best half a minute "
            "or a whole one: cut out the best part"
        )
    chosen = [f"{path.name}: {info.note}" for path, info in zip(files, infos, strict=True) if info.note]
    own = tracker or EveryFrameTracker()
    tracking = _Tracking(own, FaceCounter())
    try:
        spans: Sequence[tuple[Span, ...] | None] = [None] * len(files)
        if length_s > _WHOLE_S:
            found = survey(
                files, infos, tracking.look_at, partial(progress, "choosing") if progress else None
            )
            spans = found.spans
            chosen.append(_told(found, length_s))
        total = sum(map(_frames_in, infos, spans))
        clips: list[Clip] = []
        done = 0

        def tell() -> None:
            nonlocal done
            done += 1
            if progress:
                progress("tracking", done, max(done, total))

        for path, info, read in zip(files, infos, spans, strict=True):
            clips += [] if read == () else tracking.clips(path, info, read, tell)
    finally:
        if tracker is None:
            own.close()
    landmarks = [frame for clip in clips for frame in clip.landmarks]
    stats = [frame for clip in clips for frame in clip.stats]
    duration_s = sum(clip.duration_s for clip in clips)
    return Footage(tuple(clips), (*chosen, *judge(stats, landmarks, duration_s / len(landmarks))))


def _frames_in(info: VideoInfo, spans: tuple[Span, ...] | None) -> int:
    """How many will be read, about."""
    if spans is None:
        return info.frames
    return round(info.fps * sum(end_s - begin_s for begin_s, end_s in spans))


def _told(found: Survey, length_s: float) -> str:
    stretches = sum(map(len, found.spans))
    return (
        f"{length_s / 60:.0f} minutes of footage: {found.kept_s:.0f} s of it are learnt from, in {stretches} "
        f"stretches that show most, by {found.looks} pictures all over it"
    )


@dataclass(slots=True)
class _Tracking:
    """What looks at the frames of all files, one after the other."""

    tracker: Tracker
    counter: FaceCounter
    chests: dict[tuple[int, int], ChestTracker] = field(default_factory=dict)  # one for each picture size

    def look_at(self, frame: VideoFrame) -> tuple[Landmarks, FrameStats]:
        """At a picture that follows no other."""
        found = self.tracker.track(frame.rgb, int(frame.time_s * 1e9))
        self.tracker.reset()
        return found, self._stats(frame, found, 0.0, others=True)

    def clips(
        self, path: Path, info: VideoInfo, spans: tuple[Span, ...] | None, tell: Callable[[], None]
    ) -> list[Clip]:
        """Those of one file. tell: is called after each frame."""
        runs: list[_Run] = []
        begins_s = [begin_s for begin_s, _ in spans or ()]
        stretch = 0
        for frame, change, cut in _watched(read_frames(path, spans)):
            if frame.index >= _MAX_FRAMES or (spans is None and frame.time_s > _MAX_UNTOLD_S):
                raise FootageError(
                    f"{path}: more than {_MAX_UNTOLD_S / 60:.0f} minutes or {_MAX_FRAMES:,} frames, though "
                    f"it says {info.duration_s:.0f} s: cut out the best half minute and export it anew"
                )
            size = (frame.rgb.shape[1], frame.rgb.shape[0])
            before, stretch = stretch, bisect_right(begins_s, frame.time_s)
            resized = not runs or runs[-1].size != size
            parted = resized or stretch != before
            if resized:
                runs.append(_Run(size, frame.index))
            elif parted:
                runs[-1].parted.append(len(runs[-1].stats))
            if frame.index and (cut or parted):
                self.tracker.reset()
            found = self.tracker.track(frame.rgb, int(frame.time_s * 1e9))
            others = len(runs[-1].stats) % _COUNT_EVERY == 0
            runs[-1].stats.append(self._stats(frame, found, 0.0 if parted else change, others))
            chest = self.chests.setdefault(size, ChestTracker())
            runs[-1].landmarks.append(_with_chest(found, frame.rgb, chest))
            tell()
        self.tracker.reset()
        return [run.clip(path, info, spans) for run in runs]

    def _stats(self, frame: VideoFrame, found: Landmarks, change: float, others: bool) -> FrameStats:
        grey = face_crop(frame.rgb, found)
        return FrameStats(
            time_s=frame.time_s,
            change=change,
            luma=float("nan") if grey is None else float(grey.mean()),
            sharpness=float("nan") if grey is None else sharpness(grey),
            one_sided=float("nan") if grey is None else one_sidedness(grey),
            second_face=_second_face(self.counter, frame.rgb) if others else None,
        )


@dataclass(slots=True)
class _Run:
    """Frames of one file and one picture size."""

    size: tuple[int, int]  # px
    first: int
    landmarks: list[Landmarks] = field(default_factory=list)
    stats: list[FrameStats] = field(default_factory=list)
    parted: list[int] = field(default_factory=list)  # frames before which others were left out

    def clip(self, path: Path, info: VideoInfo, spans: tuple[Span, ...] | None) -> Clip:
        changes = np.array([frame.change for frame in self.stats], np.float32)
        cuts = {0, *self.parted, *find_cuts(changes, face_jumps(self.landmarks)), len(self.landmarks)}
        shots = tuple(Shot(start, stop) for start, stop in pairwise(sorted(cuts)))
        own = replace(info, width=self.size[0], height=self.size[1])
        return Clip(path, spans, self.first, own, tuple(self.landmarks), tuple(self.stats), shots)


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
