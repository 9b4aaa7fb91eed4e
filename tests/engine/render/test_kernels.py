"""Compiled passes beside their plain twins in NumPy, on anything, edges included."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.arrays import FloatArray, U8Image
from engine.render import kernels

SIZES = [(48, 64), (33, 20), (128, 128)]  # height, width


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def noise_picture(rng: np.random.Generator, height: int, width: int, channels: int = 3) -> U8Image:
    return rng.integers(0, 256, (height, width, channels)).astype(np.uint8)


def places_of(grid: FloatArray, height: int, width: int) -> FloatArray:
    """(2, height, width): shifts of each pixel, bilinear in the grid whose cells' middles hold its values."""
    return np.stack([cv2.resize(axis, (width, height), interpolation=cv2.INTER_LINEAR) for axis in grid])


def keys(away: FloatArray) -> FloatArray:
    """Keys' cubic, a = -0.75, at a distance in px."""
    away = np.abs(away)
    near = 1.25 * away**3 - 2.25 * away**2 + 1
    far = -0.75 * (away**3 - 5 * away**2 + 8 * away - 4)
    return np.where(away < 1, near, np.where(away < 2, far, 0.0)).astype(np.float32)


def fetched(source: U8Image, x: FloatArray, y: FloatArray) -> FloatArray:
    """(h, w, C) float32, unrounded: the pixels of `source` at (x, y), to 1/64 px; edges go on."""
    x, y = (np.floor(np.clip(place, -1e6, 1e6) * 64 + 0.5) / 64 for place in (x, y))
    total = np.zeros((*x.shape, source.shape[2]), np.float32)
    for below in range(-1, 3):
        for right in range(-1, 3):
            row, column = np.floor(y) + below, np.floor(x) + right
            weight = keys(y - row) * keys(x - column)
            inside = np.clip(row, 0, len(source) - 1), np.clip(column, 0, source.shape[1] - 1)
            total += weight[..., None] * source[inside[0].astype(int), inside[1].astype(int)]
    return total


def laid(
    layers: U8Image,
    source: U8Image,
    grid: FloatArray,
    left: int,
    top: int,
    mask: U8Image,
    fade_px: float,
) -> FloatArray:
    """The twin of `kernels.lay`, unrounded."""
    height, width = mask.shape
    shifts = places_of(grid, height, width)
    x, y = shifts[0] + np.arange(left, left + width), shifts[1] + np.arange(top, top + height)[:, None]
    pixels = np.clip(fetched(source, x, y), 0, 255)
    if fade_px:
        pixels[..., 3] *= np.clip(1 + y / fade_px, 0, 1)
    below = layers[top : top + height, left : left + width].astype(np.float32)
    found = layers.astype(np.float32)
    share = mask[..., None] / np.float32(255)
    found[top : top + height, left : left + width] = below + (pixels - below) * share
    return found


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("reach_px", [0.0, 3.0, 1e7], ids=["still", "near", "far off"])
@pytest.mark.parametrize("fade_px", [0.0, 4.0])
def test_lay(rng: np.random.Generator, height: int, width: int, reach_px: float, fade_px: float) -> None:
    source, layers = (noise_picture(rng, height, width, 4) for _ in range(2))
    source[..., 3] |= 1  # somebody is everywhere
    left, top, box_h, box_w = 3, 5, height - 9, width - 4
    grid = rng.uniform(-reach_px, reach_px, (2, 5, 4)).astype(np.float32)
    mask = rng.choice(np.array([0, 1, 100, 254, 255], np.uint8), (box_h, box_w))
    wanted = laid(layers, source, grid, left, top, mask, fade_px)
    kernels.lay(
        kernels.as_pixels(layers),
        kernels.as_pixels(source),
        grid,
        left,
        top,
        mask,
        np.float32(fade_px),
    )
    off = np.abs(layers - wanted)
    assert (off > 1.5).mean() < 0.002  # a place just between two phases falls to either
    assert off.mean() < 0.5


def test_where_nobody_is_the_nearest_pixel_is_taken(rng: np.random.Generator) -> None:
    source = noise_picture(rng, 40, 40, 4)
    source[..., 3] = 0
    source[20, 20, 3] = 255
    layers = np.zeros_like(source)
    grid = np.full((2, 2, 2), 0.25, np.float32)
    everywhere = np.full((40, 40), 255, np.uint8)
    kernels.lay(kernels.as_pixels(layers), kernels.as_pixels(source), grid, 0, 0, everywhere, np.float32(0))
    assert np.array_equal(layers[5:15, 5:15], source[5:15, 5:15])
    assert not np.array_equal(layers[20, 20], source[20, 20])


