"""What tests of the page stand on: a server of its own, a browser with a scripted camera, a live call.

The server has the first bundled presenter twice, where it is in the checkout; else it echoes the camera.
Needs playwright and an installed Chromium.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, Page, async_playwright

from benchmarks.live.browser_peer import CAMERA_FLAGS, CHROMIUM_FLAGS, find_chromium
from engine.avatar.container import FIELDS, read_package, write_package

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "engine" / "assets" / "theo.avatar"
CHROMIUM = find_chromium()
ECHO = ("-m", "benchmarks.live.echo_server")
SERVE = ("-m", "engine.cli", "serve", "--port", "0", "--json")
TWIN = "twin"
LIMIT_S = 60.0  # for whatever is waited for


def write_twin(path: Path) -> None:
    """The first bundled presenter under another name."""
    package = read_package(BUNDLED)
    fields = {name: package.manifest[name] for name in FIELDS}
    write_package(path, package.members, fields | {"name": TWIN})


@contextmanager
def server(*command: str, **environment: str) -> Iterator[str]:
    """The link of a server process, which must end cleanly."""
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["link"])
        finally:
            process.terminate()
            status = process.wait(LIMIT_S)
        assert status == 0


@asynccontextmanager
async def browser_with(*flags: str) -> AsyncIterator[BrowserContext]:
    """A browser, without a camera unless the flags give it one."""
    assert CHROMIUM is not None
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*CHROMIUM_FLAGS, *flags])
        try:
            yield await browser.new_context()
        finally:
            await browser.close()


@asynccontextmanager
async def page_with(*flags: str) -> AsyncIterator[Page]:
    """A blank page of such a browser; whatever its scripts throw fails the test."""
    errors: list[str] = []
    async with browser_with(*flags) as context:
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert not errors


@asynccontextmanager
async def call_with(url: str, camera_file: Path) -> AsyncIterator[Page]:
    """The presenter's page with a call that is live and calibrated, and is stopped in the end."""
    async with page_with(*camera_flags(camera_file)) as page:
        await page.goto(url)
        await page.click("#start")
        await until_text(page, "#pill-text", "Live")
        yield page
        await page.click("#start")
        await until_text(page, "#pill-text", "Ready")


def camera_flags(camera_file: Path) -> tuple[str, ...]:
    """A camera that plays this file, and a microphone that beeps, both granted."""
    return (*CAMERA_FLAGS, f"--use-file-for-fake-video-capture={camera_file}")


async def until_text(page: Page, selector: str, text: str) -> None:
    """Wait until the element says so."""
    await page.locator(selector).filter(has_text=text).wait_for(timeout=LIMIT_S * 1e3)
