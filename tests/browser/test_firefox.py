"""The live page in Firefox: camera, avatar back, a view, and back again after connection or server were lost.

Against a server that echoes the camera. One browser for all of it, as Firefox is slow to start. Needs an
installed Firefox; tests/browser/test_call.py and its neighbours ask more of Chromium.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from benchmarks.live.browser_stage import server
from tests.support.browser import CUTTER, ECHO
from tests.support.firefox import FIREFOX, FirefoxPage, firefox

pytestmark = pytest.mark.skipif(FIREFOX is None, reason="no Firefox is installed")

# The avatar's picture, 8x8 grey levels.
PICTURE = """(() => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [8, 8];
  const context = canvas.getContext("2d");
  context.drawImage(document.getElementById("avatar"), 0, 0, 8, 8);
  return [...context.getImageData(0, 0, 8, 8).data].filter((_, index) => index % 4 === 1);
})()"""
VIEW = "document.getElementById('view-link').value"


async def until_it_moves(page: FirefoxPage) -> None:
    """A picture that is not black, and then another one."""
    await page.until("String(document.getElementById('avatar').videoWidth)", "256")
    seen: list[list[int]] = []
    for _ in range(100):
        seen.append(await page.evaluate(PICTURE))
        if np.mean(seen[-1]) > 20 and np.ptp(seen, axis=0).max() > 20:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"the picture stands still at {seen[-1]}")


async def test_a_call_in_firefox() -> None:
    async with firefox() as browser:
        page = await browser.new_page()
        await page.add_init_script(CUTTER)
        with server(*ECHO) as url:
            await page.goto(url)
            await page.until_text("pill-text", "Ready")
            await page.click("start")
            await page.until_text("pill-text", "Live")
            await until_it_moves(page)
            address = await page.evaluate(VIEW)

            await page.evaluate("window.cut()")
            await page.until_text("notice", "The connection was lost. Connecting again.")
            await page.until_text("pill-text", "Live")
            await until_it_moves(page)
            assert await page.evaluate(VIEW) == address  # the same session

            view = await browser.new_page()
            await view.goto(address)
            await view.until("document.title", ": live")
            assert await page.evaluate("document.hidden")
            await until_it_moves(view)
            await view.close()
            await until_it_moves(page)
        await page.until_text("notice", "The server does not answer.")
        with server(*ECHO, "--port", url.rpartition(":")[2]):
            await page.until_text("pill-text", "Live")
            await until_it_moves(page)
            assert await page.evaluate(VIEW) != address
            await page.click("start")
            await page.until_text("pill-text", "Ready")
