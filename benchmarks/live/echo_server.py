"""The live server with a pipeline that renders nothing: the camera's own centre, 256 px, comes back.

What is left is transport: HTTP, ICE, both codecs, queues, colour conversion. Run by
benchmarks.live.glass_to_glass with --pipeline echo to show the floor under every latency, and by tests that
need a server but no avatar. With --sd-turbo each picture also goes through that graph, whose weights are
random: its output goes nowhere.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from benchmarks.live.openmp import wait_patiently
from engine.arrays import U8Image
from engine.effort import Effort
from engine.person.motion import Neutral
from engine.pipeline import Adjustment, Companion
from engine.render.background import Background
from engine.runners.choice import default_threads
from engine.voice.own import OwnVoice
from stream.commands.serve import Serving, serve
from stream.http.exposure import listen
from stream.http.security import Access
from stream.render.avatars import Avatars, ServedAvatar
from stream.render.render_loop import FramePipeline
from stream.sessions.registry import RegistryConfig, SessionRegistry

SIZE_PX = 256


@dataclass
class EchoedFrame:
    """What a pipeline gives back, with the picture that came in."""

    rgb: U8Image  # (256, 256, 3) uint8 RGB
    face_found: bool = True
    calibrating: bool = False
    stage_ms: dict[str, float] = field(default_factory=dict)
    landmarks: None = None  # nobody looks for any


class EchoPipeline:
    """Centre crop and resize.

    busy_ms: how long to sleep per frame, as a stand-in for a renderer. graph: run on each picture too.
    """

    runner_reason = "echo: the camera's own picture, no avatar"
    own_voice: OwnVoice | None = None
    driver: Neutral | None = None
    calibrating = False

    def __init__(self, busy_ms: float = 0.0, graph: Callable[[U8Image], object] | None = None) -> None:
        self._busy_s = busy_ms / 1_000
        self._graph = graph
        self._mirror = False

    def process(self, rgb: U8Image | None, time_ns: int) -> EchoedFrame:
        """rgb: (H, W, 3) uint8; None: a black picture."""
        start = time.perf_counter()
        if rgb is None:
            rgb = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
        height, width = rgb.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        crop = rgb[top : top + side, left : left + side]
        picture = np.asarray(cv2.resize(crop, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA), np.uint8)
        if self._mirror:
            picture = np.ascontiguousarray(picture[:, ::-1])
        if self._busy_s:
            time.sleep(self._busy_s)
        if self._graph is not None:
            self._graph(picture)
        return EchoedFrame(picture, stage_ms={"compose": (time.perf_counter() - start) * 1e3})

    def accompany(self, companion: Companion | None) -> None:
        """It does what the camera shows, whoever drives."""

    def calibrate(self) -> None:
        """Nothing to calibrate."""

    def drive_by(self, neutral: Neutral) -> None:
        """No motion is measured."""

    def set_mirror(self, on: bool) -> None:
        """Flip the picture left to right, or not."""
        self._mirror = on

    def set_frame(self, frame: str) -> None:
        """It has no picture of its own."""

    def set_effort(self, effort: Effort) -> None:
        """It looks for nothing and paints nothing."""

    def set_background(self, background: Background) -> None:
        """The picture fills the canvas: nothing is behind it."""

    def adjust(self, adjustments: Sequence[Adjustment]) -> None:
        """There is no motion to adjust."""

    def reset(self) -> None:
        """Back to the state of a new pipeline."""
        self._mirror = False

    def close(self) -> None:
        """Nothing to release."""


def echo_avatar(build: Callable[[], FramePipeline] = EchoPipeline, name: str = "echo") -> ServedAvatar:
    """An avatar for servers under test: no person, no file."""
    return ServedAvatar(
        name, person="synthetic", size_px=SIZE_PX, preview_jpeg=b"", mark_style=None, build=build
    )


def sd_turbo() -> Callable[[U8Image], object]:
    """The graph, on as many threads as a network is served with."""
    wait_patiently()
    from benchmarks.live.sd_turbo import (  # torch and diffusers: the echo does without
        SdTurboConfig,
        SdTurboOnCpu,
    )

    return SdTurboOnCpu(SdTurboConfig(size_px=SIZE_PX), default_threads()).run


def main() -> int:
    """Serve until SIGTERM; prints the start-up facts as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--max-sessions", type=int, default=2)
    parser.add_argument("--token", action="store_true", help="let in only who has the link, as `serve` does")
    parser.add_argument("--sd-turbo", action="store_true", help="spend SD-Turbo's time on each picture")
    args = parser.parse_args()
    graph = sd_turbo() if args.sd_turbo else None
    echo = echo_avatar(lambda: EchoPipeline(graph=graph))
    registry = SessionRegistry(Avatars([echo]), RegistryConfig(args.max_sessions, runner="echo"))
    access = Access(secrets.token_urlsafe(32), made_token=True) if args.token else Access()
    with listen("127.0.0.1", args.port) as listener:
        return serve(listener, Serving(registry, access), as_json=True)


if __name__ == "__main__":
    raise SystemExit(main())
