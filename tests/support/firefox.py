"""An installed Firefox, driven by WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/) over its own socket.

Playwright drives no Firefox but its own builds, or ones newer than the long-term releases; selenium wants
geckodriver. What tests of the page need of the protocol is these few commands.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from engine.errors import SettingsError

FIREFOX_NAMES = ("firefox-esr", "firefox")
FIREFOX = next((found for name in FIREFOX_NAMES if (found := shutil.which(name))), None)
START_LIMIT_S = 90.0  # 4 on an idle machine
LIMIT_S = 60.0  # for whatever is waited for
_GONE = "Error: Permission denied to access property"  # to a script that still runs while its page is closed
# A camera and a microphone of its own, granted; nothing asked of anybody outside.
PREFERENCES: Mapping[str, bool | int | str] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.contentblocking.introCount": 99,
    "browser.newtabpage.enabled": False,
    "browser.newtabpage.activity-stream.feeds.topsites": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.geoSpecificDefaults": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "services.settings.server": "data:,",
    "toolkit.telemetry.server": "",
}
_LISTENING = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")


class Firefox:
    """Commands in, results out; what pages' scripts throw is in `errors`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self.errors: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def listen(self) -> None:
        """Until the browser hangs up."""
        async for message in self._socket:
            told = json.loads(message.data)
            future = self._waiting.pop(told.get("id"), None)
            if future is not None and not future.done():
                future.set_result(told)
            elif told.get("method") == "log.entryAdded":
                entry = told["params"]  # of level "warn" is what a slow machine hears of an early layout
                thrown = (entry["type"], entry["level"]) == ("javascript", "error")
                if thrown and not entry["text"].startswith(_GONE):
                    frames = (entry.get("stackTrace") or {}).get("callFrames", [])
                    at = [f"{frame['url']}:{frame['lineNumber']}" for frame in frames[:1]]
                    self.errors.append(" at ".join((entry["text"], *at)))

    async def command(self, method: str, **params: Any) -> Any:
        """What it results in. Raises AssertionError with the browser's words."""
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        told = await asyncio.wait_for(future, START_LIMIT_S)
        assert told["type"] == "success", f"{method}: {told.get('error')}: {told.get('message')}"
        return told["result"]

    async def new_page(self) -> FirefoxPage:
        """In a tab of its own, which is in front from now on."""
        return FirefoxPage(self, (await self.command("browsingContext.create", type="tab"))["context"])


class FirefoxPage:
    """One tab."""

    def __init__(self, browser: Firefox, context: str) -> None:
        self._browser = browser
        self._context = context

    async def add_init_script(self, script: str) -> None:
        """Before the scripts of whatever the tab loads from now on."""
        await self._browser.command(
            "script.addPreloadScript",
            functionDeclaration=f"() => {{ {script} }}",
            contexts=[self._context],
        )

    async def goto(self, url: str) -> None:
        await self._browser.command(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    async def evaluate(self, expression: str) -> Any:
        """Of JavaScript, awaited; through JSON."""
        told = await self._browser.command(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await ({expression})) ?? null))()",
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        assert told["type"] == "success", told["exceptionDetails"]["text"]
        return json.loads(told["result"]["value"])

    async def click(self, name: str) -> None:
        """The element of that id."""
        await self.evaluate(f"document.getElementById({name!r}).click()")

    async def until(self, expression: str, wanted: str) -> None:
        """Wait until it gives a text with that in it."""
        found = ""
        for _ in range(int(LIMIT_S / 0.1)):
            if wanted in (found := str(await self.evaluate(expression))):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{expression} is {found!r}; wanted {wanted!r}")

    async def until_text(self, name: str, wanted: str) -> None:
        """Of the element of that id."""
        await self.until(f"document.getElementById({name!r}).textContent", wanted)

    async def to_front(self) -> None:
        """The others are hidden then."""
        await self._browser.command("browsingContext.activate", context=self._context)

    async def screenshot(self) -> bytes:
        """As PNG."""
        told = await self._browser.command("browsingContext.captureScreenshot", context=self._context)
        return base64.b64decode(told["data"])

    async def close(self) -> None:
        await self._browser.command("browsingContext.close", context=self._context)


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        if found := _LISTENING.search(line):
            return found[1].decode()
    raise SettingsError(f"Firefox ended with status {await process.wait()} before it listened")


@asynccontextmanager
async def firefox() -> AsyncIterator[Firefox]:
    """A browser with a profile of its own; what its pages' scripts throw is an AssertionError in the end."""
    if FIREFOX is None:
        raise SettingsError(f"found none of {', '.join(FIREFOX_NAMES)}; wanted one: install Firefox")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()
        ]
        (Path(profile) / "user.js").write_text("".join(lines))
        options = ("--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", profile)
        process = await asyncio.create_subprocess_exec(
            FIREFOX,
            *options,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            address = await asyncio.wait_for(_address(process), START_LIMIT_S)
            async with (
                aiohttp.ClientSession() as client,
                client.ws_connect(f"{address}/session", max_msg_size=0, origin=None) as socket,
            ):
                browser = Firefox(socket)
                listening = asyncio.create_task(browser.listen())
                await browser.command("session.new", capabilities={})
                await browser.command("session.subscribe", events=["log.entryAdded"])
                yield browser
                await browser.command("browser.close")
                await asyncio.wait_for(asyncio.gather(listening, process.wait()), LIMIT_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert not browser.errors, browser.errors
