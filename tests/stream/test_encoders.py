"""Encoders by what a decoder makes of them: bitrates by size, key frames on request, nothing left over."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import av
import numpy as np
import pytest
from aiortc.codecs.base import Decoder
from aiortc.codecs.h264 import H264Decoder, h264_depayload
from aiortc.codecs.vpx import Vp8Decoder, vp8_depayload
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import VIDEO_TIME_BASE

import stream.media.encoders
from engine.media.frame_code import read, stamp
from engine.runners.trt_build import no_gpu
from stream.media.encoders import (
    HARDWARE_H264,
    SOFTWARE_H264,
    RenderedEncoder,
    RenderedH264Encoder,
    RenderedVp8Encoder,
    bitrates,
    choose_encoder,
)
from stream.media.tracks import i420_from_rgb, rgb_from_frame

CODECS: list[tuple[Callable[[], RenderedEncoder], Callable[[], Decoder], Callable[[bytes], bytes]]] = [
    (RenderedVp8Encoder, Vp8Decoder, vp8_depayload),
    (lambda: RenderedH264Encoder(SOFTWARE_H264), H264Decoder, h264_depayload),
]
both = pytest.mark.parametrize(("make_encoder", "make_decoder", "depayload"), CODECS, ids=["vp8", "h264"])


def picture(index: int, size_px: int = 256) -> av.VideoFrame:
    """A numbered picture in which little else moves."""
    rgb = np.full((size_px, size_px, 3), (90, 120, 140), np.uint8)
    rgb[size_px // 3 : size_px // 2, 80 + index % 7 : 120] = (200, 160, 140)
    stamp(rgb, index)
    frame = av.VideoFrame.from_ndarray(i420_from_rgb(rgb), format="yuv420p")
    frame.pts, frame.time_base = index * 3_000, VIDEO_TIME_BASE
    return frame


def test_bitrates_grow_with_the_picture_and_are_in_order() -> None:
    ladder = [bitrates(side, side) for side in (64, 128, 192, 256, 384, 512, 1_080)]
    for rates in ladder:
        assert rates.least < rates.start < rates.most
    for smaller, larger in pairwise(ladder):
        assert smaller.least <= larger.least
        assert smaller.most <= larger.most
    assert bitrates(512, 512).most > 3_000_000  # beyond aiortc's own cap


@both
def test_estimates_reach_the_encoder_within_the_bounds_of_the_size(
    make_encoder: Callable[[], RenderedEncoder],
    make_decoder: Callable[[], Decoder],
    depayload: Callable[[bytes], bytes],
) -> None:
    encoder, bounds = make_encoder(), bitrates(256, 256)
    steps = [
        (None, bounds.start),
        (50_000_000, bounds.most),
        (round(0.95 * bounds.most), bounds.most),  # too little for the key frame that a change costs
        (1, bounds.least),
    ]
    for index, (estimate_bps, opened_bps) in enumerate(steps):
        if estimate_bps is not None:
            encoder.target_bitrate = estimate_bps
        encoder.encode(picture(index))
        assert encoder.codec is not None
        assert encoder.codec.bit_rate == opened_bps
    encoder.encode(picture(4, size_px=512))
    assert encoder.codec is not None
    assert encoder.codec.bit_rate == bitrates(512, 512).least
    assert encoder.target_bitrate == bitrates(512, 512).least


@both
def test_changed_blocks_are_never_left_standing(
    make_encoder: Callable[[], RenderedEncoder],
    make_decoder: Callable[[], Decoder],
    depayload: Callable[[bytes], bytes],
) -> None:
    """aiortc's webcam set-up of VP8 (denoiser, static threshold) damaged 13 % of these codes."""
    encoder, decoder = make_encoder(), make_decoder()
    for index in range(90):
        payloads, ticks = encoder.encode(picture(index))
        assert ticks == index * 3_000
        data = b"".join(depayload(payload) for payload in payloads)
        (frame,) = decoder.decode(JitterFrame(data, ticks))
        assert isinstance(frame, av.VideoFrame)
        assert read(rgb_from_frame(frame)) == index
    assert len(encoder.effort.encode_ms) == 90
    assert encoder.effort.sent_bytes > 0


@both
def test_a_key_frame_on_request_starts_a_new_decoder(
    make_encoder: Callable[[], RenderedEncoder],
    make_decoder: Callable[[], Decoder],
    depayload: Callable[[bytes], bytes],
) -> None:
    """As after PLI or FIR: whoever missed everything before sees the next picture."""
    encoder = make_encoder()
    for index in range(5):
        encoder.encode(picture(index))

    def seen_alone(payloads: list[bytes]) -> int | None:
        try:
            frames = make_decoder().decode(JitterFrame(b"".join(map(depayload, payloads)), 0))
        except av.FFmpegError:
            return None
        return read(rgb_from_frame(frames[0])) if frames and isinstance(frames[0], av.VideoFrame) else None

    assert seen_alone(encoder.encode(picture(5), force_keyframe=True)[0]) == 5
    assert seen_alone(encoder.encode(picture(6))[0]) is None  # only the one before was whole


def test_hardware_is_chosen_where_it_takes_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """libx264 stands in for a hardware encoder that works; the first name is none that FFmpeg knows."""
    monkeypatch.setattr(stream.media.encoders, "HARDWARE_H264", ("h264_nowhere", "libx264"))
    choice = choose_encoder()
    assert (choice.h264, choice.h264_first) == ("libx264", True)
    monkeypatch.setattr(stream.media.encoders, "HARDWARE_H264", ("h264_nowhere",))
    choice = choose_encoder()
    assert (choice.h264, choice.h264_first) == (SOFTWARE_H264, False)
    assert choice.reason == "VP8 first, no hardware encoder works (h264_nowhere: not built in)"


def test_the_probe_of_this_machine_gives_an_encoder_that_works() -> None:
    choice = choose_encoder()
    assert RenderedH264Encoder(choice.h264).encode(picture(0))[0]
    if no_gpu():
        assert choice.h264 != "h264_nvenc"
    if not choice.h264_first:
        assert all(f"{name}: " in choice.reason for name in HARDWARE_H264)


def test_an_encoder_of_another_profile_than_is_answered_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As cards make Main where nothing is said."""

    def open_main(name: str, width: int, height: int, bitrate_bps: int) -> av.VideoCodecContext:
        codec = av.CodecContext.create(name, "w")
        assert isinstance(codec, av.VideoCodecContext)
        codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuv420p", VIDEO_TIME_BASE
        codec.options = {"tune": "zerolatency", "profile": "main"}
        return codec

    monkeypatch.setattr(stream.media.encoders, "HARDWARE_H264", ("libx264",))
    assert choose_encoder().h264_first
    monkeypatch.setattr(stream.media.encoders, "open_h264", open_main)
    choice = choose_encoder()
    assert not choice.h264_first
    assert "codes profile 77" in choice.reason.lower()


def test_a_card_that_takes_no_further_stream_costs_no_picture(caplog: pytest.LogCaptureFixture) -> None:
    encoder = RenderedH264Encoder("h264_nowhere")
    for index in range(3):
        assert encoder.encode(picture(index))[0]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "h264_nowhere takes no further stream" in caplog.text
