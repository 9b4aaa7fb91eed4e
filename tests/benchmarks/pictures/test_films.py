"""The instrument of odd films: it passes those that come out as their twins, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import U8Image
from engine.media.video import read_frames

pytest.importorskip("ai_edge_litert", reason="needs LiteRT")
from benchmarks.pictures.films import Kind, judge, kinds, long_film, off_centre
from benchmarks.pictures.odd_films import film
from benchmarks.records.instrument import DEFAULT_DRIVER
from engine.tracking.tracker import EveryFrameTracker


@pytest.fixture(scope="module")
def pictures() -> list[U8Image]:
    return [off_centre(frame.rgb) for frame in islice(read_frames(DEFAULT_DRIVER), 2)]


@pytest.fixture(scope="module")
def tracker() -> Iterator[EveryFrameTracker]:
    with EveryFrameTracker() as one:
        yield one


@pytest.mark.parametrize("name", ["display matrix 0 1 1 0", "pixels 4:3", "size that changes"])
def test_what_is_read_as_shown_passes(
    pictures: list[U8Image], tracker: EveryFrameTracker, tmp_path: Path, name: str
) -> None:
    row = judge(next(kind for kind in kinds() if kind.name == name), pictures, tracker, tmp_path)
    assert row.passed, row
    assert (row.px or 0.0) < 1
    assert (row.de or 0.0) < 2


@pytest.mark.parametrize(
    ("fault", "read"),
    [
        (lambda picture: picture[:, ::-1], "2 of 2 frames, 256x256"),
        (lambda picture: (picture * 0.8).astype(np.uint8), "2 of 2 frames, 256x256"),
        (lambda picture: picture[:, :192], "2 of 2 frames, 192x256"),
    ],
)
def test_what_comes_out_otherwise_fails(
    pictures: list[U8Image], tracker: EveryFrameTracker, tmp_path: Path, fault: object, read: str
) -> None:
    """Mirrored, dark, cut."""
    assert callable(fault)
    kind = Kind("fault", lambda folder, given: film(folder / "odd.mp4", map(fault, given)))
    row = judge(kind, pictures, tracker, tmp_path)
    assert (row.passed, row.read) == (False, read)


def test_the_long_film_is_as_long_as_asked_and_never_the_same(
    pictures: list[U8Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.pictures.films._LONG_FPS", 1)
    long_film(tmp_path / "long.mp4", pictures, 1)
    shown = list(read_frames(tmp_path / "long.mp4"))
    assert len(shown) == 60
    assert shown[0].rgb.shape == (480, 640, 3)
    assert np.abs(shown[0].rgb.astype(int) - shown[20].rgb).mean() > 3
