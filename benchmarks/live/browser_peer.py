"""A real browser as the caller: Chromium opens the live page with a fake camera of numbered pictures.

Numbers and times are taken in the page: of a camera picture when the camera delivers it to the page, of an
avatar's picture when the browser presents it, which the screen's refresh rounds up by 8 ms on average. So
the browser's own encoder, jitter buffer, decoder and compositor are in the latency. Needs playwright and an
installed Chromium.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from playwright.async_api import Page

from benchmarks.live.browser_stage import LIMIT_S, camera_flags, page_with
from benchmarks.live.glass_statistics import Arrival, Seen
from benchmarks.live.peer import Planes
from benchmarks.live.server_link import page_at
from engine.media.frame_code import stamp

LOOP_LIMIT_S = 12.0  # of the fake camera's file, 14 MB a second

READER_SCRIPT = Path(__file__).with_suffix(".js")


class Pictures(Protocol):
    """What a camera shows; benchmarks.live.driver_pictures.DriverPictures has a clip's."""

    @property
    def loop_s(self) -> float: ...

    def at(self, elapsed_s: float) -> Planes: ...


def write_camera_file(
    path: Path, pictures: Pictures, width: int, height: int, fps: int, numbered: bool = True
) -> int:
    """A .y4m for Chromium's fake camera; returns how many pictures it loops over."""
    count = round(min(pictures.loop_s, LOOP_LIMIT_S) * fps)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(count):
            planes = pictures.at(number / fps).copy()
            if numbered:
                stamp(planes[:height], number)
            file.write(b"FRAME\n")
            file.write(planes.tobytes())
    return count


async def call(link: str, camera_file: Path, loop: int, seconds: float) -> Seen:
    """Open the page, press Start, stay for `seconds` after the first picture, press Stop.

    loop: how many pictures the camera's file has.
    """
    async with page_with(*camera_flags(camera_file)) as page:
        await page.add_init_script(path=READER_SCRIPT)
        await page.goto(page_at(link, "/?measure"))
        await page.evaluate("window.watchGlass()")
        await page.click("#start")
        await asyncio.wait_for(_first_picture(page), LIMIT_S)
        await asyncio.sleep(seconds)
        seen = await page.evaluate("window.glass")
        await page.click("#start")
    sent_ns: dict[int, list[int]] = {}
    for number, at_ms in seen["local"]:
        if number is not None:
            sent_ns.setdefault(number, []).append(round(at_ms * 1e6))
    arrivals = [Arrival(round(at_ms * 1e6), number) for number, at_ms in seen["remote"]]
    return Seen(sent_ns, arrivals, [(round(at_ms * 1e6), message) for at_ms, message in seen["stats"]], loop)


async def _first_picture(page: Page) -> None:
    # polled, as wait_for_function is against the page's CSP
    while not await page.evaluate("window.glass.remote.length"):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
