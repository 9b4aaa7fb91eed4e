"""The frame that leaves: which size, what of the room it shows, whether the person stands in it unharmed."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from engine.arrays import U8Image
from engine.errors import SettingsError
from engine.render.background import Background
from engine.render.frame import checked_frame
from engine.render.scene import Framer, Scene, frame_size, layout_of, scene_flaw, window

SIZE = 64
WALL, PERSON = (90, 120, 150), (220, 40, 30)


def room(width: int, height: int, left: int, side: int) -> Scene:
    """Each pixel says where it is: red by column, green by row."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0], rgb[..., 1] = np.linspace(0, 255, width), np.linspace(0, 255, height)[:, None]
    return Scene(rgb, left, height - side, side)


def canvas(colour: tuple[int, int, int]) -> U8Image:
    return np.full((SIZE, SIZE, 3), colour, np.uint8)


@pytest.fixture
def matte() -> U8Image:
    """A person in the middle, from the canvas's last row up."""
    shown = np.zeros((SIZE, SIZE), np.uint8)
    shown[20:, 24:40] = 255
    return shown


@pytest.fixture
def drawn(matte: U8Image) -> U8Image:
    picture = canvas(WALL)
    picture[matte > 0] = PERSON
    return picture


# Which size


@pytest.mark.parametrize("text", ["auto", "square", "1280x720", "960x540", "128x128", "720x1280"])
def test_a_frame_is_named(text: str) -> None:
    assert checked_frame(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "wide", "1280", "1280x722", "124x124", "1284x720", "0x0", "1280x720x3", "01280x720", "1280X720"],
)
def test_what_is_no_frame_is_one_line(text: str) -> None:
    with pytest.raises(SettingsError, match="wanted auto, square, or a size such as 1280x720") as caught:
        checked_frame(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "scene", "size"),
    [
        ("square", (1280, 720), (SIZE, SIZE)),
        ("auto", None, (SIZE, SIZE)),
        ("auto", (1280, 720), (1280, 720)),
        ("auto", (1155, 650), (1280, 720)),
        ("auto", (853, 480), (960, 540)),
        ("auto", (640, 480), (640, 360)),
        ("auto", (480, 640), (SIZE, SIZE)),  # a telephone held upright
        ("720x1280", None, (720, 1280)),
    ],
)
def test_the_size_of_the_pictures(frame: str, scene: tuple[int, int] | None, size: tuple[int, int]) -> None:
    shown = None if scene is None else room(*scene, 0, 300)
    assert frame_size(frame, SIZE, shown) == size


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({}, ""),
        ({"left": -1}, "wanted within"),
        ({"left": 400}, "wanted within"),
        ({"top": 0}, "at its bottom"),
        ({"side": 0, "top": 360}, "wanted within"),
        ({"rgb": np.zeros((360, 1284, 3), np.uint8)}, "at most 1280"),
        ({"rgb": np.zeros((360, 640), np.uint8)}, "wanted uint8"),
    ],
)
def test_what_is_wrong_with_a_scene(change: dict[str, object], flaw: str) -> None:
    found = scene_flaw(replace(room(640, 360, 100, 300), **change))  # type: ignore[arg-type]
    assert flaw in found
    assert bool(found) == bool(flaw)


# What of the room


def test_a_wide_room_is_shown_whole() -> None:
    scene = room(1280, 720, 300, 640)
    shown = window(scene, 640, 360)
    assert (shown.left, shown.top, shown.side) == (150, 40, 320)
    assert shown.rgb[0, :, 0] == pytest.approx(np.linspace(0, 255, 640), abs=2)
    assert shown.rgb[:, 0, 1] == pytest.approx(np.linspace(0, 255, 360), abs=2)


@pytest.mark.parametrize(
    ("width", "height"), [(1280, 720), (960, 540), (640, 480), (480, 640), (128, 1280), (1280, 128)]
)
@pytest.mark.parametrize(
    "scene", [(1280, 720, 320, 640), (640, 480, 100, 300), (640, 640, 0, 640), (360, 640, 20, 330)]
)
def test_the_canvas_stands_whole_at_the_bottom_of_any_frame(
    scene: tuple[int, int, int, int], width: int, height: int
) -> None:
    shown = window(room(*scene), width, height)
    assert shown.rgb.shape == (height, width, 3)
    assert 0 <= shown.left <= width - shown.side
    assert shown.top + shown.side == height
    assert shown.side > 0
    assert shown.top >= 0
    place = room(*scene)  # what is where the canvas is, is of the room there
    inner = shown.rgb[shown.top : shown.top + shown.side, shown.left : shown.left + shown.side, 0]
    wanted = place.rgb[0, [place.left, place.left + place.side - 1], 0].astype(float)
    assert inner[-1, [0, -1]].astype(float) == pytest.approx(wanted, abs=6)


