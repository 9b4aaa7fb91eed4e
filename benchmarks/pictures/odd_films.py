"""Small films of the odd kinds that people bring, made with PyAV; the plain twin is known for each."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from engine.arrays import DoubleArray, U8Image

# a, b, c, d of the eight display matrices that turn by quarters, mirrored or not
MATRICES = (
    (1, 0, 0, 1),
    (0, 1, -1, 0),
    (-1, 0, 0, -1),
    (0, -1, 1, 0),
    (-1, 0, 0, 1),
    (0, 1, 1, 0),
    (1, 0, 0, -1),
    (0, -1, -1, 0),
)
CORNERS = {(-1, -1): (200, 40, 40), (1, -1): (40, 180, 40), (-1, 1): (50, 60, 200), (1, 1): (210, 200, 50)}


def corners(width: int = 64, height: int = 48) -> U8Image:
    """A picture whose quarters have the colours of CORNERS; keys are x and y, -1 or 1."""
    rgb = np.empty((height, width, 3), np.uint8)
    for (x, y), colour in CORNERS.items():
        rows = slice(0, height // 2) if y < 0 else slice(height // 2, None)
        rgb[rows, slice(0, width // 2) if x < 0 else slice(width // 2, None)] = colour
    return rgb


def corner_colours(rgb: U8Image) -> dict[tuple[int, int], Any]:
    """The mean colour in the middle of each quarter, (3,) float64."""
    height, width = rgb.shape[:2]
    found = {}
    for x, y in CORNERS:
        row, column = height * (2 + y) // 4, width * (2 + x) // 4
        found[x, y] = rgb[row - 3 : row + 3, column - 3 : column + 3].reshape(-1, 3).mean(axis=0)
    return found


# sRGB, from light to dark
SKINS = (
    (255, 224, 196),
    (241, 194, 160),
    (224, 172, 140),
    (198, 134, 104),
    (160, 110, 85),
    (141, 85, 60),
    (100, 65, 50),
    (70, 45, 36),
)
_PATCH_PX = 48
_TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593])
_WHITE_NITS, _HLG_PEAK_NITS = 203.0, 1000.0  # BT.2408, table 1; BT.2100, note 5e


def skin_chart() -> U8Image:
    """Patches of SKINS side by side."""
    return np.repeat(np.repeat(np.array([SKINS], np.uint8), _PATCH_PX, axis=0), _PATCH_PX, axis=1)


def patch_colours(rgb: U8Image) -> list[Any]:
    """The mean colour in the middle of each patch of a chart, (3,) float64."""
    middle = _PATCH_PX // 4
    rows = rgb[middle:-middle]
    starts = range(0, rgb.shape[1], _PATCH_PX)
    return [rows[:, at + middle : at + _PATCH_PX - middle].reshape(-1, 3).mean(axis=0) for at in starts]


def pq(rgb: U8Image) -> DoubleArray:
    """The signal R'G'B' of BT.2100, 0..1, BT.2020 primaries, of a standard picture in PQ."""
    nits = _nits(rgb)
    power = (nits / 10_000) ** (2610 / 16384)
    signal = (3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)
    return np.asarray(signal ** (2523 / 32), np.float64)


def hlg(rgb: U8Image) -> DoubleArray:
    """As `pq`, in HLG: through the inverse OOTF of a display of 1000 cd/m2."""
    display = _nits(rgb) / _HLG_PEAK_NITS
    luminance = np.maximum(display @ _BT2020_LUMA, 1e-9)
    scene = display / (luminance ** (0.2 / 1.2))[..., None]
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    bright = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    return np.asarray(np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright), np.float64)


def bt2020(rgb: U8Image) -> DoubleArray:
    """As `pq`, but of standard range: only the primaries change."""
    return np.asarray((_nits(rgb) / _WHITE_NITS) ** (1 / 2.4), np.float64)


def _nits(rgb: U8Image) -> DoubleArray:
    """cd/m2 of BT.2020's primaries: displayed as BT.1886 says, white as BT.2408 says."""
    linear = (rgb / 255.0) ** 2.4 @ _TO_BT2020.T
    return np.asarray(np.clip(linear, 0, None) * _WHITE_NITS, np.float64)


