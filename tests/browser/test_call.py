"""The live page in a real browser, against the real server: the avatar does as the presenter does.

With the bundled avatar where it is in the checkout, else with the camera's own picture echoed back; the page,
WebRTC, codecs and the whole server are the same. Needs an installed Chromium.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Page, Route

from benchmarks.live.browser_peer import write_camera_file
from benchmarks.live.browser_stage import (
    CHROMIUM,
    LIMIT_S,
    SERVE,
    camera_flags,
    server,
    until_text,
)
from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.server_link import at
from engine.avatar.avatar_file import load_avatar
from engine.person.geometry import rotation_to_euler_deg
from engine.person.motion import canonical_reference, in_head_axes, lip_gap
from engine.render.frame import AUTO
from engine.render.scene import frame_size
from engine.tracking.mediapipe_parts import FacePart
from engine.verification import FOUND, GENERATED, verify
from tests.support.browser import (
    BUNDLED,
    ECHO,
    FAKE_CAMERA,
    TWIN,
    Browsers,
    texts_shown,
    watch_text,
    write_twin,
)
from tests.support.places import PRESENTER
from tests.support.waiting import until

WATCH_S = 8.0  # she has turned to both sides by then
WATCHES = 5
FOLLOWS = 0.6  # correlation; a call on an idle machine has 0.9 and more
RECORDINGS = 4
MAX_LAG_S = 2.0  # 0.15 on an idle machine
Signal = NDArray[np.float64]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
renders = pytest.mark.skipif(
    not BUNDLED.exists(), reason="the echo that stands in for the bundled avatar renders nothing"
)

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
    await new Promise((resolve) => setTimeout(resolve, 90));
  }
  return pairs;
}"""


@dataclass(frozen=True)
class Motion:
    """What a face did; all arrays of one length, NaN where no face was found."""

    yaw_deg: Signal
    mouth: Signal  # gap of the lips, in head units


# The loudest sample of the avatar's voice within so many seconds, or until it is as loud as that.
LISTEN = """async ([seconds, enough]) => {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(document.getElementById("avatar").srcObject).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let peak = 0;
  const start = performance.now();
  while (peak < enough && performance.now() - start < 1000 * seconds) {
    analyser.getFloatTimeDomainData(samples);
    peak = Math.max(peak, ...samples.map(Math.abs));
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  await context.close();
  return peak;
}"""

# Pictures seem to come for ever: that a call has ended is then known by the server's word alone.
NEVER_STALLS = """RTCPeerConnection.prototype.getStats = async () =>
  new Map([["video", { framesDecoded: performance.now() }]])"""

# Hints follow one another: each that was given.
WATCH_HINTS = """() => {
  const hint = document.getElementById("hint");
  window.hintsGiven = [];
  new MutationObserver(() => window.hintsGiven.push(hint.textContent))
    .observe(hint, { childList: true, characterData: true, subtree: true });
}"""

# The colour of the avatar's top right corner, [red, green, blue].
CORNER = """() => {
  const video = document.getElementById("avatar");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  return [...context.getImageData(canvas.width - 6, 5, 1, 1).data].slice(0, 3);
}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command: tuple[str, ...] = ECHO
    if BUNDLED.exists():
        twin = tmp_path_factory.mktemp("avatars") / "twin.avatar"
        write_twin(twin)
        command = (*SERVE, "--avatar", "bundled", "--avatar", str(twin))
    with server(*command) as address:
        yield address


@pytest.fixture(scope="module")
def echo_url() -> Iterator[str]:
    """Of a server that renders nothing, and lets in whom `avatarcast serve` would."""
    with server(*ECHO, "--token") as address:
        yield address


@pytest.fixture(scope="module")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "presenter.y4m"
    write_camera_file(path, DriverPictures(PRESENTER, 640, 480), 640, 480, fps=10, numbered=False)
    return path


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


async def until_corner(page: Page, rgb: tuple[int, int, int]) -> None:
    """Wait until the picture's corner has about this colour, as far as a codec keeps it."""
    for _ in range(int(LIMIT_S / 0.2)):
        found = await page.evaluate(CORNER)
        if np.abs(np.subtract(found, rgb)).max() < 40:
            return
        await page.wait_for_timeout(200)
    pytest.fail(f"the corner is {found}, not {rgb}")


