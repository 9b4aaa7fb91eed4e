"""Reads video files frame by frame and writes them, with the sound of another file if wanted (PyAV).

Knows nothing of people or avatars. Pictures are (H, W, 3) uint8 RGB, upright: the display matrix is honoured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from engine.arrays import U8Image
from engine.errors import VideoError
from engine.files import Part
from engine.media.audio import AudioTrack
from engine.media.colour import Bt709Converter, tag_bt709
from engine.media.deinterlacer import deinterlaced
from engine.media.film import (
    choice_of_stream,
    file_url,
    open_film,
    picture_stream,
    sound_stream,
    unreadable,
)
from engine.media.frame_converter import FrameConverter
from engine.media.xmp import XMP_SUFFIXES, append_source_type

_FALLBACK_FPS = 25.0  # for streams that state no rate at all
_MISSING_SHARE = 0.1  # a file that ends this much before its own frame count is truncated
_RARE_KEYS = 2.0  # of the wanted step: key frames that are further apart are not enough
_FINE_TIME_BASE = Fraction(1, 90_000)  # s, for variable frame rates
_CRF = "16"  # visually lossless for a 256..512 px face, still a few Mbps


Span = tuple[float, float]  # of a film: begin and end, s since its first frame


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One decoded frame."""

    rgb: U8Image  # (H, W, 3) uint8 RGB, contiguous
    time_s: float  # since the first frame
    index: int


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of itself; width and height are those of the upright picture."""

    width: int  # px
    height: int  # px
    fps: float  # mean
    frames: int  # 0: unknown
    duration_s: float
    has_audio: bool
    note: str = ""  # one line about what was chosen in it, where there was a choice


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The open container and its picture; whatever goes wrong inside becomes a one-line VideoError."""
    with open_film(path) as container:
        if (stream := picture_stream(container)) is None:
            kinds = {"a cover" if stream.type == "video" else stream.type for stream in container.streams}
            found = ", ".join(sorted(kinds)) or "no streams"
            raise VideoError(f"{path}: no picture in it, only {found}; give a file with a video stream")
        stream.thread_type = "AUTO"
        try:
            yield container, stream
        except (av.FFmpegError, OSError) as error:
            raise unreadable(path, error) from error


def _rate(stream: Any) -> float:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return float(rate) if rate else _FALLBACK_FPS


