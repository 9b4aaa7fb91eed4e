"""Recordings of speech, and the same as they might have come: through rooms, noise and codecs."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import numpy as np

from engine.arrays import FloatArray
from engine.errors import SettingsError
from engine.media.sound import read_sound
from engine.voice.mel import SAMPLE_RATE_HZ

LOUDEST = 0.5  # to which recordings are brought
SPEEDS = (0.85, 1.18)  # range of resampling: voices of other sizes, other rates
CODECS = (("libopus", "ogg", 8_000), ("libopus", "ogg", 16_000), ("libopus", "ogg", 24_000))
_MAX_S = 20.0


def speech_files(folder: Path) -> list[Path]:
    """FLAC and WAV files in a folder and below it, by name. Raises SettingsError where there is none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".flac", ".wav"))
    if not found:
        raise SettingsError(f"{folder}: no .flac or .wav file in it; wanted a folder of recorded speech")
    return found


def clean_speech(path: Path) -> FloatArray:
    """(n,) float32 at 16 kHz, its loudest sample LOUDEST, at most 20 s."""
    sound = read_sound(path, SAMPLE_RATE_HZ)
    if sound is None or sound.duration_s < 1.0:
        raise SettingsError(f"{path}: less than a second of sound")
    samples = sound.samples[: int(_MAX_S * SAMPLE_RATE_HZ)]
    return np.asarray(samples * (LOUDEST / max(float(np.abs(samples).max()), 1e-4)), np.float32)


def at_speed(samples: FloatArray, speed: float) -> FloatArray:
    """The samples played `speed` times as fast, pitch and all."""
    at = np.arange(0, len(samples) - 1, speed)
    spectrum = np.fft.rfft(samples)
    if speed > 1.0:  # nothing above the new Nyquist frequency may fold back
        spectrum[int(len(spectrum) / speed) :] = 0.0
        samples = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


def as_it_came(samples: FloatArray, others: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The speech after a room, noise, a microphone and a codec, each by chance; as long, not later.

    others: speech of somebody else, from which babble is made.
    """
    heard = samples
    if rng.random() < 0.5:
        heard = _in_a_room(heard, rng)
    if rng.random() < 0.6:
        heard = heard + _noise(len(heard), others, rng) * _gain(heard, rng.uniform(3.0, 30.0))
    if rng.random() < 0.5:
        heard = _through_a_microphone(heard, rng)
    if rng.random() < 0.4:
        name, kind, bps = CODECS[rng.integers(len(CODECS))]
        heard = through_codec(heard, name, kind, bps)
    level = 10.0 ** rng.uniform(-1.2, 0.1)
    if rng.random() < 0.05:
        level *= 6.0  # clipped
    return np.asarray(np.clip(heard * level, -1.0, 1.0), np.float32)


def through_codec(samples: FloatArray, codec: str, container: str, bps: int) -> FloatArray:
    """What a codec leaves of it, as long as it was."""
    file = BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=48_000)
        stream.bit_rate = bps
        stream.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000, frame_size=960)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    file.seek(0)
    back = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(file) as made:
        pieces = [p.to_ndarray()[0] for f in made.decode(audio=0) for p in back.resample(f)]
        pieces += [p.to_ndarray()[0] for p in back.resample(None)]
    heard = np.concatenate(pieces)[: len(samples)]
    return np.concatenate([heard, np.zeros(len(samples) - len(heard), np.float32)])


def _gain(speech: FloatArray, ratio_db: float) -> float:
    """What noise of power 1 is multiplied with, to lie `ratio_db` below the speech."""
    return float(np.sqrt(np.mean(speech**2)) * 10.0 ** (-ratio_db / 20.0))


def _noise(count: int, others: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(count,) of power 1: white to brown, or the babble of four."""
    if rng.random() < 0.3:
        starts = rng.integers(0, len(others), 4)
        noise = np.sum([np.resize(np.roll(others, int(start)), count) for start in starts], axis=0)
    else:
        spectrum = np.fft.rfft(rng.normal(size=count))
        spectrum /= np.maximum(np.arange(len(spectrum)), 20.0) ** rng.uniform(0.0, 1.0)
        noise = np.fft.irfft(spectrum, count)
    return np.asarray(noise / (np.std(noise) + 1e-9), np.float32)


def _in_a_room(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Direct sound and an exponentially decaying tail; the direct sound stays where it was."""
    seconds = rng.uniform(0.1, 0.6)  # until 60 dB below
    at = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.normal(size=len(at)) * np.exp(-6.9 * at / seconds) * rng.uniform(0.01, 0.12)
    tail[: int(0.002 * SAMPLE_RATE_HZ)] = 0.0
    tail[0] = 1.0
    count = len(samples) + len(tail)
    wet = np.fft.irfft(np.fft.rfft(samples, count) * np.fft.rfft(tail, count), count)
    return wet[: len(samples)].astype(np.float32)


def _through_a_microphone(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A smooth random frequency response, often without the lowest or highest part."""
    spectrum = np.fft.rfft(samples)
    hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, len(spectrum))
    knots = np.interp(hz, np.linspace(0.0, 8000.0, 7), rng.normal(0.0, 4.0, 7))
    response = 10.0 ** (knots / 20.0) / (1.0 + (rng.uniform(20.0, 200.0) / np.maximum(hz, 1.0)) ** 4)
    if rng.random() < 0.4:
        response /= 1.0 + (hz / rng.uniform(3400.0, 7000.0)) ** 12
    return np.fft.irfft(spectrum * response, len(samples)).astype(np.float32)
