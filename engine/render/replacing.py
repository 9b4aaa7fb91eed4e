"""The person before another background than the avatar's own, without a fringe of the old one.

Takes the drawn picture, its matte and the plate it was drawn over. tests/engine/render/test_replacing.py says
the same with NumPy and OpenCV, readably.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image
from engine.compiled import compiled, compiled_sums, inlined

# Tuned by eye on dark hair, cloth and skin over chroma green.
PLATE_LIKE = 14  # of 255, in each channel: what differs no more from the plate is the plate
MATTE_ERROR_PX = 16  # at 256 px: how far the matte may reach over the person
SPECK_SHARE = 0.004  # of the canvas: smaller pieces are not of a person, a hand is larger
MATTE_EDGE = (0.35, 0.95)  # of the smoothed matte: cut inwards, its outermost pixel is mostly background
SPILL_PX = 4  # at 256 px: how far inside the outline the old background may shine
COLOR_REACH_PX = 7  # at 256 px: over which the person's own colour near the outline is averaged
LEAST_CONTRAST = 100.0  # squared distance of colours below which person and plate cannot be told apart
LEAST_WEIGHT = 0.02  # share of what lies further inside among what is near, from which its colour counts

_ZERO, _HALF, _ONE, _FULL = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)
_LOW, _EDGE_GAIN = np.float32(MATTE_EDGE[0]), np.float32(1 / (MATTE_EDGE[1] - MATTE_EDGE[0]))
_LEAST_CONTRAST, _LEAST_WEIGHT = np.float32(LEAST_CONTRAST), np.float32(LEAST_WEIGHT)
_OUTSIDE, _PERSON, _OPEN = 0, 1, 2


class Replacer:
    """Shows persons drawn over one plate before something else. Its buffers are reused: one caller."""

    def __init__(self, plate: U8Image) -> None:
        """plate: (S, S, 3) uint8 RGB, without the person."""
        size = len(plate)
        self._plate = np.ascontiguousarray(plate)
        self._soft_plate = cv2.blur(self._plate, (3, 3))
        self._soft, self._picture = np.empty_like(self._plate), np.empty_like(self._plate)
        self._is_person, self._pieces, self._around = (np.empty((size, size), np.uint8) for _ in range(3))
        self._depth_px, self._settled, self._smooth, self._inner = (
            np.empty((size, size), np.float32) for _ in range(4)
        )
        self._near_px = np.float32(MATTE_ERROR_PX * size / 256)
        self._spill_px, self._reach_px = (max(1, round(px * size / 256)) for px in (SPILL_PX, COLOR_REACH_PX))

    def settled(self, drawn: U8Image, matte: FloatArray) -> FloatArray:
        """The matte without what the picture shows to be background, and without specks; as `replaced`.

        The matte is that of the warped key frames. In a pose far from all of them it reaches over the person,
        and there the network has painted the plate: what looks like the plate and hangs together with the
        outside is outside. Deep inside the person nothing is asked, so a coat of the wall's colour stays
        whole. The result is a buffer that the next call reuses.
        """
        cv2.blur(drawn, (3, 3), dst=self._soft)
        cv2.compare(matte, 0.5, cv2.CMP_GT, dst=self._is_person)
        # To the outline; the canvas's edge is not one.
        cv2.distanceTransform(self._is_person, cv2.DIST_L2, 3, dst=self._depth_px)
        find_outside(
            self._is_person, self._depth_px, self._near_px, self._soft, self._soft_plate, self._pieces
        )
        drop_specks(self._pieces, SPECK_SHARE * matte.size)
        cv2.boxFilter(self._pieces, -1, (3, 3), dst=self._around, normalize=False)
        cv2.multiply(matte, self._around, dst=self._settled, scale=1 / 9, dtype=cv2.CV_32F)
        return self._settled

    def replaced(self, drawn: U8Image, matte: FloatArray, background: U8Image) -> U8Image:
        """The person over another background; a buffer that the next call reuses.

        drawn: (S, S, 3) uint8 RGB, the person over the plate; matte: (S, S) float32, 0..1, 1 is the person;
        background: (S, S, 3) uint8 RGB. Near the outline the plate's share of each colour is taken out:
        C = aF + (1 - a)B is solved for the person F, with B the plate and the first guess of F the mean of
        what lies further inside (compare blur-fusion foreground estimation, Forte, ICIP 2021).
        """
        cv2.GaussianBlur(matte, (5, 5), 0, dst=self._smooth)
        cv2.blur(matte, (2 * self._spill_px + 1,) * 2, dst=self._inner)
        size = len(drawn)
        lay_person(
            drawn.reshape(size, 3 * size),
            self._smooth,
            self._inner,
            self._plate.reshape(size, 3 * size),
            background.reshape(size, 3 * size),
            self._reach_px,
            self._picture.reshape(size, 3 * size),
        )
        return self._picture


@compiled
def find_outside(
    is_person: U8Image,
    depth_px: FloatArray,
    near_px: np.float32,
    drawn: U8Image,
    plate: U8Image,
    pieces: U8Image,
) -> None:
    """Into `pieces` (S, S) uint8: 0 is outside, anything else is not.

    is_person: (S, S) uint8, not 0 within the matte; depth_px: (S, S) float32; drawn, plate: (S, S, 3) uint8,
    both blurred. Where they are alike, up to `near_px` deep, the outside goes on, from one of four
    neighbours to the next.
    """
    height, width = is_person.shape
    for row in range(height):
        for column in range(width):
            kind = _OUTSIDE
            if is_person[row, column] != 0:
                kind = _PERSON
                if depth_px[row, column] <= near_px:
                    apart = 0
                    for channel in range(3):
                        difference = np.int32(drawn[row, column, channel]) - np.int32(
                            plate[row, column, channel]
                        )
                        apart = max(apart, int(abs(difference)))
                    if apart <= PLATE_LIKE:
                        kind = _OPEN
            pieces[row, column] = kind
    reached, count = np.empty(height * width, np.int32), 0  # what is open is reached once
    for row in range(height):
        for column in range(width):
            if pieces[row, column] == _OPEN and (
                (row > 0 and is_person[row - 1, column] == 0)
                or (row < height - 1 and is_person[row + 1, column] == 0)
                or (column > 0 and is_person[row, column - 1] == 0)
                or (column < width - 1 and is_person[row, column + 1] == 0)
            ):
                pieces[row, column] = _OUTSIDE
                reached[count] = row * width + column
                count += 1
    while count > 0:
        count -= 1
        row, column = reached[count] // width, reached[count] % width
        for below, beside in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            j, i = row + below, column + beside
            if 0 <= j < height and 0 <= i < width and pieces[j, i] == _OPEN:
                pieces[j, i] = _OUTSIDE
                reached[count] = j * width + i
                count += 1


@inlined
def _root(parents: NDArray[np.int32], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


@compiled
def drop_specks(pieces: U8Image, least: float) -> None:
    """What is not 0 in (H, W) uint8 becomes 1 where at least so many pixels of it hang together, else 0.

    By runs of each row, joined with those above that they touch; neighbours are four.
    """
    height, width = pieces.shape
    most = height * ((width + 1) // 2)
    begins, ends, parents, areas = (
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
    )
    row_begins = np.empty(height + 1, np.int32)
    count, above = 0, 0
    for row in range(height):
        row_begins[row] = first = count
        column = 0
        while column < width:
            if pieces[row, column] == 0:
                column += 1
                continue
            begin = column
            while column < width and pieces[row, column] != 0:
                column += 1
            begins[count], ends[count], parents[count], areas[count] = begin, column, count, column - begin
            while above < first and ends[above] <= begin:
                above += 1
            touched = above
            while touched < first and begins[touched] < column:
                mine, other = _root(parents, count), _root(parents, touched)
                if mine != other:
                    parents[mine] = other
                    areas[other] += areas[mine]
                touched += 1
            count += 1
        above = first
    row_begins[height] = count
    for row in range(height):
        for run in range(row_begins[row], row_begins[row + 1]):
            kept = 1 if areas[_root(parents, run)] >= least else 0
            for column in range(begins[run], ends[run]):
                pieces[row, column] = kept


@inlined
def _multiplied(drawn: U8Image, weights: FloatArray, products: FloatArray) -> None:
    for k in range(products.size):
        products[k] = np.float32(drawn[k]) * weights[k]


@inlined
def _slid(sums: FloatArray, new: FloatArray, old: FloatArray) -> None:
    for k in range(sums.size):
        sums[k] += new[k] - old[k]


@inlined
def _added(sums: FloatArray, new: FloatArray) -> None:
    for k in range(sums.size):
        sums[k] += new[k]


@inlined
def _copied(found: U8Image, to: U8Image) -> None:
    for k in range(to.size):
        to[k] = found[k]


@inlined
def _inner_of(mean: FloatArray, inner: FloatArray) -> None:
    for column in range(inner.size):
        inner[column] = max(mean[column] * np.float32(4) - np.float32(3), _ZERO)


@inlined
def _mirrored(place: int, length: int) -> int:
    place = abs(place)
    return place if place < length else 2 * length - 2 - place


@compiled_sums
def lay_person(
    drawn: U8Image,
    smooth: FloatArray,
    mean: FloatArray,
    plate: U8Image,
    background: U8Image,
    reach_px: int,
    picture: U8Image,
) -> None:
    """The person over the background, into `picture`; see `Replacer.replaced`.

    drawn, plate, background, picture: (S, 3 S) uint8, S > reach_px; smooth, mean: (S, S) float32, the matte
    over a little and over more. Where that is 1 no outline is near. Of each column the colours further inside
    are summed over the rows about, sliding down; at outlines these sums are summed over the columns about.
    """
    size = drawn.shape[0]
    slots, line = 2 * reach_px + 2, 4 * size
    products = np.zeros((slots, line), np.float32)  # of rows: the colour by its weight, then the weight
    sums, wide = np.zeros(line, np.float32), np.empty(3 * size, np.float32)
    area = _ONE / np.float32((2 * reach_px + 1) ** 2)
    done = 0
    for row in range(size):
        while done <= min(row + reach_px, size - 1):
            weights = products[done % slots, 3 * size :]
            _inner_of(mean[done], weights)
            for column in range(size):
                wide[3 * column] = wide[3 * column + 1] = wide[3 * column + 2] = weights[column]
            _multiplied(drawn[done], wide, products[done % slots, : 3 * size])
            done += 1
        if row == 0:
            for near in range(-reach_px, reach_px + 1):
                _added(sums, products[_mirrored(near, size) % slots])
        else:
            _slid(
                sums,
                products[_mirrored(row + reach_px, size) % slots],
                products[_mirrored(row - reach_px - 1, size) % slots],
            )
        inners, begin = products[row % slots, 3 * size :], 0
        while begin < size:
            end = begin
            if not smooth[row, begin] > _LOW:
                while end < size and not smooth[row, end] > _LOW:
                    end += 1
                _copied(background[row, 3 * begin : 3 * end], picture[row, 3 * begin : 3 * end])
                begin = end
                continue
            if inners[begin] >= _ONE:
                while end < size and inners[end] >= _ONE and smooth[row, end] > _LOW:
                    end += 1
                _copied(drawn[row, 3 * begin : 3 * end], picture[row, 3 * begin : 3 * end])
                begin = end
                continue
            red = green = blue = weight = _ZERO
            for near in range(begin - reach_px, begin + reach_px + 1):
                place = _mirrored(near, size)
                red += sums[3 * place]
                green += sums[3 * place + 1]
                blue += sums[3 * place + 2]
                weight += sums[3 * size + place]
            while end < size and inners[end] < _ONE and smooth[row, end] > _LOW:
                if end > begin:
                    new, old = _mirrored(end + reach_px, size), _mirrored(end - reach_px - 1, size)
                    red += sums[3 * new] - sums[3 * old]
                    green += sums[3 * new + 1] - sums[3 * old + 1]
                    blue += sums[3 * new + 2] - sums[3 * old + 2]
                    weight += sums[3 * size + new] - sums[3 * size + old]
                at = 3 * end
                shown = (
                    np.float32(drawn[row, at]),
                    np.float32(drawn[row, at + 1]),
                    np.float32(drawn[row, at + 2]),
                )
                inside = shown  # fine hair, a finger: nothing lies further inside
                if weight * area > _LEAST_WEIGHT:
                    whole = _ONE / weight
                    inside = (red * whole, green * whole, blue * whole)
                to_red = np.float32(plate[row, at]) - inside[0]
                to_green = np.float32(plate[row, at + 1]) - inside[1]
                to_blue = np.float32(plate[row, at + 2]) - inside[2]
                along = (shown[0] - inside[0]) * to_red + (shown[1] - inside[1]) * to_green
                along += (shown[2] - inside[2]) * to_blue
                contrast = to_red * to_red + to_green * to_green + to_blue * to_blue
                spill = min(max(along / max(contrast, _LEAST_CONTRAST), _ZERO), _ONE) * (_ONE - inners[end])
                share = min((smooth[row, end] - _LOW) * _EDGE_GAIN, _ONE)
                for channel, to_plate in ((0, to_red), (1, to_green), (2, to_blue)):
                    person = min(max(shown[channel] - spill * to_plate, _ZERO), _FULL)
                    behind = np.float32(background[row, at + channel])
                    picture[row, at + channel] = np.uint8(behind + (person - behind) * share + _HALF)
                end += 1
            begin = end


def warm_up() -> None:
    """Compiles all that, or loads it, so that the first picture before a chosen background is not slow."""
    size = 16
    plate, matte = np.zeros((size, size, 3), np.uint8), np.ones((size, size), np.float32)
    replacer = Replacer(plate)
    replacer.replaced(plate, replacer.settled(plate, matte), plate)
