"""The sound of a file as samples, on the clock of its pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import VideoError
from engine.media.sound import read_sound


def film(path: Path, sound_from_s: float | None, rate: int = 44_100) -> None:
    """Two seconds of pictures; a click in the sound, half a second after its beginning at `sound_from_s`."""
    with av.open(path, "w") as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width = video.height = 32
        sound = out.add_stream("pcm_s16le", rate=rate) if sound_from_s is not None else None
        for k in range(50):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound is not None:
            samples = np.zeros((1, 2 * rate), np.int16)  # both channels in turn
            samples[0, rate : rate + 200] = 20_000
            piece = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            piece.sample_rate, piece.time_base = rate, Fraction(1, rate)
            piece.pts = round((sound_from_s or 0.0) * rate)
            out.mux(sound.encode(piece))
            out.mux(sound.encode(None))


@pytest.mark.parametrize("start_s", [0.0, 0.3])
def test_a_click_is_where_the_pictures_say(tmp_path: Path, start_s: float) -> None:
    path = tmp_path / "film.mkv"
    film(path, start_s)
    sound = read_sound(path)
    assert sound is not None
    assert sound.start_s == pytest.approx(start_s, abs=0.002)
    assert sound.duration_s == pytest.approx(1.0, abs=0.01)
    click = int(np.abs(sound.from_picture()).argmax()) / sound.rate_hz
    assert click == pytest.approx(start_s + 0.5, abs=0.01)


def test_without_sound_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    film(path, None)
    assert read_sound(path) is None


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(b"nothing of the kind")
    with pytest.raises(VideoError, match=r"film\.mkv"):
        read_sound(tmp_path / "film.mkv")