async def test_the_avatar_follows_the_presenter(browsers: Browsers, url: str, camera_file: Path) -> None:
    """Yaw and mouth of the returned picture follow the camera's; a shuffled picture does not (control).

    A machine that is busy elsewhere may lose pictures for a while: it is then watched once more.
    """
    async with browsers.call(url, *camera_flags(camera_file)) as page:
        for _ in range(WATCHES):
            pairs: list[Any] = await page.evaluate(WATCH, WATCH_S)
            found = followed(pairs)
            if found and all(correlation > FOLLOWS for correlation, _ in found.values()):
                break
        assert float(await page.locator("#fps-out").text_content() or "") > 0
        assert await page.locator(".badge").first.inner_text() == "AI-generated"
    assert found, "faces are not seen"
    for name, (correlation, shuffled) in found.items():
        assert correlation > FOLLOWS, name
        assert shuffled < 0.45, name


def followed(pairs: list[Any]) -> dict[str, tuple[float, float]]:
    """By signal: how well the avatar follows the driver, and how well its pictures in another order do.

    Nothing where a tenth of either's pictures show no face.
    """
    times_s = np.array([pair[0] for pair in pairs], float) / 1e3
    driver, avatar = motion_in([pair[1] for pair in pairs]), motion_in([pair[2] for pair in pairs])
    order = np.random.default_rng(0).permutation(len(pairs))
    found: dict[str, tuple[float, float]] = {}
    if min(np.isfinite(one.yaw_deg).mean() for one in (driver, avatar)) <= 0.9:
        return found
    for name in ("yaw_deg", "mouth"):
        there, back = getattr(driver, name), getattr(avatar, name)
        correlation, lag_s = best_correlation(times_s, there, back)
        shuffled, _ = best_correlation(times_s, there, back[order])
        print(f"{name}: correlation {correlation:.2f} at {lag_s:.2f} s, shuffled {shuffled:.2f}")
        found[name] = correlation, shuffled
    return found


async def test_the_voice_comes_back_unless_it_is_muted(browsers: Browsers, echo_url: str) -> None:
    async with browsers.call(echo_url, *FAKE_CAMERA) as page:
        # The browser's own microphone beeps every second.
        assert await page.evaluate(LISTEN, (LIMIT_S, 0.02)) > 0.02
        await page.click("#mute")
        await until_silent(page)
        await page.click("#start")
        await page.click("#start")  # what is muted stays muted
        await until_text(page, "#pill-text", "Live")
        assert await page.evaluate(LISTEN, (2.5, 1)) < 0.005


async def until_silent(page: Page) -> None:
    """What was said before is still on its way, longer where the machine is busy."""
    end_s = perf_counter() + LIMIT_S
    while (peak := await page.evaluate(LISTEN, (2.5, 0.005))) >= 0.005:
        assert perf_counter() < end_s, f"still as loud as {peak}"


@renders
async def test_calibration_counts_down_and_says_whether_it_worked(
    browsers: Browsers, url: str, camera_file: Path
) -> None:
    async with browsers.call(url, *camera_flags(camera_file)) as page:
        for name in ("count-number", "count-text"):
            await watch_text(page, name)
        await page.click("#calibrate")
        await until_text(page, "#hint", "Calibrated")
        assert not await page.locator("#count").is_visible()
        numbers = [text for text in await texts_shown(page, "count-number") if text.isdigit()]
        assert list(dict.fromkeys(numbers)) == ["3", "2", "1"]
        assert any("Hold still" in text for text in await texts_shown(page, "count-text"))


