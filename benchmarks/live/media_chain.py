"""A picture's way through the server without a network: decode, convert, render, convert, encode.

The same codecs and conversions as a live session, one after the other in one thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import av
import numpy as np
from aiortc.codecs.vpx import Vp8Decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import VIDEO_CLOCK_RATE, VIDEO_TIME_BASE
from numpy.typing import NDArray

from engine.person.landmarks import Landmarks
from engine.pipeline import Pipeline
from engine.stages import STAGES, Clock, StageClock
from stream.media.encoders import RenderedVp8Encoder
from stream.media.tracks import i420_from_rgb, rgb_from_frame

CHAIN = ("decode", "to_rgb", *STAGES, "to_yuv", "encode")
CAMERA_BPS = 1_500_000  # about what a browser sends at 640x480

Planes = NDArray[np.uint8]  # (H * 3 / 2, W) planar YUV 4:2:0


@dataclass(frozen=True, slots=True)
class Passage:
    """One picture's way. total_ms: all of it; the parts by name of CHAIN and engine.stages.TRACK_PARTS."""

    total_ms: float
    stage_ms: Mapping[str, float]
    track_part_ms: Mapping[str, float]
    reused: bool  # nothing moved: the last picture went out again
    landmarks: Landmarks | None = None  # the driver's


class PartTimes(Protocol):
    """What is asked of a tracker besides tracking."""

    @property
    def part_ms(self) -> Mapping[str, float]:
        """Of the last frame, by name of engine.stages.TRACK_PARTS."""


def camera_packets(pictures: Sequence[Planes], fps: float) -> list[bytes]:
    """The pictures as a webcam's VP8 stream; the first is a key frame."""
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = (
        pictures[0].shape[1],
        pictures[0].shape[0] * 2 // 3,
        "yuv420p",
    )
    encoder.bit_rate, encoder.time_base, encoder.gop_size = CAMERA_BPS, VIDEO_TIME_BASE, 3_000
    encoder.options = {"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0"}
    packets = []
    for index, planes in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = round(index * VIDEO_CLOCK_RATE / fps), VIDEO_TIME_BASE
        packets.append(b"".join(bytes(packet) for packet in encoder.encode(frame)))
    return packets


class MediaChain:
    """Takes a camera's packets in turn, again from the first after the last. One caller."""

    def __init__(self, pipeline: Pipeline, tracker: PartTimes, packets: Sequence[bytes], now: Clock) -> None:
        """tracker: the pipeline's own. now: what the stages are timed with; both should have the same."""
        self._pipeline = pipeline
        self._tracker = tracker
        self._packets = _again_and_again(packets)
        self._now = now
        self._decoder = Vp8Decoder()
        self._encoder = RenderedVp8Encoder()

    @property
    def runner_reason(self) -> str:
        """Which runner the pipeline has, and why."""
        return self._pipeline.runner_reason

    def next(self, time_ns: int) -> Passage:
        """The next picture's way. time_ns: its capture time, growing."""
        ticks = time_ns * VIDEO_CLOCK_RATE // 1_000_000_000
        packet = next(self._packets)
        began = self._now()
        clock = StageClock(self._now)
        (decoded,) = self._decoder.decode(JitterFrame(data=packet, timestamp=ticks))
        clock.end("decode")
        assert isinstance(decoded, av.VideoFrame)
        rgb = rgb_from_frame(decoded)
        clock.end("to_rgb")
        rendered = self._pipeline.process(rgb, time_ns)
        clock.end("render")
        planes = i420_from_rgb(rendered.rgb)
        clock.end("to_yuv")
        outgoing = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        outgoing.pts, outgoing.time_base = ticks, VIDEO_TIME_BASE
        self._encoder.encode(outgoing)
        clock.end("encode")
        total_ms = (self._now() - began) * 1e3
        del clock.stage_ms["render"]  # told by its stages
        stage_ms = {**clock.stage_ms, **rendered.stage_ms}
        parts = dict(self._tracker.part_ms)
        return Passage(total_ms, stage_ms, parts, rendered.reused, rendered.landmarks)


def _again_and_again(packets: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        yield from packets
