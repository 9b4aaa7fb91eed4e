"""Passes over whole pictures, each one loop that a compiler turns into machine code. Knows no avatars.

Pictures of four channels come as (H, W) uint32, a pixel each: see `as_pixels`. All arrays are contiguous, and
none may be another's memory. tests/engine/render/test_kernels.py says the same in NumPy, readably.

A pixel from between pixels is the weighted sum of the 4 x 4 around it, by cubic convolution (Keys, IEEE
Trans. ASSP 1981) with a = -0.75, the sharpest that is usual: of a picture's finest octave a bilinear fetch
keeps 0.51, this one 0.87. Compilers do not find the vector instructions for it in a plain loop, which takes
three times as long; so `weighted_pixel` spells it out for LLVM, four columns by four channels at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image
from engine.compiled import compiled, compiled_sums, inlined

Pixels = NDArray[np.uint32]

TAPS = 4
PHASES = 64  # places between two pixels that are told apart
KEYS_A = -0.75
_CHANNELS = 4
_LANES = TAPS * _CHANNELS


def cubic_weights() -> FloatArray:
    """(PHASES, TAPS) float32: what the pixels from one before to two after say, by the place between them."""
    place = np.arange(PHASES)[:, None] / PHASES
    away, a = np.abs(place - np.arange(-1, TAPS - 1)), KEYS_A
    near = (a + 2) * away**3 - (a + 3) * away**2 + 1
    far = a * (away**3 - 5 * away**2 + 8 * away - 4)
    return np.where(away <= 1, near, far).astype(np.float32)


def by_lane(weights: FloatArray) -> FloatArray:
    """(PHASES, TAPS * 4): each weight once for each channel."""
    return np.ascontiguousarray(weights.repeat(_CHANNELS, axis=1))


@intrinsic
def weighted_pixel(  # type: ignore[no-untyped-def]
    typing_context, corner, row_bytes, across, down
):  # pragma: no cover - LLVM's
    """In compiled code: the pixel, uint32.

    corner: address of the first of 4 x 4 pixels; row_bytes: from one of their rows to the next; across:
    address of a row of `by_lane`; down: of a row of `cubic_weights`. Rounded, and clipped to 0..255.
    """
    signature = types.uint32(types.uintp, types.uintp, types.uintp, types.uintp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        corner, row_bytes, across, down = arguments
        address, one, byte = ir.IntType(context.address_size), ir.FloatType(), ir.IntType(8)
        row_type, half_type = ir.VectorType(one, _LANES), ir.VectorType(one, _LANES // 2)
        pixel_type, whole = ir.VectorType(one, _CHANNELS), ir.VectorType(ir.IntType(32), _CHANNELS)

        def load(where: Any, kind: Any) -> Any:
            found = builder.load(builder.inttoptr(where, kind.as_pointer()))
            found.align = 1
            return found

        def lanes(vector: Any, kind: Any, first: int) -> Any:
            places = ir.Constant(
                ir.VectorType(ir.IntType(32), kind.count), list(range(first, first + kind.count))
            )
            return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), places)

        def everywhere(value: Any) -> Any:
            first = builder.insert_element(
                ir.Constant(row_type, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
            )
            places = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
            return builder.shuffle_vector(first, first, places)

        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(row_type, [row_type] * 3), f"llvm.fmuladd.v{_LANES}f32"
        )
        total = None
        for row in range(TAPS):
            offset = builder.mul(row_bytes, ir.Constant(address, row))
            values = load(builder.add(corner, offset), ir.VectorType(byte, _LANES))
            values = builder.uitofp(builder.zext(values, ir.VectorType(ir.IntType(32), _LANES)), row_type)
            weight = load(builder.add(down, ir.Constant(address, 4 * row)), one)
            if total is None:
                total = builder.fmul(values, everywhere(weight))
            else:
                total = builder.call(multiply_add, (values, everywhere(weight), total))
        total = builder.fmul(total, load(across, row_type))
        halves = builder.fadd(lanes(total, half_type, 0), lanes(total, half_type, _LANES // 2))
        sums = builder.fadd(lanes(halves, pixel_type, 0), lanes(halves, pixel_type, _CHANNELS))
        sums = builder.fadd(sums, ir.Constant(pixel_type, [0.5] * _CHANNELS))
        low, high = (ir.Constant(pixel_type, [end] * _CHANNELS) for end in (0.0, 255.0))
        sums = builder.select(builder.fcmp_ordered(">", sums, low), sums, low)
        sums = builder.select(builder.fcmp_ordered("<", sums, high), sums, high)
        packed = builder.trunc(builder.fptosi(sums, whole), ir.VectorType(byte, _CHANNELS))
        return builder.bitcast(packed, ir.IntType(32))

    return signature, generate


_DOWN = cubic_weights()
_ACROSS = by_lane(_DOWN)
_ZERO, _HALF, _ONE, _FULL = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)
_PHASES = np.float32(PHASES)
_SHIFT = PHASES.bit_length() - 1
_NEARER = np.uintp(_SHIFT - 1)  # by which a phase becomes 1 from the middle on
_TAPS, _BYTES = np.uintp(TAPS), np.uintp(4)  # of a pixel, and of a weight
_TRANSPARENT = np.uint32(0x00FFFFFF)  # the largest pixel whose fourth channel is 0
_EVEN = np.uint32(0x00FF00FF)
_FAR = np.float32(1 << 20)  # px; further off the picture everything is its edge


def as_pixels(rgba: U8Image) -> Pixels:
    """(H, W) uint32, a view of contiguous (H, W, 4) uint8."""
    return rgba.view(np.uint32)[..., 0]


@compiled_sums
def moving_least_squares(
    target: FloatArray,
    shift: FloatArray,
    weights: FloatArray,
    nodes: FloatArray,
    softness: np.float32,
    ridge: np.float32,
    grid: FloatArray,
) -> None:
    """The shift at each node by the affine map that fits the points best, nearer ones more; into `grid`.

    target, shift: (2, N) float32; weights: (N,) float32, >= 0; nodes, grid: (2, M) float32. All in
    shares of the canvas. A point's say is its weight over the square of its squared distance plus `softness`.
    """
    count = 0
    px, py = np.empty_like(weights), np.empty_like(weights)
    dx, dy, say = np.empty_like(weights), np.empty_like(weights), np.empty_like(weights)
    for point in range(weights.size):
        if weights[point] > _ZERO:
            px[count], py[count], say[count] = target[0, point], target[1, point], weights[point]
            dx[count], dy[count] = shift[0, point], shift[1, point]
            count += 1
    for node in range(nodes.shape[1]):
        nx, ny = nodes[0, node], nodes[1, node]
        total = mx = my = mxx = mxy = myy = _ZERO
        sx = sy = sxx = syx = sxy = syy = _ZERO
        for point in range(count):
            x, y = px[point] - nx, py[point] - ny  # seen from the node, which keeps float32 exact
            away = x * x + y * y + softness
            near = say[point] / (away * away)
            near_x, near_y = near * x, near * y
            total += near
            mx += near_x
            my += near_y
            mxx += near_x * x
            mxy += near_x * y
            myy += near_y * y
            sx += near * dx[point]
            sy += near * dy[point]
            sxx += near_x * dx[point]
            syx += near_y * dx[point]
            sxy += near_x * dy[point]
            syy += near_y * dy[point]
        each = _ONE / total if total > _ZERO else _ZERO  # nobody has a say: nothing moves
        mx, my, sx, sy = mx * each, my * each, sx * each, sy * each
        cxx, cxy, cyy = mxx * each - mx * mx + ridge, mxy * each - mx * my, myy * each - my * my + ridge
        determinant = cxx * cyy - cxy * cxy
        along_x, along_y = (cxy * my - cyy * mx) / determinant, (cxy * mx - cxx * my) / determinant
        grid[0, node] = sx + along_x * (sxx * each - mx * sx) + along_y * (syx * each - my * sx)
        grid[1, node] = sy + along_x * (sxy * each - mx * sy) + along_y * (syy * each - my * sy)


@inlined
def _ends(columns: int, width: int) -> NDArray[np.int64]:
    """Where in a row of pixels the cells of a grid end, between whose middles values are interpolated."""
    ends = np.empty(columns - 1, np.int64)
    for left in range(columns - 2):
        ends[left] = min(max(int(np.ceil((left + 1.5) * width / columns - 0.5)), 0), width)
    ends[columns - 2] = width
    return ends


@inlined
def _places(
    grid: FloatArray, row: int, height: int, ends: NDArray[np.int64], line: FloatArray, places: FloatArray
) -> None:
    """Shifts of one row of a box from its grid (2, rows, columns), bilinear, into `places` (2, width).

    ends: see `_ends`; line: (columns,) float32 for the work.
    """
    rows, columns, width = grid.shape[1], grid.shape[2], places.shape[1]
    down = (np.float32(row) + _HALF) * np.float32(rows) / np.float32(height) - _HALF
    down = min(max(down, _ZERO), np.float32(rows - 1))
    above = min(int(down), rows - 2)
    lower = down - np.float32(above)
    step, last = np.float32(columns) / np.float32(width), np.float32(columns - 1)
    for axis in range(2):
        for column in range(columns):
            value = grid[axis, above, column]
            line[column] = value + lower * (grid[axis, above + 1, column] - value)
        begin = 0
        for left in range(columns - 1):
            value, slope, middle = line[left], line[left + 1] - line[left], np.float32(left)
            for column in range(begin, ends[left]):
                right = min(max((np.float32(column) + _HALF) * step - _HALF, _ZERO), last)
                places[axis, column] = value + (right - middle) * slope
            begin = ends[left]


@inlined
def _mixed(below: np.uint32, above: np.uint32, share: np.uint32) -> np.uint32:
    """Pixel over pixel, as far as share, 0..255, says: two channels at a time, each in 16 bits of its own."""
    share += share >> np.uint32(7)  # of 256
    rest, half = np.uint32(256) - share, np.uint32(0x00800080)
    even = (below & _EVEN) * rest + (above & _EVEN) * share + half
    odd = ((below >> np.uint32(8)) & _EVEN) * rest + ((above >> np.uint32(8)) & _EVEN) * share + half
    return ((even >> np.uint32(8)) & _EVEN) | (odd & ~_EVEN)


@compiled
def lay(
    layers: Pixels,
    source: Pixels,
    grid: FloatArray,
    left: int,
    top: int,
    mask: U8Image,
    top_fade_px: np.float32,
) -> None:
    """Fetches `source` where a flow says and lays it over `layers`, in a box of them, as far as `mask` says.

    layers, source: (H, W) uint32 pixels; mask: (h, w) uint8, the box at (left, top), 255 is all; grid: (2,
    rows, columns) float32, px from each pixel of the box to where it is fetched. Edges are repeated, but past
    the upper one the fourth channel fades over top_fade_px, where that is above 0. Where the fourth channel
    of all four pixels around is 0 the nearest is taken unmixed.
    """
    height, width = mask.shape
    places, line = np.empty((2, width), np.float32), np.empty(grid.shape[2], np.float32)
    ends = _ends(grid.shape[2], width)
    patch = np.empty((TAPS, TAPS), np.uint32)
    one, source_width = np.uintp(1), np.uintp(source.shape[1])
    inner_width, inner_height = np.uintp(source.shape[1] - 3), np.uintp(source.shape[0] - 3)
    stride = _BYTES * source_width
    patch_address, source_address = np.uintp(patch.ctypes.data), np.uintp(source.ctypes.data)
    across_address, down_address = np.uintp(_ACROSS.ctypes.data), np.uintp(_DOWN.ctypes.data)
    for row in range(height):
        _places(grid, row, height, ends, line, places)
        for column in range(width):
            share = np.uint32(mask[row, column])
            if share == 0:
                continue
            x = np.float32(left + column) + places[0, column]
            y = np.float32(top + row) + places[1, column]
            right = int(np.floor(min(max(x, -_FAR), _FAR) * _PHASES + _HALF))
            below = int(np.floor(min(max(y, -_FAR), _FAR) * _PHASES + _HALF))
            across, down = np.uintp(right & (PHASES - 1)), np.uintp(below & (PHASES - 1))
            # Unsigned, what is negative is far beyond the right edge.
            i, j = np.uintp(right >> _SHIFT), np.uintp(below >> _SHIFT)
            if i - one < inner_width and j - one < inner_height:
                around = source[j, i] | source[j, i + one] | source[j + one, i] | source[j + one, i + one]
                corner, row_bytes = source_address + _BYTES * ((j - one) * source_width + i - one), stride
            else:
                around = np.uint32(0xFFFFFFFF)
                for b in range(TAPS):
                    inside = min(max((below >> _SHIFT) - 1 + b, 0), source.shape[0] - 1)
                    for a in range(TAPS):
                        beside = min(max((right >> _SHIFT) - 1 + a, 0), source.shape[1] - 1)
                        patch[b, a] = source[inside, beside]
                corner, row_bytes = patch_address, _BYTES * _TAPS
            if around > _TRANSPARENT:
                pixel = weighted_pixel(
                    corner,
                    row_bytes,
                    across_address + _BYTES * _BYTES * _TAPS * across,
                    down_address + _BYTES * _TAPS * down,
                )
            else:  # nobody is about: any colour will do
                pixel = source[j + (down >> _NEARER), i + (across >> _NEARER)]
            if top_fade_px > _ZERO and y < _ZERO:
                left_of_it = max(_ONE + y / top_fade_px, _ZERO)
                alpha = np.uint32(np.float32(pixel >> np.uint32(24)) * left_of_it)
                pixel = (pixel & np.uint32(0xFFFFFF)) | (alpha << np.uint32(24))
            if share < 255:
                pixel = _mixed(layers[top + row, left + column], pixel, share)
            layers[top + row, left + column] = pixel


@compiled
def over_plate(layers: Pixels, alpha_matte: U8Image, plate: U8Image, rgb: U8Image, matte: U8Image) -> None:
    """The person in `layers` over the plate, into `rgb` (H, W, 3) uint8, and the matte, (H, W) uint8.

    layers: (H, W) uint32 pixels; alpha_matte: (256,) uint8, what a pixel's fourth channel says of the matte.
    """
    height, width = layers.shape
    low = np.uint32(255)
    for row in range(height):
        for column in range(width):
            pixel = layers[row, column]
            share = np.int32(alpha_matte[pixel >> np.uint32(24)])
            matte[row, column] = share
            for channel in range(3):
                old, new = (
                    np.int32(plate[row, column, channel]),
                    np.int32((pixel >> np.uint32(8 * channel)) & low),
                )
                rgb[row, column, channel] = (old * (255 - share) + new * share + 127) // 255


@inlined
def _widen(first: NDArray[np.int64], last: NDArray[np.int64], row: int, column: int) -> None:
    place = np.uintp(row)  # a negative one is far beyond the end
    if place < np.uintp(first.size):
        first[place], last[place] = min(first[place], column), max(last[place], column)


@compiled
def fill_triangles(pixels: Pixels, corners: NDArray[np.int32], colours: Pixels) -> None:
    """Triangles with their outlines, one over the other.

    pixels: (H, W); corners: (N, 3, 2) int32, x and y in sixteenths of a px; colours: (N,). Of each row the
    pixels between the leftmost and the rightmost that an edge passes: where it stands at the middle of a row,
    and, of a flat one, at the middle of each column. That is what OpenCV's fillConvexPoly fills, but for one
    pixel in a thousand, without a call for each.
    """
    height, width = pixels.shape
    first, last = np.empty(height, np.int64), np.empty(height, np.int64)
    for index in range(colours.size):
        ya, yb, yc = corners[index, 0, 1], corners[index, 1, 1], corners[index, 2, 1]
        top, bottom = max((min(ya, yb, yc) + 8) >> 4, 0), min((max(ya, yb, yc) + 8) >> 4, height - 1)
        for row in range(top, bottom + 1):
            first[row], last[row] = width, -1
        for corner in range(3):
            x0, y0 = corners[index, corner, 0], corners[index, corner, 1]
            x1, y1 = corners[index, (corner + 1) % 3, 0], corners[index, (corner + 1) % 3, 1]
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            begin, end = (y0 + 8) >> 4, (y1 + 8) >> 4
            for row in range(max(begin, 0), min(end, height)):
                along = (x1 - x0) * (row - begin) / (end - begin)
                _widen(first, last, row, int(np.floor((x0 + 8 + along) / 16)))
            steep = abs(x1 - x0) <= y1 - y0
            if not steep and x0 > x1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            run, rise = (y1 - y0, x1 - x0) if steep else (x1 - x0, y1 - y0)
            for step in range((run >> 4) + 1):
                beside = rise * step / max(run, 1)
                if steep:
                    _widen(first, last, ((y0 + 8) >> 4) + step, int(np.floor((x0 + 8) / 16 + beside)))
                else:
                    _widen(first, last, int(np.floor((y0 + 8) / 16 + beside)), ((x0 + 8) >> 4) + step)
            _widen(first, last, (y1 + 8) >> 4, (x1 + 8) >> 4)
        for row in range(top, bottom + 1):
            for column in range(max(first[row], 0), min(last[row] + 1, width)):
                pixels[row, column] = colours[index]


@compiled
def into_planes(rgb: U8Image, planes: FloatArray) -> None:
    """(H, W, 3) uint8 into (3, H, W) float32, [-1, 1]."""
    scale = np.float32(1 / 127.5)
    for channel in range(3):
        for row in range(rgb.shape[0]):
            for column in range(rgb.shape[1]):
                planes[channel, row, column] = np.float32(rgb[row, column, channel]) * scale - _ONE


@compiled
def into_picture(planes: FloatArray, rgb: U8Image) -> None:
    """(3, H, W) float32, about [-1, 1], into (H, W, 3) uint8, rounded and clipped; NaN is black."""
    scale, middle = np.float32(127.5), np.float32(128)
    for row in range(rgb.shape[0]):
        for column in range(rgb.shape[1]):
            for channel in range(3):
                value = planes[channel, row, column] * scale + middle
                value = value if value > _ZERO else _ZERO  # also where it is not a number
                rgb[row, column, channel] = np.uint8(value if value < _FULL else _FULL)


@compiled
def correct(rgb: U8Image, clean: FloatArray, fed: FloatArray, corrected: U8Image) -> None:
    """A picture with what a network changed on a copy of half its size, bilinear, rounded and clipped.

    rgb, corrected: (2 h, 2 w, 3) uint8; clean, fed: (3, h, w) float32, [-1, 1], what came out for what went
    in. What is not a number changes nothing.
    """
    height, width = clean.shape[1], clean.shape[2]
    near, far, scale = np.float32(0.75), np.float32(0.25), np.float32(127.5)
    line = np.empty((3, width), np.float32)
    for row in range(2 * height):
        here = row // 2
        beside = min(max(here + 2 * (row % 2) - 1, 0), height - 1)
        for channel in range(3):
            for column in range(width):
                change = near * (clean[channel, here, column] - fed[channel, here, column])
                change += far * (clean[channel, beside, column] - fed[channel, beside, column])
                line[channel, column] = scale * change if change == change else _ZERO
        for column in range(width):
            left, right = max(column - 1, 0), min(column + 1, width - 1)
            for channel in range(3):
                middle = near * line[channel, column] + _HALF
                for half, other in ((0, left), (1, right)):
                    place = 2 * column + half
                    value = np.float32(rgb[row, place, channel]) + middle + far * line[channel, other]
                    corrected[row, place, channel] = np.uint8(min(max(value, _ZERO), _FULL))


@compiled
def move_noise(field: FloatArray, grid: FloatArray, planes: FloatArray) -> None:
    """A field (H, W, 3) float32 fetched at a flow's nearest pixels, mirrored at its edges, into (3, H, W)."""
    height, width = field.shape[:2]
    places, line = np.empty((2, width), np.float32), np.empty(grid.shape[2], np.float32)
    ends = _ends(grid.shape[2], width)
    for row in range(height):
        _places(grid, row, height, ends, line, places)
        for column in range(width):
            x = _mirrored(np.float32(column) + places[0, column], width)
            y = _mirrored(np.float32(row) + places[1, column], height)
            for channel in range(3):
                planes[channel, row, column] = field[y, x, channel]