@renders
async def test_avatar_and_background_change_during_a_call(
    browsers: Browsers, url: str, camera_file: Path
) -> None:
    async with browsers.call(url, *camera_flags(camera_file)) as page:
        names = page.locator(".choice .name")
        assert await names.all_inner_texts() == ["Theo", TWIN]
        assert await page.locator(".choice img").nth(1).evaluate("image => image.naturalWidth") > 0
        await page.get_by_label(TWIN).check()
        await until_text(page, "#hint", f"The avatar is now {TWIN}")
        await page.get_by_label("Colour", exact=True).check()
        await until_corner(page, (0x00, 0xB1, 0x40))
        picture = np.full((300, 400, 3), (200, 30, 20), np.uint8)  # BGR
        data = cv2.imencode(".png", picture)[1].tobytes()
        await page.get_by_label("Picture", exact=True).check()
        await page.set_input_files("#picture", {"name": "blue.png", "mimeType": "image/png", "buffer": data})
        await until_corner(page, (20, 30, 200))
        await page.select_option("#frame", "1280x720")
        while await page.evaluate("document.getElementById('avatar').videoWidth") != 1280:
            await page.wait_for_timeout(100)
        assert await page.evaluate("document.getElementById('avatar').videoHeight") == 720
        await until_corner(page, (20, 30, 200))
        box = await page.locator("#stage").bounding_box()
        assert box is not None
        assert box["width"] / box["height"] == pytest.approx(16 / 9, abs=0.02)
        assert await page.evaluate("localStorage.getItem('avatarcast-frame')") == '"1280x720"'
        async with page.expect_response("**/eye-contact") as told:
            await page.get_by_label("Look at the camera").check()
        assert (await told.value).ok
        async with page.expect_response("**/emotion") as told:
            await page.keyboard.press("2")
        assert (await told.value).ok
        assert await page.input_value("#emotion-happy") == "0.7"
        async with page.expect_response("**/emotion"):
            await page.fill("#emotion-text", "a little worried, then relieved")
            await page.keyboard.press("Enter")
        await until_text(page, "#emotion-understood", "afraid")


@renders
async def test_an_avatar_chosen_while_the_call_is_made_is_shown(
    browsers: Browsers, url: str, camera_file: Path
) -> None:
    chosen = asyncio.Event()

    async def wait_for_choice(route: Route) -> None:
        await chosen.wait()
        await route.continue_()

    async with browsers.page(*camera_flags(camera_file)) as page:
        await page.route("**/api/sessions", wait_for_choice)
        await page.goto(url)
        await page.get_by_label("Theo").check()
        async with page.expect_request("**/api/sessions"):
            await page.click("#start")
        await page.get_by_label(TWIN).check()
        chosen.set()
        await until_text(page, "#pill-text", "Live")
        await page.locator("#copy-link:enabled").wait_for(state="attached")  # the call is made
        assert await page.get_by_label(TWIN).is_checked()
        for _ in range(int(LIMIT_S)):  # files are named by what the server says it shows, twice a second
            async with page.expect_download() as saved:
                await page.click("#snapshot")
            if TWIN in (await saved.value).suggested_filename:
                break
            await page.wait_for_timeout(1000)
        else:
            pytest.fail(f"the server does not show {TWIN}")
        await page.click("#start")
        await until_text(page, "#pill-text", "Ready")


async def hint_of(page: Page, name: str) -> str:
    """What the page says of the file of this name, once it does; after WATCH_HINTS."""
    given: list[str] = []
    for _ in range(int(LIMIT_S / 0.2)):
        given = await page.evaluate("window.hintsGiven")
        for hint in given:
            if name in hint:
                return hint
        await page.wait_for_timeout(200)
    pytest.fail(f"no hint names {name}: {given}")


async def recorded(page: Page) -> tuple[list[Any], str]:
    """What the page saves of four seconds, a film and what is to lie beside it, and what it says of them."""
    saved: list[Any] = []
    page.on("download", lambda one: saved.append(one))
    await page.click("#record")
    await until_text(page, "#record-text", "Stop recording")
    await page.wait_for_timeout(4000)  # of recording
    await page.click("#record")
    await until(lambda: saved)
    said = await hint_of(page, saved[0].suggested_filename)
    if "in the .c2pa file" in said:  # WebM carries none itself
        await until(lambda: len(saved) == 2)
    return saved, said


