"""Both mailboxes keep the newest item, never two, and count what they replaced."""

from __future__ import annotations

import asyncio
import threading

from hypothesis import given
from hypothesis import strategies as st

from stream.media.latest_slot import LatestSlot, ThreadLatestSlot

LIMIT_S = 30.0  # longest wait for a thread


async def test_newest_wins_and_the_rest_is_counted() -> None:
    slot: LatestSlot[int] = LatestSlot()
    for item in range(5):
        slot.put(item)
    assert await slot.get() == 4
    assert slot.dropped == 4


async def test_get_waits_for_an_item_that_was_not_read_yet() -> None:
    slot: LatestSlot[str] = LatestSlot()
    slot.put("old")
    assert await slot.get() == "old"
    waiting = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    slot.put("new")
    assert await waiting == "new"
    assert slot.dropped == 0


async def test_a_cancelled_reader_takes_nothing_along() -> None:
    slot: LatestSlot[int] = LatestSlot()
    waiting = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    waiting.cancel()
    slot.put(7)
    assert await slot.get() == 7


@given(script=st.lists(st.booleans(), max_size=60))
def test_thread_slot_agrees_with_a_one_place_model(script: list[bool]) -> None:
    """True puts the next number, False takes if there is something."""
    slot: ThreadLatestSlot[int] = ThreadLatestSlot()
    held: int | None = None
    dropped = taken = 0
    for number, is_put in enumerate(script):
        if is_put:
            slot.put(number)
            dropped += held is not None
            held = number
        elif held is not None:
            assert slot.take() == held
            held = None
            taken += 1
    assert slot.dropped == dropped
    assert sum(script) == dropped + taken + (held is not None)


def test_a_slow_thread_sees_only_newer_items_and_the_last_one() -> None:
    slot: ThreadLatestSlot[int] = ThreadLatestSlot()
    seen: list[int] = []
    last_seen = threading.Event()

    def read() -> None:
        while (item := slot.take()) is not None:
            seen.append(item)
            if item == 2_000:
                last_seen.set()

    reader = threading.Thread(target=read)
    reader.start()
    for item in range(1, 2_001):
        slot.put(item)
    assert last_seen.wait(LIMIT_S)
    slot.close()
    reader.join(LIMIT_S)
    assert not reader.is_alive()
    assert seen == sorted(set(seen))
    assert len(seen) + slot.dropped == 2_000


def test_close_wakes_a_waiting_thread_and_lets_go() -> None:
    slot: ThreadLatestSlot[int] = ThreadLatestSlot()
    results: list[int | None] = []
    reader = threading.Thread(target=lambda: results.append(slot.take()))
    reader.start()
    slot.close()
    reader.join(LIMIT_S)
    slot.put(1)
    assert results == [None]
    assert slot.take() is None