@pytest.mark.parametrize("count", [1, 2, 40])
def test_moving_least_squares(rng: np.random.Generator, count: int) -> None:
    target, shift, nodes = (
        rng.uniform(low, high, (2, number)).astype(np.float32)
        for low, high, number in ((-0.2, 1.2, count), (-0.1, 0.1, count), (0, 1, 60))
    )
    weights = rng.choice(np.array([0.0, 0.05, 1.0, 64.0], np.float32), count)
    weights[0] = 1
    softness, ridge = 2e-4, 1e-3
    wanted = np.empty((2, 60))
    for node, place in enumerate(nodes.T.astype(np.float64)):
        away = target.T - place
        say = weights / ((away**2).sum(1) + softness) ** 2
        say = say / say.sum()
        middle, mean = say @ away, say @ shift.T
        spread = (say[:, None] * (away - middle)).T @ (away - middle) + ridge * np.eye(2)
        slope = np.linalg.solve(spread, (say[:, None] * (away - middle)).T @ (shift.T - mean))
        wanted[:, node] = mean - middle @ slope
    grid = np.empty((2, 60), np.float32)
    kernels.moving_least_squares(target, shift, weights, nodes, np.float32(softness), np.float32(ridge), grid)
    assert np.abs(grid - wanted).max() < 2e-5  # a 200th of a px of 256


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_over_plate(rng: np.random.Generator, height: int, width: int) -> None:
    layers, plate = noise_picture(rng, height, width, 4), noise_picture(rng, height, width)
    table = np.clip(np.arange(256) * 2 - 100, 0, 255).astype(np.uint8)
    rgb, matte = np.empty_like(plate), np.empty((height, width), np.uint8)
    kernels.over_plate(kernels.as_pixels(layers), table, plate, rgb, matte)
    assert np.array_equal(matte, table[layers[..., 3]])
    share = matte[..., None] / 255
    assert np.abs(rgb - (plate * (1 - share) + layers[..., :3] * share)).max() <= 0.51


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_noise_moves_by_whole_pixels_and_is_mirrored(
    rng: np.random.Generator, height: int, width: int
) -> None:
    field = rng.standard_normal((height, width, 3)).astype(np.float32)
    grid = rng.uniform(-90, 90, (2, 4, 5)).astype(np.float32)
    moved = np.empty((3, height, width), np.float32)
    kernels.move_noise(field, grid, moved)
    shifts = places_of(grid, height, width)
    places = np.stack([shifts[0] + np.arange(width), shifts[1] + np.arange(height)[:, None]], -1)
    places = places.astype(np.float32)
    wanted = cv2.remap(field, places, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    assert (moved.transpose(1, 2, 0) == wanted).all(axis=2).mean() > 0.99  # halfway, either neighbour does


def test_what_a_smaller_network_changed_is_laid_on_smoothly(rng: np.random.Generator) -> None:
    rgb, corrected = noise_picture(rng, 64, 60), np.empty((64, 60, 3), np.uint8)
    fed, change = rng.uniform(-1, 1, (3, 32, 30)), rng.normal(0, 0.1, (3, 32, 30))
    kernels.correct(rgb, (fed + change).astype(np.float32), fed.astype(np.float32), corrected)
    wanted = rgb + 127.5 * cv2.resize(change.transpose(1, 2, 0), (60, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(corrected - np.clip(wanted, 0, 255)).max() <= 0.51
    kernels.correct(rgb, np.full((3, 32, 30), np.nan, np.float32), fed.astype(np.float32), corrected)
    assert np.array_equal(corrected, rgb)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (31, 57), (5, 0)])
def test_add_noise(rng: np.random.Generator, down: int, right: int) -> None:
    rgb, noise = noise_picture(rng, 64, 60), rng.standard_normal((3, 64, 60)).astype(np.float32)
    planes = np.empty_like(noise)
    kernels.add_noise(rgb, noise, np.float32(0.3), down, right, planes)
    clean = rgb.transpose(2, 0, 1) / 127.5 - 1
    wanted = clean + 0.3 * (np.roll(noise, (down, right), axis=(1, 2)) - clean)
    assert np.abs(planes - wanted).max() < 1e-5


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_finish(rng: np.random.Generator, height: int, width: int) -> None:
    picture, prior, plate = (noise_picture(rng, height, width) for _ in range(3))
    coarse = cv2.blur(picture, (5, 5))
    near_to_it = rng.integers(-6, 7, coarse.shape)
    coarse_prior = np.clip(coarse + near_to_it, 0, 255).astype(np.uint8)
    trust = np.exp(-((np.arange(256) / 12) ** 2)).astype(np.float32)
    near = rng.choice(np.array([0, 30, 255], np.uint8), (height, width))
    finished = np.empty_like(picture)
    kernels.finish(picture, coarse, prior, coarse_prior, trust, near, plate, finished)
    apart = np.abs(coarse.astype(int) - coarse_prior).max(axis=2)
    fine = prior.astype(float) - coarse_prior - picture + coarse
    made = np.clip(picture + trust[apart][..., None] * fine, 0, 255)
    wanted = plate + (made - plate) * (near[..., None] / 255)
    assert np.abs(finished - wanted).max() <= 0.51


@pytest.mark.parametrize("reach", [4, 12])
def test_triangles_are_filled_as_opencv_fills_them(reach: int) -> None:
    rng = np.random.default_rng(reach)
    middles = rng.uniform(-10, 70, (120, 1, 2))
    corners = np.round(16 * (middles + rng.uniform(-reach, reach, (120, 3, 2)))).astype(np.int32)
    colours = rng.integers(0, 256, (120, 4)).astype(np.uint8)
    found, wanted = np.zeros((60, 72, 4), np.uint8), np.zeros((60, 72, 4), np.uint8)
    kernels.fill_triangles(kernels.as_pixels(found), corners, kernels.as_pixels(colours[None])[0])
    for triangle, colour in zip(corners, colours.tolist(), strict=True):
        cv2.fillConvexPoly(wanted, triangle, colour, cv2.LINE_8, 4)
    assert (found != wanted).any(axis=2).mean() < 0.01