@inlined
def _mirrored(place: np.float32, length: int) -> int:
    index = int(np.floor(min(max(place, -_FAR), _FAR) + _HALF))
    if 0 <= index < length:
        return index
    index = abs(index) % max(2 * length - 2, 1)
    return min(index, 2 * length - 2 - index)


@compiled
def add_noise(
    rgb: U8Image, noise: FloatArray, level: np.float32, down: int, right: int, planes: FloatArray
) -> None:
    """A picture (H, W, 3) uint8 with that share of noise (3, H, W) instead of it, into planes (3, H, W).

    The noise is shifted around its edges by (down, right) px.
    """
    height, width = rgb.shape[:2]
    scale = np.float32(1 / 127.5)
    for channel in range(3):
        for row in range(height):
            above = (row - down) % height
            for column in range(width):
                left = column - right
                left = left + width if left < 0 else left
                clean = np.float32(rgb[row, column, channel]) * scale - _ONE
                planes[channel, row, column] = clean + level * (noise[channel, above, left] - clean)


@compiled
def finish(
    picture: U8Image,
    coarse: U8Image,
    prior: U8Image,
    coarse_prior: U8Image,
    trust: FloatArray,
    near: U8Image,
    plate: U8Image,
    finished: U8Image,
) -> None:
    """The network's picture with the prior's fine part where both agree, over the plate away from the person.

    All pictures (H, W, 3) uint8; coarse ones are blurred. trust: (256,) float32, share of the prior's fine
    part by how far the coarse ones are apart; near: (H, W) uint8, 255 is the person, 0 the plate.
    """
    for row in range(near.shape[0]):
        for column in range(near.shape[1]):
            nearness = near[row, column]
            if nearness == 0:
                for channel in range(3):
                    finished[row, column, channel] = plate[row, column, channel]
                continue
            apart = 0
            for channel in range(3):
                difference = np.int32(coarse[row, column, channel]) - np.int32(
                    coarse_prior[row, column, channel]
                )
                apart = max(apart, int(abs(difference)))
            share, weight = trust[apart], np.float32(nearness) / _FULL
            for channel in range(3):
                made = np.float32(picture[row, column, channel])
                fine = np.float32(
                    np.int32(prior[row, column, channel])
                    - np.int32(coarse_prior[row, column, channel])
                    - np.int32(picture[row, column, channel])
                    + np.int32(coarse[row, column, channel])
                )
                value = min(max(made + share * fine, _ZERO), _FULL)
                behind = np.float32(plate[row, column, channel])
                finished[row, column, channel] = np.uint8(behind + (value - behind) * weight + _HALF)
