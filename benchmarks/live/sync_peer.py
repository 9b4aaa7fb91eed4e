"""A caller that claps: clicks in its sound, numbers in its pictures, and a note of when each was made.

What comes back is noted with its RTP time and with the sender reports (RFC 3550 section 6.4.1) that map RTP
time onto the server's clock: a browser plays sound and picture together that these place together. Knows
nothing of statistics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from fractions import Fraction
from time import perf_counter_ns

import av
import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.mediastreams import VIDEO_CLOCK_RATE, MediaStreamError, MediaStreamTrack
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket
from numpy.typing import NDArray

from benchmarks.live.peer import AiortcPeer
from engine.media.frame_code import read

SAMPLE_RATE_HZ = 48_000
FRAME_SAMPLES = 960  # 20 ms
CLICK_EVERY_FRAMES = 25  # half a second
CLICK_SAMPLES = 240  # 5 ms of 1 kHz: an impulse would not survive Opus
_LOUD = 4_000  # of 32,767: above what is left of a click that is over
_QUIET_SAMPLES = SAMPLE_RATE_HZ // 10  # before a click
_TIMESTAMP_MAPPER = "_RTCRtpReceiver__timestamp_mapper"


class ClickMicrophone(MediaStreamTrack):
    """Silence with a click every half second, in 20 ms frames at the pace of a sound card.

    drift: of the sound card's clock against ours, as a share.
    """

    kind = "audio"

    def __init__(self, drift: float = 0.0) -> None:
        super().__init__()
        self.clicks_ns: list[int] = []  # when the first sample of each was made
        self._drift = drift
        self._frames = 0
        self._start_ns = perf_counter_ns()

    async def recv(self) -> av.AudioFrame:
        """The next frame, when its last sample has been made."""
        if self.readyState != "live":
            raise MediaStreamError
        frame_ns = 1e9 * FRAME_SAMPLES / SAMPLE_RATE_HZ / (1 + self._drift)
        begun_ns = self._start_ns + round(self._frames * frame_ns)
        await asyncio.sleep((begun_ns + frame_ns - perf_counter_ns()) / 1e9)
        samples = np.zeros((1, FRAME_SAMPLES), np.int16)
        if self._frames % CLICK_EVERY_FRAMES == 0:
            at = np.arange(CLICK_SAMPLES) / SAMPLE_RATE_HZ
            samples[0, :CLICK_SAMPLES] = 20_000 * np.sin(2 * np.pi * 1_000 * at)
            self.clicks_ns.append(begun_ns)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.pts, frame.sample_rate = self._frames * FRAME_SAMPLES, SAMPLE_RATE_HZ
        frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
        self._frames += 1
        return frame


@dataclass
class SenderClock:
    """The sender's clock by its reports: where on it an RTP time lies."""

    rate_hz: int
    reports: list[tuple[int, int]] = field(default_factory=list)  # (RTP time, ns), unwrapped
    _receiver: RTCRtpReceiver | None = None

    def follow(self, receiver: RTCRtpReceiver) -> None:
        """Note the reports that come to this receiver. Relies on two private names of aiortc."""
        self._receiver = receiver
        handle: Callable[[AnyRtcpPacket], Awaitable[None]] = receiver._handle_rtcp_packet

        async def noting(packet: AnyRtcpPacket) -> None:
            if isinstance(packet, RtcpSrPacket):
                self._note(packet.sender_info.rtp_timestamp, packet.sender_info.ntp_timestamp)
            await handle(packet)

        setattr(receiver, "_handle_rtcp_packet", noting)  # noqa: B010  a method of one receiver

    def at_ns(self, pts: int) -> int | None:
        """When the sender sent what has this time, by its last report; None before the first."""
        if not self.reports:
            return None
        report_pts, report_ns = self.reports[-1]
        return report_ns + (pts - report_pts) * 1_000_000_000 // self.rate_hz

    def _note(self, rtp: int, ntp: int) -> None:
        origin = getattr(self._receiver, _TIMESTAMP_MAPPER)._origin
        if origin is not None and ntp:
            pts = (rtp - origin + (1 << 31)) % (1 << 32) - (1 << 31)
            self.reports.append((pts, ntp * 1_000_000_000 >> 32))


@dataclass(frozen=True, slots=True)
class Returned:
    """A picture or a click that came back."""

    at_ns: int  # when it was at hand here
    sent_ns: int | None  # when it was sent, on the sender's clock
    number: int  # of the picture, or how many clicks there were before


@dataclass
class ClockedPeer(AiortcPeer):
    """A caller that knows when what comes was sent."""

    _video_clock: SenderClock = field(default_factory=lambda: SenderClock(VIDEO_CLOCK_RATE))
    _audio_clock: SenderClock = field(default_factory=lambda: SenderClock(SAMPLE_RATE_HZ))

    async def take_answer(self, sdp: str) -> None:
        """As the other callers; and listen to the sender reports."""
        for transceiver in self._connection.getTransceivers():
            clock = self._video_clock if transceiver.kind == "video" else self._audio_clock
            clock.follow(transceiver.receiver)
        await super().take_answer(sdp)


@dataclass
class SyncPeer(ClockedPeer):
    """Notes what comes back. Its microphone is a ClickMicrophone."""

    pictures: list[Returned] = field(default_factory=list)
    clicks: list[Returned] = field(default_factory=list)
    _quiet_samples: int = _QUIET_SAMPLES

    def seen(self, frame: av.VideoFrame, luma: NDArray[np.uint8], at_ns: int) -> None:
        """A picture came; luma: (H, W)."""
        number = read(luma)
        if number is not None and frame.pts is not None:
            self.pictures.append(Returned(at_ns, self._video_clock.at_ns(frame.pts), number))

    def heard(self, frame: av.AudioFrame, at_ns: int) -> None:
        """Sound came: there may be a click in it."""
        assert frame.pts is not None
        channels = len(frame.layout.channels)
        loud = np.flatnonzero(np.abs(frame.to_ndarray().reshape(-1, channels)[:, 0]) > _LOUD)
        if loud.size and self._quiet_samples + loud[0] >= _QUIET_SAMPLES:
            first = int(loud[0])
            sent_ns = self._audio_clock.at_ns(frame.pts + first)
            self.clicks.append(
                Returned(at_ns + round(1e9 * first / SAMPLE_RATE_HZ), sent_ns, len(self.clicks))
            )
        if loud.size:
            self._quiet_samples = frame.samples - int(loud[-1])
        else:
            self._quiet_samples += frame.samples
