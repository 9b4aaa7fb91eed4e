"""The person enlarged and laid into the frame around the canvas, in one pass over what shows of the person.

tests/engine/render/test_scene.py says the same with OpenCV, readably. First each row of the canvas is
enlarged across, only once and as far as the rows of the frame beside it want it; of four such rows, each row
of the frame is the sum, which is what compilers find vector instructions for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image
from engine.compiled import compiled_sums, inlined
from engine.render.kernels import KEYS_A

TAPS = 4  # of the cubic kernel: from one pixel before to two after
_SLOTS = 4
_CHANNELS = 3
_BYTES = np.uintp(4)  # of a float32
_THREE, _FOUR = np.uintp(_CHANNELS), np.uintp(TAPS)
_ZERO, _HALF, _ONE, _FULL = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)


class Taps(NamedTuple):
    """Of which pixels of a line each pixel of the enlarged one is made. Edges are repeated.

    before: (N,) int32, the pixel at or before it, from -1; cubic: (N, 4) float32, what the pixels from one
    before that to two after say, see `engine.render.kernels.cubic_weights`; after: (N,) float32, what the
    pixel after it says in a bilinear fetch; begin, end: (S,) int32, from and to where in that a pixel has a
    say.
    """

    before: NDArray[np.int32]
    cubic: FloatArray
    after: FloatArray
    begin: NDArray[np.int32]
    end: NDArray[np.int32]


def taps(found: int, wanted: int) -> Taps:
    """Of a line of `found` pixels enlarged to `wanted`."""
    place = (np.arange(wanted) + 0.5) * (found / wanted) - 0.5
    before = np.floor(place)
    after = place - before
    away, a = np.abs(after[:, None] - np.arange(-1, TAPS - 1)), KEYS_A
    near = (a + 2) * away**3 - (a + 3) * away**2 + 1
    far = a * (away**3 - 5 * away**2 + 8 * away - 4)
    cubic = np.where(away <= 1, near, far).astype(np.float32)
    first, last = np.clip(before, 0, found - 1), np.clip(before + 1, 0, found - 1)
    pixels = np.arange(found)
    begin, end = np.searchsorted(last, pixels), np.searchsorted(first, pixels, side="right")
    return Taps(
        before.astype(np.int32),
        cubic,
        after.astype(np.float32),
        begin.astype(np.int32),
        end.astype(np.int32),
    )


@intrinsic
def _across(  # type: ignore[no-untyped-def]
    typing_context, found, weights, pixel, share, shares
):  # pragma: no cover - LLVM's
    """In compiled code: one pixel of an enlarged row, and its share once for each channel.

    found: address of the first of 4 pixels of 3 float32; weights: of a row of `Taps.cubic`; pixel, shares:
    where they go. Both write one float32 more than a pixel has, which the next one's takes the place of.
    """
    signature = types.void(types.uintp, types.uintp, types.uintp, types.float32, types.uintp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found, weights, pixel, share, shares = arguments
        four = ir.VectorType(ir.FloatType(), 4)
        places = ir.VectorType(ir.IntType(32), 4)

        def there(where: Any) -> Any:
            return builder.inttoptr(where, four.as_pointer())

        def load(where: Any) -> Any:
            values = builder.load(there(where))
            values.align = 4
            return values

        def store(values: Any, where: Any) -> None:
            builder.store(values, there(where)).align = 4

        def everywhere(values: Any, lane: int) -> Any:
            return builder.shuffle_vector(
                values, ir.Constant(four, ir.Undefined), ir.Constant(places, [lane] * 4)
            )

        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(four, [four] * 3), "llvm.fmuladd.v4f32"
        )
        says, total = load(weights), ir.Constant(four, [0.0] * 4)
        for tap in range(TAPS):
            values = load(builder.add(found, ir.Constant(found.type, tap * _CHANNELS * 4)))
            total = builder.call(multiply_add, (values, everywhere(says, tap), total))
        store(total, pixel)
        first = builder.insert_element(ir.Constant(four, ir.Undefined), share, ir.Constant(ir.IntType(32), 0))
        store(everywhere(first, 0), shares)
        return context.get_dummy_value()

    return signature, generate


@inlined
def _as_floats(row: U8Image, floats: FloatArray) -> None:
    for k in range(floats.size):
        floats[k] = np.float32(row[k])


@inlined
def _shown(matte: FloatArray, gain: np.float32, inside: FloatArray, share: FloatArray) -> None:
    for column in range(share.size):
        share[column] = min(matte[column] * gain, _ONE) * inside[column]


@inlined
def _down(
    rows: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    weights: FloatArray,
    shares: tuple[FloatArray, FloatArray],
    towards: np.float32,
    still: U8Image,
    picture: U8Image,
) -> None:
    """One row of the frame, (3 N,) uint8, of four enlarged ones over what stands still there."""
    above, upper, lower, below = rows
    share_upper, share_lower = shares
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    for k in range(picture.size):
        value = a * above[k] + b * upper[k] + c * lower[k] + d * below[k]
        value = min(max(value, _ZERO), _FULL)
        shown = share_upper[k] + towards * (share_lower[k] - share_upper[k])
        behind = np.float32(still[k])
        picture[k] = np.uint8(np.int32(behind + (value - behind) * shown + _HALF))


@compiled_sums
def lay_enlarged(
    drawn: U8Image,
    matte: FloatArray,
    gain: np.float32,
    inside: FloatArray,
    taps: Taps,
    still: U8Image,
    left: int,
    top: int,
    covered: NDArray[np.int32],
    picture: U8Image,
) -> None:
    """The canvas over `still`, into `picture`, as far as the person reaches or did in the picture before.

    drawn: (S, 3 S) uint8; matte: (S, S) float32, >= 0, shown to the share min(gain * matte, 1) * inside,
    bilinear; inside: (S, S) float32, 0..1; taps: from S to the side N of the canvas in the frame, at (left,
    top); still, picture: (H, 3 W) uint8, the frame without the person, and the frame; covered: (N, 2) int32,
    from and to which column of the canvas each row of `picture` differs from `still`, made anew.
    """
    before, cubic, after, begin, end = taps
    size, side = drawn.shape[0], before.size
    line, one = side + 1, np.uintp(1)
    rows = np.empty((_SLOTS, _CHANNELS * line), np.float32)
    shares = np.empty((_SLOTS, _CHANNELS * line), np.float32)
    padded = np.empty(_CHANNELS * (size + 4) + 1, np.float32)  # with two pixels more at either end
    rows_address, shares_address = np.uintp(rows.ctypes.data), np.uintp(shares.ctypes.data)
    padded_address, cubic_address = np.uintp(padded.ctypes.data), np.uintp(cubic.ctypes.data)
    share = np.empty(size + 2, np.float32)  # with one
    lows, highs = np.empty(size, np.int32), np.empty(size, np.int32)  # where each row of the canvas shows
    for row in range(size):
        low, high = side, 0
        for column in range(size):
            if matte[row, column] * inside[row, column] > _ZERO:
                low = begin[column]
                break
        if low < side:
            for column in range(size - 1, -1, -1):
                if matte[row, column] * inside[row, column] > _ZERO:
                    high = end[column]
                    break
        lows[row], highs[row] = low, high

    done = 0  # rows of the canvas that are enlarged, or that nothing of the frame wants
    for row in range(side):
        here = before[row]
        upper, lower = max(here, 0), min(here + 1, size - 1)
        first, last = min(lows[upper], lows[lower]), max(highs[upper], highs[lower])
        edge, frame_row = _CHANNELS * left, top + row
        old_first, old_last = covered[row, 0], covered[row, 1]
        covered[row, 0], covered[row, 1] = first, last
        for k in range(edge + _CHANNELS * old_first, edge + _CHANNELS * min(old_last, first)):
            picture[frame_row, k] = still[frame_row, k]
        for k in range(edge + _CHANNELS * max(old_first, last), edge + _CHANNELS * old_last):
            picture[frame_row, k] = still[frame_row, k]
        if first >= last:
            continue
        done = max(done, here - 1)
        while done <= min(here + 2, size - 1):
            # Rows of the frame beside it: of the canvas's rows from two before it to two after.
            low, high = side, 0
            for near in range(max(done - 2, 0), min(done + 3, size)):
                low, high = min(low, lows[near]), max(high, highs[near])
            slot = done % _SLOTS
            if low < high:
                left_most, right_most = max(before[low] - 1, 0), min(before[high - 1] + 3, size)
                at, to = _CHANNELS * left_most, _CHANNELS * right_most
                _as_floats(drawn[done, at:to], padded[at + 2 * _CHANNELS : to + 2 * _CHANNELS])
                _shown(
                    matte[done, left_most:right_most],
                    gain,
                    inside[done, left_most:right_most],
                    share[left_most + 1 : right_most + 1],
                )
            share[0], share[size + 1] = share[1], share[size]
            for channel in range(_CHANNELS):
                padded[channel] = padded[_CHANNELS + channel] = padded[2 * _CHANNELS + channel]
                end_of_it = _CHANNELS * (size + 1) + channel
                padded[end_of_it + _CHANNELS] = padded[end_of_it + 2 * _CHANNELS] = padded[end_of_it]
            for column in range(low, high):
                place = np.uintp(before[column] + 1)
                shown = share[place] + after[column] * (share[place + one] - share[place])
                there = _BYTES * np.uintp(_CHANNELS * (slot * line + column))
                _across(
                    padded_address + _BYTES * _THREE * place,
                    cubic_address + _BYTES * _FOUR * np.uintp(column),
                    rows_address + there,
                    shown,
                    shares_address + there,
                )
            done += 1
        at, to = _CHANNELS * first, _CHANNELS * last
        _down(
            (
                rows[max(here - 1, 0) % _SLOTS, at:to],
                rows[upper % _SLOTS, at:to],
                rows[lower % _SLOTS, at:to],
                rows[min(here + 2, size - 1) % _SLOTS, at:to],
            ),
            cubic[row],
            (shares[upper % _SLOTS, at:to], shares[lower % _SLOTS, at:to]),
            after[row],
            still[top + row, edge + at : edge + to],
            picture[top + row, edge + at : edge + to],
        )


def warm_up() -> None:
    """Compiles that, or loads it, so that the first wide frame is not the slow one."""
    canvas, share = np.zeros((2, 6), np.uint8), np.zeros((2, 2), np.float32)
    frame, covered = np.zeros((3, 9), np.uint8), np.zeros((3, 2), np.int32)
    lay_enlarged(canvas, share, _ONE, share, taps(2, 3), frame, 0, 0, covered, frame.copy())
