"""Who drives is chosen on the page: by the voice the camera is let go, and pictures still come.

And whom the presenter shares the sound of is listened to.

In a real browser, whose microphone beeps, against a server that echoes the camera. Needs Chromium.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.async_api import Page

from benchmarks.live.browser_stage import CHROMIUM, LIMIT_S, server, until_text
from tests.support.browser import ECHO, FAKE_CAMERA, Browsers

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

SAYS = """async () => {
  const { lipsWords, whoseWords } = await import("/call/driver.js");
  const whose = [["own", false], ["other", false], ["other", true], ["unknown", true], [null, false]];
  return [...whose.map(([voice_is, voice_refused]) => whoseWords({ voice_is, voice_refused })),
    lipsWords({ lips_by_voice: 0.1 }), lipsWords({ lips_by_voice: 0.9 })];
}"""
CAMERA_ON = "() => (document.getElementById('presenter').srcObject?.getVideoTracks() ?? []).length === 1"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server(*ECHO) as found:
        yield found


async def choose(page: Page, driver: str) -> None:
    await page.check(f"[name=driver][value={driver}]", force=True)


async def until(page: Page, words: str) -> None:
    await page.wait_for_function(words, timeout=1e3 * LIMIT_S)


async def says_whose_voice_it_is(page: Page) -> None:
    own, noted, refused, unknown, no_print, seen, helped = await page.evaluate(SAYS)
    assert (own, no_print, seen) == ("", "", "")
    assert noted == "This does not sound like the voice of the avatar's person."
    assert "does not move the mouth" in refused
    assert "speak for some seconds" in unknown
    assert "your voice helps them" in helped


async def test_the_voice_drives_and_the_camera_is_let_go(browsers: Browsers, url: str) -> None:
    async with browsers.call(url, *FAKE_CAMERA) as page:
        assert await page.evaluate(CAMERA_ON)
        await choose(page, "voice")
        await until_text(page, "#pill-text", "Voice")
        assert "Lips from a voice are second best" in await page.inner_text("#notice")
        await until(page, f"() => !({CAMERA_ON})()")
        await page.check("#only-own-voice", force=True)
        # Remembered once the server has taken it:
        await until(page, "() => localStorage.getItem('avatarcast-only-own-voice') === 'true'")
        await says_whose_voice_it_is(page)
        await page.evaluate("window.shown = 0")
        await page.evaluate(
            """() => { const seen = () => { window.shown++; avatar.requestVideoFrameCallback(seen); };
            const avatar = document.getElementById("avatar"); avatar.requestVideoFrameCallback(seen); }"""
        )
        await until(page, "() => window.shown > 10")
        await choose(page, "camera")
        await until(page, CAMERA_ON)
        await until_text(page, "#pill-text", "Live")


async def test_what_was_chosen_holds_for_the_next_call_which_needs_no_camera(
    browsers: Browsers, url: str
) -> None:
    no_camera = """{
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        if (wanted.video) throw new DOMException("as the test wants it", "NotFoundError");
        return open(wanted);
      };
      localStorage.setItem("avatarcast-driver", JSON.stringify("voice"));
    }"""
    async with browsers.call(url, *FAKE_CAMERA, script=no_camera, pill="Voice") as page:
        assert await page.is_checked("[name=driver][value=voice]")
        assert not await page.evaluate(CAMERA_ON)


# In the place of a picker that only a person can use: somebody who speaks when the test wants it.
OTHER = """{
  localStorage.setItem("avatarcast-driver", JSON.stringify("voice"));
  navigator.mediaDevices.getDisplayMedia = async () => {
    const context = new AudioContext();
    const voice = new OscillatorNode(context, { type: "sawtooth", frequency: 140 });
    const mouth = new GainNode(context, { gain: 0 });
    const shared = context.createMediaStreamDestination();
    voice.connect(mouth).connect(shared);
    voice.start();
    window.speak = (on) => (mouth.gain.value = on ? 0.2 : 0);
    window.endSharing = () => shared.stream.getTracks()[0].dispatchEvent(new Event("ended"));
    return shared.stream;
  };
}"""


async def test_the_avatar_listens_to_whom_the_presenter_shares(browsers: Browsers, url: str) -> None:
    async with browsers.call(url, *FAKE_CAMERA, script=OTHER, pill="Voice") as page:
        await page.click("#mute")  # the microphone beeps
        assert not await page.is_visible("#conversation")
        await page.select_option("#other", "tab")
        await until_text(page, "#conversation", "Idle")
        await page.evaluate("speak(true)")
        await until_text(page, "#conversation", "Listens")
        await page.evaluate("speak(false)")
        await until_text(page, "#conversation", "Idle")
        await page.evaluate("endSharing()")
        await until_text(page, "#hint", "The other's sound has ended.")
        assert await page.input_value("#other") == "nobody"
        assert not await page.is_visible("#conversation")
        await page.select_option("#other", label="Fake Audio Input 1")
        await page.wait_for_selector("#conversation", state="visible", timeout=1e3 * LIMIT_S)
        await page.select_option("#other", "nobody")
        await page.wait_for_selector("#conversation", state="hidden", timeout=1e3 * LIMIT_S)
