"""Whether the person stands clean before another background, and as NumPy and OpenCV would show them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image
from engine.render import replacing
from engine.render.replacing import Replacer
from tests.support.puppet import Pose, Puppet

SIZE = 128
GREEN = np.full((SIZE, SIZE, 3), (0, 177, 64), np.uint8)


# As NumPy and OpenCV say it


def settled_matte(drawn: U8Image, matte: FloatArray, plate: U8Image) -> FloatArray:
    person = (matte > 0.5).astype(np.uint8)
    difference = cv2.absdiff(cv2.blur(drawn, (3, 3)), cv2.blur(plate, (3, 3)))
    plate_like = difference.max(2) <= replacing.PLATE_LIKE
    near = cv2.distanceTransform(person, cv2.DIST_L2, 3) <= replacing.MATTE_ERROR_PX * len(plate) / 256
    maybe_outside = (plate_like & near) | (person == 0)
    count, pieces = cv2.connectedComponents(maybe_outside.astype(np.uint8), connectivity=4)
    is_outside = np.zeros(count, np.bool_)
    is_outside[pieces[person == 0]] = True
    rest = (~is_outside[pieces]).astype(np.uint8)
    _, pieces, facts, _ = cv2.connectedComponentsWithStats(rest, connectivity=4)
    is_person = facts[:, cv2.CC_STAT_AREA] >= replacing.SPECK_SHARE * matte.size
    is_person[0] = False
    return matte * mean(is_person[pieces].astype(np.float32), 1)


def replace_background(drawn: U8Image, matte: FloatArray, plate: U8Image, background: U8Image) -> U8Image:
    low, high = replacing.MATTE_EDGE
    alpha = np.clip((cv2.GaussianBlur(matte, (5, 5), 0) - low) / (high - low), 0, 1)
    spill_px, reach_px = (
        round(px * len(plate) / 256) for px in (replacing.SPILL_PX, replacing.COLOR_REACH_PX)
    )
    inner = np.clip(mean(matte, spill_px) * 4 - 3, 0, 1)
    result = np.where(alpha[..., None] > 0, drawn, background)
    edge = (alpha > 0) & (inner < 1)
    weight = mean(inner, reach_px)[edge, None]
    inside = mean(drawn * inner[..., None], reach_px)[edge] / np.maximum(weight, 1e-3)
    colour, old, share = drawn[edge].astype(np.float32), plate[edge].astype(np.float32), alpha[edge, None]
    inside = np.where(weight > replacing.LEAST_WEIGHT, inside, colour)
    to_plate = old - inside
    contrast = np.maximum((to_plate**2).sum(1), replacing.LEAST_CONTRAST)
    spill = np.clip(((colour - inside) * to_plate).sum(1) / contrast, 0, 1) * (1 - inner[edge])
    person = np.clip(colour - spill[:, None] * to_plate, 0, 255)
    result[edge] = np.round(background[edge] + (person - background[edge]) * share)
    return result


def mean(values: FloatArray, radius_px: int) -> FloatArray:
    return np.asarray(cv2.blur(values, (2 * radius_px + 1,) * 2), np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_numpy_and_opencv_say(seed: int) -> None:
    """Persons of random patches up to all edges, with holes, fjords that look like the plate, and specks.

    Sums are taken in another order, so a colour may be rounded the other way. A second picture by the same
    buffers must not show the first.
    """
    rng = np.random.default_rng(seed)

    def patches(cells: int) -> FloatArray:
        noise = rng.random((cells, cells), np.float32)
        return np.asarray(cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.float32)

    plate = np.asarray(np.clip(255 * np.dstack([patches(4) for _ in range(3)]), 0, 255), np.uint8)
    replacer = Replacer(plate)
    for cells in (6, 20):
        matte = np.clip((patches(cells) - 0.3) * 8, 0, 1)
        person = np.clip(255 * np.dstack([patches(9) for _ in range(3)]), 0, 255)
        shown = np.clip((patches(cells + 5) - 0.4) * 6, 0, 1)[..., None]
        drawn = np.asarray(plate + (person - plate) * shown, np.uint8)
        background = rng.integers(0, 256, plate.shape, np.uint8)
        settled = replacer.settled(drawn, matte)
        wanted = settled_matte(drawn, matte, plate)
        assert 0.1 < np.mean(wanted > 0) < np.mean(matte > 0) - 0.01
        assert np.abs(settled - wanted).max() < 1e-6
        picture = replacer.replaced(drawn, settled, background)
        apart = np.abs(picture.astype(int) - replace_background(drawn, wanted, plate, background))
        assert apart.max() <= 1
        assert np.mean(apart > 0) < 1e-3


# What is shown


def puppet_over(plate: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The puppet over any plate, as a camera sees it: with the outline's pixels mixed. And its true matte."""
    big = 4
    puppet = Puppet(SIZE * big)
    rgb, matte = puppet.picture(puppet.landmarks(Pose(yaw_deg=5, hands=((1.4, 1.9), None))))
    premultiplied = rgb.astype(np.float32) * (matte[..., None] / 255)
    blocks = (SIZE, big, SIZE, big)
    alpha = (matte.astype(np.float32) / 255).reshape(blocks).mean((1, 3))
    person = premultiplied.reshape(*blocks, 3).mean((1, 3))
    return np.round(person + (1 - alpha[..., None]) * plate).astype(np.uint8), alpha.astype(np.float32)


