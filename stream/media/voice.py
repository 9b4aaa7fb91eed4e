"""The presenter's voice, held back as long as the picture takes, for any number of receivers.

    microphone -> Voice (one pump) -> [bounded] -> VoiceTrack of each receiver, each frame when it is due

When a frame is due follows its media time and not its arrival, so that the network's jitter is smoothed; the
relation of the two is followed, so that a microphone whose clock runs fast or slow builds no queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from time import perf_counter_ns

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from stream import tasks

logger = logging.getLogger(__name__)

# How much later the voice is there than a picture that took no time at all: a frame of 20 ms must be
# complete, and Opus looks 6.5 ms ahead, at the caller's end and at ours; a picture's codecs take a few ms of
# that back. As benchmarks.live.av_sync measured it with --pipeline echo.
VOICE_LAG_MS = 31.0
MAX_HOLD_MS = 1_000.0
MOST_STEP_MS = 5.0  # per picture: the hold never jumps
QUEUE_FRAMES = 100  # 2 s of 20 ms frames
_SHARE = 0.05  # of a new measurement in the mean
_RISE_S_PER_S = 0.005  # how fast the earliest arrival may turn out later: 25 times a bad sound card's drift


class SmoothDelay:
    """How long to hold the voice back, in ms: follows the picture's delay slowly, jumps only when told to."""

    def __init__(self) -> None:
        self.delay_ms = 0.0
        self._mean_ms: float | None = None

    def update(self, video_delay_ms: float, at_once: bool = False) -> None:
        """One more measurement of the time a picture takes from decoded to sent.

        at_once: it is another kind of picture from now on, so the hold jumps this once.
        """
        if self._mean_ms is None or at_once:
            self._mean_ms = video_delay_ms
        self._mean_ms += _SHARE * (video_delay_ms - self._mean_ms)
        wanted_ms = min(max(self._mean_ms - VOICE_LAG_MS, 0.0), MAX_HOLD_MS)
        if at_once:
            self.delay_ms = wanted_ms
        self.delay_ms += min(max(wanted_ms - self.delay_ms, -MOST_STEP_MS), MOST_STEP_MS)


class MediaClock:
    """Maps the media time of a stream onto our clock: the arrival it would have without jitter.

    The lower envelope of arrival minus media time, which may rise slowly; so a clock that drifts is followed
    in both directions. All times in seconds.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._last_arrival_s = 0.0

    def even_arrival_s(self, media_s: float, arrived_s: float) -> float:
        """When the frame of this media time would have arrived on an even network; never after it did."""
        offset_s = arrived_s - media_s
        if self._offset_s is not None:
            risen_s = self._offset_s + _RISE_S_PER_S * (arrived_s - self._last_arrival_s)
            offset_s = min(offset_s, risen_s)
        self._offset_s, self._last_arrival_s = offset_s, arrived_s
        return media_s + offset_s


class VoiceTrack(MediaStreamTrack):
    """One receiver's voice. Its queue is bounded: a frame that finds it full pushes the oldest out."""

    kind = "audio"

    def __init__(self, delay: SmoothDelay) -> None:
        super().__init__()
        self._delay = delay
        self._queue: deque[tuple[float, av.AudioFrame]] = deque()
        self._arrived = asyncio.Event()
        self._clock = asyncio.get_running_loop().time  # seconds
        self.overflows = 0
        self.captured_ns: int | None = None  # when the last frame was here (perf_counter_ns)
        self.late_s = 0.0  # by how much the last frame was released after it was due

    def push(self, even_arrival_s: float, frame: av.AudioFrame) -> None:
        """Event loop only. Leaves a frame to be released `delay` after this time."""
        if len(self._queue) >= QUEUE_FRAMES:
            self._queue.popleft()
            self.overflows += 1
            if self.overflows == 1:
                logger.warning("audio queue full (%d frames): oldest dropped", QUEUE_FRAMES)
        self._queue.append((even_arrival_s, frame))
        self._arrived.set()

    def hush(self) -> None:
        """What waits is silence, as long as it was."""
        self._queue = deque((even_s, silence_like(frame)) for even_s, frame in self._queue)

    async def recv(self) -> av.AudioFrame:
        """The next frame, when it is due."""
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        due_s = self._queue[0][0] + self._delay.delay_ms / 1_000
        wait_s = due_s - self._clock()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if not self._queue or self.readyState != "live":
            raise MediaStreamError
        self.late_s = max(self._clock() - due_s, 0.0)
        even_arrival_s, frame = self._queue.popleft()
        self.captured_ns = perf_counter_ns() - round((self._clock() - even_arrival_s) * 1e9)
        return frame

    def stop(self) -> None:
        """End the track and let go of what waits."""
        super().stop()
        self._queue.clear()
        self._arrived.set()


