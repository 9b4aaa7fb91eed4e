"""The camera goes and comes back, another one is chosen, the machine sleeps: the call goes on.

In a real browser, against a server that echoes the camera. The session is the same one after a gap of up to
30 s, so its pipeline has kept the calibration (tests/stream/test_sessions.py). Needs an installed Chromium.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.async_api import Page

from benchmarks.live.browser_stage import CHROMIUM, LIMIT_S, server, until_text
from tests.support.browser import ECHO, FAKE_CAMERA, Browsers

# Beside twice what the call took to begin on this machine. Idle, that takes a second, as does coming back, or
# two where the connection died unnoticed; it was six before a sleep was noticed.
BACK_LIMIT_S = 3.0
SETTLED_S = 3.0  # a connection that pictures came by for so long is the last one

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(not Path("/proc").exists(), reason="the browser's processes are found in /proc"),
]

# Cameras that can be pulled out, by window.unplug() and window.plug(), or fall silent, by window.mute(on);
# and when, in ms, by which stream each of the avatar's pictures was shown.
STAGE = """{
  const devices = navigator.mediaDevices;
  const [open, list] = [devices.getUserMedia.bind(devices), devices.enumerateDevices.bind(devices)];
  let there = true;
  devices.getUserMedia = async (wanted) => {
    if (wanted.video && !there) throw new DOMException("as the test wants it", "NotFoundError");
    return open(wanted);
  };
  devices.enumerateDevices = async () => (await list()).filter(({ kind }) => there || kind !== "videoinput");
  const camera = () => document.getElementById("presenter").srcObject.getVideoTracks()[0];
  const tell = (there_) => { there = there_; devices.dispatchEvent(new Event("devicechange")); };
  window.unplug = () => {
    const track = camera();
    track.stop();
    tell(false);
    track.dispatchEvent(new Event("ended"));
  };
  window.plug = () => tell(true);
  window.mute = (on) => {
    Object.defineProperty(camera(), "muted", { value: on, configurable: true });
    camera().dispatchEvent(new Event(on ? "mute" : "unmute"));
  };
  // What a machine finds that slept: the clock has gone on, and from the server nothing comes any more.
  window.sleep = (ms) => {
    const now = Date.now;
    Date.now = () => now() + ms;
    window.deaf = true;
  };
  const make = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (...given) {
    const channel = make.apply(this, given);
    const listen = channel.addEventListener.bind(channel);
    let hears = true;
    channel.addEventListener = (name, what) => listen(name, (event) => {
      if (window.deaf) [hears, window.deaf] = [false, false];
      if (hears) what(event);
    });
    return channel;
  };
  window.pictures = [];
  addEventListener("click", () => { window.clicked ??= Date.now(); }, true);
  addEventListener("DOMContentLoaded", () => {
    const avatar = document.getElementById("avatar");
    const seen = () => {
      window.pictures.push([Date.now(), avatar.srcObject?.id]);
      avatar.requestVideoFrameCallback(seen);
    };
    avatar.requestVideoFrameCallback(seen);
  });
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server(*ECHO) as address:
        yield address


async def clock_ms(page: Page) -> int:
    return int(await page.evaluate("Date.now()"))


async def seconds_to_flow(page: Page, since_ms: int) -> float:
    """From then to the first picture of the connection that pictures come by in the end."""
    for _ in range(int(LIMIT_S / 0.2)):
        seen = [picture for picture in await page.evaluate("window.pictures") if picture[0] >= since_ms]
        times = [at for at, stream in seen if stream == seen[-1][1]]
        if times and times[-1] - times[0] > SETTLED_S * 1e3:
            return float(times[0] - since_ms) / 1e3
        await page.wait_for_timeout(200)
    pytest.fail("no pictures come")


async def limit_s(page: Page) -> float:
    """In which the picture must be back: the slower the machine, the longer."""
    await page.wait_for_function("() => window.pictures.length", timeout=LIMIT_S * 1e3)
    began_s = await page.evaluate("(window.pictures[0][0] - window.clicked) / 1e3")
    print(f"the first picture came {began_s:.2f} s after the click")
    return BACK_LIMIT_S + 2 * float(began_s)


async def back_after(page: Page, since_ms: int, what: str) -> None:
    seconds = await seconds_to_flow(page, since_ms)
    print(f"{what}: picture again after {seconds:.2f} s")
    assert seconds < await limit_s(page), what


async def view_of(page: Page) -> str:
    return await page.input_value("#view-link")


async def test_a_camera_that_comes_back_is_taken_up(browsers: Browsers, url: str) -> None:
    async with browsers.call(url, *FAKE_CAMERA, script=STAGE) as page:
        view = await view_of(page)
        await page.evaluate("window.unplug()")
        await until_text(page, "#notice", "was unplugged or taken by another program. The call waits for it")
        await page.wait_for_timeout(500)
        since_ms = await clock_ms(page)
        await page.evaluate("window.plug()")
        await back_after(page, since_ms, "camera unplugged")
        await until_text(page, "#pill-text", "Live")
        assert await view_of(page) == view


async def test_a_camera_that_falls_silent_is_told(browsers: Browsers, url: str) -> None:
    async with browsers.call(url, *FAKE_CAMERA, script=STAGE) as page:
        view = await view_of(page)
        await page.evaluate("window.mute(true)")
        await until_text(page, "#notice", "sends no picture")
        await page.evaluate("window.mute(false)")
        await until_text(page, "#pill-text", "Live")
        assert await view_of(page) == view


@pytest.mark.long
async def test_after_a_long_gap_of_the_camera_it_is_calibrated_anew(browsers: Browsers, url: str) -> None:
    async with browsers.call(url, *FAKE_CAMERA, script=STAGE) as page:
        view = await view_of(page)
        await page.evaluate("window.unplug()")
        await page.wait_for_timeout(35_000)
        await until_text(page, "#notice", "was unplugged or taken by another program. The call waits for it")
        since_ms = await clock_ms(page)
        await page.evaluate("window.plug()")
        await back_after(page, since_ms, "camera unplugged for 35 s")
        await until_text(page, "#hint", "taken anew")
        assert await view_of(page) != view


async def test_another_camera_takes_over(browsers: Browsers, url: str) -> None:
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=device-count=3,fps=10")
    async with browsers.call(url, *flags, script=STAGE) as page:
        view = await view_of(page)
        since_ms = await clock_ms(page)
        await page.select_option("#camera", label="fake_device_2")
        await until_text(page, "#hint", "fake_device_2 is used now")
        used_ms = await clock_ms(page)
        await back_after(page, used_ms, f"another camera, in use after {used_ms - since_ms} ms")
        assert await view_of(page) == view


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        return []
    own = [int(child) for child in children.read_text().split()]
    return own + [deeper for child in own for deeper in _descendants(child)]


def browser_processes() -> list[int]:
    """Chromium's that were started here."""
    pids = _descendants(os.getpid())
    return [pid for pid in pids if "chrom" in Path(f"/proc/{pid}/comm").read_text()]


async def sleep_for(seconds: float) -> None:
    """The whole browser stands still, as on a machine that sleeps."""
    pids = browser_processes()
    assert pids
    for pid in pids:
        with suppress(ProcessLookupError):  # the browser may just have ended one of them
            os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def test_a_connection_that_died_asleep_is_made_anew_at_once(browsers: Browsers, url: str) -> None:
    """Where the machine's own clock stood still with it, and no word of the server's has come through."""
    async with browsers.call(url, *FAKE_CAMERA, script=STAGE) as page:
        view = await view_of(page)
        limit, since_ms = await limit_s(page), await clock_ms(page)
        await page.evaluate("window.sleep(20000)")
        await until_text(page, "#pill-text", "Reconnecting")
        await until_text(page, "#pill-text", "Live")
        seconds = (await clock_ms(page) - since_ms) / 1e3 - 20
        print(f"connection dead after 20 s asleep: live again after {seconds:.2f} s")
        assert seconds < limit
        assert await view_of(page) == view


@pytest.mark.parametrize(
    "seconds", [4, *(pytest.param(seconds, marks=pytest.mark.long) for seconds in (20, 60))]
)
async def test_a_machine_that_slept_goes_on(browsers: Browsers, url: str, seconds: int) -> None:
    async with browsers.call(url, *FAKE_CAMERA, script=STAGE) as page:
        view = await view_of(page)
        await sleep_for(seconds)
        await back_after(page, await clock_ms(page), f"asleep for {seconds} s")
        if seconds <= 30:
            assert await view_of(page) == view
        else:
            await until_text(page, "#hint", "taken anew")
            assert await view_of(page) != view
