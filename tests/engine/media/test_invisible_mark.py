"""The mark that cannot be seen: it survives what happens to pictures, and is not found where it is not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import cv2
import numpy as np
import pytest

from benchmarks.pictures.invisible_mark import coded, jpeg, overlaid, scaled
from engine.arrays import U8Image
from engine.media.disclosure import MarkStyle, mark
from engine.media.invisible_mark import BYTES, FALSE_ALARM, _ink, _thresholds, find_bits, with_bits
from engine.media.video import read_frames
from tests.support.places import PRESENTER

DATA = bytes([0x10, 0xAB, 0x03, 0x5C, 0xDE])
pytestmark = pytest.mark.skipif(not PRESENTER.exists(), reason="the presenter clip is not there")


@pytest.fixture(scope="module")
def film() -> list[U8Image]:
    """Ten pictures over two seconds."""
    return [frame.rgb for frame in islice(read_frames(PRESENTER), 0, 30, 3)]


@pytest.fixture(scope="module")
def marked(film: list[U8Image]) -> list[U8Image]:
    return [with_bits(rgb, DATA) for rgb in film]


WHAT_HAPPENS: dict[str, Callable[[list[U8Image]], list[U8Image]]] = {
    "nothing": lambda film: film,
    "VP8 at 500 kbit/s": lambda film: coded(film, "libvpx", "webm", 500),
    "VP8 at 250 kbit/s": lambda film: coded(film, "libvpx", "webm", 250),
    "x264": lambda film: coded(film, "libx264", "mp4"),
    "JPEG 60": lambda film: [jpeg(rgb) for rgb in film],
    "up to 720 and down": lambda film: [scaled(scaled(rgb, 720), 256) for rgb in film],
    "up to 720": lambda film: [scaled(rgb, 720) for rgb in film],
    "brighter": lambda film: [cv2.convertScaleAbs(rgb, alpha=1.2, beta=10) for rgb in film],
    "mirrored": lambda film: [np.ascontiguousarray(rgb[:, ::-1]) for rgb in film],
    "overlaid": lambda film: [overlaid(rgb) for rgb in film],
    "visible mark": lambda film: [mark(rgb) for rgb in film],
}


@pytest.mark.parametrize("name", WHAT_HAPPENS)
def test_it_is_read_after(name: str, marked: list[U8Image]) -> None:
    found = find_bits(WHAT_HAPPENS[name](marked), search=False)
    assert found is not None
    assert found.data == DATA
    assert found.false_alarm <= FALSE_ALARM
    assert found.mirrored == (name == "mirrored")


def test_it_is_found_in_a_part_and_within_a_larger_picture(marked: list[U8Image]) -> None:
    cropped = find_bits([rgb[13:-13, 13:-13] for rgb in marked[::2]])
    assert cropped is not None
    assert cropped.data == DATA
    screen = np.full((500, 700, 3), 235, np.uint8)
    shots = [screen.copy() for _ in marked[::2]]
    for shot, rgb in zip(shots, marked[::2], strict=True):
        shot[60:444, 150:534] = scaled(rgb, 384)
    found = find_bits(shots)
    assert found is not None
    assert found.data == DATA
    assert found.cell_px == pytest.approx(6, rel=0.01)


def test_it_is_not_found_where_it_is_not(film: list[U8Image]) -> None:
    assert find_bits(film[:1]) is None
    assert find_bits(film, search=False) is None
    rng = np.random.default_rng(3)
    noise = [rng.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(3)]
    assert find_bits(noise, search=False) is None
    assert find_bits([np.zeros((128, 128, 3), np.uint8)], search=False) is None
    assert find_bits([]) is None
    assert find_bits([np.zeros((20, 20, 3), np.uint8)]) is None


def test_it_is_faint_and_does_not_flicker(film: list[U8Image], marked: list[U8Image]) -> None:
    away = np.array(marked, np.float64) - np.array(film, np.float64)
    assert 10 * np.log10(255**2 / (away**2).mean()) > 47
    assert np.abs(away).max() <= 12
    still = [with_bits(film[0], DATA) for _ in range(2)]
    assert np.array_equal(still[0], still[1])
    flicker = [np.abs(np.diff(np.array(pictures, np.float64), axis=0)).mean() for pictures in (film, marked)]
    assert flicker[1] < flicker[0] * 1.2


@pytest.mark.parametrize("size", [(720, 1280), (301, 257), (64, 200)])
def test_ink_is_laid_as_opencv_would(size: tuple[int, int]) -> None:
    """The compiled loop beside the same in whole pictures."""
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (*size, 3), np.uint8)
    cells = rng.uniform(-4, 4, (64, 90)).astype(np.float32)
    marked = np.empty_like(rgb)
    _ink(rgb, cells, _thresholds(size[1]), marked)
    ink = cv2.resize(cells, size[::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    away = marked - np.clip(rgb + ink, 0, 255)
    assert np.abs(away).max() < 1.25  # a part of a level becomes the next one, or none
    assert np.abs(cv2.blur(away, (16, 16))).max() < 0.25  # as often as it should


def test_on_even_ground_no_pixel_is_away_by_more_than_a_level() -> None:
    """And neighbours that are sum up to what a cell should have: nothing is laid as blobs."""
    away = with_bits(np.full((256, 256, 3), 128, np.uint8), DATA).astype(int) - 128
    assert np.abs(away).max() == 1
    assert abs(away.mean()) < 0.05
    assert np.abs(cv2.blur(away.astype(np.float32), (16, 16))).max() < 0.25


def test_it_is_found_in_turned_pictures(marked: list[U8Image]) -> None:
    turn = cv2.getRotationMatrix2D((128, 128), 2.4, 1.0)
    found = find_bits([cv2.warpAffine(rgb, turn, (256, 256)) for rgb in marked[::2]])
    assert found is not None
    assert found.data == DATA
    assert found.false_alarm <= FALSE_ALARM


@pytest.mark.parametrize("size", [(128, 128), (256, 144), (270, 480), (301, 257)])
def test_pictures_of_any_shape_are_marked(size: tuple[int, int]) -> None:
    height, width = size
    ground = np.linspace(60, 190, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    found = find_bits([with_bits(ground, DATA)], search=False)
    assert found is not None
    assert found.data == DATA


def test_the_visible_mark_brings_it_along(film: list[U8Image]) -> None:
    style = MarkStyle(bits=lambda: DATA, visible=False)
    assert np.array_equal(mark(film[0], style), with_bits(film[0], DATA))
    assert len(DATA) == BYTES
    with pytest.raises(ValueError, match="4 bytes; the mark holds 5"):
        with_bits(film[0], DATA[:4])
