"""The sounds in a recording of speech and when they are heard: pocketsphinx finds words and aligns phones.

    python -m benchmarks.synthetic.presenter.speech --data DATA --work WORK

Needs `pocketsphinx` (a tool of this step alone). Writes WORK/NAME.phones.json, which `motion.py` reads.
"""

from __future__ import annotations

import argparse
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from benchmarks.synthetic.presenter.performance import Array
from export.voice.articulation import Phone

RECORDINGS = {"kennedy": "jfk_11s_16k.wav", "reader": "librivox_10s_16k.wav", "speaker": "speech_28s_48k.wav"}
KNOWN_WORDS = {
    "kennedy": "and so my fellow americans ask not what your country can do for you "
    "ask what you can do for your country"
}
DECODER_RATE_HZ = 16_000
PHONE_FRAME_S = 0.01


def read_recording(path: Path) -> tuple[Array, int]:
    """A 16-bit WAV file -> (samples,) mono, -1..1, and its rate in Hz."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: the recording of speech is missing; --data wants a folder with speech/"
        )
    with wave.open(str(path)) as stored:
        if stored.getsampwidth() != 2:
            raise ValueError(f"{path}: {8 * stored.getsampwidth()}-bit samples, want 16-bit PCM")
        samples = np.frombuffer(stored.readframes(stored.getnframes()), "<i2").reshape(
            -1, stored.getnchannels()
        )
        return samples.mean(axis=1) / 32768, stored.getframerate()


def align(samples: Array, rate_hz: int, words: str | None) -> list[Phone]:
    """Phones of a recording; `words` are recognised where they are not known.

    samples: (samples,) mono, -1..1. Raises RuntimeError without pocketsphinx or where nothing is understood.
    """
    loud = resample_poly(samples, DECODER_RATE_HZ, rate_hz)
    pcm = (loud / np.abs(loud).max() * 20000).astype("<i2")
    if words:
        return _align_words(pcm, words, 0.0)
    phones = []
    for first, last, said in _phrases(_decode(_decoder(), pcm)):
        begin, end = first * PHONE_FRAME_S, (last + 1) * PHONE_FRAME_S
        heard = pcm[round(begin * DECODER_RATE_HZ) : round(end * DECODER_RATE_HZ)]
        try:
            phones += _align_words(heard, said, begin)
        except RuntimeError:  # a misheard phrase does not fit its own sound: take it phone by phone
            phones += _hear_phones(heard, begin)
    if not phones:
        raise RuntimeError("no word was understood in the recording; want clear English speech")
    return phones


def _phrases(decoder: Any) -> list[tuple[int, int, str]]:
    """What the decoder understood between silences: first frame, last frame, words."""
    phrases: list[tuple[int, int, list[str]]] = []
    is_open = False
    for part in decoder.seg():
        is_word = part.word[0] not in "<[+"
        if is_word and is_open:
            first, _last, said = phrases[-1]
            phrases[-1] = (first, part.end_frame, [*said, part.word.split("(")[0]])
        elif is_word:
            phrases.append((part.start_frame, part.end_frame, [part.word.split("(")[0]]))
        is_open = is_word
    return [(first, last, " ".join(said)) for first, last, said in phrases]


def _align_words(pcm: npt.NDArray[np.int16], words: str, begin_s: float) -> list[Phone]:
    decoder = _decoder()
    decoder.set_align_text(words)
    _decode(decoder, pcm)
    decoder.set_alignment()
    _decode(decoder, pcm)
    return [
        Phone(p.name, *_span(p.start, p.start + p.duration, begin_s))
        for word in decoder.get_alignment()
        for p in word
    ]


def _hear_phones(pcm: npt.NDArray[np.int16], begin_s: float) -> list[Phone]:
    from pocketsphinx import get_model_path  # type: ignore[import-not-found]

    decoder = _decoder(lm=None, allphone=f"{get_model_path()}/en-us/en-us-phone.lm.bin", lw=2.0)
    return [
        Phone(part.word, *_span(part.start_frame, part.end_frame + 1, begin_s))
        for part in _decode(decoder, pcm).seg()
        if part.word[0].isalpha()
    ]


def _span(first: int, end: int, begin_s: float) -> tuple[float, float]:
    return round(begin_s + PHONE_FRAME_S * first, 3), round(begin_s + PHONE_FRAME_S * end, 3)


def _decoder(**settings: Any) -> Any:
    try:
        from pocketsphinx import Decoder  # a build tool: not among the project's dependencies
    except ImportError:
        raise RuntimeError(
            "pocketsphinx is missing; install it to find the sounds: pip install pocketsphinx"
        ) from None
    return Decoder(samprate=DECODER_RATE_HZ, loglevel="FATAL", **settings)


def _decode(decoder: Any, pcm: npt.NDArray[np.int16]) -> Any:
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    decoder.end_utt()
    return decoder


def with_loudness(phones: list[Phone], samples: Array, rate_hz: int) -> list[Phone]:
    """The same phones with the level of each, of the median phone's."""

    def level(phone: Phone) -> float:
        heard = samples[int(phone.start_s * rate_hz) : int(phone.end_s * rate_hz)]
        return float(np.sqrt(np.mean(heard**2))) if len(heard) else 0.0

    levels = [level(phone) for phone in phones]
    median = float(np.median([x for x, p in zip(levels, phones, strict=True) if p.name != "SIL"])) + 1e-9
    return [
        Phone(p.name, p.start_s, p.end_s, round(x / median, 3)) for p, x in zip(phones, levels, strict=True)
    ]


def load_phones(data: Path, work: Path) -> dict[str, list[Phone]]:
    """Phones of every recording by its name, aligned now or read from an earlier run in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, file in RECORDINGS.items():
        stored = work / f"{name}.phones.json"
        if not stored.is_file():
            samples, rate_hz = read_recording(data / "speech" / file)
            phones = with_loudness(align(samples, rate_hz, KNOWN_WORDS.get(name)), samples, rate_hz)
            stored.write_text(json.dumps([[p.name, p.start_s, p.end_s, p.loudness] for p in phones]))
        found[name] = [Phone(*row) for row in json.loads(stored.read_text())]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with speech/")
    parser.add_argument("--work", type=Path, required=True, help="where the phones are kept")
    arguments = parser.parse_args()
    try:
        for name, phones in load_phones(arguments.data, arguments.work).items():
            print(f"{name}: {sum(p.name != 'SIL' for p in phones)} phones in {phones[-1].end_s:.1f} s")
    except (RuntimeError, OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
