"""What the page says and does where something is missing: camera, microphone, face, room, token, server.

In a real browser, mostly against a server that echoes the camera. Needs an installed Chromium.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from playwright.async_api import Page

from benchmarks.live.browser_stage import CHROMIUM, SERVE, server, until_text
from engine.avatar.bundled import bundled_names
from tests.support.browser import BUNDLED, CUTTER, ECHO, FAKE_CAMERA, Browsers

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
needs_avatar = pytest.mark.skipif(not BUNDLED.exists(), reason="the bundled avatar is not in the checkout")
TOKEN = "a-token-of-a-test"

# Every device that the filter matches fails so.
BROKEN_DEVICE = """(() => {
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    if (wanted[%r]) throw new DOMException("as the test wants it", %r);
    return open(wanted);
  };
})()"""

# No connection that the page makes is ever connected.
NO_PATH = """window.RTCPeerConnection = class extends RTCPeerConnection {
  get connectionState() { return "failed"; }
  async setRemoteDescription(description) {
    await super.setRemoteDescription(description);
    this.dispatchEvent(new Event("connectionstatechange"));
  }
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server(*ECHO) as address:
        yield address


@pytest.fixture(scope="module")
def guarded_url() -> Iterator[str]:
    with server(*SERVE, "--runner", "null", AVATARCAST_TOKEN=TOKEN) as address:
        yield address


async def start(page: Page, url: str) -> None:
    await page.goto(url)
    await page.click("#start")


async def test_a_refused_camera_is_told_in_words(browsers: Browsers, url: str) -> None:
    async with browsers.page("--use-fake-device-for-media-stream") as page:  # nobody grants it
        await start(page, url)
        await until_text(page, "#notice", "The camera was refused. Allow it for this page")
        assert await page.inner_text("#start") == "Start"


async def test_a_missing_camera_is_told_in_words(browsers: Browsers, url: str) -> None:
    async with browsers.page("--use-fake-ui-for-media-stream") as page:  # granted, but there is none
        await start(page, url)
        await until_text(page, "#notice", "No camera was found.")


async def test_a_camera_in_use_is_told_in_words(browsers: Browsers, url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.add_init_script(BROKEN_DEVICE % ("video", "NotReadableError"))
        await start(page, url)
        await until_text(page, "#notice", "The camera is in use by another program.")


async def test_it_goes_on_without_a_microphone(browsers: Browsers, url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.add_init_script(BROKEN_DEVICE % ("audio", "NotFoundError"))
        await start(page, url)
        await until_text(page, "#hint", "No microphone was found, so it goes on without your voice.")
        await until_text(page, "#pill-text", "Live")


async def test_a_browser_without_webrtc_is_told_so(browsers: Browsers, url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.add_init_script("delete window.RTCPeerConnection")
        await start(page, url)
        await until_text(page, "#notice", "This browser has no WebRTC.")


@needs_avatar
async def test_no_face_is_told_in_words(browsers: Browsers, guarded_url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:  # the browser's own test picture
        await start(page, f"{guarded_url}/#token={TOKEN}")
        await until_text(page, "#notice", "No face is seen.")


async def test_a_full_server_is_asked_again(browsers: Browsers, url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        refusal = {"error": "all 2 sessions are in use: end one"}
        await page.route(
            "**/api/sessions",
            lambda route: asyncio.ensure_future(route.fulfill(status=503, json=refusal)),
            times=2,
        )
        await start(page, url)
        await until_text(page, "#notice", "The server has no room: all 2 sessions are in use")
        await until_text(page, "#pill-text", "Live")


async def test_a_network_without_a_way_is_told_with_its_cure(browsers: Browsers, url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.add_init_script(NO_PATH)
        await start(page, url)
        await until_text(page, "#notice", "start it with a TURN server (--ice-server turn:HOST)")


async def test_a_lost_connection_is_resumed(browsers: Browsers, url: str) -> None:
    """The session is the same one afterwards: its view has the same address."""
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.add_init_script(CUTTER)
        await start(page, url)
        await until_text(page, "#pill-text", "Live")
        view = await page.input_value("#view-link")
        await page.evaluate("window.cut()")
        await until_text(page, "#notice", "The connection was lost. Connecting again.")
        await until_text(page, "#pill-text", "Live")
        assert await page.input_value("#view-link") == view


# A page that goes without a word, as one does that crashes.
SILENT = "window.addEventListener('pagehide', (event) => event.stopImmediatePropagation())"
CLAIM = "sessionStorage.getItem('avatarcast-session')"


async def test_a_crashed_page_takes_its_session_up_again(browsers: Browsers, url: str) -> None:
    """By the secret that its tab keeps; a tab with a copy of it does not take the session away."""
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.add_init_script(SILENT)
        await start(page, url)
        await until_text(page, "#pill-text", "Live")
        view = await page.input_value("#view-link")
        await page.reload()
        await page.click("#start")
        await until_text(page, "#pill-text", "Live")
        assert await page.input_value("#view-link") == view
        copy = await page.context.new_page()
        await copy.add_init_script(
            f"sessionStorage.setItem('avatarcast-session', '{await page.evaluate(CLAIM)}')"
        )
        await start(copy, url)
        await until_text(copy, "#pill-text", "Live")
        assert await copy.input_value("#view-link") != view
        await copy.click("#start")
        await page.click("#start")
        await until_text(page, "#pill-text", "Ready")
        assert await page.evaluate(CLAIM) is None


async def test_a_server_that_comes_back_is_found_again(browsers: Browsers) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        with server(*ECHO) as address:
            await start(page, address)
            await until_text(page, "#pill-text", "Live")
            view = await page.input_value("#view-link")
        await until_text(page, "#notice", "The server does not answer.")
        with server(*ECHO, "--port", address.rpartition(":")[2]):
            await until_text(page, "#pill-text", "Live")
            assert await page.input_value("#view-link") != view
            await page.click("#start")


@needs_avatar
async def test_a_token_is_asked_for_until_it_is_right(browsers: Browsers, guarded_url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.goto(guarded_url)
        await until_text(page, "#token-text", "Open the address that the server printed when it started")
        for text in ("a-token-that-is-wrong", TOKEN):
            await page.fill("#token", text)
            await page.keyboard.press("Enter")
            if text != TOKEN:
                await until_text(page, "#token-text", "The token was not accepted")
        await until_text(page, ".choice .name", "Theo")
        assert not await page.locator("#token-box").is_visible()
        await page.reload()  # it is remembered for as long as the tab is open
        await until_text(page, ".choice .name", "Theo")


@needs_avatar
async def test_a_token_in_the_address_leaves_it(browsers: Browsers, guarded_url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.goto(f"{guarded_url}/#token={TOKEN}")
        await until_text(page, ".choice .name", "Theo")
        assert page.url == f"{guarded_url}/"
        presenters = [name.capitalize() for name in bundled_names()]
        names = await page.locator(".choice .name").all_inner_texts()
        assert names[: len(presenters)] == presenters  # without --avatar all of them, then the studio's


async def test_everything_can_be_done_by_keyboard(browsers: Browsers, url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.goto(url)
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.id") == "start"
        outline = await page.locator("#start").evaluate("element => getComputedStyle(element).outlineStyle")
        assert outline == "solid"
        await page.keyboard.press("Enter")
        await until_text(page, "#pill-text", "Live")
        reached = set()
        for _ in range(25):
            await page.keyboard.press("Tab")
            reached.add(await page.evaluate("document.activeElement.id || document.activeElement.name"))
        controls = {"calibrate", "mute", "listen", "mirror", "self-view", "snapshot", "record", "full"}
        assert controls | {"background", "avatar", "camera", "microphone"} <= reached
        await page.focus("#full")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "leave-full"
        await page.keyboard.press("Escape")
        assert await page.evaluate("document.activeElement.id") == "full"


async def test_the_chosen_camera_is_used_and_remembered(browsers: Browsers, url: str) -> None:
    cameras = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=device-count=3,fps=10")
    label = "() => document.getElementById('presenter').srcObject.getVideoTracks()[0].label"
    async with browsers.page(*cameras) as page:
        await start(page, url)
        await until_text(page, "#pill-text", "Live")
        await page.select_option("#camera", label="fake_device_2")
        await until_text(page, "#hint", "fake_device_2 is used now.")
        assert await page.evaluate(label) == "fake_device_2"
        await start(page, url)
        await until_text(page, "#pill-text", "Live")
        assert await page.evaluate(label) == "fake_device_2"


async def test_latency_is_saved_with_how_each_stage_is_known(browsers: Browsers, url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        await start(page, url)
        await until_text(page, "#pill-text", "Live")
        await page.locator("summary").first.click()
        await until_text(page, "#latency-more", "first picture")
        async with page.expect_download() as saved:
            await page.click("#save-latency")
        record = json.loads((await (await saved.value).path()).read_text())
    known = {stage["stage"]: stage["known"] for stage in record["stages"]}
    assert known == {
        **dict.fromkeys(("capture", "wait", "track", "render", "encode", "display"), "measured"),
        **dict.fromkeys(("uplink", "downlink", "total"), "estimated"),
    }
    sample = record["samples"][-1]
    assert set(sample["ms"]) == set(known)
    assert sample["ms"]["display"] > 0
    assert record["first_picture_ms"] > 0


# What becomes of a silence that is asked about with these answers, after so many seconds; null: nothing yet.
SILENCE = """async ([answers, seconds, heardAtS]) => {
  const { Silence } = await import("/call/silence.js");
  let [passed, asked, lostAtS] = [0, 0, null];
  const silence = new Silence(
    async () => answers[Math.min(asked++, answers.length - 1)],
    () => (lostAtS ??= passed),
  );
  while (passed < seconds) {
    passed += 0.25;
    if (passed === heardAtS) silence.end();
    await silence.pass(0.25);
  }
  return [lostAtS, asked];
}"""


async def test_a_silent_server_is_asked_for_before_it_is_given_up(browsers: Browsers, url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.goto(url)

        async def told(*case: object) -> list[float | None]:
            found: list[float | None] = await page.evaluate(SILENCE, list(case))
            return found

        assert await told([False], 1.5, None) == [1.25, 1]  # gone: at once
        assert await told([True], 1, None) == [None, 0]  # a short loss: not even asked
        assert await told([False], 1.75, 1) == [None, 0]  # heard again before that
        lost_s, asked = await told([True], 8, None)  # it goes on, but does not come through
        assert lost_s == 6.25
        assert asked == 5  # once a second
        assert (await told([None], 8, None))[0] == 6.25  # nobody knows
        assert (await told([True, True, False], 8, None))[0] == 3.25
        goes_on = "import('/call/silence.js').then((found) => found.goesOn('none'))"
        assert await page.evaluate(goes_on) is False