def test_what_no_footage_shows_is_continued_without_a_seam() -> None:
    wall = np.full((SIZE, SIZE, 3), WALL, np.uint8)
    wall[:, ::8] = 200  # something to be seen
    shown = window(Scene(wall, 0, 0, SIZE), 320, 180).rgb.astype(int)
    steps = np.abs(np.diff(shown[60], axis=0)).max(axis=1)
    inside = steps[75:245]
    assert steps[60:80].max() <= inside.max()  # at the canvas's edge
    assert steps[:30].max() < inside.max() / 2  # further out it is out of focus
    assert np.abs(shown[:, 0].mean(axis=0) - shown.mean(axis=(0, 1))).max() < 25


# The person in it


def test_the_square_is_the_canvas_itself(drawn: U8Image, matte: U8Image) -> None:
    assert Framer(canvas(WALL), room(640, 360, 100, 300)).framed(drawn, matte) is drawn


def test_the_person_stands_in_the_room(drawn: U8Image, matte: U8Image) -> None:
    scene = room(640, 360, 100, 320)
    framer = Framer(canvas(WALL), scene)
    framer.choose("1280x720")
    assert framer.size == (1280, 720)
    still = window(scene, 1280, 720)
    picture = framer.framed(drawn, matte)
    assert picture.shape == (720, 1280, 3)
    scale = still.side / SIZE
    left, right = (still.left + round(column * scale) for column in (26, 38))
    top = still.top + round(24 * scale)
    assert np.abs(picture[top:, left:right].astype(int) - PERSON).max() <= 3  # sharp to the last row
    away = np.ones((720, 1280), np.bool_)
    reach = round(5 * scale)
    away[
        still.top + round(20 * scale) - reach :,
        still.left + round(24 * scale) - reach : still.left + round(40 * scale) + reach,
    ] = False
    assert np.array_equal(picture[away], still.rgb[away])  # as sharp as the room was filmed


def test_a_picture_leaves_nothing_in_the_next(drawn: U8Image, matte: U8Image) -> None:
    framer = Framer(canvas(WALL), room(640, 360, 100, 320))
    framer.choose("640x360")
    first = framer.framed(drawn, matte).copy()
    framer.framed(drawn, np.roll(matte, 20, axis=1))
    assert np.array_equal(framer.framed(drawn, matte), first)


@pytest.mark.parametrize(
    ("frame", "side"), [("640x352", 320), ("1280x720", 360), ("320x176", 340), ("640x352", 40)]
)
def test_the_person_is_enlarged_by_the_cubic_and_faded_over_the_room(frame: str, side: int) -> None:
    """Beside OpenCV, unrounded; wherever the person goes, nothing of the picture before is left."""
    rng = np.random.default_rng(5)
    framer = Framer(canvas(WALL), room(640, 360, 90, side))
    framer.choose(frame)
    width, height = framer.size
    layout = layout_of(canvas(WALL), room(640, 360, 90, side), width, height)
    whole = layout.side, layout.side
    left, top = layout.left, layout.top
    for rows, columns in ((20, 24), (5, 0), (63, 63), (64, 64), (0, 0), (40, 50)):
        drawn = rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
        matte = np.zeros((SIZE, SIZE), np.uint8)
        matte[rows:, columns : columns + 20] = rng.integers(
            0, 256, matte[rows:, columns : columns + 20].shape
        )
        reach = layout.reach_px, layout.reach_px
        share = np.minimum(3 * cv2.blur(matte / np.float32(255), reach), 1) * layout.inside
        share = cv2.resize(share, whole, interpolation=cv2.INTER_LINEAR)[..., None]
        person = cv2.resize(drawn.astype(np.float32), whole, interpolation=cv2.INTER_CUBIC)
        wanted = layout.still.astype(np.float32)
        behind = wanted[top:, left : left + layout.side]
        behind += (np.clip(person, 0, 255) - behind) * share
        assert np.abs(framer.framed(drawn, matte) - wanted).max() <= 0.51


def test_a_hand_at_the_canvas_edge_fades_out(drawn: U8Image, matte: U8Image) -> None:
    matte[30:40, 40:] = 255  # an arm that leaves the canvas
    drawn[matte > 0] = PERSON
    framer = Framer(canvas(WALL), Scene(np.full((180, 320, 3), WALL, np.uint8), 80, 20, 160))
    framer.choose("320x180")
    row = framer.framed(drawn, matte)[20 + 35 * 160 // SIZE].astype(int)
    assert np.abs(row[240] - WALL).max() <= 4  # where the canvas ends there is no edge
    assert np.abs(row[220] - PERSON).max() <= 4
    assert np.abs(np.diff(row[200:], axis=0)).max() < 90


@pytest.mark.parametrize("frame", ["square", "640x360"])
def test_a_chosen_background_fills_the_frame(frame: str, drawn: U8Image, matte: U8Image) -> None:
    framer = Framer(canvas(WALL), room(640, 360, 100, 320))
    framer.set_background(Background.color("#00b140"))
    framer.choose(frame)
    picture = framer.framed(drawn, matte)
    width, height = framer.size
    assert (picture[: height // 5] == (0, 177, 64)).all()
    assert (picture[:, -width // 8 :] == (0, 177, 64)).all()
    assert (np.abs(picture.astype(int) - PERSON).max(axis=2) < 30).any()
    framer.set_background(Background.original())
    assert not (framer.framed(drawn, matte)[0] == (0, 177, 64)).all(axis=1).any()
