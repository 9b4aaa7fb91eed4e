"""The frame code survives what a call does to a picture, and is not seen where there is none."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.arrays import U8Image
from engine.media.frame_code import NUMBER_MODULUS, code_size_px, read, stamp


def natural_image(width: int, height: int, seed: int) -> U8Image:
    """Smooth coloured noise with a few edges: (height, width, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.circle(image, (width // 2, height // 2), height // 4, (210, 160, 130), -1)
    return np.asarray(image, np.uint8)


def vp8_round_trip(frames: list[U8Image], bitrate_bps: int) -> list[U8Image]:
    """Through a real-time VP8 encoder and a decoder, as in a call."""
    height, width = frames[0].shape[:2]
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.bit_rate = bitrate_bps
    encoder.time_base = Fraction(1, 90_000)
    encoder.options = {"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0"}
    decoder = av.CodecContext.create("libvpx", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoded: list[U8Image] = []
    for index, image in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = index * 3_000, Fraction(1, 90_000)
        for packet in encoder.encode(frame):
            decoded += [
                np.asarray(out.to_ndarray(format="rgb24"), np.uint8) for out in decoder.decode(packet)
            ]
    return decoded


@pytest.mark.parametrize("size", [(640, 480), (256, 256), (128, 96), (1280, 720), (350, 200)])
def test_round_trip_without_codec(size: tuple[int, int]) -> None:
    for number in (0, 1, 255, 256, 43_690, 65_535):
        image = natural_image(*size, seed=number)
        stamp(image, number)
        assert read(image) == number


@given(number=st.integers(0, NUMBER_MODULUS - 1))
@settings(max_examples=60, deadline=None)
def test_every_number_reads_back_from_luma(number: int) -> None:
    luma = np.full((256, 256), 128, np.uint8)
    stamp(luma, number)
    assert read(luma) == number


def test_numbers_wrap() -> None:
    image = natural_image(256, 256, seed=0)
    stamp(image, NUMBER_MODULUS + 7)
    assert read(image) == 7


@pytest.mark.parametrize(("size", "bitrate_bps"), [((640, 480), 250_000), ((256, 256), 150_000)])
def test_survives_vp8_at_a_low_bitrate(size: tuple[int, int], bitrate_bps: int) -> None:
    """A wrong number is worse than none; at these rates nearly all must be right as well."""
    numbers = list(range(1_000, 1_060))
    frames, natural = [], natural_image(*size, seed=3)
    for number in numbers:
        image = np.roll(natural, number * 3, axis=1)
        stamp(image, number)
        frames.append(image)
    found = [read(image) for image in vp8_round_trip(frames, bitrate_bps)]
    assert len(found) == len(numbers)
    assert all(got in (want, None) for got, want in zip(found, numbers, strict=True))
    assert sum(got == want for got, want in zip(found, numbers, strict=True)) >= 58


@pytest.mark.parametrize("width", [320, 256, 480, 800])
def test_survives_scaling(width: int) -> None:
    image = natural_image(640, 480, seed=5)
    stamp(image, 12_345)
    scaled = cv2.resize(image, (width, width * 3 // 4), interpolation=cv2.INTER_AREA)
    assert read(np.asarray(scaled, np.uint8)) == 12_345


def test_no_code_in_natural_images() -> None:
    assert [read(natural_image(256, 256, seed)) for seed in range(200)] == [None] * 200
    assert read(np.zeros((256, 256, 3), np.uint8)) is None
    assert read(np.full((480, 640, 3), 255, np.uint8)) is None


@given(block=st.integers(0, 31))
@settings(max_examples=32, deadline=None)
def test_one_wrong_block_is_refused(block: int) -> None:
    """CRC-8 finds every single error, the fixed pattern its own."""
    image = natural_image(256, 256, seed=9)
    stamp(image, 0xA5C3)
    row, column = divmod(block, 8)
    patch = image[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
    patch[...] = 251 - patch
    assert read(image) is None


def test_too_small_frames() -> None:
    tiny = np.zeros((64, 64, 3), np.uint8)
    assert read(tiny) is None
    with pytest.raises(ValueError, match="too small"):
        stamp(tiny, 1)


def test_the_code_stays_in_its_corner() -> None:
    image = np.full((480, 640, 3), 99, np.uint8)
    stamp(image, 31_337)
    width, height = code_size_px(640)
    assert (width, height) == (160, 80)
    image[:height, :width] = 99
    assert (image == 99).all()
