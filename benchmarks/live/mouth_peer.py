"""A caller without a camera who says short bursts of speech, and keeps what comes back: pictures and sound.

Knows when each sample was made. Knows nothing of statistics.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from benchmarks.live.sync_peer import SAMPLE_RATE_HZ, ClockedPeer
from engine.arrays import FloatArray
from engine.errors import SettingsError
from engine.media.sound import read_sound

BURST_S, EVERY_S = 0.4, 1.0
MOST_BURSTS = 30
_FADE_S = 0.02
_FRAME = SAMPLE_RATE_HZ // 50


def bursts_of(speech: Path) -> FloatArray:
    """(n,) float32 at 48 kHz, -1..1: the loudest pieces of a recording, one a second, silence between.

    Raises SettingsError where there is too little.
    """
    sound = read_sound(speech, SAMPLE_RATE_HZ)
    length, every = round(BURST_S * SAMPLE_RATE_HZ), round(EVERY_S * SAMPLE_RATE_HZ)
    if sound is None or len(sound.samples) < 4 * length:
        raise SettingsError(f"{speech}: wanted a recording of somebody who speaks, 4 s or more")
    pieces = len(sound.samples) // length
    spoken = sound.samples[: pieces * length].reshape(pieces, length)
    loudest = np.sort(np.argsort(-np.square(spoken).mean(1))[: min(pieces // 2, MOST_BURSTS)])
    fade = np.minimum(1.0, np.arange(length) / (_FADE_S * SAMPLE_RATE_HZ))
    found = np.zeros((len(loudest), every), np.float32)
    found[:, every - length :] = spoken[loudest] * np.minimum(fade, fade[::-1])
    return np.asarray(found.ravel() * (0.5 / max(float(np.abs(found).max()), 1e-4)), np.float32)


class SpeechMicrophone(MediaStreamTrack):
    """A sound without end, in 20 ms frames at the pace of a sound card."""

    kind = "audio"

    def __init__(self, samples: FloatArray) -> None:
        """samples: (n,) float32 at 48 kHz, of whole frames; repeated."""
        super().__init__()
        self.start_ns = perf_counter_ns()  # when its first sample was made
        self._pieces = np.round(samples * 32_767).astype(np.int16).reshape(-1, 1, _FRAME)
        self._frames = 0

    async def recv(self) -> av.AudioFrame:
        """The next frame, when its last sample has been made."""
        if self.readyState != "live":
            raise MediaStreamError
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(self._pieces[self._frames % len(self._pieces)]), format="s16", layout="mono"
        )
        frame.pts, frame.sample_rate = self._frames * _FRAME, SAMPLE_RATE_HZ
        frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
        self._frames += 1
        await asyncio.sleep(self._frames / 50 - (perf_counter_ns() - self.start_ns) / 1e9)
        return frame


@dataclass(frozen=True, slots=True)
class Heard:
    """Sound that came back."""

    at_ns: int  # when it was at hand here
    sent_ns: int | None  # when it was sent, on the sender's clock
    samples: FloatArray  # (n,) at 48 kHz


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that came back."""

    at_ns: int
    sent_ns: int | None
    luma: NDArray[np.uint8]  # (H, W)


@dataclass
class MouthPeer(ClockedPeer):
    """A call by voice alone. Its camera is never looked at."""

    pictures: list[Shown] = field(default_factory=list)
    sounds: list[Heard] = field(default_factory=list)

    async def offer(self) -> dict[str, Any]:
        """As the other callers, driven by voice."""
        return await super().offer() | {"driver": "voice"}

    def seen(self, frame: av.VideoFrame, luma: NDArray[np.uint8], at_ns: int) -> None:
        """A picture came; luma: (H, W)."""
        super().seen(frame, luma, at_ns)
        sent_ns = None if frame.pts is None else self._video_clock.at_ns(frame.pts)
        self.pictures.append(Shown(at_ns, sent_ns, luma.copy()))

    def heard(self, frame: av.AudioFrame, at_ns: int) -> None:
        """Sound came."""
        assert frame.pts is not None
        channels = len(frame.layout.channels)
        mono = frame.to_ndarray().reshape(-1, channels)[:, 0].astype(np.float32) / 32_767
        self.sounds.append(Heard(at_ns, self._audio_clock.at_ns(frame.pts), mono))
