"""One measured call: a caller of either kind before a running server."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.glass_statistics import Seen, summarise
from benchmarks.live.peer import AiortcPeer, StampedCamera
from benchmarks.records.instrument import DEFAULT_DRIVER
from engine.media.frame_code import NUMBER_MODULUS

FIRST_PICTURE_LIMIT_S = 60.0
CAMERA_FPS = 30


@dataclass(frozen=True, slots=True)
class CallConfig:
    """Who calls, what the camera shows, how long."""

    peer: str = "aiortc"  # or "chromium"
    driver: Path = DEFAULT_DRIVER
    size: tuple[int, int] = (640, 480)  # of the camera
    fps: int = CAMERA_FPS  # of the camera
    seconds: float = 60.0  # measured, after the warm-up
    warm_up: float = 5.0  # seconds


async def make_call(link: str, config: CallConfig) -> Seen:
    """Call the server at that address, stay, hang up. SystemExit when no picture comes."""
    pictures = DriverPictures(config.driver, *config.size)
    if config.peer == "chromium":
        return await _with_chromium(link, config, pictures)
    async with calling(link, pictures, config.fps) as caller:
        await asyncio.sleep(config.warm_up + config.seconds)
    return Seen(caller.camera.sent_ns, caller.peer.arrivals, caller.peer.stats, NUMBER_MODULUS)


@dataclass(frozen=True, slots=True)
class Caller:
    """A headless caller, whose camera numbers its pictures."""

    peer: AiortcPeer
    camera: StampedCamera

    def figures(self, from_ns: int, to_ns: int | None = None) -> dict[str, Any]:
        """Of the pictures that came in this time; see glass_statistics."""
        arrivals = [one for one in self.peer.arrivals if to_ns is None or one.at_ns < to_ns]
        return summarise(self.camera.sent_ns, arrivals, from_ns)


@asynccontextmanager
async def calling(link: str, pictures: DriverPictures, fps: float = CAMERA_FPS) -> AsyncIterator[Caller]:
    """A call that brings pictures; hung up in the end. SystemExit when none comes."""
    camera = StampedCamera(pictures.at, fps)
    peer = AiortcPeer(link, camera)
    try:
        await peer.connect()
        await pictures_came(peer)
        yield Caller(peer, camera)
    finally:
        await peer.close()


async def pictures_came(peer: AiortcPeer, count: int = 1) -> None:
    """Wait for so many. SystemExit when they do not come."""
    end_s = time.perf_counter() + FIRST_PICTURE_LIMIT_S
    while len(peer.arrivals) < count:
        if time.perf_counter() > end_s:
            raise SystemExit(
                f"{len(peer.arrivals)} pictures came back in {FIRST_PICTURE_LIMIT_S:.0f} s; wanted {count}; "
                f"connection {peer.state}"
            )
        await asyncio.sleep(0.05)


async def _with_chromium(link: str, config: CallConfig, pictures: DriverPictures) -> Seen:
    from benchmarks.live.browser_peer import (  # needs playwright, the other peer does not
        call,
        write_camera_file,
    )

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "camera.y4m"
        loop = write_camera_file(file, pictures, *config.size, config.fps)
        return await call(link, file, loop, config.warm_up + config.seconds)
