"""The avatar as your webcam: it follows the real one, and other programs choose it as their camera.

Needs the extra `camera` and a driver: v4l2loopback on Linux, OBS Studio's on macOS and Windows.
Nothing leaves this machine; Ctrl-C stops it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable
from time import perf_counter_ns
from typing import Any

import av

from engine.commands.options import (
    add_avatar,
    add_background,
    add_eye_contact,
    add_frame,
    add_mirror,
    add_renderer,
    add_runner,
)
from engine.errors import RunnerError, SettingsError
from engine.expression.eye_contact import EyeContact
from engine.media.disclosure import MarkStyle, add_mark_arguments, mark_style
from engine.render.background import Background
from engine.render.frame import checked_frame
from stream.commands.virtual_camera import SteadyCamera, VirtualCamera, open_virtual_camera
from stream.commands.webcam import find_source, open_source
from stream.logs import configure_logging
from stream.render.metrics import summary
from stream.render.render_loop import FramePipeline, Incoming, Outgoing, RenderThread

FRAME = "1280x720"  # what programs expect of a camera
MIN_FPS, MAX_FPS = 1.0, 120.0
WITHDRAWN_EVERY_S = 60.0
_KEPT = 10_000  # latest frames whose delay is told at the end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast camera`."""
    add_avatar(parser)
    parser.add_argument(
        "--device", default="0", help="the real webcam: 0 (default), /dev/videoN, its name, or a video file"
    )
    parser.add_argument("--virtual-device", help="the virtual camera to fill (default: the first free one)")
    parser.add_argument(
        "--fps", default="30", help="frames per second asked of the webcam, and of this camera (default 30)"
    )
    add_runner(parser)
    add_renderer(parser)
    add_mirror(parser)
    add_background(parser)
    add_frame(parser, default=FRAME)
    add_eye_contact(parser)
    add_mark_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Runs until Ctrl-C, SIGTERM, SIGHUP, or the end of the file."""
    fps = _rate(args.fps)
    source = find_source(args.device)
    if source.note:
        print(f"avatarcast: {source.name}: {source.note}", file=sys.stderr)
    background, style = Background.parse(args.background), mark_style(args)
    frame = checked_frame(args.frame)
    configure_logging("text")

    from engine.avatar.avatar_file import load_avatar  # heavy, and not needed for --help
    from engine.pipeline import PipelineConfig, build_pipeline
    from engine.render.scene import frame_size

    avatar = load_avatar(args.avatar)
    size_px = frame_size(frame, avatar.size, avatar.scene)
    camera = open_virtual_camera(size_px, fps, args.virtual_device)
    try:
        with open_source(source, fps) as frames:  # before the models: what is missing is said at once
            config = PipelineConfig(runner=args.runner, frame=frame, renderer=args.renderer)
            pipeline = build_pipeline(avatar, config)
            try:
                pipeline.set_mirror(args.mirror)
                pipeline.set_background(background)
                pipeline.adjust([EyeContact(args.eye_contact)])
                print(
                    f"avatarcast: {avatar.name} follows {source.name} and is the camera {camera.device}; "
                    "Ctrl-C stops it",
                    file=sys.stderr,
                    flush=True,
                )
                with SteadyCamera(camera, fps) as steady:
                    marks = avatar.marks(style)
                    result = drive(frames, steady, pipeline, marks, withdrawn=avatar.withdrawn)
                result["shown"] = steady.shown
            finally:
                pipeline.close()
    finally:
        camera.close()
    result |= {"avatar": avatar.name, "runner": pipeline.runner_reason, "camera": camera.device}
    print(json.dumps(result) if args.json else _summary(result))
    return 0


def drive(
    frames: Iterable[av.VideoFrame],
    camera: VirtualCamera,
    pipeline: FramePipeline,
    style: MarkStyle | None,
    withdrawn: Callable[[], str] = str,
) -> dict[str, Any]:
    """Renders the newest frame, again and again, until they end or Ctrl-C; the machine-readable result.

    withdrawn: since when consent is withdrawn, asked once a minute. Raises RunnerError when the pipeline
    fails on every frame, SettingsError when the camera goes away, or consent.
    """
    delays_ms: deque[float] = deque(maxlen=_KEPT)
    failure: list[Exception] = []
    rendered = received = 0

    def deliver(outgoing: Outgoing) -> None:
        nonlocal rendered
        try:
            camera.send(outgoing.i420)
        except (RuntimeError, OSError) as error:
            failure.append(
                SettingsError(f"the virtual camera {camera.device} went away ({error}): start it again")
            )
        delays_ms.append(outgoing.report.server_ms)
        rendered += 1

    def broken() -> None:
        failure.append(RunnerError("the renderer failed on many frames in a row: see the log lines above"))

    thread = RenderThread(
        pipeline,
        deliver,
        broken=broken,
        died=lambda reason: failure.append(RunnerError(reason)),
        measure=False,
        mark_style=style,
        name="render",
    )
    begun_ns = perf_counter_ns()
    asked_ns = begun_ns
    thread.start()
    try:
        for frame in frames:
            if failure:
                raise failure[0]
            if perf_counter_ns() - asked_ns >= WITHDRAWN_EVERY_S * 1e9:
                asked_ns = perf_counter_ns()
                if since := withdrawn():
                    raise SettingsError(f"consent to this avatar was withdrawn on {since}: choose another")
            received += 1
            thread.slot.put(Incoming(frame, perf_counter_ns()))
    except KeyboardInterrupt:
        pass  # how it is ended
    finally:
        thread.stop()
        thread.join()
    seconds = (perf_counter_ns() - begun_ns) / 1e9
    return {
        "frames_in": received,
        "frames_out": rendered,
        "dropped": thread.slot.dropped,
        "fps": round(rendered / seconds, 2),
        "delay_ms": summary(delays_ms),
        "seconds": round(seconds, 2),
    }


def _rate(text: str) -> float:
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not MIN_FPS <= fps <= MAX_FPS:
        raise SettingsError(f"--fps {text!r}: a number from {MIN_FPS:g} to {MAX_FPS:g} is needed")
    return fps


def _summary(result: dict[str, Any]) -> str:
    """One line for people."""
    delay_ms = result["delay_ms"]["p50"]
    delay = "" if delay_ms is None else f", {delay_ms:.0f} ms after the webcam's picture (median)"
    return (
        f"{result['camera']}: {result['frames_out']} pictures in {result['seconds']:.1f} s "
        f"({result['fps']:.1f} frames/s){delay}; {result['dropped']} of {result['frames_in']} frames left out"
    )
