"""What tests of the page stand on beside `benchmarks.live.browser_stage`: presenters, a live call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, Page

from benchmarks.live.browser_stage import browser_with, until_text
from engine.avatar.container import FIELDS, read_package, write_package
from tests.support.places import ROOT

BUNDLED = ROOT / "engine" / "assets" / "theo.avatar"
ECHO = ("-m", "benchmarks.live.echo_server")
TWIN = "twin"

# Lets a test cut the connections that the page made.
CUTTER = """{
  const made = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...given) { super(...given); made.push(this); }
  };
  window.cut = () => made.forEach((connection) => connection.close());
}"""


def write_twin(path: Path) -> None:
    """The first bundled presenter under another name."""
    package = read_package(BUNDLED)
    fields = {name: package.manifest[name] for name in FIELDS}
    write_package(path, package.members, fields | {"name": TWIN})


# Polling may miss a text that stands for a moment only.
WATCH_TEXT = """(id) => {
  const element = document.getElementById(id);
  const shown = ((window.textsShown ??= {})[id] = []);
  new MutationObserver(() => shown.push(element.textContent))
    .observe(element, { childList: true, characterData: true, subtree: true });
}"""


async def watch_text(page: Page, name: str) -> None:
    """From now on `texts_shown` tells what the element of that id says."""
    await page.evaluate(WATCH_TEXT, name)


async def texts_shown(page: Page, name: str) -> list[str]:
    """All that it has said, in order."""
    return [str(text) for text in await page.evaluate("(id) => window.textsShown[id]", name)]


# A scripted camera of few pictures a second, which is enough to see that they come.
FAKE_CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=fps=10")


class Browsers:
    """Chromium by its flags, each started once for all tests of a file; every page is of a new profile."""

    def __init__(self, stack: AsyncExitStack) -> None:
        """stack: closes them."""
        self._stack = stack
        self._open: dict[tuple[str, ...], BrowserContext] = {}

    @asynccontextmanager
    async def profile(self, *flags: str) -> AsyncIterator[BrowserContext]:
        """Storage of its own, closed in the end; without a camera unless the flags give one."""
        if flags not in self._open:
            self._open[flags] = await self._stack.enter_async_context(browser_with(*flags))
        browser = self._open[flags].browser
        assert browser is not None
        context = await browser.new_context()
        try:
            yield context
        finally:
            await context.close()

    @asynccontextmanager
    async def page(self, *flags: str) -> AsyncIterator[Page]:
        """A blank page of such a profile; whatever its scripts throw is an AssertionError in the end."""
        errors: list[str] = []
        async with self.profile(*flags) as context:
            page = await context.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            yield page
        assert not errors

    @asynccontextmanager
    async def call(self, url: str, *flags: str, script: str = "", pill: str = "Live") -> AsyncIterator[Page]:
        """The presenter's page with a call that is live, and is stopped in the end.

        flags: the browser's, for its camera; script: runs in the page before its own; pill: says that it is
        live.
        """
        async with self.page(*flags) as page:
            await page.add_init_script(script)
            await page.goto(url)
            await page.click("#start")
            await until_text(page, "#pill-text", pill)
            yield page
            await page.click("#start")
            await until_text(page, "#pill-text", "Ready")
