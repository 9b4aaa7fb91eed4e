"""Films that say how they are to be shown: every picture comes out as a player shows it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from benchmarks.pictures.colour import de2000, lab
from benchmarks.pictures.odd_films import (
    CORNERS,
    INTERLACED,
    MATRICES,
    SKINS,
    bt2020,
    corner_colours,
    corners,
    film,
    film_of_signal,
    film_of_streams,
    film_that_changes_size,
    hlg,
    patch_colours,
    pq,
    skin_chart,
    with_display_matrix,
    woven,
)
from engine.arrays import DoubleArray, U8Image
from engine.errors import VideoError
from engine.media.video import VideoWriter, probe, read_frames
from stream.commands.webcam import find_source, open_source
from stream.media.tracks import rgb_from_frame

BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)  # K_R, K_B


@pytest.mark.parametrize("matrix", MATRICES)
def test_the_display_matrix_turns_and_mirrors(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    """A selfie's flip was not read: the person came out mirrored or upside down."""
    a, b, c, d = matrix
    path = with_display_matrix(film(tmp_path / "plain.mp4", [corners()] * 3), tmp_path / "odd.mp4", matrix)
    shown = {(a * x + c * y, b * x + d * y): colour for (x, y), colour in CORNERS.items()}
    for frame in read_frames(path):
        assert frame.rgb.shape[:2] == ((48, 64) if a else (64, 48))
        assert frame.rgb.flags.c_contiguous
        for corner, colour in corner_colours(frame.rgb).items():
            assert np.abs(colour - shown[corner]).max() < 10, corner
    info = probe(path)
    assert (info.height, info.width) == frame.rgb.shape[:2]
    with open_source(find_source(str(path)), 25) as played:  # as the camera's stand-in
        assert np.abs(rgb_from_frame(next(played)).astype(int) - frame.rgb).mean() < 2


def skin_errors(path: Path) -> list[float]:
    """dE2000 of each skin of the first frame to what it was made from."""
    found = patch_colours(next(read_frames(path)).rgb)
    return [de2000(lab(colour), lab(np.array(skin))) for colour, skin in zip(found, SKINS, strict=True)]


BT2020_SAID = {"color_primaries": 9, "colorspace": 9, "color_range": 1}


@pytest.mark.parametrize(
    ("signal", "said", "bits"),
    [
        (hlg, {"color_trc": 18, **BT2020_SAID}, 10),
        (pq, {"color_trc": 16}, 10),  # the rest goes without saying
        (bt2020, {"color_trc": 1, **BT2020_SAID}, 8),
    ],
)
def test_skin_of_high_range_and_wide_gamut_is_that_of_the_standard_twin(
    tmp_path: Path, signal: Callable[[U8Image], DoubleArray], said: dict[str, int], bits: int
) -> None:
    """Curve and primaries were ignored: 15 dE of HLG, 26 of PQ, 7 of BT.2020."""
    path = film_of_signal(tmp_path / "odd.mp4", [signal(skin_chart())] * 3, BT2020, False, said, bits)
    assert max(skin_errors(path)) < 2.0  # wanted 3; 1.2 is measured


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("luma", "matrix"), [(BT601, 5), (BT601, 6), (BT709, 1), (BT2020, 9)])
def test_matrix_and_range_are_read(
    tmp_path: Path, luma: tuple[float, float], matrix: int, full: bool
) -> None:
    said = {"colorspace": matrix, "color_range": 2 if full else 1}
    path = film_of_signal(tmp_path / "odd.mp4", [skin_chart() / 255.0] * 3, luma, full, said, 8)
    assert max(skin_errors(path)) < 2.0


@pytest.mark.parametrize(("rows", "luma"), [(1, BT601), (13, BT709)])
def test_a_film_that_does_not_say_its_matrix_is_taken_by_its_size(
    tmp_path: Path, rows: int, luma: tuple[float, float]
) -> None:
    """As players do: 384x48 is BT.601, 384x624 is BT.709."""
    signal = np.tile(skin_chart() / 255.0, (rows, 1, 1))
    path = film_of_signal(tmp_path / "odd.mp4", [signal] * 3, luma, False, {}, 8)
    assert max(skin_errors(path)) < 2.0


def test_our_own_films_say_their_colours(tmp_path: Path) -> None:
    """They said nothing: a film 1280 px wide came out with other colours in every player."""
    chart = np.tile(skin_chart(), (13, 4, 1))
    path = tmp_path / "own.mp4"
    with VideoWriter(path, chart.shape[1], chart.shape[0], Fraction(25)) as writer:
        writer.write(chart)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        said = (frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries)
    assert said == (1, 1, 1, 1)
    found = patch_colours(next(read_frames(path)).rgb)
    errors = [de2000(lab(colour), lab(np.array(skin))) for colour, skin in zip(found, SKINS * 4, strict=True)]
    assert max(errors) < 2.0


@pytest.mark.parametrize(
    ("size", "shape", "shown"),
    [
        ((64, 48), Fraction(4, 3), (85, 48)),
        ((720, 576), Fraction(64, 45), (1024, 576)),
        ((64, 48), Fraction(15, 16), (64, 51)),
    ],
)
def test_oblong_pixels_are_shown_square(
    tmp_path: Path, size: tuple[int, int], shape: Fraction, shown: tuple[int, int]
) -> None:
    path = film(tmp_path / "odd.mp4", [corners(*size)] * 3, context={"sample_aspect_ratio": shape})
    info = probe(path)
    assert (info.width, info.height) == shown
    rgb = next(read_frames(path)).rgb
    assert rgb.shape[:2] == shown[::-1]
    for corner, colour in corner_colours(rgb).items():
        assert np.abs(colour - CORNERS[corner]).max() < 10, corner


