"""A real browser before a server of its own: Chromium with a scripted camera, and the page in it.

Needs playwright and an installed Chromium.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, Page, async_playwright

from benchmarks.live.server_process import server_process
from engine.errors import SettingsError

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
)
CAMERA_FLAGS = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
CHROMIUM = next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)
SERVE = ("-m", "engine.cli", "serve", "--port", "0", "--json")
LIMIT_S = 60.0  # for whatever is waited for


@contextmanager
def server(*command: str, **environment: str) -> Iterator[str]:
    """The link of a server of this Python, which must end cleanly."""
    with server_process([sys.executable, *command], environment=environment) as (_, facts):
        yield str(facts["link"])


@asynccontextmanager
async def browser_with(*flags: str) -> AsyncIterator[BrowserContext]:
    """A browser, without a camera unless the flags give it one. Raises SettingsError where there is none."""
    if CHROMIUM is None:
        raise SettingsError(f"found none of {', '.join(CHROMIUM_NAMES)}; wanted one: install Chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*CHROMIUM_FLAGS, *flags])
        try:
            yield await browser.new_context()
        finally:
            await browser.close()


@asynccontextmanager
async def page_with(*flags: str) -> AsyncIterator[Page]:
    """A blank page of such a browser; whatever its scripts throw is an AssertionError in the end."""
    errors: list[str] = []
    async with browser_with(*flags) as context:
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert not errors


def camera_flags(camera_file: Path) -> tuple[str, ...]:
    """A camera that plays this file, and a microphone that beeps, both granted."""
    return (*CAMERA_FLAGS, f"--use-file-for-fake-video-capture={camera_file}")


async def until_text(page: Page, selector: str, text: str) -> None:
    """Wait until the element says so."""
    await page.locator(selector).filter(has_text=text).wait_for(timeout=LIMIT_S * 1e3)
