"""A presenter's voice as the driver: their sound comes in on one thread, pictures ask on another.

Lips need to hear ahead, so what the voice drives is shown HOLD_S after its sound was here, and whoever sends
the sound on holds it back as long.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING

import av
import numpy as np

from engine.arrays import FloatArray
from engine.conversation.listening import Listening
from engine.person.motion import Motion
from engine.person.retarget import Retargeter
from engine.voice.driver import LOOK_AHEAD_S, SpokenLips, VoiceDriver
from engine.voice.features import ROWS_HZ
from engine.voice.idle import Habits, Idle
from engine.voice.mel import SAMPLE_RATE_HZ
from engine.voice.speaker import Speaker

if TYPE_CHECKING:
    from stream.render.render_loop import FramePipeline

JITTER_S = 0.02  # of sound that comes in
HOLD_S = LOOK_AHEAD_S + 1 / ROWS_HZ + JITTER_S  # lips become known row by row
DRIVES = 0.5  # share from which the voice is said to drive
_MOST_WAITING = 200  # frames of 20 ms
_GAP_S = 0.25  # without sound: from here on it is taken for silence
_NS = 1_000_000_000


class LiveVoice:
    """Use: hear() on the event loop; attach() and advance() where the pipeline is used."""

    def __init__(self, hold_s: float = HOLD_S) -> None:
        """hold_s: how long lips wait for what is yet to be heard; 0 where sound is here before it is due."""
        self.share = 0.0  # how much the voice drove the last picture
        self._resampler, self._others_resampler = (
            av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ) for _ in range(2)
        )
        self._hold_s = hold_s
        self._waiting: deque[tuple[FloatArray | None, int]] = deque(maxlen=_MOST_WAITING)  # None: a hush
        self._others: deque[tuple[FloatArray, int]] = deque(maxlen=_MOST_WAITING)
        self._listening: Listening | None = None  # while there is somebody to listen to
        self._driver: VoiceDriver | None = None
        self._seed = secrets.randbelow(2**31)
        self._habits: Habits | None = None  # of whom it drives
        self._heard_s = 0.0  # of sound, silence in its gaps included
        self._began_ns: int | None = None  # when the sound's first sample would have been here

    @property
    def held_ms(self) -> float:
        """How much earlier than the rest of the picture the sound was that goes with it."""
        return self._hold_s * 1e3 if self.share >= DRIVES else 0.0

    def hear(self, frame: av.AudioFrame, arrived_ns: int) -> None:
        """The next frame of the microphone, whole at this time (perf_counter_ns)."""
        if len(samples := _samples(self._resampler, frame)):
            self._waiting.append((samples, arrived_ns))

    def hear_other(self, samples: FloatArray, arrived_ns: int) -> None:
        """What the other one says, whole at this time: the avatar listens. (n,) float32, 16 kHz."""
        self._others.append((samples, arrived_ns))

    def hear_frame_of_other(self, frame: av.AudioFrame, arrived_ns: int) -> None:
        """The same, as a decoder gives it."""
        if len(samples := _samples(self._others_resampler, frame)):
            self.hear_other(samples, arrived_ns)

    def hush(self) -> None:
        """Lips shut for what was heard up to now."""
        self._waiting.append((None, 0))

    def adjusted(self, motion: Motion, retargeter: Retargeter, time_ns: int) -> Motion:
        """See `engine.pipeline.Adjustment`: a face that listens."""
        if self._listening is None:
            return motion
        return self._listening.adjusted(motion, retargeter, time_ns)

    def attach(self, pipeline: FramePipeline) -> None:
        """Drives this pipeline's person from now on, in their own way where that is known."""
        own = pipeline.own_voice
        lips = SpokenLips(Speaker(None if own is None else own.fit))
        self._habits, manner = (None, None) if own is None else (own.habits, own.manner)
        self._driver = VoiceDriver(lips, Idle(self._seed, self._habits), manner=manner, seed=self._seed)
        self._listening = None
        self._heard_s, self._began_ns = 0.0, None
        pipeline.accompany(self._driver)

    def advance(self, now_ns: int) -> None:
        """The next picture is of this time: takes in what was heard, and asks for what was HOLD_S ago."""
        driver = self._driver
        if driver is None:
            return
        while self._waiting:
            samples, arrived_ns = self._waiting.popleft()
            if samples is None:
                driver.lips.hush(self._sound_s(now_ns))
            else:
                self._take(driver, samples, arrived_ns)
        if self._began_ns is None:
            self._began_ns = now_ns
        missing_s = (now_ns - self._began_ns) / _NS - self._heard_s
        if missing_s > _GAP_S:
            self._silence(driver, missing_s - JITTER_S)
        driver.at(now_ns / _NS, self._sound_s(now_ns))
        self._listen(now_ns / _NS)

    def _sound_s(self, now_ns: int) -> float:
        """The time of the sound that goes with a picture of now."""
        return (now_ns - (now_ns if self._began_ns is None else self._began_ns)) / _NS - self._hold_s

    def _listen(self, now_s: float) -> None:
        while self._others:
            samples, arrived_ns = self._others.popleft()
            if self._listening is None:
                self._listening = Listening(self._habits, self._seed)
            self._listening.hear(samples, arrived_ns / _NS)
        if self._listening is not None:
            self._listening.share = self.share
            self._listening.at(now_s)

    def drew(self) -> None:
        """The picture is made."""
        if self._driver is not None:
            self.share = self._driver.share

    def _take(self, driver: VoiceDriver, samples: FloatArray, arrived_ns: int) -> None:
        """Where sound was lost, silence stands for it; so sound and clock stay together."""
        length_s = len(samples) / SAMPLE_RATE_HZ
        if self._began_ns is not None:
            missing_s = (arrived_ns - self._began_ns) / _NS - self._heard_s - length_s
            if missing_s > _GAP_S:
                self._silence(driver, missing_s)
        driver.lips.push(samples, driver.asks_for_lips)
        if self._listening is not None:
            self._listening.speak(samples, arrived_ns / _NS + self._hold_s)
        self._heard_s += length_s
        began_ns = arrived_ns - round(self._heard_s * _NS)
        self._began_ns = (
            began_ns if self._began_ns is None else self._began_ns + (began_ns - self._began_ns) // 8
        )

    def _silence(self, driver: VoiceDriver, seconds: float) -> None:
        count = round(min(seconds, 2.0) * SAMPLE_RATE_HZ)
        driver.lips.push(np.zeros(count, np.float32), driver.asks_for_lips)
        self._heard_s += seconds


def _samples(resampler: av.AudioResampler, frame: av.AudioFrame) -> FloatArray:
    """(n,) float32, 16 kHz; maybe none yet."""
    pieces = [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    return np.asarray(np.concatenate([np.zeros(0, np.float32), *pieces]), np.float32)
