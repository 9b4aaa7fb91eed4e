"""The rendered people: drawn from a seed, seen by the trackers, cut out exactly.

What is drawn is skipped where the assets are absent or OpenGL cannot start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic.people.body import subdivide
from benchmarks.synthetic.people.character import RACES, draw_character
from benchmarks.synthetic.people.film import Picture, film, prepare
from benchmarks.synthetic.people.motion import REST_FRAMES, Motion, draw_motion, first_frames, mirrored
from benchmarks.synthetic.people.raster import Context, open_context
from benchmarks.synthetic.people.render import main
from benchmarks.synthetic.people.surfaces import backdrop, texture_of
from benchmarks.synthetic.presenter.performance import ARKIT_NAMES, VISEMES
from tests.support.places import SHARED

ASSETS = SHARED / "synthetic_person"
SIDE_PX = 128


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    """An OpenGL context, or a skip that says what is missing."""
    if not ASSETS.is_dir():
        pytest.skip(f"no synthetic person assets at {ASSETS}")
    try:
        opened = open_context()
    except RuntimeError as error:
        pytest.skip(str(error))
    yield opened
    opened.release()


def short_motion(seed: int, frames: int) -> Motion:
    whole = draw_motion(seed, REST_FRAMES + 20)
    return Motion(first_frames(whole.performance, frames), whole.visemes[:frames])


def test_a_seed_is_a_person() -> None:
    assert draw_character(5) == draw_character(5)
    first, second = draw_motion(5, 60), draw_motion(5, 60)
    np.testing.assert_array_equal(first.performance.face, second.performance.face)
    np.testing.assert_array_equal(first.visemes, second.visemes)


def test_people_differ() -> None:
    people = [draw_character(seed) for seed in range(40)]
    for part in ("body", "looks", "studio"):
        assert len({repr(getattr(person, part)) for person in people}) == len(people)
    skins = np.array([person.looks.skin for person in people]).mean(axis=1)
    assert skins.min() < 0.35
    assert skins.max() > 0.7
    assert len({person.looks.haircut for person in people}) >= 5
    assert {bool(person.looks.clothing.outfit) for person in people} == {True, False}
    heights = [person.studio.height_m for person in people]
    assert min(heights) < 0.4
    assert max(heights) > 0.7


@pytest.mark.parametrize("seed", range(5))
def test_macro_shares_of_a_body_add_up(seed: int) -> None:
    macros = draw_character(seed).body.macros
    assert 0.8 < sum(w for name, w in macros.items() if name.startswith(RACES)) <= 1.0 + 1e-9
    assert 0.8 < sum(w for name, w in macros.items() if name.startswith("universal")) <= 1.0 + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_motion_starts_at_rest_and_stays_in_range(seed: int) -> None:
    motion = draw_motion(seed, 90)
    clip = motion.performance
    assert len(motion) == len(clip) == 90
    assert np.abs(clip.head[0]).max() == 0
    assert motion.visemes[0].max() == 0
    assert clip.face.min() >= -0.351
    assert clip.face.max() <= 1
    assert np.degrees(np.abs(clip.head)).max() <= 38
    assert np.degrees(np.ptp(clip.head[:, 0])) > 5
    blink = clip.face[:, ARKIT_NAMES.index("eyeBlinkLeft")]
    assert blink.max() > 0.8
    assert set(motion.face(0)) == {*ARKIT_NAMES, *(f"viseme_{name}" for name in VISEMES)}


def test_mirroring_twice_changes_nothing() -> None:
    clip = draw_motion(1, 60).performance
    once, twice = mirrored(clip), mirrored(mirrored(clip))
    left, right = ARKIT_NAMES.index("mouthSmileLeft"), ARKIT_NAMES.index("mouthSmileRight")
    np.testing.assert_array_equal(once.face[:, left], clip.face[:, right])
    for name in ("face", "head", "torso", "shift", "wrist", "forward", "palm", "fingers"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(clip, name))


def test_a_smoothed_cube_is_rounder_and_whole() -> None:
    corners = np.array([[x, y, z] for x in (0.0, 1) for y in (0.0, 1) for z in (0.0, 1)])
    faces = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    smoother, quads, uv = subdivide(faces, np.zeros((6, 4, 2)), len(corners))
    smoothed = smoother @ corners
    assert smoothed.shape == (8 + 12 + 6, 3)
    assert quads.shape == uv.shape[:2] == (24, 4)
    np.testing.assert_allclose(np.asarray(smoother.sum(axis=1)), 1)
    # Catmull and Clark's rule takes a corner of the unit cube 2/9 of the way to its middle, on each axis.
    np.testing.assert_allclose(smoothed[0], [2 / 9] * 3)
    assert np.unique(np.sort(quads, axis=1), axis=0).shape == quads.shape


@pytest.fixture(scope="module")
def pictures(context: Context) -> list[Picture]:
    return list(film(context, ASSETS, draw_character(2), short_motion(2, 3), SIDE_PX))


def test_the_mask_agrees_with_the_picture(pictures: list[Picture]) -> None:
    empty = backdrop(pictures[0].rgb.shape[0], draw_character(2).seed)
    for picture in pictures:
        assert 0.1 < (picture.matte > 128).mean() < 0.9
        outside = picture.matte == 0
        np.testing.assert_array_equal(picture.rgb[outside], empty[outside])
        inside = picture.matte == 255
        assert np.abs(picture.rgb[inside].astype(int) - empty[inside]).mean() > 20


def test_a_frame_is_tracked(pictures: list[Picture]) -> None:
    prepared = prepare(iter(pictures), SIDE_PX, lambda: None)
    assert prepared.rgb.shape == (3, SIDE_PX, SIDE_PX, 3)
    assert prepared.matte.shape == (3, SIDE_PX, SIDE_PX)
    for landmarks, matte in zip(prepared.landmarks, prepared.matte, strict=True):
        assert landmarks.face_confidence > 0
        column, row = landmarks.face[:, :2].mean(axis=0).astype(int)
        assert matte[row, column] == 255


def test_another_seed_looks_different(context: Context, pictures: list[Picture]) -> None:
    other = next(film(context, ASSETS, draw_character(4), short_motion(4, 1), SIDE_PX))
    assert np.abs(other.rgb.astype(int) - pictures[0].rgb).mean() > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere"], "nowhere: no synthetic_person/base/base.obj; pass its parent as --data"),
        (["--data", ".", "--people", "0"], "0 people from seed 1: want at least 1, from 0 or more"),
        (["--data", ".", "--frames", "3"], "--frames 3: an identity needs at least 60"),
        (["--data", ".", "--side", "9"], "--side 9: want 64 to 1024 px"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"people: error: {message}\n"


def test_a_missing_texture_is_named(tmp_path: Path) -> None:
    character = draw_character(1)
    plain = replace(character, looks=replace(character.looks, skin_texture="none.png"))
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such texture"):
        texture_of("body", plain.looks.skin_texture, tmp_path, plain)
