"""One-place mailboxes whose policy is their name: a newer item replaces an unread one, and that is counted.

LatestSlot is read by the event loop, ThreadLatestSlot by one thread. Neither ever holds more than one item,
so nothing that passes through them can fall behind.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """Event loop's thread only; from another thread use loop.call_soon_threadsafe(slot.put, item)."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._ready = asyncio.Event()
        self.dropped = 0  # items replaced before they were read

    def put(self, item: T) -> None:
        """Leave `item`; an unread one is dropped."""
        if self._ready.is_set():
            self.dropped += 1
        self._item = item
        self._ready.set()

    async def get(self) -> T:
        """The newest item, once there is one that was not read yet."""
        await self._ready.wait()
        self._ready.clear()
        item, self._item = self._item, None
        assert item is not None
        return item


class ThreadLatestSlot(Generic[T]):
    """Put from any thread, taken by one thread that may block."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._condition = threading.Condition()
        self._closed = False
        self.dropped = 0  # items replaced before they were read

    def put(self, item: T) -> None:
        """Leave `item`; an unread one is dropped. After close() it goes nowhere."""
        with self._condition:
            if self._closed:
                return
            if self._item is not None:
                self.dropped += 1
            self._item = item
            self._condition.notify()

    def take(self) -> T | None:
        """Wait for the newest item; None once the slot is closed."""
        with self._condition:
            while self._item is None and not self._closed:
                self._condition.wait()
            if self._closed:
                return None
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Let go of an unread item and wake the reader for the last time."""
        with self._condition:
            self._closed = True
            self._item = None
            self._condition.notify_all()
