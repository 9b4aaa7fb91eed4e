"""How long from the granted camera to the avatar on the page?

    avatarcast bench first_frame [--calls 5] [--out benchmarks/results/first_frame.json]

Starts the server as `make run` does, opens its page in a real Chromium with a fake camera, presses Start,
and takes the time from getUserMedia's resolution until the first picture that the camera drives is displayed.

Cases, each --calls times:
- cold: the first call of a server, in a browser of its own;
- warm: a later call of the same server;
- other: the first call of a server, as its second presenter, who was not loaded before; where there is one.

Steps, in ms after the camera was granted: offered, answered (HTTP), ice, connected (DTLS too), received
(last packet of the first picture), drawn (decoded, handed to the compositor), displayed, avatar. The last two
differ where no face was found at first: the server then sends a holding picture, the avatar at rest or its
background. The server counts the frames without a face; where there are none the first picture displayed is
an avatar's, else the first is that differs from it by more than a codec makes. calibrated is shown apart: the
avatar moves before it, by a first guess of the driver's rest; the server tells it twice a second.

"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from playwright.async_api import TimeoutError as PlaywrightTimeout

from benchmarks.live.browser_peer import write_camera_file
from benchmarks.live.browser_stage import LIMIT_S, SERVE, camera_flags, page_with, server, until_text
from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.server_link import metrics
from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.record import Record
from engine.avatar.bundled import bundled_names
from engine.errors import AvatarcastError

BOUND_MS = 3000.0
STEPS = ("offered", "answered", "ice", "connected", "received", "drawn", "displayed", "avatar")
CALL_LIMIT_S = 180.0
PICTURES = 60  # to look at; calibration is over by then
CAMERA = (640, 480, 30)  # width and height in px, frames a second
ANOTHER_PICTURE = 3.0  # of 255, mean difference of the small copies; a still through the codec differs by 2
SCRIPT = Path(__file__).with_suffix(".js")
_MARKS = "Object.fromEntries(performance.getEntriesByType('mark').map((mark) => [mark.name, mark.startTime]))"


def frames_without_face(link: str) -> int:
    """How many tracked frames went no further, by what the server tells Prometheus."""
    found = metrics(link)
    track, retarget = (
        found.get(f'stage_seconds_count{{stage="{stage}"}}', 0.0) for stage in ("track", "retarget")
    )
    return round(track - retarget)


def first_driven(pictures: Sequence[tuple[float, Sequence[int]]], holding: int) -> float | None:
    """When the first picture of the avatar was displayed. pictures: times, and grey levels of a small copy.

    holding: how many the server sent before a face was found; None where none of them was driven.
    """
    if not holding:
        return pictures[0][0]
    at_first = np.array(pictures[0][1], float)
    differing = (
        at for at, copy in pictures if np.abs(np.array(copy, float) - at_first).mean() > ANOTHER_PICTURE
    )
    return next(differing, None)


def steps_of(seen: dict[str, Any], marks: dict[str, float], holding: int) -> dict[str, float | None]:
    """Every step in ms after the camera was granted; None for one that did not come."""
    times: dict[str, float | None] = {**marks, **seen["steps"]}
    times["avatar"] = first_driven(seen["pictures"], holding)
    calibrating = [at for at, message in seen["stats"] if message["calibrating"]]
    after = [at for at, message in seen["stats"] if message["face_found"] and not message["calibrating"]]
    times["calibrated"] = next((at for at in after if not calibrating or at > calibrating[0]), None)
    granted = seen["steps"]["granted"]
    return {
        step: None if (at := times.get(step)) is None else round(at - granted, 1)
        for step in (*STEPS, "calibrated")
    }


async def one_call(link: str, camera_file: Path, presenter: int = 0) -> dict[str, float | None]:
    """Press Start on a page that is ready, as that presenter of the page's choice; see the first pictures."""
    before = await asyncio.to_thread(frames_without_face, link)
    async with page_with(*camera_flags(camera_file)) as page:
        await page.add_init_script(path=SCRIPT)
        await page.goto(link)
        await page.locator(".choice img[src]").nth(presenter).wait_for(timeout=LIMIT_S * 1e3)
        await page.locator(".choice input").nth(presenter).check()
        await page.evaluate("window.watchFirst()")
        await page.click("#start")
        # polled, as wait_for_function is against the page's CSP
        while await page.evaluate("window.first.pictures.length") < PICTURES:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        seen, marks = await page.evaluate("window.first"), await page.evaluate(_MARKS)
        await page.click("#start")
        await until_text(page, "#pill-text", "Ready")
    return steps_of(seen, marks, await asyncio.to_thread(frames_without_face, link) - before)


def calls_of(calls: int, driver: Path) -> dict[str, list[dict[str, float | None]]]:
    """The calls of each case."""
    width, height, fps = CAMERA
    found: dict[str, list[dict[str, float | None]]] = {"cold": [], "warm": [], "other": []}
    with tempfile.TemporaryDirectory() as folder:
        camera_file = Path(folder) / "camera.y4m"
        pictures = DriverPictures(driver, width, height)
        write_camera_file(camera_file, pictures, width, height, fps, numbered=False)

        def call(link: str, presenter: int = 0) -> dict[str, float | None]:
            return asyncio.run(asyncio.wait_for(one_call(link, camera_file, presenter), CALL_LIMIT_S))

        for _ in range(calls):
            with server(*SERVE) as link:
                found["cold"].append(call(link))
                found["warm"].append(call(link))
        for _ in range(calls if len(bundled_names()) > 1 else 0):
            with server(*SERVE) as link:
                found["other"].append(call(link, presenter=1))
    return found


def summarise(found: dict[str, list[dict[str, float | None]]]) -> dict[str, Any]:
    """Median and worst of each step, by case; and what came after the bound."""
    cases: dict[str, Any] = {}
    for case, calls in found.items():
        table = {}
        for step in (*STEPS, "calibrated") if calls else ():
            times = [at for call in calls if (at := call[step]) is not None]
            table[step] = {
                "p50": round(float(np.median(times)), 1) if times else None,
                "worst": max(times) if len(times) == len(calls) else None,
            }
        if calls:
            cases[case] = {"steps_ms": table, "calls": calls}
    worst = {case: found["steps_ms"]["avatar"]["worst"] for case, found in cases.items()}
    late = [f"{case}: {at} > {BOUND_MS}" for case, at in worst.items() if at is None or at > BOUND_MS]
    return {"failures": late, "bound_ms": BOUND_MS, "cases": cases}


def add_options(parser: argparse.ArgumentParser) -> None:
    """How often, and what the camera shows."""
    parser.add_argument("--calls", type=counted, default=5, help="of each case (default 5)")
    add_common(parser, "driver")


def measure(args: argparse.Namespace) -> Record:
    """Raises AvatarcastError for a call that hangs."""
    try:
        found = calls_of(args.calls, args.driver)
    except (asyncio.TimeoutError, PlaywrightTimeout) as error:
        raise AvatarcastError(f"a call took more than {CALL_LIMIT_S:.0f} s: is the machine busy?") from error
    return {**summarise(found), "config": {"camera": list(CAMERA)}}


main = Instrument("first_frame", __doc__, add_options, measure, quick={"calls": 1})
