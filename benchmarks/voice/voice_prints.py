"""How well is a voice told from others by its print?

    avatarcast bench voice_prints --people FOLDER [--one FOLDER]

Each folder in --people is a person, its files are their recordings: a print is made of the first half of
them, and the verdicts of calls (5 s of speech, `engine.voice.voice_print`) are counted on the others, for
each person's print. --one: recordings of one person, made apart, each compared with the print of each other.
All of it as recorded, and through another room: an echo of 0.15 to 0.5 s, up to 2 dB louder than the voice, a
microphone's own colour, noise 20 to 40 dB below, and Opus at 32 kbit/s. Intervals are of persons (of --one:
recordings) drawn again and again. The threshold was chosen on readers of LibriSpeech's train-clean-100.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from engine.arrays import DoubleArray, FloatArray
from engine.errors import SettingsError
from engine.media.sound import read_sound
from engine.voice.mel import SAMPLE_RATE_HZ
from engine.voice.voice_print import SAME, SpeechWindows, embedded, likenesses, mean_print

MOST_S = 60.0  # of a recording
_DRAWS = 1000


def in_another_room(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The same speech, as another microphone in another room sends it into a call."""
    echo_s = rng.uniform(0.15, 0.5)
    times_s = np.arange(round(0.3 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    echo = rng.normal(size=len(times_s)) * np.exp(-6.9 * times_s / echo_s)
    echo *= 10 ** (rng.uniform(-12, 2) / 20) / np.linalg.norm(echo)
    echo[0] += 1.0
    size = len(samples) + len(echo)
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(echo, size)
    hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    colour_db = np.interp(hz, np.geomspace(80, 8_000, 6), rng.uniform(-6, 6, 6))
    spectrum *= 10 ** (colour_db / 20) * (hz >= rng.uniform(60, 150))
    heard = np.fft.irfft(spectrum, size)[: len(samples)] * 10 ** (rng.uniform(-10, 6) / 20)
    heard /= max(1.0, float(np.abs(heard).max()))
    noise = rng.normal(size=len(heard)) * heard.std() * 10 ** (-rng.uniform(20, 40) / 20)
    return _through_opus((heard + noise).astype(np.float32))


def _through_opus(samples: FloatArray) -> FloatArray:
    coded = BytesIO()
    with av.open(coded, "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=48_000, layout="mono")
        stream.bit_rate = 32_000
        pcm = np.round(np.clip(samples, -1, 1) * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        resampler = av.AudioResampler("s16", "mono", 48_000)
        for piece in [*resampler.resample(frame), None]:
            out.mux(stream.encode(piece))
    coded.seek(0)
    with av.open(coded) as container:
        resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE_HZ)
        pieces = [p.to_ndarray()[0] for frame in container.decode(audio=0) for p in resampler.resample(frame)]
    return np.concatenate(pieces)


def _embedded(path: Path, rng: np.random.Generator) -> dict[str, FloatArray]:
    """(n, NUMBERS) of its windows, by condition."""
    sound = read_sound(path)
    if sound is None:
        raise SettingsError(f"{path}: no sound; wanted a recording of somebody who speaks")
    samples = sound.samples[: round(MOST_S * SAMPLE_RATE_HZ)]
    said = {"as recorded": samples, "another room": in_another_room(samples, rng)}
    return {name: embedded(SpeechWindows().push(heard)) for name, heard in said.items()}


def counted(own: Mapping[str, DoubleArray], others: Mapping[str, DoubleArray]) -> dict[str, Any]:
    """own, others: by person (or recording), how alike verdicts of their own voice and of others' are."""
    rng, names = np.random.default_rng(0), list(own)
    rates = [
        _rates(*(np.concatenate([one[names[at]] for at in drawn]) for one in (own, others)))
        for drawn in rng.integers(0, len(names), (_DRAWS, len(names)))
    ]
    low, high = np.percentile(rates, [2.5, 97.5], axis=0)
    said = np.concatenate(list(own.values())), np.concatenate(list(others.values()))
    refused, taken = _rates(*said)
    return {
        "verdicts": [len(one) for one in said],
        "equal_error": _equal_error(*said),
        "refused": refused,
        "refused_interval": [low[0], high[0]],
        "taken": taken,
        "taken_interval": [low[1], high[1]],
    }


def _rates(own: DoubleArray, others: DoubleArray) -> tuple[float, float]:
    """Share of the own voice that is taken for another, and of others that are taken for the own."""
    return float((own < SAME).mean()), float((others >= SAME).mean())


def _equal_error(own: DoubleArray, others: DoubleArray) -> float:
    """At the threshold at which both are wrong as often."""
    at = np.unique(np.concatenate([own, others]))
    refused = np.searchsorted(np.sort(own), at) / len(own)
    taken = 1.0 - np.searchsorted(np.sort(others), at) / len(others)
    best = int(np.argmin(np.abs(refused - taken)))
    return float(refused[best] + taken[best]) / 2.0


def _people(folder: Path) -> Mapping[str, Sequence[Path]]:
    found = {
        one.name: sorted(path for path in one.iterdir() if path.is_file())
        for one in sorted(folder.iterdir())
        if one.is_dir()
    }
    if len(found) < 2 or min(map(len, found.values())) < 2:
        raise SettingsError(
            f"--people {folder}: wanted two folders or more, each with recordings of a person"
        )
    return found


def measure(args: argparse.Namespace) -> Record:
    """Both kinds of recordings, in both conditions."""
    if args.people is None:
        raise SettingsError("no --people: wanted a folder with a folder of recordings for each person")
    rng = np.random.default_rng(0)
    people = {name: [_embedded(path, rng) for path in files] for name, files in _people(args.people).items()}
    halves = {name: len(files) // 2 for name, files in people.items()}
    prints = {
        name: mean_print(np.concatenate([one["as recorded"] for one in files[: halves[name]]]))
        for name, files in people.items()
    }
    found: dict[str, Any] = {}
    for condition in ("as recorded", "another room"):
        own, others = {}, {}
        for name, files in people.items():
            said = np.concatenate([one[condition] for one in files[halves[name] :]])
            own[name] = likenesses(prints[name], said)
            others[name] = np.concatenate([likenesses(of, said) for at, of in prints.items() if at != name])
        found[f"{len(people)} persons, {condition}"] = counted(own, others)
    if args.one is not None:
        one = [_embedded(path, rng) for path in sorted(args.one.iterdir())]
        for condition in ("as recorded", "another room"):
            own, others = {}, {}
            for number, print_of in enumerate(mean_print(made["as recorded"]) for made in one):
                apart = [made[condition] for at, made in enumerate(one) if at != number]
                own[str(number)] = np.concatenate([likenesses(print_of, said) for said in apart])
                strangers = [made[condition] for files in people.values() for made in files]
                others[str(number)] = np.concatenate([likenesses(print_of, said) for said in strangers])
            found[f"{len(one)} recordings of one, {condition}"] = counted(own, others)
    return {"threshold": SAME, "voices": found}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Whose recordings."""
    parser.add_argument(
        "--people", type=Path, metavar="FOLDER", help="a folder of recordings for each person"
    )
    parser.add_argument("--one", type=Path, metavar="FOLDER", help="recordings of one person, made apart")


main = Instrument("voice_prints", __doc__, add_options, measure, quick={})
