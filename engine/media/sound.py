"""Reads the sound of a file as samples, on the clock of its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from engine.arrays import FloatArray
from engine.errors import VideoError
from engine.media.film import open_film, picture_stream, sound_stream, unreadable

MAX_SOUND_S = 4 * 3600.0  # an hour is 230 MB in memory


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """The whole sound of a file, one channel."""

    samples: FloatArray  # (n,) float32, -1..1
    rate_hz: int
    start_s: float  # of the first sample, seen from the first picture; 0 where there are no pictures

    @property
    def duration_s(self) -> float:
        """Of the samples."""
        return len(self.samples) / self.rate_hz

    def from_picture(self) -> FloatArray:
        """The samples as they begin with the first picture: cut, or led by silence."""
        lead = round(self.start_s * self.rate_hz)
        if lead >= 0:
            return np.concatenate([np.zeros(lead, np.float32), self.samples])
        return self.samples[-lead:]


def read_sound(path: Path, rate_hz: int = 16_000) -> Sound | None:
    """All channels mixed into one, at `rate_hz`; None where the file has no sound.

    Gaps inside the sound are filled with silence. Raises VideoError.
    """
    with open_film(path) as container:
        stream = sound_stream(container)
        if stream is None:
            return None
        video = picture_stream(container)
        picture_s = float(video.start_time * video.time_base) if video and video.start_time else 0.0
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate_hz)
        pieces: list[FloatArray] = []
        start_s, have = None, 0
        try:
            for frame in container.decode(stream):
                now = float(frame.time or 0.0)
                start_s = now if start_s is None else start_s
                for piece in resampler.resample(frame):
                    pieces.append(piece.to_ndarray()[0])
                have = sum(map(len, pieces[-1:])) + have
                if have > MAX_SOUND_S * rate_hz:
                    raise VideoError(
                        f"{path}: more than {MAX_SOUND_S / 3600:.0f} h of sound: cut out what is wanted"
                    )
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
        except (av.FFmpegError, OSError) as error:
            raise unreadable(path, error) from error
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    if not np.isfinite(samples).all():
        samples = np.nan_to_num(samples)
    start = 0.0 if start_s is None or video is None else start_s - picture_s
    return Sound(np.clip(samples, -1.0, 1.0).astype(np.float32), rate_hz, start)
