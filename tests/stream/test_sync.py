"""Voice and picture stay together: a clap through a real call, and the arithmetic of the instrument."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from benchmarks.live.av_sync import offsets, summarise
from benchmarks.live.echo_server import EchoPipeline
from benchmarks.live.sync_peer import ClickMicrophone, Returned, SenderClock, SyncPeer
from stream.sessions.registry import SessionRegistry
from tests.support.direct_call import avatars_of, present
from tests.support.grey_camera import grey_camera

MS = 1_000_000
NOTICED_MS = 45.0  # early (ITU-R BT.1359-1); late more is allowed
WAIT_S = 60.0


async def test_a_clap_comes_back_as_one() -> None:
    """The renderer takes 120 ms; a voice that was not held back would come 90 ms too early.

    Judged by the sender reports' clock, as a browser does, and by the median of the newest eight: where the
    machine was busy meanwhile, later ones may be.
    """
    registry = SessionRegistry(avatars_of({"slow": lambda: EchoPipeline(busy_ms=120.0)}))
    microphone, camera = ClickMicrophone(), grey_camera()
    peer = SyncPeer("", camera, microphone)
    await present(registry, peer)
    end_s = time.perf_counter() + WAIT_S
    found: list[float] = []
    settled_ns: int | None = None
    while len(found) < 8 or abs(float(np.median(found[-8:]))) >= NOTICED_MS:
        assert time.perf_counter() < end_s, (
            f"{len(peer.clicks)} clicks, {len(peer.pictures)} pictures came back, {found} ms apart"
        )
        await asyncio.sleep(0.2)
        if settled_ns is None and peer.stats and peer.stats[-1][1]["audio_delay_ms"] > 60:
            settled_ns = peer.stats[-1][0]
        if settled_ns is not None:
            every = offsets(peer.pictures, camera.sent_ns, peer.clicks, microphone.clicks_ns)
            newer = [one["by_reports"] for one in every if one["made_ns"] > settled_ns]
            found = [ms for ms in newer if ms is not None]
    await peer.close()
    await registry.close()


def test_offsets_of_known_delays() -> None:
    """Pictures take 100 ms, clicks 70: the voice leads by 30, by arrival and by reports alike."""
    taken = {number: [number * 40 * MS] for number in range(200)}
    pictures = [Returned(at[0] + 100 * MS, at[0] + 90 * MS, number) for number, at in taken.items()]
    clicked = [index * 500 * MS for index in range(1, 15)]
    clicks = [Returned(at + 70 * MS, at + 60 * MS, index) for index, at in enumerate(clicked)]
    found = offsets(pictures, taken, clicks, clicked)
    assert len(found) == 14
    figures = summarise(found, from_ns=1_000 * MS)
    assert figures["clicks"] == 13
    assert figures["offset_ms"]["by_reports"]["p50"] == 30.0
    assert figures["offset_ms"]["by_arrival"]["p95"] == 30.0
    assert figures["offset_size_ms"]["p99"] == 30.0
    assert figures["drift_ms_per_min"] == pytest.approx(0.0, abs=1e-6)


def test_drift_is_a_slope() -> None:
    """A voice that gains 1 ms on the picture with each click, 0.5 s apart, gains 120 ms a minute."""
    found = [
        {"made_ns": index * 500 * MS, "by_arrival": 0.0, "by_reports": float(index)} for index in range(20)
    ]
    assert summarise(found, from_ns=0)["drift_ms_per_min"] == pytest.approx(120.0)


def test_clicks_whose_picture_was_dropped_are_left_out() -> None:
    taken = {0: [0], 1: [5_000 * MS]}
    pictures = [Returned(100 * MS, None, 0), Returned(5_100 * MS, None, 1)]
    clicks = [Returned(2_070 * MS, None, 0)]
    assert offsets(pictures, taken, clicks, [2_000 * MS]) == []
    assert offsets(pictures, taken, [], []) == []


def test_the_senders_clock_by_its_last_report() -> None:
    clock = SenderClock(48_000, reports=[(0, 7), (48_000, 1_000 * MS)])
    assert clock.at_ns(96_000) == 2_000 * MS
    assert clock.at_ns(0) == 0
    assert SenderClock(48_000).at_ns(0) is None
