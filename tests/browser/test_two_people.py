"""Two people before the camera: the page shows who is followed, and says when it is another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from playwright.async_api import Page

from benchmarks.live.browser_peer import write_camera_file
from benchmarks.live.browser_stage import CHROMIUM, LIMIT_S, SERVE, camera_flags, server, until_text
from tests.support.browser import BUNDLED, Browsers
from tests.support.places import PRESENTER
from tests.support.two_people import TwoPeople

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(not (BUNDLED.exists() and PRESENTER.exists()), reason="needs the bundled avatars"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    studio = tmp_path_factory.mktemp("studio")
    with server(*SERVE, "--avatar", "bundled", "--studio", str(studio)) as address:
        yield address


@asynccontextmanager
async def before(browsers: Browsers, url: str, people: TwoPeople, folder: Path) -> AsyncIterator[Page]:
    """A call of these people."""
    film = folder / "people.y4m"
    write_camera_file(film, people, 640, 480, fps=10, numbered=False)
    async with browsers.page(*camera_flags(film)) as page:
        await page.goto(url)
        await page.click("#start")
        yield page
        await page.click("#start")
        await until_text(page, "#pill-text", "Ready")


async def middles_of_mark(page: Page, seconds: float) -> list[float]:
    """From the left of the self view, 0..1; for so long, and until it has been there ten times."""
    found: list[float] = []
    start_s = perf_counter()
    while (passed_s := perf_counter() - start_s) < seconds or len(found) < 10:
        assert passed_s < LIMIT_S, f"the mark was there {len(found)} times"
        mark, view = [await page.locator(name).bounding_box() for name in ("#mark", "#self")]
        if mark is not None and view is not None:
            found.append((mark["x"] + mark["width"] / 2 - view["x"]) / view["width"])
        await page.wait_for_timeout(100)
    return found


async def test_the_one_who_was_there_first_is_framed(browsers: Browsers, url: str, tmp_path: Path) -> None:
    async with before(browsers, url, TwoPeople(), tmp_path) as page:
        await page.locator("#mark").wait_for()
        middles = await middles_of_mark(page, 3.0)  # the other comes nearer
        assert 0.1 < np.median(middles) < 0.4, middles


async def test_it_says_whom_it_follows_when_the_one_has_left(
    browsers: Browsers, url: str, tmp_path: Path
) -> None:
    async with before(browsers, url, TwoPeople(leaves=True), tmp_path) as page:
        await until_text(
            page, "#notice", "You are not seen. The other person is followed only if you stay away"
        )
        await until_text(page, "#hint", "It follows the other person now, calibrated anew")