@renders
async def test_what_the_page_saves_is_whole_and_says_what_made_it(
    browsers: Browsers, url: str, camera_file: Path, tmp_path: Path
) -> None:
    """A marked avatar over the whole path, through the browser's decoder and its recorder, with its voice.

    On a busy machine a link may leave too little of the invisible mark for a recording's credentials, and the
    page says so: then it is recorded again. The snapshot is what the server rendered.
    """
    async with browsers.page(*camera_flags(camera_file)) as page:
        await page.goto(url)
        await page.get_by_label(TWIN).check()
        await page.click("#start")
        await until_text(page, "#pill-text", "Live")
        await page.evaluate(WATCH_HINTS)
        for _ in range(RECORDINGS):
            downloads, said = await recorded(page)
            if "no mark of this installation" not in said:
                break
        film = tmp_path / downloads[0].suggested_filename
        for one in downloads:
            await one.save_as(tmp_path / one.suggested_filename)
        async with page.expect_download() as saved:
            await page.click("#snapshot")
        snapshot = await saved.value
        await snapshot.save_as(tmp_path / "snapshot.png")
        assert (await hint_of(page, snapshot.suggested_filename)).endswith("It has Content Credentials.")
        await page.click("#start")
        await until_text(page, "#pill-text", "Ready")
    assert "AI-generated" in snapshot.suggested_filename
    assert "AI-generated" in film.name
    picture = cv2.imread(str(tmp_path / "snapshot.png"))
    twin = load_avatar(BUNDLED)
    width, height = frame_size(AUTO, twin.size, twin.scene)
    assert picture.shape == (height, width, 3)
    assert picture.std() > 10
    with av.open(str(film)) as container:
        frames = list(container.decode(video=0, audio=0))
    assert sum(isinstance(frame, av.VideoFrame) for frame in frames) > 10
    voice = [frame.to_ndarray() for frame in frames if isinstance(frame, av.AudioFrame)]
    assert max(float(np.abs(frame).max()) for frame in voice) > 0.02
    for path in (film, tmp_path / "snapshot.png"):
        verdict = verify(path)
        layers = {layer.name: layer.state for layer in verdict.layers}
        assert verdict.summary == GENERATED
        assert (layers["invisible mark"], layers["visible mark"]) == (FOUND, FOUND), (path, verdict)
        told = next(layer for layer in verdict.layers if layer.name == "Content Credentials")
        assert told.state == FOUND
        assert "created by a trained model, of avatar " in told.words
        assert told.words.endswith("beside it") == (path.suffix == ".webm")


async def test_a_view_plays_wherever_its_presenter_goes(browsers: Browsers, echo_url: str) -> None:
    """Another page plays the avatar, waits while nobody presents, and plays on when somebody does."""
    async with browsers.profile(*FAKE_CAMERA) as context:
        page = await context.new_page()
        await page.goto(echo_url)
        await page.get_by_text("Show it elsewhere").click()
        await page.fill("#view-name", "My studio")
        await page.click("#start")
        await until_text(page, "#pill-text", "Live")
        address = await page.input_value("#view-link")
        where, _, share = address.partition("#token=")
        assert where == at(echo_url, "/view/My-studio")
        assert share
        assert share not in echo_url  # one that may watch, not that of whoever presents
        view = await context.new_page()
        await view.add_init_script(NEVER_STALLS)
        await view.goto(address)
        await until_title(view, "My-studio: live")
        assert np.mean(await view.evaluate(CORNER)) > 20
        assert await view.locator("button").count() == 0
        await page.click("#start")
        await until_title(view, "My-studio: this token is for another session")
        lasting = await make_address(page, "watch", "My-studio")
        async with browsers.profile() as elsewhere:
            other = await elsewhere.new_page()
            await other.goto(lasting)
            await until_title(other, "My-studio: there is nothing to watch here")
            await page.click("#start")
            await until_title(other, "My-studio: live")
            await page.get_by_role("button", name="Revoke", exact=True).click()
            await until_title(other, "My-studio: the token was revoked")


async def make_address(page: Page, right: str, name: str) -> str:
    """As the operator makes one."""
    await page.get_by_text("Let others in").click()
    await page.select_option("#access-right", right)
    await page.fill("#access-name", name)
    await page.get_by_role("button", name="Make an address").click()
    await page.locator("#access-made").wait_for()
    return await page.input_value("#access-link")


async def test_whom_the_operator_lets_in_may_do_that_alone(browsers: Browsers, echo_url: str) -> None:
    async with browsers.page(*FAKE_CAMERA) as page:
        await page.goto(echo_url)
        address = await make_address(page, "present", "guest")
        assert await page.locator("#access-list li").inner_text() != ""
        async with browsers.profile(*FAKE_CAMERA) as elsewhere:
            guest = await elsewhere.new_page()
            await guest.goto(address)
            await guest.click("#start")
            await until_text(guest, "#pill-text", "Live")
            assert at(echo_url, "/view/guest#token=") in await guest.input_value("#view-link")
            assert not await guest.locator("#access").is_visible()
            assert not await guest.locator("#make-avatar").is_visible()
            await page.get_by_role("button", name="Revoke all").click()
            await until_text(guest, "#notice", "the token it was begun with was revoked")


async def until_title(page: Page, start: str) -> None:
    for _ in range(int(LIMIT_S / 0.2)):
        if (await page.title()).startswith(start):
            return
        await page.wait_for_timeout(200)
    pytest.fail(f"the title is {await page.title()!r}, not {start!r}")
