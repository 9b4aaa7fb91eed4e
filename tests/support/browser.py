"""What tests of the page stand on beside `benchmarks.live.browser_stage`: presenters, a live call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page

from benchmarks.live.browser_stage import page_with, until_text
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


@asynccontextmanager
async def call_with(url: str, *flags: str, script: str = "", pill: str = "Live") -> AsyncIterator[Page]:
    """The presenter's page with a call that is live, and is stopped in the end.

    flags: the browser's, for its camera; script: runs in the page before its own; pill: says that it is live.
    """
    async with page_with(*flags) as page:
        await page.add_init_script(script)
        await page.goto(url)
        await page.click("#start")
        await until_text(page, "#pill-text", pill)
        yield page
        await page.click("#start")
        await until_text(page, "#pill-text", "Ready")
