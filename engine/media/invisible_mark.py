"""A mark that cannot be seen, in every picture: 40 bits that say what made it, and when.

Spread spectrum (Cox et al., "Secure spread spectrum watermarking for multimedia", 1997): faint noise that
only a known key makes, on a grid of 64 cells along the shorter side, laid again and again beside itself. One
pattern says that the mark is there; one of 256 for each byte says which (orthogonal signalling, the error
correction). It stands still, so it does not flicker.

What the eye sees most is left out of it: only the patterns' finest diagonal parts are drawn (the eye is
weaker there: Campbell, Kulikowski and Levinson, "The effect of orientation on the visual resolution of
gratings", 1966), and there pictures have least of their own. It is stronger where a picture is busy within a
cell, not beside an edge, and where it is dark or bright (Chou and Li, "A perceptually tuned subband image
coder based on the measure of just-noticeable-distortion profile", 1995). Parts of a level are dithered in a
quasi-random order (Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018), never laid as
blobs of a level.

The patterns are random and know nothing of a picture, so what an unmarked picture shows by chance is bounded
(Hoeffding 1963, of random signs: P(z >= t) <= exp(-t**2 / 2)), whatever the picture. Who knows this file
can take the mark off; see TRUST.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image
from engine.compiled import compiled_sums

CELLS = 64  # of a tile's side, along the shorter side of a picture
BYTES = 5
FALSE_ALARM = 1e-6  # of one search, over all the places and sizes that it tries
_KEY = b"avatarcast mark 1"
# Levels of 255: the strength on even ground of middle grey, what each level of texture adds, and at most.
_LEAST, _TEXTURED, _MOST = 0.5, 0.4, 3.0
_BRIGHTEST, _DARKEST = 1.3, 1.4  # times as much on white, and on all below a dark grey
_PEAK = 3.0  # standard deviations of the pattern, at most
_PRESENCE = math.sqrt(0.25)  # share of the amplitude; the bytes have the rest
_SEARCHED = (0.25, 1.3)  # cell sizes tried, as shares of that of a whole picture
_TURNED_DEG = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)
_TURNED_SEARCHED = (0.95, 1.05)  # the same, of pictures that were turned
_LOOKS = 4  # each may be wrong in as small a part of FALSE_ALARM
_STEP = 1.008  # from one to the next: a quarter of a cell at the tile's ends
_SUB = 2  # places within a cell that are tried
_PLACES = 2 * _SUB**2 * CELLS**2  # at which the grid may begin, mirrored or not
_BETWEEN = [0.0] * (_SUB - 1)
_FINEST = np.array([-0.5, *_BETWEEN, 1.0, *_BETWEEN, -0.5], np.float32)  # a cell, less those beside it
WHOLE_Z = math.sqrt(2 * math.log(_LOOKS * 2 / FALSE_ALARM))  # from which on a whole picture shows the mark


@dataclass(frozen=True, slots=True)
class Found:
    """A mark that was found."""

    data: bytes  # BYTES of them
    z: float  # how clearly, in standard deviations of chance
    false_alarm: float  # the chance of it in pictures without, at most
    byte_z: tuple[float, ...]  # how clearly each byte
    cell_px: float  # how large its cells are in the picture
    mirrored: bool


@dataclass(frozen=True, slots=True)
class _Peak:
    """Where the presence shows most."""

    z: float
    tile: FloatArray  # (CELLS, CELLS), turned to where it lies
    mirrored: bool


def _pattern(*which: int) -> FloatArray:
    """(CELLS, CELLS) of signs: of the mark's presence, or of a byte's place and value."""
    bits = hashlib.shake_128(_KEY + bytes(which)).digest(CELLS * CELLS // 8)
    signs = np.unpackbits(np.frombuffer(bits, np.uint8)).astype(np.float32) * 2 - 1
    return signs.reshape(CELLS, CELLS)


@lru_cache(maxsize=1)
def _presence() -> FloatArray:
    return _pattern()


@lru_cache(maxsize=1)
def _symbols() -> FloatArray:
    """(BYTES, 256, CELLS * CELLS) of every byte."""
    signs = [[_pattern(place, value).ravel() for value in range(256)] for place in range(BYTES)]
    return np.array(signs, np.float32)


@lru_cache(maxsize=8)
def _laid(data: bytes, rows: int, columns: int) -> FloatArray:
    """The mark of these bytes, of unit strength, laid over so many cells."""
    if len(data) != BYTES:
        raise ValueError(f"{len(data)} bytes; the mark holds {BYTES}")
    spoken = sum(_pattern(place, value) for place, value in enumerate(data)) / math.sqrt(BYTES)
    tile = np.asarray(_PRESENCE * _presence() + math.sqrt(1 - _PRESENCE**2) * spoken, np.float32)
    for axis in (0, 1):
        tile = tile - 0.5 * (np.roll(tile, 1, axis) + np.roll(tile, -1, axis))
    tile = np.clip(tile / tile.std(), -_PEAK, _PEAK)
    return np.tile(tile, (-(-rows // CELLS), -(-columns // CELLS)))[:rows, :columns]


def with_bits(rgb: U8Image, data: bytes) -> U8Image:
    """rgb: (H, W, 3) uint8 -> a copy that carries these BYTES."""
    height, width = rgb.shape[:2]
    cell = min(height, width) / CELLS
    rows, columns = math.ceil(height / cell - 1e-6), math.ceil(width / cell - 1e-6)
    rgb, marked = np.ascontiguousarray(rgb), np.empty(rgb.shape, np.uint8)
    _ink(rgb, _laid(data, rows, columns) * _strength(rgb, rows, columns), _thresholds(width), marked)
    return marked


@lru_cache(maxsize=8)
def _thresholds(width: int) -> NDArray[np.int16]:
    """(16, 3 * width), of 512 parts of a level: from which part on a sample of a row gets one more."""
    row, column = np.mgrid[:16, :width]
    share = np.mod(0.7548776662466927 * column + 0.5698402909980532 * row, 1.0)
    return np.repeat((share * 512).astype(np.int16), 3, axis=1)


@compiled_sums
def _ink(rgb: U8Image, cells: FloatArray, thresholds: NDArray[np.int16], marked: U8Image) -> None:
    """Into `marked`: the picture with what `cells` say added, between their middles interpolated; clipped.

    rgb, marked: (H, W, 3) uint8, contiguous; cells: (rows, columns) float32, levels, within 30 of 0;
    thresholds: of W. In 16 bits, which a processor adds most of at once.
    """
    height, width = rgb.shape[:2]
    rows, columns = cells.shape
    half, zero, black, white = np.float32(0.5), np.float32(0), np.int16(0), np.int16(255)
    lefts, shares = np.empty(width, np.int32), np.empty(width, np.float32)
    for column in range(width):
        right = (np.float32(column) + half) * np.float32(columns) / np.float32(width) - half
        right = min(max(right, zero), np.float32(columns - 1))
        lefts[column] = min(int(right), columns - 2)
        shares[column] = right - np.float32(lefts[column])
    lines = np.empty((2, 3 * width), np.int16)  # across the picture: of even and of odd rows of cells, 1/16
    known = 0  # rows of cells that were laid out
    for row in range(height):
        down = (np.float32(row) + half) * np.float32(rows) / np.float32(height) - half
        down = min(max(down, zero), np.float32(rows - 1))
        above = min(int(down), rows - 2)
        while known < above + 2:
            line = cells[known]
            for column in range(width):
                left = lefts[column]
                value = line[left] + shares[column] * (line[left + 1] - line[left])
                for channel in range(3):
                    lines[known % 2, 3 * column + channel] = np.int16(np.rint(value * np.float32(16)))
            known += 1
        share = np.int16(np.rint((down - np.float32(above)) * np.float32(32)))
        rest = np.int16(32 - share)
        upper, lower, threshold = lines[above % 2], lines[(above + 1) % 2], thresholds[row % 16]
        source, target = rgb[row].reshape(3 * width), marked[row].reshape(3 * width)
        for sample in range(3 * width):
            ink = np.int16(np.int16(upper[sample] * rest + lower[sample] * share) + threshold[sample])
            level = np.int16(source[sample] + np.int16(ink >> 9))
            target[sample] = np.uint8(min(max(level, black), white))


def _strength(rgb: U8Image, rows: int, columns: int) -> FloatArray:
    """(rows, columns) float32, levels: more where the picture would hide more."""
    some = cv2.resize(rgb, (2 * columns, 2 * rows), interpolation=cv2.INTER_NEAREST)  # more says no more
    quarters = cv2.cvtColor(some, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(quarters, (columns, rows), interpolation=cv2.INTER_AREA)
    apart = cv2.absdiff(quarters, cv2.resize(grey, quarters.shape[::-1], interpolation=cv2.INTER_NEAREST))
    texture = cv2.medianBlur(cv2.resize(apart, (columns, rows), interpolation=cv2.INTER_AREA), 3)
    return np.asarray(_by_texture()[texture] * _by_brightness()[grey], np.float32)


@lru_cache(maxsize=1)
def _by_texture() -> FloatArray:
    """(256,) levels: the strength on middle grey, for quarters of a cell that are so far off its mean."""
    return np.minimum(_LEAST + _TEXTURED * np.arange(256), _MOST).astype(np.float32)


@lru_cache(maxsize=1)
def _by_brightness() -> FloatArray:
    """(256,): how much more ground of this level hides than middle grey."""
    return np.interp(np.arange(256), [0, 40, 127, 255], [_DARKEST, _DARKEST, 1, _BRIGHTEST]).astype(
        np.float32
    )


def find_bits(pictures: Iterable[U8Image], search: bool = True) -> Found | None:
    """The mark in pictures of one film, (H, W, 3) uint8 of one size; None where there is none.

    search: also where the picture was moved, cut, is a part of another or was turned by a few degrees; takes
    seconds.
    """
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    if not greys or min(greys[0].shape) < CELLS:
        return None
    grey = np.mean(greys, axis=0, dtype=np.float32)  # the mark stands still
    whole = min(grey.shape) / CELLS
    folded = _folded(grey, whole)
    straight = folded[0, 0]
    if (found := _judged(_best([straight, straight[:, ::-1]], moved=False), whole, 2)) or not search:
        return found
    if found := _judged(_peak(folded), whole, _PLACES):
        return found
    return _searched(grey, whole, _SEARCHED, [0]) or _searched(grey, whole, _TURNED_SEARCHED, _TURNED_DEG)


def presence_z(picture: U8Image) -> float:
    """How clearly the mark is in one whole picture, in standard deviations of chance."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    straight = _folded(grey, min(grey.shape) / CELLS)[0, 0]
    return _best([straight, straight[:, ::-1]], moved=False).z


