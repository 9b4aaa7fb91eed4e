"""The live page in a real browser, against the real server: the avatar moves as the presenter does.

With the bundled avatar where it is in the checkout, else with the camera's own picture echoed back; the page,
WebRTC, codecs and the whole server are the same. Needs an installed Chromium.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Page, async_playwright

from benchmarks.browser_peer import CAMERA_FLAGS, CHROMIUM_FLAGS, find_chromium, write_camera_file
from benchmarks.driver_pictures import DriverPictures
from engine.geometry import rotation_to_euler_deg
from engine.mediapipe_parts import FacePart
from engine.motion import canonical_reference, in_head_axes, lip_gap

ROOT = Path(__file__).parent.parent
DRIVER = ROOT / "tests" / "data" / "presenter_driver.mp4"
BUNDLED = ROOT / "engine" / "assets" / "bundled.avatar"
ECHO = ("-m", "benchmarks.echo_server")
CHROMIUM = find_chromium()
START_LIMIT_S = 60.0
WATCH_S = 14.0
MAX_LAG_S = 2.0  # 0.15 on an idle machine
Signal = NDArray[np.float64]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

WATCH = """async (seconds) => {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const shot = (id) => {
    const video = document.getElementById(id);
    if (!video.videoWidth) return null;
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    context.drawImage(video, 0, 0);
    return canvas.toDataURL("image/jpeg", 0.9);
  };
  const pairs = [];
  const start = performance.now();
  for (let now = start; now - start < 1000 * seconds; now = performance.now()) {
    const [presenter, avatar] = [shot("presenter"), shot("avatar")];
    if (presenter && avatar) pairs.push([now - start, presenter, avatar]);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  return pairs;
}"""


@dataclass(frozen=True)
class Motion:
    """What a face did; all arrays of one length, NaN where no face was found."""

    yaw_deg: Signal
    mouth: Signal  # gap of the lips, in head units


@contextmanager
def server(*command: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server process and its address; it must end cleanly."""
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"]), process
        process.terminate()
        assert process.wait(START_LIMIT_S) == 0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    bundled = ("-m", "engine.cli", "serve", "--port", "0", "--json")
    with server(*(bundled if BUNDLED.exists() else ECHO)) as (address, _):
        yield address


@pytest.fixture(scope="module")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "presenter.y4m"
    write_camera_file(path, DriverPictures(DRIVER, 640, 480), 640, 480, fps=20, numbered=False)
    return path


@asynccontextmanager
async def page_with(*flags: str) -> AsyncIterator[Page]:
    assert CHROMIUM is not None
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*CHROMIUM_FLAGS, *flags])
        try:
            yield await browser.new_page()
        finally:
            await browser.close()


async def until_text(page: Page, selector: str, text: str) -> None:
    await page.locator(selector).filter(has_text=text).wait_for(timeout=START_LIMIT_S * 1e3)


def motion_in(pictures: list[str]) -> Motion:
    part = FacePart()
    yaw_deg, mouth = np.full(len(pictures), np.nan), np.full(len(pictures), np.nan)
    for index, picture in enumerate(pictures):
        data = np.frombuffer(base64.b64decode(picture.partition(",")[2]), np.uint8)
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
        faces = part.find(np.ascontiguousarray(bgr[..., ::-1], np.uint8))
        if faces:
            face, rotation, _, _ = in_head_axes(faces[0], canonical_reference())
            yaw_deg[index] = rotation_to_euler_deg(rotation)[0]
            mouth[index] = lip_gap(face)
    part.close()
    return Motion(yaw_deg, mouth)


def best_correlation(times_s: Signal, driver: Signal, avatar: Signal) -> tuple[float, float]:
    """The highest correlation over lags of the avatar of 0..2 s, and that lag in s."""
    known = np.isfinite(driver)
    results = []
    for lag_s in np.arange(0.0, MAX_LAG_S, 0.02):
        delayed = np.interp(times_s - lag_s, times_s[known], driver[known])
        both = np.isfinite(avatar) & (times_s > MAX_LAG_S)
        results.append((float(np.corrcoef(delayed[both], avatar[both])[0, 1]), float(lag_s)))
    return max(results)


async def test_the_avatar_follows_the_presenter(url: str, camera_file: Path) -> None:
    """Yaw and mouth of the returned picture follow the camera's; a shuffled picture does not (control)."""
    errors: list[str] = []
    async with page_with(*CAMERA_FLAGS, f"--use-file-for-fake-video-capture={camera_file}") as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(url)
        await page.click("#start")
        await until_text(page, "#pill-text", "Live")  # calibrated
        pairs: list[Any] = await page.evaluate(WATCH, WATCH_S)
        fps = float(await page.inner_text("#fps-out"))
        assert await page.locator(".badge").inner_text() == "AI-generated"
        await page.click("#start")
        await until_text(page, "#pill-text", "Ready")
    assert not errors
    assert fps > 0
    times_s = np.array([pair[0] for pair in pairs], float) / 1e3
    driver, avatar = motion_in([pair[1] for pair in pairs]), motion_in([pair[2] for pair in pairs])
    order = np.random.default_rng(0).permutation(len(pairs))
    assert np.isfinite(driver.yaw_deg).mean() > 0.95
    assert np.isfinite(avatar.yaw_deg).mean() > 0.9
    for name in ("yaw_deg", "mouth"):
        there, back = getattr(driver, name), getattr(avatar, name)
        correlation, lag_s = best_correlation(times_s, there, back)
        shuffled, _ = best_correlation(times_s, there, back[order])
        print(f"{name}: correlation {correlation:.2f} at {lag_s:.2f} s, shuffled {shuffled:.2f}")
        assert correlation > 0.6, name
        assert shuffled < 0.45, name


async def test_a_refused_camera_is_told_in_words(url: str) -> None:
    async with page_with("--use-fake-device-for-media-stream") as page:  # nobody grants it
        await page.goto(url)
        await page.click("#start")
        await until_text(page, "#notice", "The camera was refused. Allow it for this page")
        assert await page.inner_text("#start") == "Start"


async def test_a_missing_camera_is_told_in_words(url: str) -> None:
    async with page_with("--use-fake-ui-for-media-stream") as page:  # granted, but there is none
        await page.goto(url)
        await page.click("#start")
        await until_text(page, "#notice", "No camera was found.")


@pytest.mark.skipif(
    not BUNDLED.exists(), reason="the echo that stands in for the bundled avatar sees no faces"
)
async def test_no_face_is_told_in_words(url: str) -> None:
    async with page_with(*CAMERA_FLAGS) as page:  # the browser's own test picture
        await page.goto(url)
        await page.click("#start")
        await until_text(page, "#notice", "No face is seen.")
        await page.click("#start")


async def test_a_full_server_is_told_in_words(url: str) -> None:
    async with page_with(*CAMERA_FLAGS) as page:
        await page.route(
            "**/api/sessions",
            lambda route: asyncio.ensure_future(
                route.fulfill(status=503, json={"error": "all 2 sessions are in use: end one"})
            ),
        )
        await page.goto(url)
        await page.click("#start")
        await until_text(page, "#notice", "The server has no room: all 2 sessions are in use")


async def test_a_stopped_server_is_told_in_words() -> None:
    with server(*ECHO) as (address, process):
        async with page_with(*CAMERA_FLAGS) as page:
            await page.goto(address)
            await page.click("#start")
            await until_text(page, "#pill-text", "Live")
            process.terminate()
            await until_text(page, "#notice", "The server ended the")
            await page.click("#start")
            await until_text(page, "#notice", "The server does not answer.")