def read_frames(
    path: str | Path, spans: Sequence[Span] | None = None, whole: bool = True
) -> Iterator[VideoFrame]:
    """All frames of the film, in order of display, without combs. Raises VideoError, also midway.

    spans: only the frames within these, in order; what lies between is passed over by seeking, where the film
    allows it. whole: a film that ends before its own length is an error.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        converter = FrameConverter(stream)
        index = 0
        frames = _timed(container, stream) if spans is None else _within(container, stream, spans)
        for frame, time_s in frames:
            yield VideoFrame(converter.picture(frame), time_s, index)
            index += 1
        if index == 0:
            raise _nothing_in(path)
        if whole and spans is None and index < (1.0 - _MISSING_SHARE) * stream.frames:
            raise VideoError(f"{path}: truncated after {index} of {stream.frames} frames; copy it again")


def sampled_frames(path: str | Path, most: int, least_step_s: float) -> Iterator[VideoFrame]:
    """At most `most` frames from the whole length of the film, `least_step_s` or more apart, some with combs.

    Where the film has key frames so often, nothing else is decoded. Raises VideoError, also midway.
    """
    with _opened(Path(path)) as (container, stream):
        keys_s, length_s = _key_frames(container, stream)
        step_s = max(least_step_s, length_s / most)
        enough = bool(keys_s) and max(np.diff([0.0, *keys_s, length_s])) <= _RARE_KEYS * step_s
        container.seek(0)
        converter = FrameConverter(stream)
        start_s, due_s, index = 0.0, -np.inf, 0
        for packet in container.demux(stream):
            if enough and packet.size and not packet.is_keyframe:
                continue
            for frame in packet.decode():
                if index == 0:
                    start_s = frame.time or 0.0
                time_s = (frame.time or 0.0) - start_s
                if time_s >= due_s and index < most:
                    yield VideoFrame(converter.picture(frame), time_s, index)
                    due_s, index = time_s + step_s, index + 1


def _timed(container: Any, stream: Any, start_s: float | None = None) -> Iterator[tuple[Any, float]]:
    """Frames from where the container stands, with their time since `start_s`, or since the first of them."""
    step_s = 1.0 / _rate(stream)
    last_s = -step_s
    for frame in deinterlaced(container.decode(stream)):
        if start_s is None:
            start_s = frame.time or 0.0
        time_s = last_s + step_s if frame.time is None else frame.time - start_s
        last_s = time_s if time_s > last_s else last_s + step_s  # some files repeat a time stamp
        yield frame, last_s


def _within(container: Any, stream: Any, spans: Sequence[Span]) -> Iterator[tuple[Any, float]]:
    first = next(container.decode(stream), None)
    start_s = (first.time if first is not None else None) or 0.0
    for begin_s, end_s in spans:
        for frame, time_s in _from(container, stream, start_s, begin_s):
            if time_s >= end_s:
                break
            if time_s >= begin_s:
                yield frame, time_s


def _from(container: Any, stream: Any, start_s: float, begin_s: float) -> Iterator[tuple[Any, float]]:
    """As `_timed`, from a frame at `begin_s` or a little before it: some formats are sought in too far on."""
    back_s = 0.0
    while True:
        sought_s = max(0.0, begin_s - back_s)
        try:
            container.seek(int((start_s + sought_s) / stream.time_base), stream=stream)
        except av.FFmpegError:  # it cannot be sought in: decoded up to there
            return _timed(container, stream, start_s)
        frames = _timed(container, stream, start_s)
        first = next(frames, None)
        if sought_s == 0.0 or (first is not None and first[1] <= begin_s):
            return chain([] if first is None else [first], frames)
        back_s = max(1.0, 2.0 * back_s)


def _key_frames(container: Any, stream: Any) -> tuple[list[float], float]:
    """Their times since the first frame, and that of the last frame, s; nothing is decoded."""
    stamps, keys = [0.0], []
    first: int | None = None
    for packet in container.demux(stream):
        if packet.pts is not None:
            first = packet.pts if first is None else first
            stamps.append(float((packet.pts - first) * stream.time_base))
            keys += stamps[-1:] if packet.is_keyframe else []
    return keys, max(stamps)


def _counted(container: Any, stream: Any) -> tuple[int, float]:
    """Frames and their mean rate, Hz, by their time stamps: for a file without a length, as of browsers."""
    container.seek(0)
    stamps = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
    lasted_s = float((max(stamps) - min(stamps)) * stream.time_base) if stamps else 0.0
    return len(stamps), (len(stamps) - 1) / lasted_s if lasted_s else _rate(stream)


def _nothing_in(path: Path) -> VideoError:
    return VideoError(f"{path}: no frame could be decoded; export it as MP4 (H.264) and try again")


def probe(path: str | Path) -> VideoInfo:
    """What the file says of itself, its first frame included. Raises VideoError."""
    path = Path(path)
    with _opened(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise _nothing_in(path)
        width, height = FrameConverter(stream).size(first)
        fps = _rate(stream)
        duration_s = float(stream.duration * stream.time_base) if stream.duration else 0.0
        if not duration_s and container.duration:
            duration_s = container.duration / av.time_base
        frames = stream.frames or round(duration_s * fps)
        if not frames:  # the rate that such a file states is that of the camera, not of what was recorded
            frames, fps = _counted(container, stream)
        has_audio = sound_stream(container) is not None
        note = choice_of_stream(container)
        return VideoInfo(width, height, fps, frames, duration_s or frames / fps, has_audio, note)


class VideoWriter:
    """Writes H.264 (yuv420p, BT.709), with the sound of `audio_from` if that has any, cut to its length.

    The file appears under its name only on `close()`; after `abort()` or an error inside `with` none is left.
    Odd sizes gain a repeated last row or column: H.264 wants even ones.
    """

    def __init__(
        self,
        path: str | Path,
        width: int,
        height: int,
        fps: Fraction,
        audio_from: str | Path | None = None,
        variable: bool = False,
        comment: str = "",
        source_type: str = "",
        finish: Callable[[Path], None] | None = None,
    ) -> None:
        """variable: every frame brings its own time.

        comment, source_type (a term of IPTC's list): go into the file's metadata. finish: is called with the
        finished file before it gets its name, and may change it; what it raises leaves none.
        """
        self._path = Path(path)
        self._size = (width, height)
        self._fps, self._variable, self._source_type = fps, variable, source_type
        self._finish = finish
        self._converter = Bt709Converter()
        self._frames = 0
        self._end_s = 0.0
        self._audio: AudioTrack | None = None
        self._container: Any = None
        self._part: Part | None = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._part = Part(self._path.parent, self._path.suffix)
            self._container = av.open(file_url(self._part.path), "w")
            if comment:
                self._container.metadata["comment"] = comment
            if source_type:  # Matroska keeps it as a tag; the others want XMP, see close()
                self._container.metadata["digital_source_type"] = source_type
            options = {"crf": _CRF, "preset": "medium"}
            self._stream = self._container.add_stream("libx264", rate=fps, options=options)
            self._stream.width, self._stream.height = width + width % 2, height + height % 2
            self._stream.pix_fmt = "yuv420p"
            tag_bt709(self._stream.codec_context)
            self._time_base = _FINE_TIME_BASE if variable else 1 / fps
            self._stream.codec_context.time_base = self._time_base
            if audio_from is not None:
                self._audio = AudioTrack.of(Path(audio_from), self._container)
        except VideoError:  # of the file with the sound
            self.abort()
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            self.abort()
            cure = "choose a writable .mp4 or .mkv path"
            raise VideoError(f"{path}: cannot be written ({error}); {cure}") from error

    def write(self, rgb: U8Image, time_s: float | None = None) -> None:
        """Append one (height, width, 3) uint8 RGB picture; `time_s` counts in a variable-rate file only."""
        if rgb.shape[:2] != self._size[::-1]:
            raise ValueError(f"picture {rgb.shape[1]}x{rgb.shape[0]} does not fit the file's {self._size}")
        height, width = rgb.shape[:2]
        even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = self._converter.yuv(np.ascontiguousarray(even))
        start_s = float(self._frames / self._fps)
        if self._variable and time_s is not None:
            start_s = time_s
        frame.pts = round(start_s / self._time_base)
        frame.time_base = self._time_base
        self._frames += 1
        self._end_s = start_s + float(1 / self._fps)
        with self._told():
            self._mux(frame)
            if self._audio:
                self._audio.copy_until(self._end_s)

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise VideoError(
                f"{self._path}: cannot be written ({reason}): make room there, or choose another place"
            ) from error

    def close(self) -> None:
        """Finish the file and give it its name; a second call does nothing."""
        if self._container is None or self._part is None:
            return
        try:
            with self._told():
                self._mux(None)
                if self._audio:
                    self._audio.finish(self._end_s)
                self._container.close()
                self._container = None
                if self._source_type and self._path.suffix.lower() in XMP_SUFFIXES:
                    append_source_type(self._part.path, self._source_type)
                if self._finish is not None:
                    self._finish(self._part.path)
                self._part.commit(self._path, shared=True)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Give up: remove what was written so far."""
        if self._audio:
            self._audio.close()
        if self._container is not None:
            with suppress(av.FFmpegError, OSError):  # a half-written file may refuse its trailer
                self._container.close()
            self._container = None
        if self._part is not None:
            self._part.discard()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