def _searched(
    grey: FloatArray, whole: float, shares: tuple[float, float], turns_deg: Sequence[int]
) -> Found | None:
    """The mark at the size and turn, of all that are tried, at which it shows best."""
    sizes = list(_sizes(whole, shares))
    looks = (
        (_peak(_folded(turned, size)), size)
        for turned in (_turned(grey, deg) for deg in turns_deg)
        for size in sizes
    )
    best, size = max(looks, key=lambda look: look[0].z)
    return _judged(best, size, _PLACES * len(sizes) * len(turns_deg))


def _turned(grey: FloatArray, deg: int) -> FloatArray:
    """Turned about its middle, counter-clockwise; its border repeated."""
    if not deg:
        return grey
    height, width = grey.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), deg, 1)
    turned = cv2.warpAffine(
        grey, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(turned, np.float32)


def _judged(best: _Peak, cell_px: float, tries: int) -> Found | None:
    """A mark, if chance reaches as far in less than a part of FALSE_ALARM: there are _LOOKS of them."""
    false_alarm = min(1.0, _LOOKS * tries * math.exp(-(best.z**2) / 2))
    if false_alarm > FALSE_ALARM:
        return None
    data, byte_z = _read(best.tile)
    return Found(data, best.z, false_alarm, byte_z, cell_px, best.mirrored)


def _sizes(whole: float, shares: tuple[float, float]) -> Iterator[float]:
    size = whole * shares[0]
    while size < whole * shares[1]:
        yield size
        size *= _STEP


def _folded(grey: FloatArray, cell: float) -> FloatArray:
    """(_SUB, _SUB, CELLS, CELLS): what is left of the picture without what a picture is, tile upon tile.

    One for each place within a cell at which the grid may begin.
    """
    height, width = grey.shape
    fine = (max(CELLS, round(width / cell * _SUB)), max(CELLS, round(height / cell * _SUB)))
    small = cv2.resize(grey, fine, interpolation=cv2.INTER_AREA if cell > _SUB else cv2.INTER_LINEAR)
    white = _whitened(small)
    folded = np.zeros((_SUB, _SUB, CELLS, CELLS), np.float32)
    for down in range(_SUB):
        for right in range(_SUB):
            cells = white[down::_SUB, right::_SUB]
            rows, columns = (-(-side // CELLS) * CELLS for side in cells.shape)
            padded = np.zeros((rows, columns), np.float32)
            padded[: cells.shape[0], : cells.shape[1]] = cells
            folded[down, right] = padded.reshape(rows // CELLS, CELLS, columns // CELLS, CELLS).sum((0, 2))
    return folded


def _whitened(grey: FloatArray) -> FloatArray:
    """The part of a picture in which the mark is drawn, the more of it the less there is around; bounded.

    grey: _SUB places a cell; each is of a whole cell that begins there.
    """
    cells = cv2.blur(grey, (_SUB, _SUB), anchor=(0, 0))
    rest = cv2.sepFilter2D(cells, -1, _FINEST, _FINEST)
    local = np.sqrt(np.maximum(cv2.blur(rest * rest, (3 * _SUB - 1, 3 * _SUB - 1)), 0)) + 1.0  # rounding
    return np.asarray(np.clip(rest / local, -2.0, 2.0) / np.sqrt(local), np.float32)


def _peak(folded: FloatArray) -> _Peak:
    """The presence where it shows most, over all places of the grid."""
    parts = folded.reshape(-1, CELLS, CELLS)
    return _best([*parts, *parts[:, :, ::-1]], moved=True)


def _best(tiles: Sequence[FloatArray], moved: bool) -> _Peak:
    """Of the tiles, the second half mirrored. moved: the mark may begin anywhere in them."""
    wanted = np.fft.rfft2(_presence()).conj()
    best = _Peak(-1.0, tiles[0], False)
    for number, tile in enumerate(tiles):
        norm = float(np.linalg.norm(tile))
        if norm == 0:
            continue
        if moved:
            z = np.fft.irfft2(np.fft.rfft2(tile) * wanted, s=tile.shape) / norm
            down, right = divmod(int(np.argmax(z)), CELLS)
            here = _Peak(float(z[down, right]), np.roll(tile, (-down, -right), (0, 1)), False)
        else:
            here = _Peak(float((tile * _presence()).sum()) / norm, tile, False)
        if here.z > best.z:
            best = replace(here, mirrored=number >= len(tiles) // 2)
    return best


def _read(tile: FloatArray) -> tuple[bytes, tuple[float, ...]]:
    """The likeliest bytes, and how clearly each."""
    z = _symbols() @ tile.ravel() / float(np.linalg.norm(tile))
    values = z.argmax(axis=1)
    return bytes(values.astype(np.uint8)), tuple(float(row.max()) for row in z)