def test_oblong_pixels_are_squared_before_the_picture_is_turned(tmp_path: Path) -> None:
    plain = film(tmp_path / "plain.mp4", [corners()] * 3, context={"sample_aspect_ratio": Fraction(4, 3)})
    path = with_display_matrix(plain, tmp_path / "odd.mp4", (0, 1, -1, 0))
    assert (probe(path).width, probe(path).height) == (48, 85)
    assert next(read_frames(path)).rgb.shape == (85, 48, 3)


def test_pixels_of_no_camera_are_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "odd.mp4", [corners(640, 480)] * 3, context={"sample_aspect_ratio": Fraction(200)})
    with pytest.raises(VideoError, match=r"odd\.mp4: its pixels are .* times as wide as high.*square pixels"):
        probe(path)


# Interlaced


def bars(shift: int) -> U8Image:
    """Upright bars, moved to the right by `shift` px: halves that do not belong together are combed."""
    stripes = np.where((np.arange(192) - shift) // 16 % 2, 60, 190).astype(np.uint8)
    return np.repeat(np.tile(stripes, (96, 1))[..., None], 3, axis=2)


def combs(rgb: U8Image) -> float:
    """Mean difference of rows that lie beside each other, levels: 0 of upright bars."""
    return float(np.abs(np.diff(rgb.astype(float), axis=0)).mean())


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
@pytest.mark.parametrize("first", [0, 1])
def test_interlaced_films_have_no_combs(tmp_path: Path, codec: str, first: int) -> None:
    """Every other row is filmed half a frame later."""
    halves = [bars(3 * index) for index in range(40)]
    pictures = woven(halves, first)
    assert combs(pictures[5]) > 20
    path = film(tmp_path / "odd.mkv", pictures, codec, context={"bit_rate": 4_000_000}, flags=INTERLACED)
    shown = list(read_frames(path))
    assert len(shown) == len(pictures)
    assert [frame.time_s for frame in shown] == pytest.approx([index / 25 for index in range(20)], abs=2e-3)
    assert max(combs(frame.rgb) for frame in shown[1:-1]) < 2
    # The halves that were filmed first are kept.
    assert np.abs(shown[10].rgb.astype(float) - halves[20]).mean() < 8


def test_whole_pictures_that_are_flagged_interlaced_stay_sharp(tmp_path: Path) -> None:
    """As camcorders flag 25 whole pictures a second: fine rows must not be taken for combs."""
    pictures = [bars(6 * index) for index in range(20)]
    for picture in pictures:
        picture[40:48:2] = 255  # as fine as combs
    path = film(
        tmp_path / "odd.mkv", pictures, "mpeg2video", context={"bit_rate": 8_000_000}, flags=INTERLACED
    )
    shown = [frame.rgb for frame in read_frames(path)]
    assert len(shown) == 20
    for rgb, picture in zip(shown[4:], pictures[4:], strict=True):
        assert np.abs(rgb.astype(float) - picture)[40:48].mean() < 12


# Several streams


def grey(width: int, height: int) -> U8Image:
    return np.full((height, width, 3), 90, np.uint8)


@pytest.mark.parametrize("name", ["odd.mkv", "odd.mp4", "odd.avi"])
@pytest.mark.parametrize("disposition", [0, Disposition.attached_pic])
def test_a_cover_before_the_film_is_not_the_film(tmp_path: Path, name: str, disposition: int) -> None:
    """The cover was read as a film of one frame."""
    streams = [("mjpeg", [grey(320, 320)], disposition), ("libx264", [corners()] * 10, 0)]
    path = film_of_streams(tmp_path / name, streams)
    info = probe(path)
    assert (info.width, info.height, info.frames) == (64, 48, 10)
    shown = list(read_frames(path))
    assert len(shown) == 10
    for corner, colour in corner_colours(shown[0].rgb).items():
        assert np.abs(colour - CORNERS[corner]).max() < 10, corner


@pytest.mark.parametrize(
    ("dispositions", "read"),
    [((0, 0), 1), ((Disposition.default, 0), 0), ((0, Disposition.default), 1)],
)
def test_of_several_films_the_default_or_the_largest_is_read_and_said(
    tmp_path: Path, dispositions: tuple[int, int], read: int
) -> None:
    pictures = (grey(64, 48), corners(160, 120))
    streams = [("libx264", [picture] * 5, said) for picture, said in zip(pictures, dispositions, strict=True)]
    path = film_of_streams(tmp_path / "odd.mkv", streams)
    assert next(read_frames(path)).rgb.shape == pictures[read].shape
    described = ["stream 0 (64x48 h264)", "stream 1 (160x120 h264)"]
    note = f"2 video streams: {described[read]} is read, {described[1 - read]} not"
    assert probe(path).note == note


def test_one_film_needs_no_word(tmp_path: Path) -> None:
    assert probe(film(tmp_path / "plain.mp4", [corners()] * 3)).note == ""


def test_a_size_that_changes_midway_is_read_as_it_is(tmp_path: Path) -> None:
    path = film_that_changes_size(tmp_path / "odd.webm", [[corners()] * 5, [corners(48, 64)] * 4])
    shown = list(read_frames(path))
    assert [frame.rgb.shape[:2] for frame in shown] == [(48, 64)] * 5 + [(64, 48)] * 4
    assert [frame.time_s for frame in shown] == pytest.approx([index / 25 for index in range(9)], abs=2e-3)
    for frame in shown:
        for corner, colour in corner_colours(frame.rgb).items():
            assert np.abs(colour - CORNERS[corner]).max() < 12, corner
