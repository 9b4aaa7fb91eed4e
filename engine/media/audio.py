"""Carries the sound of one file into another being written: copied if the container takes it, else as AAC.

It keeps its distance from the beginning of the pictures' stream; where there are none, it begins at once.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from engine.media.film import open_film, picture_stream, sound_stream

_COPIED = {  # codecs that players expect in each container
    ".mp4": {"aac", "mp3", "ac3", "eac3"},
    ".mov": {"aac", "mp3", "ac3", "alac", "pcm_s16le"},
    ".mkv": {"aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "pcm_s16le"},
}
_AAC_BPS = 160_000


class AudioTrack:
    """The sound of a source file, moved into an output container as far as the picture has come."""

    @classmethod
    def of(cls, source: Path, output: Any) -> AudioTrack | None:
        """None if the source has no sound. Raises VideoError."""
        container = open_film(source)
        if sound_stream(container) is None:
            container.close()
            return None
        return cls(container, output)

    def __init__(self, source: Any, output: Any) -> None:
        self._source, self._output = source, output
        self._in = sound_stream(source)
        begins = picture_stream(source) or self._in
        self._shift_s = float(begins.start_time * begins.time_base) if begins.start_time else 0.0
        suffix = Path(output.name).suffix.lower()
        self._copied = self._in.codec_context.name in _COPIED.get(suffix, set())
        if self._copied:
            self._out = output.add_stream_from_template(self._in)
        else:
            self._out = output.add_stream("aac", rate=self._in.codec_context.sample_rate or 48_000)
            self._out.bit_rate = _AAC_BPS
        self._pieces = self._packets() if self._copied else self._samples()
        self._waiting: Any = next(self._pieces, None)

    def copy_until(self, end_s: float) -> None:
        """Move all sound that begins before `end_s` of the picture."""
        while self._waiting is not None and self._start_s(self._waiting) < end_s:
            self._move(self._waiting)
            self._waiting = next(self._pieces, None)

    def finish(self, end_s: float) -> None:
        """Move the rest up to `end_s`, where the picture ends, and close the source."""
        self.copy_until(end_s)
        if not self._copied:
            for packet in self._out.encode(None):
                self._output.mux(packet)
        self.close()

    def close(self) -> None:
        """Close the source; a second call does nothing."""
        if self._source is not None:
            self._pieces.close()
            self._source.close()
            self._source = None

    def _packets(self) -> Generator[Any, None, None]:
        for packet in self._source.demux(self._in):
            if packet.pts is not None:
                yield packet

    def _samples(self) -> Generator[Any, None, None]:
        for frame in self._source.decode(self._in):
            if frame.pts is not None:
                yield frame

    def _start_s(self, piece: Any) -> float:
        return float(piece.pts * piece.time_base) - self._shift_s

    def _move(self, piece: Any) -> None:
        shift = round(self._shift_s / piece.time_base)
        piece.pts -= shift
        if self._copied:
            if piece.dts is not None:
                piece.dts -= shift
            piece.stream = self._out
            self._output.mux(piece)
        else:
            for packet in self._out.encode(piece):
                self._output.mux(packet)
