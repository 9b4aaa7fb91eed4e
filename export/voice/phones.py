"""Which sound of speech is heard when: words by Moonshine, their phones placed in time by pocketsphinx.

English only. Both are used to build and not to run. A stretch of speech whose words the aligner's dictionary
lacks is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.arrays import FloatArray
from engine.files import write_file
from engine.voice.mel import SAMPLE_RATE_HZ
from export.voice.articulation import Phone
from export.voice.speech import clean_speech
from export.voice.teacher import Teacher

_STRETCH_S = (2.0, 7.0)  # a stretch ends in the quietest place between these
_QUIET = SAMPLE_RATE_HZ // 10  # samples over which that is looked at
_LAYERS, _HEADS, _HEAD_SIZE = 6, 8, 36  # of Moonshine tiny's decoder
_BEGIN, _END = 1, 2  # tokens
_TOKENS_A_SECOND = 6.5  # more is a decoder that repeats itself


class Transcriber:
    """Words of a stretch of English speech."""

    def __init__(self, teacher: Teacher, folder: Path) -> None:
        """folder: that of the encoder, with its decoder and tokenizer."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        decoder = str(folder / "decoder_model_merged.ort")
        self._session = onnxruntime.InferenceSession(decoder, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._tokens = _tokens((folder / "tokenizer.bin").read_bytes())
        self._teacher = teacher

    def words(self, samples: FloatArray) -> str:
        """Lower case, letters and apostrophes alone; samples: (n,) at 16 kHz."""
        heard = self._teacher.features(samples)[None]
        past = {
            f"past_key_values.{layer}.{part}.{kind}": np.zeros((1, _HEADS, 0, _HEAD_SIZE), np.float32)
            for layer in range(_LAYERS)
            for part in ("decoder", "encoder")
            for kind in ("key", "value")
        }
        told = [_BEGIN]
        for step in range(int(len(samples) / SAMPLE_RATE_HZ * _TOKENS_A_SECOND) + 8):
            given = past | {
                "encoder_hidden_states": heard,
                "encoder_attention_mask": np.ones((1, len(samples)), np.int64),
                "input_ids": np.array([told[-1:]], np.int64),
                "use_cache_branch": np.array([step > 0]),
            }
            found = dict(zip(self._outputs, self._session.run(None, given), strict=True))
            told.append(int(found["logits"][0, -1].argmax()))
            if told[-1] == _END:
                break
            for name in past:
                if "decoder" in name or step == 0:
                    past[name] = found[name.replace("past_key_values", "present")]
        text = b"".join(self._tokens[token] for token in told[1:] if token != _END)
        spelt = text.replace(b"\xe2\x96\x81", b" ").decode(errors="ignore").lower().replace("-", " ")
        return " ".join(re.sub(r"[^a-z' ]", " ", spelt).split())


def _tokens(data: bytes) -> list[bytes]:
    """Each token is led by its length, in one byte or, from 128 on, in two."""
    tokens, at = [], 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            length, at = data[at] * 128 + length - 128, at + 1
        tokens.append(data[at : at + length])
        at += length
    return tokens


class Aligner:
    """Phones of known words."""

    def __init__(self) -> None:
        self._decoder = self._fresh()

    @staticmethod
    def _fresh() -> Any:
        from pocketsphinx import Decoder  # type: ignore[import-not-found]  # a build tool

        return Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL")

    def phones(self, samples: FloatArray, words: str) -> list[Phone] | None:
        """In order of time; None where the words cannot be placed."""
        loudest = max(float(np.abs(samples).max()), 1e-4)
        pcm = (samples / loudest * 20_000).astype("<i2").tobytes()
        try:
            self._decoder.set_align_text(words)
            self._run(pcm)
            self._decoder.set_alignment()
            self._run(pcm)
            return [
                Phone(part.name, part.start / 100, (part.start + part.duration) / 100)
                for word in self._decoder.get_alignment()
                for part in word
            ]
        except (RuntimeError, TypeError, ValueError):  # whatever it says of words it does not know
            self._decoder = self._fresh()
            return None

    def _run(self, pcm: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()


def stretches(samples: FloatArray) -> list[tuple[int, int]]:
    """(from, to) in samples: cut where it is quietest, every few seconds."""
    cuts = [0]
    shortest, longest = (int(limit * SAMPLE_RATE_HZ) for limit in _STRETCH_S)
    while len(samples) - cuts[-1] > longest:
        part = samples[cuts[-1] + shortest : cuts[-1] + longest]
        power = np.convolve(part**2, np.ones(_QUIET) / _QUIET, "valid")
        cuts.append(cuts[-1] + shortest + int(power.argmin()) + _QUIET // 2)
    return list(zip(cuts, [*cuts[1:], len(samples)], strict=True))


def align(
    files: Sequence[Path], folder: Path, teacher: Teacher, encoder: Path, told: Callable[[int, int], None]
) -> None:
    """Writes each recording's phones to `folder` as JSON; those that are there are left.

    A file holds stretches: [from s, to s, [[phone, start s, end s], ...]], on the clock of `clean_speech`.
    """
    transcriber, aligner = Transcriber(teacher, encoder.parent), Aligner()
    for number, path in enumerate(files):
        kept = folder / f"{path.stem}.json"
        if not kept.exists():
            found = [
                [at, end, [[phone.name, at + phone.start_s, at + phone.end_s] for phone in phones]]
                for at, end, phones in aligned(clean_speech(path), transcriber, aligner)
            ]
            write_file(kept, json.dumps(found).encode())
        told(number + 1, len(files))


def load_aligned(path: Path) -> list[tuple[float, float, list[Phone]]]:
    """The stretches of one file: from s, to s, phones."""
    return [(start, end, [Phone(*row) for row in rows]) for start, end, rows in json.loads(path.read_text())]


def phones_of(samples: FloatArray, encoder: Path) -> list[Phone]:
    """Those of one sound, whose words are English. encoder: of Moonshine, its decoder beside it."""
    transcriber, aligner, found = Transcriber(Teacher(encoder), encoder.parent), Aligner(), []
    for at, _, phones in aligned(samples, transcriber, aligner):
        found += [Phone(phone.name, at + phone.start_s, at + phone.end_s) for phone in phones]
    return found


def aligned(
    samples: FloatArray, transcriber: Transcriber, aligner: Aligner
) -> Iterator[tuple[float, float, list[Phone]]]:
    """Stretches whose words could be placed: from s, to s, phones on the stretch's own clock."""
    for start, end in stretches(samples):
        words = transcriber.words(samples[start:end]) if end - start > SAMPLE_RATE_HZ else ""
        phones = aligner.phones(samples[start:end], words) if words else None
        if phones:
            yield start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ, phones