class Voice:
    """One microphone at a time, shared by all receivers' tracks. Event loop only."""

    def __init__(
        self,
        delay: SmoothDelay,
        tell: tasks.Tell | None = None,
        on_frame: Callable[[av.AudioFrame, int], None] | None = None,
    ) -> None:
        """tell: gets the reason where listening fails.

        on_frame: gets what everybody will hear, at once, and when it was here (perf_counter_ns).
        """
        self.muted = False
        self._delay = delay
        self._tell = tell
        self._on_frame = on_frame
        self._tracks: list[VoiceTrack] = []
        self._pump: asyncio.Task[None] | None = None
        self._clock = asyncio.get_running_loop().time
        self._next_pts: int | None = None  # where the last frame ended, in samples

    @property
    def overflows(self) -> int:
        """Frames that the receivers who are still here did not take in time."""
        return sum(track.overflows for track in self._tracks)

    def track(self) -> VoiceTrack:
        """A track for one more receiver."""
        track = VoiceTrack(self._delay)
        self._tracks.append(track)
        return track

    def drop(self, track: VoiceTrack) -> None:
        """This receiver has gone."""
        track.stop()
        self._tracks.remove(track)

    def listen(self, microphone: MediaStreamTrack | None) -> None:
        """Take the voice from this microphone from now on; None: from nobody."""
        if self._pump is not None:
            self._pump.cancel()
        self._pump = None if microphone is None else tasks.start(self._drain(microphone), "voice", self._tell)

    def play(self, frame: av.AudioFrame, due_s: float) -> None:
        """Pass on a frame that comes from no microphone. due_s: on the loop's clock; may be yet to come."""
        self._pass_on(frame, due_s, perf_counter_ns() + round((due_s - self._clock()) * 1e9))

    def hush(self) -> None:
        """Nobody hears any more what was passed on and is held back still."""
        for track in self._tracks:
            track.hush()

    async def close(self) -> None:
        """Stop listening, and end the tracks that are left."""
        pump = self._pump
        self.listen(None)
        if pump is not None:
            await asyncio.gather(pump, return_exceptions=True)
        for track in list(self._tracks):
            self.drop(track)

    async def _drain(self, microphone: MediaStreamTrack) -> None:
        """Take frames as they come: aiortc's own queue is unbounded and must not be the one that waits."""
        clock, shift = MediaClock(), None
        try:
            while True:
                frame = await microphone.recv()
                assert isinstance(frame, av.AudioFrame)
                assert frame.pts is not None
                arrived_s = self._clock()
                if shift is None:  # another microphone counts from 0 again: its time goes on from the last
                    shift = 0 if self._next_pts is None else self._next_pts - frame.pts
                even_s = clock.even_arrival_s(frame.pts / frame.sample_rate, arrived_s)
                frame.pts += shift
                self._next_pts = frame.pts + frame.samples
                self._pass_on(frame, even_s, perf_counter_ns() - round((arrived_s - even_s) * 1e9))
        except MediaStreamError:
            pass  # the microphone has gone; another may follow

    def _pass_on(self, frame: av.AudioFrame, even_s: float, arrived_ns: int) -> None:
        heard = silence_like(frame) if self.muted else frame
        if self._on_frame is not None:
            self._on_frame(heard, arrived_ns)
        for track in self._tracks:
            track.push(even_s, heard)


def silence_like(frame: av.AudioFrame) -> av.AudioFrame:
    """A silent frame of the same time, length and layout."""
    silent = av.AudioFrame.from_ndarray(
        np.zeros_like(frame.to_ndarray()), format=frame.format.name, layout=frame.layout.name
    )
    silent.pts, silent.sample_rate = frame.pts, frame.sample_rate
    silent.time_base = frame.time_base or Fraction(1, frame.sample_rate)
    return silent