def film_of_signal(
    path: Path,
    signals: Iterable[DoubleArray],
    luma: tuple[float, float],
    full: bool,
    said: dict[str, int],
    bits: int,
) -> Path:
    """Pictures given as R'G'B', (H, W, 3), 0..1, with even sides.

    luma: K_R and K_B of the matrix; full: range; said: color_trc and its like, for the file; bits: 8 or 10.
    """
    pixels = "yuv420p" if bits == 8 else "yuv420p10le"
    with av.open(f"file:{path}", "w") as container:
        options = {"crf": "6"} | ({"x265-params": "log-level=none"} if bits == 10 else {})
        stream = container.add_stream("libx264" if bits == 8 else "libx265", rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = pixels
        for name, value in said.items():
            setattr(stream.codec_context, name, value)
        for index, signal in enumerate(signals):
            height, width = signal.shape[:2]
            if index == 0:
                stream.width, stream.height = width, height
            frame = av.VideoFrame(width, height, pixels)
            for plane, values in zip(frame.planes, _planes(signal, luma, full, bits), strict=True):
                rows = np.zeros((values.shape[0], plane.line_size // (1 if bits == 8 else 2)), values.dtype)
                rows[:, : values.shape[1]] = values
                plane.update(rows.astype(np.uint8 if bits == 8 else "<u2").tobytes())
            for name, value in said.items():
                setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _planes(signal: DoubleArray, luma: tuple[float, float], full: bool, bits: int) -> list[DoubleArray]:
    """Y', C_B, C_R of ITU-R BT.709's and BT.2020's equations, in whole steps; 4:2:0."""
    kr, kb = luma
    y = signal @ np.array([kr, 1 - kr - kb, kb])
    chroma = [(signal[..., 2] - y) / (2 - 2 * kb), (signal[..., 0] - y) / (2 - 2 * kr)]
    height, width = y.shape
    small = [c.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) for c in chroma]
    steps = 2 ** (bits - 8)
    if full:
        most = 256 * steps - 1
        planes = [y * most, *(c * most + 128 * steps for c in small)]
    else:
        planes = [(219 * y + 16) * steps, *((224 * c + 128) * steps for c in small)]
    return [np.clip(plane.round(), 0, 256 * steps - 1) for plane in planes]


def film(
    path: Path,
    pictures: Iterable[U8Image],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int = 25,
    context: dict[str, Any] | None = None,
    options: dict[str, str] | None = None,
    flags: int = 0,
) -> Path:
    """context: attributes of the codec context; flags: more of its flags; options: of the encoder."""
    options = dict(options or {}) | ({"x265-params": "log-level=none"} if codec == "libx265" else {})
    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = pixels
        for name, value in (context or {}).items():
            setattr(stream.codec_context, name, value)
        stream.codec_context.flags |= flags
        for index, picture in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode(None))
    return path


def with_display_matrix(source: Path, path: Path, matrix: Sequence[int]) -> Path:
    """A copy of an MP4 whose track header holds the matrix a, b, c, d."""
    a, b, c, d = matrix
    data = bytearray(source.read_bytes())
    header = data.index(b"tkhd")
    at = header + 8 + (32 if data[header + 4] == 1 else 20) + 16
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def film_that_changes_size(path: Path, parts: Sequence[Sequence[U8Image]], rate: int = 25) -> Path:
    """A WebM of VP8, each part in the size of its own pictures."""
    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream("libvpx", rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = parts[0][0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        shown = 0
        for part in parts:
            encoder = av.CodecContext.create("libvpx", "w")
            assert isinstance(encoder, av.VideoCodecContext)
            encoder.height, encoder.width = part[0].shape[:2]
            encoder.pix_fmt, encoder.bit_rate, encoder.time_base = "yuv420p", 2_000_000, Fraction(1, rate)
            frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in part]
            packets = [
                packet for frame in frames for packet in encoder.encode(frame.reformat(format="yuv420p"))
            ]
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream, packet.time_base = stream, Fraction(1, rate)
                packet.pts = packet.dts = shown
                container.mux(packet)
                shown += 1
    return path


def film_of_streams(path: Path, streams: Sequence[tuple[str, Sequence[U8Image], int]]) -> Path:
    """streams: codec, pictures and disposition of each."""
    with av.open(f"file:{path}", "w") as container:
        made = []
        for codec, pictures, disposition in streams:
            stream = container.add_stream(codec, rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = Disposition(disposition)
            made.append(stream)
        for stream, (_, pictures, _) in zip(made, streams, strict=True):
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
            container.mux(stream.encode(None))
    return path


INTERLACED = 1 << 18 | 1 << 29  # flags of an encoder: interlaced DCT and motion estimation


def woven(halves: Sequence[U8Image], first: int = 0) -> list[U8Image]:
    """Of each two pictures one, rows of both by turns. first: the first row of the earlier one, 0 or 1."""
    whole = [before.copy() for before in halves[::2]]
    for picture, after in zip(whole, halves[1::2], strict=True):
        picture[1 - first :: 2] = after[1 - first :: 2]
    return whole
