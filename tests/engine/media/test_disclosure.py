"""The visible mark and the metadata that say that a machine made the picture."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import SettingsError
from engine.media.disclosure import (
    COMMENT,
    CORNERS,
    SOURCE_TYPE,
    MarkStyle,
    add_mark_arguments,
    mark,
    mark_style,
)
from engine.media.video import VideoWriter, probe, read_frames
from engine.media.xmp import UUID


def changed(style: MarkStyle, size: int, grey: int) -> tuple[NDArray[np.intp], NDArray[np.intp], float]:
    """Rows and columns that the mark touches, and the height of its letters in px, from d to g."""
    picture = np.full((size, size, 3), grey, np.uint8)
    marked = mark(picture, style)
    assert (picture == grey).all()  # the input is left alone
    touched = np.abs(marked.astype(int) - grey).max(axis=2) > 20
    letters = marked.max(axis=2) > 180 if grey < 100 else touched & (marked.max(axis=2) > 180)
    rows = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    tall = np.flatnonzero(letters.any(axis=1))
    return *rows, float(tall.max() - tall.min() + 1)


@pytest.mark.parametrize("grey", [0, 255])
@pytest.mark.parametrize("size", [256, 512])
def test_the_mark_is_legible_and_small(grey: int, size: int) -> None:
    picture = np.full((size, size, 3), grey, np.uint8)
    marked = mark(picture)
    rows, columns, _ = changed(MarkStyle(), size, grey)
    assert rows.min() > 0.9 * size  # at the bottom
    assert columns.max() < 0.5 * size  # at the left
    plate = marked[rows.min() :, : columns.max() + 1].max(axis=2)
    assert plate.max() > 230  # white letters
    assert np.percentile(plate, 25) < 120  # on something dark


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("size_percent", [3.0, 8.0])
def test_the_mark_stands_in_its_corner(corner: str, size_percent: float) -> None:
    rows, columns, letters_px = changed(MarkStyle(corner, size_percent), 256, 0)
    middle = rows.mean() / 256, columns.mean() / 256
    assert (middle[0] < 0.2) if corner.startswith("top") else (middle[0] > 0.8)
    assert (middle[1] < 0.5) if corner.endswith("left") else (middle[1] > 0.5)
    assert letters_px == pytest.approx(
        1.3 * max(8, size_percent * 2.56), rel=0.2
    )  # capitals, and below them g
    assert columns.max() - columns.min() < 255  # all of it is on the canvas


@pytest.mark.parametrize("corner", CORNERS)
def test_a_picture_smaller_than_the_mark_is_marked_all_the_same(corner: str) -> None:
    assert mark(np.zeros((40, 30, 3), np.uint8), MarkStyle(corner, 8.0)).max() > 200


@pytest.mark.parametrize(
    ("corner", "size_percent", "reason"),
    [
        ("middle", 3.5, "wanted one of bottom-left"),
        ("top-left", 2.9, "nobody could read it; wanted 3 to 8 %"),
        ("top-left", 0.0, "nobody could read it"),
        ("top-left", float("nan"), "nobody could read it"),
        ("top-left", 8.1, "would not fit; wanted 3 to 8 %"),
    ],
)
def test_marks_that_would_not_disclose_are_refused(corner: str, size_percent: float, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        MarkStyle(corner, size_percent)


def test_the_options_of_a_command() -> None:
    parser = argparse.ArgumentParser()
    add_mark_arguments(parser)
    assert mark_style(parser.parse_args([])) == MarkStyle()
    given = parser.parse_args(["--mark-corner", "top-right", "--mark-size", "5"])
    assert mark_style(given) == MarkStyle("top-right", 5.0)
    with pytest.raises(SettingsError, match="--mark-size 'big': wanted a number from 3 to 8"):
        mark_style(parser.parse_args(["--mark-size", "big"]))
    assert "3 to 8 (default 3.5)" in parser.format_help().replace("\n", " ").replace("  ", "")


def xmp_of(path: Path) -> bytes:
    """The packet in the file's XMP box; walks the boxes at the top level as a reader does."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"uuid" and data[at + 8 : at + 24] == UUID:
            found.append(data[at + 24 : at + length])
        assert length >= 8
        at += length
    assert at == len(data)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_files_say_it_to_machines(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 64, 64, Fraction(25), comment=COMMENT, source_type=SOURCE_TYPE) as writer:
        for grey in (50, 100, 150):
            writer.write(np.full((64, 64, 3), grey, np.uint8))
    assert probe(path).frames == len(list(read_frames(path))) == 3
    with av.open(str(path)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    assert tags["comment"] == COMMENT
    if suffix == ".mkv":
        assert tags["digital_source_type"] == SOURCE_TYPE
    else:
        packet = xmp_of(path).decode()
        (description,) = ElementTree.fromstring(packet[packet.index("?>") + 2 : packet.rindex("<?")])[0]
        named = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
        assert description.attrib[named] == SOURCE_TYPE
