"""A mark that cannot be seen, in every picture: 40 bits that say what made it, and when.

Spread spectrum (Cox et al., "Secure spread spectrum watermarking for multimedia", 1997): faint noise that
only a known key makes, on a grid of 64 cells along the shorter side, laid again and again beside itself. One
pattern says that the mark is there; one of 256 for each byte says which (orthogonal signalling, the error
correction). It stands still and follows the picture's own texture, so it neither flickers nor shows.

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
# Levels of 255: the strength on even ground, what each level of texture adds, and at most.
_LEAST, _TEXTURED, _MOST = 0.8, 0.5, 5.0
_PRESENCE = math.sqrt(0.25)  # share of the amplitude; the bytes have the rest
_SEARCHED = (0.25, 1.3)  # cell sizes tried, as shares of that of a whole picture
_STEP = 1.008  # from one to the next: a quarter of a cell at the tile's ends
_SUB = 2  # places within a cell that are tried
_FEW = 3  # pictures by which a size is searched


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
    return np.tile(tile, (-(-rows // CELLS), -(-columns // CELLS)))[:rows, :columns]


def with_bits(rgb: U8Image, data: bytes) -> U8Image:
    """rgb: (H, W, 3) uint8 -> a copy that carries these BYTES."""
    height, width = rgb.shape[:2]
    cell = min(height, width) / CELLS
    rows, columns = math.ceil(height / cell - 1e-6), math.ceil(width / cell - 1e-6)
    rgb, marked = np.ascontiguousarray(rgb), np.empty(rgb.shape, np.uint8)
    _ink(rgb, _laid(data, rows, columns) * _strength(rgb, rows, columns), marked)
    return marked


@compiled_sums
def _ink(rgb: U8Image, cells: FloatArray, marked: U8Image) -> None:
    """Into `marked`: the picture with what `cells` say added, between their middles interpolated; clipped.

    rgb, marked: (H, W, 3) uint8, contiguous; cells: (rows, columns) float32, levels.
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
    lines = np.empty((2, 3 * width), np.float32)  # across the picture: of even and of odd rows of cells
    ink = np.empty(3 * width, np.int16)
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
                    lines[known % 2, 3 * column + channel] = value
            known += 1
        share = down - np.float32(above)
        upper, lower = lines[above % 2], lines[(above + 1) % 2]
        source, target = rgb[row].reshape(3 * width), marked[row].reshape(3 * width)
        # In two loops, as each then is vector instructions of one width.
        for sample in range(3 * width):
            ink[sample] = np.int16(np.int32(np.rint(upper[sample] + share * (lower[sample] - upper[sample]))))
        for sample in range(3 * width):
            target[sample] = np.uint8(min(max(np.int16(source[sample] + ink[sample]), black), white))


def _strength(rgb: U8Image, rows: int, columns: int) -> FloatArray:
    """(rows, columns) float32, levels: more where the picture is busy, and would hide more."""
    step = max(1, min(rgb.shape[0] // (2 * rows), rgb.shape[1] // (2 * columns)))  # more tells nothing more
    pixels = rgb.view("V3")[::step, ::step, 0]  # each as one: copied three times as fast
    some = np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape, 3)
    grey = cv2.cvtColor(cv2.resize(some, (columns, rows), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    grey = grey.astype(np.float32)
    texture = cv2.blur(np.abs(grey - cv2.blur(grey, (3, 3))), (3, 3))
    return np.asarray(np.clip(_LEAST + _TEXTURED * texture, None, _MOST), np.float32)


def find_bits(pictures: Iterable[U8Image], search: bool = True) -> Found | None:
    """The mark in pictures of one film, (H, W, 3) uint8 of one size; None where there is none.

    search: also where the picture was moved, cut or is a part of another; takes seconds.
    """
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    if not greys or min(greys[0].shape) < CELLS:
        return None
    whole = min(greys[0].shape) / CELLS
    folded = _folded(greys, whole)
    straight = folded[0, 0]
    if (found := _judged(_best([straight, straight[:, ::-1]], moved=False), whole, 2)) or not search:
        return found
    places = 2 * _SUB**2 * CELLS**2
    if found := _judged(_peak(folded), whole, places):
        return found
    sizes = list(_sizes(whole))
    few = greys[:: -(-len(greys) // _FEW)]
    best, size = max(((_peak(_folded(few, size)), size) for size in sizes), key=lambda one: one[0].z)
    if len(few) < len(greys):
        best = max(best, _peak(_folded(greys, size)), key=lambda one: one.z)
    return _judged(best, size, 2 * places * len(sizes))


def presence_z(picture: U8Image) -> float:
    """How clearly the mark is in one whole picture, in standard deviations of chance."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    straight = _folded([grey], min(grey.shape) / CELLS)[0, 0]
    return _best([straight, straight[:, ::-1]], moved=False).z


def _judged(best: _Peak, cell_px: float, tries: int) -> Found | None:
    """A mark, if chance reaches as far in less than a third of FALSE_ALARM: there are three such looks."""
    false_alarm = min(1.0, 3 * tries * math.exp(-(best.z**2) / 2))
    if false_alarm > FALSE_ALARM:
        return None
    data, byte_z = _read(best.tile)
    return Found(data, best.z, false_alarm, byte_z, cell_px, best.mirrored)


def _sizes(whole: float) -> Iterator[float]:
    size = whole * _SEARCHED[0]
    while size < whole * _SEARCHED[1]:
        yield size
        size *= _STEP


def _folded(greys: list[NDArray[np.uint8]], cell: float) -> FloatArray:
    """(_SUB, _SUB, CELLS, CELLS): what is left of the pictures without what a picture is, tile upon tile.

    One for each place within a cell at which the grid may begin.
    """
    height, width = greys[0].shape
    fine = (max(CELLS, round(width / cell * _SUB)), max(CELLS, round(height / cell * _SUB)))
    total = np.zeros((fine[1], fine[0]), np.float32)
    for grey in greys:
        small = cv2.resize(grey, fine, interpolation=cv2.INTER_AREA if cell > _SUB else cv2.INTER_LINEAR)
        total += _whitened(small.astype(np.float32))
    folded = np.zeros((_SUB, _SUB, CELLS, CELLS), np.float32)
    for down in range(_SUB):
        for right in range(_SUB):
            cells = total[down::_SUB, right::_SUB]
            rows, columns = (-(-side // CELLS) * CELLS for side in cells.shape)
            padded = np.zeros((rows, columns), np.float32)
            padded[: cells.shape[0], : cells.shape[1]] = cells
            folded[down, right] = padded.reshape(rows // CELLS, CELLS, columns // CELLS, CELLS).sum((0, 2))
    return folded


def _whitened(grey: FloatArray) -> FloatArray:
    """Without what a picture is (its median), as strong where it is even as where it is busy, and bounded."""
    rest = cv2.GaussianBlur(grey - cv2.medianBlur(grey, 2 * _SUB + 1), (3, 3), 0.6)
    local = np.sqrt(np.maximum(cv2.blur(rest * rest, (11, 11)), 0))  # rounding
    return np.asarray(np.clip(rest / (local + 0.5), -1.0, 1.0), np.float32)


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
