"""Drives an avatar with a clip and tracks what comes out: how faithfully it follows a stranger."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.avatar.avatar import Avatar
from engine.media.video import probe, read_frames
from engine.person.landmarks import Landmarks
from engine.pipeline import Pipeline, PipelineConfig, build_pipeline
from engine.render.temporal_cache import CacheConfig
from engine.tracking.tracker import EveryFrameTracker
from export.evaluate.faithfulness import compare_motion, visible_shares
from export.evaluate.replay import NoTracker
from export.evaluate.report_picture import ReportFrame, telling_frames
from export.progress import StageFramesDone

if TYPE_CHECKING:
    from engine.tracking.tracker import Tracker


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """The comparison, and telling frames of it where they were asked for."""

    report: dict[str, Any]  # `motion`, `motion_shuffled`, `visible`
    report_frames: dict[str, ReportFrame] = field(default_factory=dict)  # by what they show


def filtered_tracker() -> Tracker:
    """As in rendering."""
    return EveryFrameTracker(filtered=True)


def follow(
    avatar: Avatar,
    driver: Path,
    config: PipelineConfig,
    progress: StageFramesDone,
    with_frames: bool = False,
    make_tracker: Callable[[], Tracker] = filtered_tracker,
) -> Followed:
    """Calibrates on the whole clip, as rendering does. config: how to run the avatar.

    Raises FootageError where the clip, or the output, never shows a face.
    """
    theirs = track_clip(driver, progress, make_tracker)
    wanted = {index: label for label, index in telling_frames(theirs).items()} if with_frames else {}
    ours: list[Landmarks] = []
    report_frames: dict[str, ReportFrame] = {}
    with ExitStack() as opened:
        pipeline = _driven(avatar, config, theirs, opened)
        prior = _driven(avatar, _WARP_ONLY, theirs, opened) if with_frames else None
        tracker = make_tracker()
        opened.callback(tracker.close)
        for index, (frame, landmarks) in enumerate(zip(read_frames(driver), theirs, strict=True)):
            time_ns = int(frame.time_s * 1e9)
            rendered = pipeline.process(frame.rgb, time_ns, landmarks=landmarks)
            ours.append(tracker.track(rendered.rgb, time_ns))
            if prior is not None:
                warped = prior.process(frame.rgb, time_ns, landmarks=landmarks).rgb
                if index in wanted and rendered.target is not None:
                    report_frames[wanted[index]] = ReportFrame(
                        frame.rgb, landmarks, rendered.target, warped.copy(), rendered.rgb.copy()
                    )
            progress("rendering", index + 1, len(theirs))
    report = {**compare_motion(theirs, ours), "visible": visible_shares(theirs)}
    return Followed(report, report_frames)


def track_clip(
    clip: Path, progress: StageFramesDone, make_tracker: Callable[[], Tracker] = filtered_tracker
) -> list[Landmarks]:
    """Landmarks of each frame, in px of the clip."""
    total = probe(clip).frames
    found: list[Landmarks] = []
    tracker = make_tracker()
    try:
        for frame in read_frames(clip):
            found.append(tracker.track(frame.rgb, int(frame.time_s * 1e9)))
            progress("tracking", len(found), max(total, len(found)))
    finally:
        tracker.close()
    return found


_WARP_ONLY = PipelineConfig(runner="null", cache=CacheConfig(previous_output=False))


def _driven(avatar: Avatar, config: PipelineConfig, frames: list[Landmarks], opened: ExitStack) -> Pipeline:
    pipeline = build_pipeline(avatar, config, NoTracker())
    opened.callback(pipeline.close)
    pipeline.calibrate_from(frames)
    return pipeline
