"""Turns footage into a prepared file: frames on the canvas, tracked and matted.

Needs LiteRT, but not torch; training from the prepared file is the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.avatar.avatar import Avatar
from engine.errors import SettingsError
from engine.person.landmarks import VISIBLE, Landmarks
from engine.tracking.tracker import PersonMatte
from export.footage.footage import Footage, load_footage
from export.footage.framing import Framing, choose_framing, crop_resize, parse_framing, to_canvas
from export.footage.prepared import HELD_OUT, Prepared
from export.footage.prepared_file import Origin, origin_of, save_prepared
from export.footage.scene import FRAMES as SCENE_FRAMES
from export.footage.scene import SceneLearner
from export.footage.voice import listen
from export.progress import FramesDone, Listener, StageFramesDone

MAX_FRAMES = 1500  # a minute at 25 fps; longer footage is thinned
MAX_PIXELS = 1200 * 512**2  # of all frames; training holds 15 bytes of each, 5 GB
CANVASES_PX = (512, 384, 256)
STRETCHED = 1.1  # at most, to fill a canvas


def prepare_file(
    out: Path,
    videos: Sequence[Path],
    mode: str | Framing,
    size: int | None,
    listener: Listener,
    with_voice: bool = True,
    with_print: bool = False,
) -> tuple[Prepared, Origin]:
    """Prepares the footage and writes it to a new file, all or nothing. The rest as for `prepare_footage`."""
    if out.exists():
        raise SettingsError(f"{out}: exists already; choose another --out, or remove it first")
    prepared, origin = prepare_footage(videos, mode, size, listener, with_voice, with_print)
    save_prepared(out, prepared, origin)
    return prepared, origin


def prepare_footage(
    videos: Sequence[Path],
    mode: str | Framing,
    size: int | None,
    listener: Listener,
    with_voice: bool = True,
    with_print: bool = False,
) -> tuple[Prepared, Origin]:
    """Tracks and judges the videos, then cuts them out. Raises VideoError or FootageError.

    mode: how to frame them, see `parse_framing`; size: of the canvas, px; None: that of `canvas_px`.
    with_voice: learns how they speak and rest; with_print: keeps a print of their voice, too.
    """
    tell = _stages(listener)
    footage = load_footage(videos, progress=tell)
    voice = listen(footage, with_print) if with_voice else None
    warnings = (*footage.warnings, *(() if voice is None else voice.warnings))
    for warning in warnings:
        listener.warn(warning)
    framings = frame_footage(footage, mode)
    size = size or canvas_px(footage, framings, listener)
    prepared = prepare(footage, framings, size, lambda done, total: tell("cutting out", done, total))
    if voice is None:
        return prepared, origin_of(videos, framings, warnings)
    return replace(prepared, voice=voice.own), origin_of(videos, framings, warnings, voice.facts)


def canvas_px(footage: Footage, framings: Sequence[Framing], listener: Listener) -> int:
    """Of CANVASES_PX what the longest clip fills; the listener is told of less than the largest."""
    longest = max(range(len(framings)), key=lambda index: len(footage.clips[index].landmarks))
    side = framings[longest].side
    size = next((one for one in CANVASES_PX if one <= STRETCHED * side), CANVASES_PX[-1])
    if size < CANVASES_PX[0]:
        listener.warn(
            f"the canvas is {size} px, as you and your hands fill {side} px of the picture: "
            f"film at 1280x720 or more, or closer, for {CANVASES_PX[0]} px"
        )
    return size


def _stages(listener: Listener) -> StageFramesDone:
    """Tells the listener of each stage as it begins."""
    current = ""

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal current
        if stage != current:
            listener.stage(stage, 1.0)
            current = stage
        listener.advance(done / max(total, 1))

    return tell


def prepare_again(avatar: Avatar, videos: Sequence[Path], progress: StageFramesDone) -> Prepared:
    """The footage that the avatar was enrolled from, tracked and cut as it was then.

    progress is called with the stage, the frames done and the frames in all. Raises SettingsError when it was
    another number of videos.
    """
    given = avatar.training.get("framings")
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise SettingsError(f"--footage: {avatar.name} does not say how its footage was framed: enrol again")
    framings = [parse_framing(text) for text in given]
    hashes = avatar.training.get("footage_sha256")
    _check_count(avatar, len(videos), len(hashes if isinstance(hashes, list) else given))
    footage = load_footage(videos, progress=progress)
    _check_count(avatar, len(footage.clips), len(framings))  # a file may be several clips
    squares = [framing for framing in framings if isinstance(framing, Framing)]
    return prepare(footage, squares, avatar.size, lambda done, total: progress("cutting out", done, total))


def _check_count(avatar: Avatar, found: int, wanted: int) -> None:
    if found != wanted:
        raise SettingsError(f"--footage: {found} clips; {avatar.name} was enrolled from {wanted}: give those")


def frame_footage(footage: Footage, mode: str | Framing) -> tuple[Framing, ...]:
    """The square of each clip; clips of one picture size share it, so that the person keeps their scale."""
    by_size: dict[tuple[int, int], list[Landmarks]] = {}
    for clip in footage.clips:
        by_size.setdefault((clip.info.width, clip.info.height), []).extend(clip.landmarks)
    chosen = {size: _framing(landmarks, mode) for size, landmarks in by_size.items()}
    return tuple(chosen[clip.info.width, clip.info.height] for clip in footage.clips)


def _framing(landmarks: Sequence[Landmarks], mode: str | Framing) -> Framing:
    """As `choose_framing`; any square where no frame shows a face, since none of those is cut out."""
    if all(frame.face_confidence < VISIBLE for frame in landmarks):
        return Framing(0, 0, min(landmarks[0].width, landmarks[0].height))
    return choose_framing(landmarks, mode)


def prepare(footage: Footage, framings: Sequence[Framing], size: int, progress: FramesDone) -> Prepared:
    """Reads the footage again, cut to the canvas: the frames to learn from, at most MAX_FRAMES of them.

    progress is called with frames done and frames in all.
    """
    usable = np.concatenate([clip.usable for clip in footage.clips])
    chosen = _thinned(usable, min(MAX_FRAMES, MAX_PIXELS // size**2))
    count = int(chosen.sum())
    # Made once: half a minute at 512 px takes 1 GB, and stacking a list would take it twice.
    rgb, matte = np.empty((count, size, size, 3), np.uint8), np.empty((count, size, size), np.uint8)
    landmarks: list[Landmarks] = []
    learner = SceneLearner(framings[0])
    shows_room = _room_frames(footage, chosen)
    segmenter = PersonMatte()
    for done, frame in enumerate(footage.frames()):
        progress(done + 1, len(usable))
        if not chosen[done]:
            continue
        at, framing = len(landmarks), framings[frame.clip]
        square = crop_resize(frame.rgb, framing, max(size, min(framing.side, 2 * size)))
        alpha = cv2.resize(segmenter.alpha(square), (size, size), interpolation=cv2.INTER_AREA)
        rgb[at] = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
        matte[at] = np.round(np.clip(alpha, 0, 1) * 255)
        landmarks.append(to_canvas(frame.landmarks, framing, size))
        if shows_room[done]:
            learner.add(frame.rgb, matte[at])
    fps = footage.fps * count / int(usable.sum())
    shots = _shots(footage, usable)[chosen]
    return Prepared(fps, rgb, matte, landmarks, shots, learner.scene())


def _thinned(usable: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """(N,) the usable frames, or `most` of them, evenly."""
    rank = np.cumsum(usable)
    kept = min(int(rank[-1]), most)
    return np.asarray(usable & (rank * kept // rank[-1] > (rank - 1) * kept // rank[-1]))


def _room_frames(footage: Footage, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) those of the chosen frames that the room is learnt from: of the first clip, none held out."""
    taught = chosen & (np.cumsum(chosen) <= round(chosen.sum() * (1.0 - HELD_OUT)))
    taught[len(footage.clips[0].landmarks) :] = False
    return _thinned(taught, SCENE_FRAMES) if taught.any() else taught


def _shots(footage: Footage, usable: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(N,) which uncut stretch each frame belongs to; where frames are left out, one ends as at a cut."""
    begins = np.concatenate([[True], usable[1:] & ~usable[:-1]])
    first = 0
    for clip in footage.clips:
        begins[[first + shot.start for shot in clip.shots]] = True
        first += len(clip.landmarks)
    return np.asarray(np.cumsum(begins) - 1, np.int32)
