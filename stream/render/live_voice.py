"""A presenter's voice as the driver: their sound comes in on one thread, pictures ask on another.

Lips need to hear ahead, so what the voice drives is shown HOLD_S after its sound was here, and whoever sends
the sound on holds it back as long.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import av
import numpy as np

from engine.arrays import FloatArray
from engine.conversation.hearing import Hearing, Row
from engine.conversation.listening import Listening
from engine.conversation.turns import State
from engine.person.motion import Motion
from engine.person.retarget import Retargeter
from engine.voice.driver import LOOK_AHEAD_S, SpokenLips, VoiceDriver
from engine.voice.features import ROWS_HZ
from engine.voice.idle import Habits, Idle
from engine.voice.mel import SAMPLE_RATE_HZ
from engine.voice.speaker import Speaker
from engine.voice.voice_print import VoiceCheck, Whose

if TYPE_CHECKING:
    from stream.render.render_loop import FramePipeline

logger = logging.getLogger(__name__)

JITTER_S = 0.02  # of sound that comes in
HOLD_S = LOOK_AHEAD_S + 1 / ROWS_HZ + JITTER_S  # lips become known row by row
DRIVES = 0.5  # share from which the voice is said to drive
_MOST_WAITING = 200  # frames of 20 ms
_GONE_NS = 3_000_000_000  # without sound of the other: there is nobody
_GAP_S = 0.25  # without sound: from here on it is taken for silence
_NS = 1_000_000_000
_JUDGES = ThreadPoolExecutor(
    1, thread_name_prefix="voice-print"
)  # of all sessions: 10 ms for 0.8 s of speech


class LiveVoice:
    """Use: attach(), advance(), adjusted(), drew() where the pipeline is used, all else on the event loop."""

    def __init__(self, hold_s: float = HOLD_S, tell: Callable[[Row], None] | None = None) -> None:
        """hold_s: how long lips wait for what is yet to be heard; 0 where sound is here before it is due.

        tell: gets what is heard of the conversation, row by row, on the event loop.
        """
        self.share = 0.0  # how much the voice drove the last picture
        self.lips = 0.0  # how much it helped lips that the camera sees badly
        self._late = 0.0  # how far lips were on the voice's time
        self.only_own = False  # no other voice than that of the avatar's print moves the mouth
        self._check: VoiceCheck | None = None  # where the avatar keeps a print
        self._resampler, self._others_resampler = (
            av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ) for _ in range(2)
        )
        self._hold_s = hold_s
        self._waiting: deque[tuple[FloatArray | None, int]] = deque(maxlen=_MOST_WAITING)  # None: a hush
        self._tell = tell
        self._hearing = Hearing()
        self._other_ns: int | None = None  # when the other one's sound came last, if it still does
        self._rows: deque[Row] = deque(maxlen=_MOST_WAITING)  # of a conversation, to be listened to
        self._listening: Listening | None = None  # while there is somebody to listen to
        self._driver: VoiceDriver | None = None
        self._seed = secrets.randbelow(2**31)
        self._habits: Habits | None = None  # of whom it drives
        self._heard_s = 0.0  # of sound, silence in its gaps included
        self._began_ns: int | None = None  # when the sound's first sample would have been here

    @property
    def held_ms(self) -> float:
        """How much earlier than the rest of the picture the sound was that goes with it."""
        return self._hold_s * 1e3 if max(self.share, self._late) >= DRIVES else 0.0

    @property
    def whose(self) -> Whose | None:
        """Whether the voice is that of the avatar's person; None where the avatar keeps no print of it."""
        return None if self._check is None else self._check.whose

    @property
    def refused(self) -> bool:
        """The voice moves no mouth: it is not, or not yet known to be, the one that alone may."""
        return self.only_own and self.whose not in (None, Whose.OWN)

    @property
    def conversation(self) -> State | None:
        """Whose turn it is; None where nobody else is heard."""
        return None if self._other_ns is None else self._hearing.state

    def hear(self, frame: av.AudioFrame, arrived_ns: int) -> None:
        """The next frame of the microphone, whole at this time (perf_counter_ns)."""
        if len(samples := _samples(self._resampler, frame)):
            self._waiting.append((samples, arrived_ns))
            self._hearing.speak(samples, arrived_ns / _NS + self._hold_s)

    def hear_other(self, samples: FloatArray, arrived_ns: int) -> None:
        """What the other one says, whole at this time: the avatar listens. (n,) float32, 16 kHz."""
        self._other_ns = arrived_ns
        self._hearing.hear(samples, arrived_ns / _NS)
        self.attend(arrived_ns)

    def hear_frame_of_other(self, frame: av.AudioFrame, arrived_ns: int) -> None:
        """The same, as a decoder gives it."""
        if len(samples := _samples(self._others_resampler, frame)):
            self.hear_other(samples, arrived_ns)

    def attend(self, now_ns: int) -> None:
        """It is that late, whether sound comes or not."""
        if self._other_ns is not None and now_ns - self._other_ns > _GONE_NS:
            self._other_ns = None
        for row in self._hearing.rows(now_ns / _NS):
            if self._other_ns is not None:
                self._rows.append(row)
            if self._tell is not None:
                self._tell(row)

    def hush(self, now_ns: int) -> None:
        """Lips shut for what was heard up to now."""
        self._waiting.append((None, now_ns))
        self._hearing.hush(now_ns / _NS)

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
        self._driver = VoiceDriver(
            lips, Idle(self._seed, self._habits), manner=manner, seed=self._seed, hold_s=self._hold_s
        )
        self._check = None if own is None or own.print is None else VoiceCheck(own.print)
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
                driver.lips.hush(self._sound_s(arrived_ns))
            else:
                self._take(driver, samples, arrived_ns)
        if self._began_ns is None:
            self._began_ns = now_ns
        missing_s = (now_ns - self._began_ns) / _NS - self._heard_s
        if missing_s > _GAP_S:
            self._silence(driver, missing_s - JITTER_S)
        driver.refuses = self.refused
        driver.at(now_ns / _NS, self._sound_s(now_ns))
        self._listen(now_ns / _NS)

    def _sound_s(self, now_ns: int) -> float:
        """The time of the sound that goes with a picture of now."""
        return (now_ns - (now_ns if self._began_ns is None else self._began_ns)) / _NS - self._hold_s

    def _listen(self, now_s: float) -> None:
        while self._rows:
            if self._listening is None:
                self._listening = Listening(self._habits, self._seed)
            self._listening.attend(self._rows.popleft())
        if self._listening is not None:
            self._listening.share = self.share
            self._listening.at(now_s)

    @staticmethod
    def settle() -> None:
        """Waits until all that was heard was compared with prints: for tests and measurements."""
        _JUDGES.submit(int).result()

    def drew(self) -> None:
        """The picture is made."""
        if self._driver is not None:
            self.share, self.lips = self._driver.share, self._driver.assist.share
            self._late = self._driver.assist.late

    def _take(self, driver: VoiceDriver, samples: FloatArray, arrived_ns: int) -> None:
        """Where sound was lost, silence stands for it; so sound and clock stay together."""
        length_s = len(samples) / SAMPLE_RATE_HZ
        if self._began_ns is not None:
            missing_s = (arrived_ns - self._began_ns) / _NS - self._heard_s - length_s
            if missing_s > _GAP_S:
                self._silence(driver, missing_s)
        driver.lips.push(samples, driver.asks_for_lips)
        if (check := self._check) is not None and (windows := check.push(samples)):
            _JUDGES.submit(_judge, check, windows)
        self._heard_s += length_s
        began_ns = arrived_ns - round(self._heard_s * _NS)
        self._began_ns = (
            began_ns if self._began_ns is None else self._began_ns + (began_ns - self._began_ns) // 8
        )

    def _silence(self, driver: VoiceDriver, seconds: float) -> None:
        count = round(min(seconds, 2.0) * SAMPLE_RATE_HZ)
        driver.lips.push(np.zeros(count, np.float32), driver.asks_for_lips)
        self._heard_s += seconds


def _judge(check: VoiceCheck, windows: Sequence[FloatArray]) -> None:
    try:
        check.judge(windows)
    except Exception:  # a thread of a pool tells nobody
        logger.exception("a voice could not be compared with its print")


def _samples(resampler: av.AudioResampler, frame: av.AudioFrame) -> FloatArray:
    """(n,) float32, 16 kHz; maybe none yet."""
    pieces = [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    return np.asarray(np.concatenate([np.zeros(0, np.float32), *pieces]), np.float32)
