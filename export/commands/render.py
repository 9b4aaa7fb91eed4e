"""Drive an avatar with a video file: same length, same frame count, same sound. Or with motion, or a voice.

The pipeline is the one of a live call, but the whole clip is tracked first: so the driver's neutral face
comes from all of it, and nothing has to be calibrated by hand. A voice moves the lips; what no --driver
moves beside it lives on by itself. Lips from a voice are second best: a camera sees what sound hints at.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.avatar.motion_file import SUFFIX, save_motion
from engine.commands.options import (
    add_avatar,
    add_background,
    add_emotion,
    add_eye_contact,
    add_frame,
    add_mirror,
    add_renderer,
    add_runner,
)
from engine.conversation.listening import Listening, Overheard
from engine.errors import FileError, FootageError, SettingsError, VideoError
from engine.expression.asked import read_emotion
from engine.expression.emotion import EmotionControl
from engine.expression.eye_contact import EyeContact
from engine.expression.feeling import Schedule
from engine.files import sweep, write_file
from engine.media.disclosure import (
    COMMENT,
    DEFAULT_MARK,
    SOURCE_TYPE,
    MarkStyle,
    add_mark_arguments,
    mark,
    mark_style,
)
from engine.media.video import VideoWriter
from engine.person.landmarks import Landmarks
from engine.provenance.credentials import (
    TYPES,
    Certificate,
    add_certificate_arguments,
    add_credentials,
    certificate_of,
    detached,
    installation_certificate,
    sidecar,
    unavailable,
)
from engine.render.background import Background
from engine.render.frame import checked_frame
from engine.stages import STAGES, percentiles
from engine.voice.driver import LOOK_AHEAD_S, SpokenLips, VoiceDriver
from engine.voice.idle import Idle
from engine.voice.speaker import Speaker
from export.drivers import Driver, FilmDriver, FrameTracker, MotionDriver, SoundDriver
from export.evaluate.replay import NoTracker
from export.progress import Bars
from export.stills import StillPipeline, drives_stills, render_stills, stills_of

if TYPE_CHECKING:
    from engine.pipeline import Adjustment

_SUFFIXES = (".mp4", ".mkv", ".mov")
_MOST_AHEAD_MS = round(LOOK_AHEAD_S * 1e3)
_LATE = 0.5  # of a frame's time: from there on a clip's frame rate counts as variable


class RenderedFrame(Protocol):
    """What the pipeline gives for one frame."""

    @property
    def rgb(self) -> U8Image: ...
    @property
    def stage_ms(self) -> Mapping[str, float]: ...


class OfflinePipeline(Protocol):
    """The part of engine/pipeline.py that rendering needs."""

    @property
    def frame_px(self) -> tuple[int, int]: ...
    @property
    def runner_reason(self) -> str: ...
    def calibrate_from(self, landmarks: Sequence[Landmarks]) -> None: ...
    def set_background(self, background: Background) -> None: ...
    def accompany(self, companion: VoiceDriver | None) -> None: ...
    def process(self, rgb: U8Image, time_ns: int, landmarks: Landmarks | None = None) -> RenderedFrame: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How the result shall look."""

    side_by_side: bool = False  # the driver to the left of the avatar
    save_motion: Path | None = None  # a .motion file to write the driver's motion to
    mark: MarkStyle | None = DEFAULT_MARK  # None: none, visible or not
    look_ahead_s: float = LOOK_AHEAD_S  # of sound that lips are told from; less makes them late


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast render`."""
    add_avatar(parser)
    parser.add_argument(
        "--driver",
        help=f"the video, or {SUFFIX} file, whose motion the avatar takes on; or a picture, or a folder of "
        "pictures, which make pictures",
    )
    parser.add_argument(
        "--voice",
        metavar="SOUND",
        help="a recording of a voice, or a film with one, that the avatar speaks; with --driver the lips are"
        " the voice's, all else is the driver's, and the result is as long as the voice",
    )
    parser.add_argument(
        "--listen",
        metavar="SOUND",
        help="with --voice: what the other one says meanwhile, from the same moment on; the avatar listens,"
        " nods and smiles where nobody films its person",
    )
    parser.add_argument("--seed", type=int, default=0, help="with --voice: of blinks and nods (default 0)")
    parser.add_argument(
        "--look-ahead",
        type=float,
        metavar="MS",
        default=_MOST_AHEAD_MS,
        help=f"how far lips may hear ahead with --voice, 0 to {_MOST_AHEAD_MS} (default: all of it); with"
        " less they are late by what is missing",
    )
    parser.add_argument(
        "--out", required=True, help=f"the video ({', '.join(_SUFFIXES)}), picture or folder to write"
    )
    add_runner(parser)
    add_renderer(parser)
    parser.add_argument("--steps", type=int, default=1, help="denoising steps per frame (default 1)")
    add_mirror(parser)
    add_background(parser)
    add_frame(parser)
    add_emotion(parser)
    add_eye_contact(parser)
    parser.add_argument(
        "--save-motion",
        metavar="FILE",
        help=f"write the driver's motion, without picture and sound, to a {SUFFIX} file, to drive with again",
    )
    parser.add_argument("--side-by-side", action="store_true", help="show the driver beside the avatar")
    add_mark_arguments(parser)
    add_certificate_arguments(parser)
    parser.add_argument("--no-mark", action="store_true", help="leave off the visible 'AI-generated' mark")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Render one clip, or one picture, or a folder of them."""
    if args.driver is not None and drives_stills(Path(args.driver)):
        return _run_stills(args)
    out = _checked_out(
        Path(args.out), [Path(given) for given in (args.driver, args.voice, args.listen) if given]
    )
    if args.steps < 1:
        raise SettingsError(f"--steps {args.steps}: give 1 or more")
    background, style = Background.parse(args.background), mark_style(args)
    frame = checked_frame(args.frame)
    adjustments = _adjustments(_schedule(args), args.eye_contact)
    certificate = certificate_of(args)
    save_motion_to = _checked_motion(args.save_motion)
    driver = _driver(args)  # before anything slow: a bad file fails at once
    other = None if args.listen is None else SoundDriver(Path(args.listen))
    if driver.note:
        print(f"avatarcast: {driver.name}: {driver.note}", file=sys.stderr)

    from engine.avatar.avatar_file import load_avatar  # heavy, and not needed for --help
    from engine.pipeline import PipelineConfig, build_pipeline
    from engine.tracking.tracker import EveryFrameTracker

    avatar = load_avatar(args.avatar)
    options = RenderOptions(
        args.side_by_side,
        save_motion_to,
        _marks(args, avatar, style),
        args.look_ahead / 1e3,
    )
    config = PipelineConfig(args.runner, args.steps, live=False, frame=frame, renderer=args.renderer)
    is_film = args.driver is not None and Path(args.driver).suffix.lower() != SUFFIX
    with closing(EveryFrameTracker(filtered=True) if is_film else NoTracker()) as tracker:
        pipeline = build_pipeline(avatar, config, tracker)
        try:
            pipeline.set_background(background)
            sign = _signing(out, avatar, certificate)
            voice = _companion(driver, avatar, args.seed) if isinstance(driver, SoundDriver) else None
            overheard = None if other is None else _overheard(driver, other, avatar, args.seed)
            pipeline.adjust([*([] if overheard is None else [overheard.listening]), *adjustments])
            result = render(pipeline, tracker, driver, out, options, sign, voice, overheard)
            reason = pipeline.runner_reason
        finally:
            pipeline.close()
    result |= {"avatar": avatar.name, "runner": reason, "out": str(out)}
    print(json.dumps(result) if args.json else _summary(result))
    return 0


def render(
    pipeline: OfflinePipeline,
    tracker: FrameTracker,
    driver: Driver,
    out: Path,
    options: RenderOptions,
    sign: Callable[[Path], None] | None = None,
    voice: VoiceDriver | None = None,
    overheard: Overheard | None = None,
) -> dict[str, Any]:
    """Get all the motion, then render it to `out`; returns the machine-readable result.

    sign: is called with the finished file, before it has its name. voice: what the driver's sound has the
    avatar do; overheard: what it says, and what it hears meanwhile. Raises FootageError where no face is, and
    no voice.
    """
    begun_ns = time.perf_counter_ns()
    stage_ms: dict[str, list[float]] = {stage: [] for stage in STAGES}
    motion = driver.motion(tracker, stage_ms["track"])
    landmarks, times_s, fps = motion.landmarks, motion.times_s, motion.rate
    has_face = any(frame.face_confidence > 0 for frame in landmarks)
    if not has_face and voice is None:
        raise FootageError(
            f"{driver.name}: no face in any of {len(landmarks)} frames; give a clip that faces the camera"
        )
    if options.save_motion is not None:
        save_motion(options.save_motion, motion)
    if has_face:
        pipeline.calibrate_from(landmarks)
    if voice is not None:
        pipeline.accompany(voice)
    width, height = _output_size(pipeline.frame_px, driver.picture_px, options)
    variable = bool(np.abs(np.array(times_s) - np.arange(len(times_s)) / float(fps)).max() > _LATE / fps)
    rendered = 0
    with (
        VideoWriter(
            out,
            width,
            height,
            fps,
            audio_from=driver.sound,
            variable=variable,
            comment=COMMENT,
            source_type=SOURCE_TYPE,
            finish=sign,
        ) as writer,
        Bars(disable=None) as bars,
    ):
        for time_s, found, seen in zip(times_s, landmarks, driver.pictures(), strict=False):
            if voice is not None:
                voice.at(time_s, time_s - (LOOK_AHEAD_S - options.look_ahead_s))
            if voice is not None and overheard is not None:
                overheard.at(time_s, voice.share)
            result = pipeline.process(seen, int(time_s * 1e9), landmarks=found)
            for stage in STAGES[1:]:
                if stage in result.stage_ms:  # a frame without a face, or a still one, skips most
                    stage_ms[stage].append(result.stage_ms[stage])
            picture = mark(result.rgb, options.mark) if options.mark else result.rgb
            if options.side_by_side:
                picture = np.hstack([_beside(seen, width - pipeline.frame_px[0], height), picture])
            writer.write(picture, time_s)
            rendered += 1
            bars.show("rendering", rendered, len(landmarks))
    if rendered < len(landmarks):
        raise VideoError(f"{driver.name}: only {rendered} of {len(landmarks)} frames were read again")
    seconds = (time.perf_counter_ns() - begun_ns) * 1e-9
    return {
        "frames_in": len(landmarks),
        "frames_out": rendered,
        "fps": round(rendered / seconds, 2),
        "stage_ms": {stage: percentiles(ms) if ms else None for stage, ms in stage_ms.items()},
        "frames_without_face": sum(frame.face_confidence <= 0 for frame in landmarks),
        "duration_s": round(times_s[-1] + float(1 / fps), 3),
        "seconds": round(seconds, 2),
        "marked": options.mark is not None and options.mark.visible,
        "credentials": sign is not None,
        "mark_bits": options.mark.bits().hex() if options.mark else None,
        "speech_s": None if voice is None else round(voice.lips.speech_s, 1),
    }


def _companion(driver: SoundDriver, avatar: Avatar, seed: int) -> VoiceDriver:
    """What the sound has this avatar do; says so where it holds no speech."""
    own = avatar.voice
    lips = SpokenLips(Speaker(None if own is None else own.fit), kept_rows=None)
    lips.push(driver.samples)
    lips.finish()
    if not lips.speech_s:
        print(f"avatarcast: {driver.name}: no speech in it; the avatar keeps its lips shut", file=sys.stderr)
    habits, manner = (None, None) if own is None else (own.habits, own.manner)
    return VoiceDriver(lips, Idle(seed, habits), always_lips=True, manner=manner, seed=seed)


def _overheard(driver: Driver, other: SoundDriver, avatar: Avatar, seed: int) -> Overheard:
    """What this avatar says and what it hears meanwhile."""
    assert isinstance(driver, SoundDriver)  # --listen goes with --voice alone
    listening = Listening(None if avatar.voice is None else avatar.voice.habits, seed)
    return Overheard(listening, driver.samples, other.samples)


def _run_stills(args: argparse.Namespace) -> int:
    """Each picture by itself."""
    for option in ("voice", "listen", "side_by_side", "save_motion"):
        if getattr(args, option):
            raise SettingsError(f"--{option.replace('_', '-')}: {args.driver} is no film; leave it out")
    stills = stills_of(Path(args.driver), Path(args.out))
    background, style = Background.parse(args.background), mark_style(args)
    frame, certificate = checked_frame(args.frame), certificate_of(args)
    schedule = _schedule(args)

    from engine.avatar.avatar_file import load_avatar
    from engine.pipeline import PipelineConfig, build_pipeline
    from engine.tracking.tracker import EveryFrameTracker

    avatar = load_avatar(args.avatar)
    marks = _marks(args, avatar, style)
    config = PipelineConfig(args.runner, args.steps, live=False, frame=frame, renderer=args.renderer)
    with (
        closing(EveryFrameTracker()) as tracker,
        closing(build_pipeline(avatar, config, NoTracker())) as pipeline,
    ):

        def fresh() -> StillPipeline:
            tracker.reset()
            pipeline.reset()
            pipeline.set_background(background)
            pipeline.adjust(_adjustments(schedule, args.eye_contact))
            return pipeline

        result = render_stills(
            fresh, tracker, stills, marks, lambda path: _signing(path, avatar, certificate), args.mirror
        )
        result |= {"avatar": avatar.name, "runner": pipeline.runner_reason}
    for path in result["without_face"]:
        print(f"avatarcast: {path}: no face, left out", file=sys.stderr)
    print(json.dumps(result) if args.json else "\n".join(result["pictures"]))
    return 0


def _marks(args: argparse.Namespace, avatar: Avatar, style: MarkStyle) -> MarkStyle | None:
    """What pictures are marked with. Raises SettingsError where the visible mark may not be left off."""
    marks = avatar.marks(replace(style, visible=not args.no_mark))
    if args.no_mark and marks is not None:
        print(f"avatarcast: no visible mark; the file's metadata still says '{COMMENT}'", file=sys.stderr)
    return marks


def _signing(out: Path, avatar: Avatar, named: Certificate | None) -> Callable[[Path], None] | None:
    """What puts Content Credentials into the finished file, or beside it; None, and why, for none."""
    kind = TYPES.get(out.suffix.lower())
    if reason := unavailable():
        print(f"avatarcast: without Content Credentials: {reason}", file=sys.stderr)
        return None
    try:
        certificate = named or installation_certificate()
    except FileError as error:
        print(f"avatarcast: without Content Credentials: {error}", file=sys.stderr)
        return None
    said = avatar.told()
    if kind is not None:
        return lambda path: add_credentials(path, kind, said, certificate, avatar.preview_jpeg)
    beside = sidecar(out)
    print(
        f"avatarcast: {out.suffix} carries no Content Credentials: they are in {beside.name}, to go with it",
        file=sys.stderr,
    )

    def sign(path: Path) -> None:
        with path.open("rb") as film:
            write_file(beside, detached(film, said, certificate, avatar.preview_jpeg))

    return sign


def _checked_out(out: Path, given: Sequence[Path]) -> Path:
    """`out` if a video can be written there: better known now than after minutes."""
    if out.suffix.lower() not in _SUFFIXES:
        raise SettingsError(f"--out {out}: give a name that ends in {', '.join(_SUFFIXES)}")
    if any(out.exists() and path.exists() and out.samefile(path) for path in given):
        raise SettingsError(f"--out {out}: that is the driver itself; choose another name")
    folder = out.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise VideoError(
            f"--out {out}: {folder} is not a folder that can be written to; create it or choose another"
        )
    sweep(folder)
    return out


def _schedule(args: argparse.Namespace) -> Schedule | None:
    """The feelings that are asked for; what was understood of words is told."""
    if args.emotion is None:
        return None
    schedule, understood = read_emotion(args.emotion)
    for one in understood:
        print(f"avatarcast: emotion {one}", file=sys.stderr)
    return schedule


def _adjustments(schedule: Schedule | None, eye_contact: bool) -> list[Adjustment]:
    """What is added to the driver's motion."""
    emotion: list[Adjustment] = [] if schedule is None else [EmotionControl(schedule)]
    return [*emotion, *([EyeContact()] if eye_contact else [])]


def _checked_motion(text: str | None) -> Path | None:
    """The file to write motion to: named as it will be read again, in a folder that is there."""
    if text is None:
        return None
    path = Path(text)
    if path.suffix.lower() != SUFFIX:
        raise SettingsError(f"--save-motion {text}: must end in {SUFFIX}")
    if not path.absolute().parent.is_dir():
        raise SettingsError(f"--save-motion {text}: there is no folder {path.parent}; make it first")
    return path


def _driver(args: argparse.Namespace) -> Driver:
    """A film, recorded motion or a voice; what needs pictures or motion that are not there is refused."""
    if args.driver is None and args.voice is None:
        raise SettingsError("nothing drives it: give --driver with a film, --voice with a sound, or both")
    if not 0 <= args.look_ahead <= _MOST_AHEAD_MS:
        raise SettingsError(f"--look-ahead {args.look_ahead:g}: must be 0 to {_MOST_AHEAD_MS} ms")
    if args.seed < 0:
        raise SettingsError(f"--seed {args.seed}: must be 0 or more")
    if args.voice is not None and args.save_motion:
        raise SettingsError(
            "--save-motion: a voice's motion is not saved; leave out --voice or --save-motion"
        )
    if args.voice is None and args.listen is not None:
        raise SettingsError("--listen: a camera's person listens by themselves; give --voice too")
    beside = None if args.driver is None else _beside_voice(args)
    if args.voice is None:
        assert beside is not None
        return beside
    if beside is None:
        _refuse_without_pictures(args, args.voice)
    return SoundDriver(Path(args.voice), beside)


def _beside_voice(args: argparse.Namespace) -> Driver:
    """What --driver names."""
    if Path(args.driver).suffix.lower() != SUFFIX:
        return FilmDriver(Path(args.driver), args.mirror)
    _refuse_without_pictures(args, args.driver)
    return MotionDriver(Path(args.driver))


def _refuse_without_pictures(args: argparse.Namespace, name: str) -> None:
    for option, given in (("--side-by-side", args.side_by_side), ("--mirror", args.mirror)):
        if given:
            raise SettingsError(f"{option}: {name} holds no pictures; give the film, or leave {option} out")


def _output_size(
    frame_px: tuple[int, int], driver_px: tuple[int, int], options: RenderOptions
) -> tuple[int, int]:
    """(width, height) px of the file."""
    width, height = frame_px
    beside = max(2, round(height * driver_px[0] / driver_px[1])) if options.side_by_side else 0
    return width + beside, height


def _beside(rgb: U8Image, width: int, height: int) -> U8Image:
    """The driver's frame at the avatar's height."""
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _summary(result: Mapping[str, Any]) -> str:
    """Two lines for people."""
    ran = {stage: times for stage, times in result["stage_ms"].items() if times}
    stages = ", ".join(f"{stage} {times['p50']:.1f}" for stage, times in ran.items())
    return (
        f"{result['out']}: {result['frames_out']} frames, {result['duration_s']:.1f} s, "
        f"made at {result['fps']:.1f} frames/s on {result['runner']}\n  ms per frame (median): {stages}"
    )