def test_the_result_hardly_depends_on_the_old_background() -> None:
    """The puppet before three plates, each replaced by green: near the outline the three must agree.

    Laid over green by its matte alone, the colours of the outline differ by 13 of 255 between the plates.
    """
    truth, alpha = puppet_over(GREEN)
    sure = np.clip((alpha - 0.08) / 0.78, 0, 1).astype(np.float32)  # soft ends cut, as the prior's matte is
    shown, plain = [], []
    for old in [(230, 235, 240), (40, 90, 60), (250, 40, 200)]:
        plate = np.full((SIZE, SIZE, 3), old, np.uint8)
        drawn, _ = puppet_over(plate)
        shown.append(Replacer(plate).replaced(drawn, sure, GREEN).astype(np.float32))
        plain.append(GREEN + (drawn - GREEN.astype(np.float32)) * sure[..., None])
    edge = (alpha > 0.05) & (alpha < 0.95)
    assert np.std(shown, 0)[edge].mean() < 0.25 * np.std(plain, 0)[edge].mean()
    for picture in shown:
        assert np.abs(picture - truth)[edge].mean() < 20  # the outline is cut a little inwards
        assert np.abs(picture - truth)[alpha == 1].mean() < 2
        assert np.abs(picture - truth)[alpha == 0].mean() < 0.1


def test_nothing_of_the_plate_is_left_away_from_the_person() -> None:
    rng = np.random.default_rng(3)
    plate = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    nobody = np.zeros((SIZE, SIZE), np.float32)
    assert np.array_equal(Replacer(plate).replaced(plate, nobody, GREEN), GREEN)
    everywhere = np.ones((SIZE, SIZE), np.float32)
    assert np.array_equal(Replacer(plate).replaced(plate, everywhere, GREEN), plate)


def test_where_the_picture_shows_the_plate_the_matte_ends() -> None:
    """The matte reaches 7 px over the person, has a speck in the air, and the coat has the wall's colour."""
    plate = np.full((SIZE, SIZE, 3), 120, np.uint8)
    person = np.zeros((SIZE, SIZE), np.bool_)
    person[40:, 30:100] = True
    drawn = plate.copy()
    drawn[person] = (200, 60, 40)
    drawn[70:, 50:80] = 120  # within the person, open to the canvas's edge: stays
    drawn[20:23, 20:23] = 0
    matte = np.zeros((SIZE, SIZE), np.float32)
    matte[40:, 30:107] = 1
    matte[20:23, 20:23] = 1
    settled = Replacer(plate).settled(drawn, matte)
    assert not settled[:38].any()
    assert not settled[:, 102:].any()
    assert (settled[42:, 32:98] == 1).all()


def test_a_person_who_fits_the_matte_keeps_it() -> None:
    plate = np.full((SIZE, SIZE, 3), (90, 160, 220), np.uint8)
    drawn, alpha = puppet_over(plate)
    settled = Replacer(plate).settled(drawn, alpha)
    assert np.abs(settled - alpha)[(alpha < 0.05) | (alpha > 0.98)].mean() < 0.004
