"""A voice that is here before it is due, as a synthesiser gives it: played at its own pace, cut off at once.

Lips need to hear ahead. What is still to be said can be heard ahead, so nothing is held back for them: a
sentence begins with the picture after its first sound came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np

from engine.voice.driver import LOOK_AHEAD_S
from engine.voice.features import ROWS_HZ
from engine.voice.mel import SAMPLE_RATE_HZ
from stream.refusal import RequestRefused

LEAD_S = LOOK_AHEAD_S + 2 / ROWS_HZ  # lips hear so far ahead of what is played
MOST_S = 120.0  # that waits to be said
FRAME_S = 0.02
_FRAME = round(FRAME_S * SAMPLE_RATE_HZ)
_BYTES = 2 * _FRAME
_POLL_S = 0.01


class AgentVoice:
    """Use: run() as a task; say() and hush() at any time. Event loop only."""

    def __init__(self, play: Callable[[av.AudioFrame, float], None]) -> None:
        """play: gets every frame, silent ones in between, and when it is due on the loop's clock."""
        self._play = play
        self._waiting = bytearray()
        self._arrived = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._fed_s = self._clock()  # up to here frames are passed on
        self._ends_s = 0.0  # of the last frame that says something
        self._pts = 0

    @property
    def speaks(self) -> bool:
        """Something is being said, or waits to be."""
        return bool(self._waiting) or self._clock() < self._ends_s

    def say(self, pcm: bytes) -> None:
        """After what waits. pcm: 16-bit little-endian samples, 16 kHz, one channel. Raises RequestRefused."""
        if len(pcm) % 2:
            raise RequestRefused(400, f"{len(pcm)} bytes of sound; whole 16-bit samples are needed")
        if (waits_s := (len(self._waiting) + len(pcm)) / (2 * SAMPLE_RATE_HZ)) > MOST_S:
            raise RequestRefused(429, f"{waits_s:.0f} s wait to be said; {MOST_S:.0f} s are kept: wait")
        self._waiting += pcm
        self._arrived.set()

    def hush(self) -> None:
        """Nothing more of what waits is said."""
        self._waiting.clear()
        self._ends_s = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            now_s = self._clock()
            self._fed_s = max(self._fed_s, now_s - FRAME_S)  # a loop that was late catches up with nothing
            while self._fed_s <= now_s + (LEAD_S if self._waiting else 0.0):
                self._feed()
            self._arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), _POLL_S)

    def _feed(self) -> None:
        """One frame; the last of a sentence is filled up with silence."""
        piece = bytes(self._waiting[:_BYTES])
        del self._waiting[:_BYTES]
        samples = np.zeros((1, _FRAME), np.int16)
        said = np.frombuffer(piece, "<i2")
        samples[0, : len(said)] = said
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, self._pts, Fraction(1, SAMPLE_RATE_HZ)
        self._play(frame, self._fed_s)
        self._pts += _FRAME
        self._fed_s += FRAME_S
        if len(said):
            self._ends_s = self._fed_s
