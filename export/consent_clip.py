"""Looks at a consent clip: is it the person of the footage, who speaks, and says the word that was asked for?

What is found is kept with its measure, never hidden: a network that tells faces apart errs, a recogniser
mishears, and a screen that shows a film of the person is not told from the person. See TRUST.md for how
often. Needs LiteRT and ONNX Runtime; words are heard where moonshine-voice is installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from engine.arrays import FloatArray
from engine.errors import SettingsError
from engine.media.sound import read_sound
from engine.media.video import probe, read_frames
from engine.person import topology as topo
from engine.person.landmarks import VISIBLE
from engine.provenance.consent import CONTRADICTED, IN_PART, VERIFIED, Sentence
from engine.tracking.face_embedding import OTHER, SAME, distance, embedding
from engine.tracking.face_finder import FaceFinder
from export.footage.prepared import Prepared
from export.footage.prepared_file import sha256_of

LEAST_S, MOST_S = 2.0, 60.0
RATE_HZ = 16_000
HEAR = "pip install 'avatarcast[hear]'"
_FACES = 16  # of each film that are compared
_SEEN = 0.5  # share of the pictures that must show a face
# Lips that speak open by a fifth of the distance of the eyes and more (98th less 2nd percentile); those of a
# photograph that is moved about by 0.02 of it, by the tracker's noise.
_LIPS_MOVE = 0.08
_PIECE_S = 0.02  # of sound whose level is taken
_LOUD_DB, _PAUSES_DB = -45.0, 10.0  # of full scale; and that speech has between its syllables
_SILENT = 1e-6

SAME_FACE, OTHER_FACE, UNSURE_FACE, NO_FACE = "same", "another", "unsure", "none"
SPEAKS, STILL, SILENT = "moving with speech", "still", "silent"
HEARD, NOT_HEARD, NOT_LISTENED = "heard", "not heard", "not listened for"


@dataclass(frozen=True, slots=True)
class ClipJudgement:
    """What a consent clip shows."""

    face: str  # SAME_FACE, OTHER_FACE, UNSURE_FACE or NO_FACE
    face_distance: float | None  # see engine.tracking.face_embedding
    lips: str  # SPEAKS, STILL or SILENT
    lips_range: float  # how far they open and close, of the distance of the eyes
    sound_db: float  # the level of its louder parts, of full scale
    word: str  # HEARD, NOT_HEARD or NOT_LISTENED

    @property
    def verdict(self) -> str:
        """VERIFIED where all holds, CONTRADICTED where something says otherwise, else IN_PART."""
        if self.face in (OTHER_FACE, NO_FACE) or self.lips != SPEAKS:
            return CONTRADICTED
        return VERIFIED if (self.face, self.word) == (SAME_FACE, HEARD) else IN_PART

    @property
    def words(self) -> str:
        """For people, in one line."""
        apart = "" if self.face_distance is None else f" ({self.face_distance:.2f} apart)"
        faces = {
            SAME_FACE: f"the face of the footage{apart}",
            UNSURE_FACE: f"a face that may be another{apart}",
            OTHER_FACE: f"another person's face{apart}",
            NO_FACE: "no face to compare",
        }
        lips = {SPEAKS: "lips that speak", STILL: "lips that do not move", SILENT: "nothing to be heard"}
        word = {HEARD: "the word was heard", NOT_HEARD: "the word was not understood"}
        unheard = "nobody listened for the word"
        return f"{faces[self.face]}, {lips[self.lips]}, {word.get(self.word, unheard)}"


def consent_record(path: Path, said: Sentence, prepared: Prepared) -> dict[str, Any]:
    """What an avatar's consent keeps of this clip. Raises VideoError, SettingsError."""
    found = judge_clip(path, said.word, _faces_of(prepared))
    return {
        "sha256": sha256_of(path),
        "sentence": said.text,
        "word": said.word,
        "face": found.face,
        "face_distance": None if found.face_distance is None else round(found.face_distance, 3),
        "lips": found.lips,
        "lips_range": round(found.lips_range, 3),
        "sound_db": round(found.sound_db, 1),
        "word_was": found.word,
        "verdict": found.verdict,
        "words": found.words,
    }


def check_clip(path: Path) -> None:
    """Raises VideoError, SettingsError for what is no clip of a person who says a sentence."""
    info = probe(path)
    if not LEAST_S <= info.duration_s <= MOST_S:
        raise SettingsError(
            f"--consent-clip {path}: is {info.duration_s:.1f} s long; wanted {LEAST_S:.0f} to "
            f"{MOST_S:.0f} s, in which the person says the sentence"
        )


def judge_clip(path: Path, word: str, own: Sequence[FloatArray]) -> ClipJudgement:
    """Compares a clip with the footage. Raises VideoError, SettingsError.

    word: to be heard in it; own: embeddings of faces in the footage.
    """
    check_clip(path)
    faces, gaps = watched(path)
    apart = distance(faces, own) if faces and own else None
    samples = samples_of(path)
    level_db, pauses_db = _levels(samples)
    moved = float(np.percentile(gaps, 98) - np.percentile(gaps, 2)) if len(gaps) else 0.0
    speaks = level_db >= _LOUD_DB and pauses_db >= _PAUSES_DB
    return ClipJudgement(
        face=face_verdict(apart),
        face_distance=apart,
        lips=SILENT if not speaks else SPEAKS if moved >= _LIPS_MOVE else STILL,
        lips_range=moved,
        sound_db=level_db,
        word=_listened(samples, word) if speaks else NOT_HEARD,
    )


def face_verdict(apart: float | None) -> str:
    """What a distance of faces says; None where one film shows none."""
    if apart is None:
        return NO_FACE
    return SAME_FACE if apart <= SAME else OTHER_FACE if apart >= OTHER else UNSURE_FACE


def watched(path: Path) -> tuple[list[FloatArray], FloatArray]:
    """Of a film: embeddings of some pictures, and how far the lips are open in all, of the eyes' distance.

    Both are empty where most pictures show no face. Raises VideoError.
    """
    finder, pictures = FaceFinder(), 0
    gaps: list[float] = []
    faces: list[FloatArray] = []
    step = max(1, probe(path).frames // _FACES)
    for frame in read_frames(path):
        pictures += 1
        if (face := finder.find(frame.rgb)) is None:
            continue
        upper, lower = face[list(topo.LIP_MIDDLES)]
        right, left = face[list(topo.EYE_OUTER_CORNERS)]
        gaps.append(float(np.linalg.norm(upper - lower) / np.linalg.norm(right - left)))
        if frame.index % step == 0 and len(faces) < 2 * _FACES:
            faces.append(embedding(frame.rgb, face))
    seen = len(gaps) >= _SEEN * pictures
    return faces if seen else [], np.array(gaps if seen else [], np.float32)


def _faces_of(prepared: Prepared) -> list[FloatArray]:
    """Embeddings of pictures all over the footage."""
    shown = [i for i, frame in enumerate(prepared.landmarks) if frame.face_confidence >= VISIBLE]
    some = shown[:: max(1, len(shown) // _FACES)]
    return [embedding(prepared.rgb[i], prepared.landmarks[i].face) for i in some]


def samples_of(path: Path) -> FloatArray:
    """(n,) float32, -1 to 1, at RATE_HZ; empty where there is no sound. Raises VideoError."""
    sound = read_sound(path, RATE_HZ)
    return np.zeros(0, np.float32) if sound is None else sound.samples


def _levels(samples: FloatArray) -> tuple[float, float]:
    """How loud its louder parts are, dB of full scale, and by how many dB the quiet ones are below."""
    piece = int(_PIECE_S * RATE_HZ)
    pieces = samples[: len(samples) // piece * piece].reshape(-1, piece)
    if not len(pieces):
        return 20 * float(np.log10(_SILENT)), 0.0
    levels = 20 * np.log10(np.sqrt((pieces**2).mean(1)) + _SILENT)
    quiet, loud = np.percentile(levels, [10, 95])
    return float(loud), float(loud - quiet)


def _listened(samples: FloatArray, word: str) -> str:
    heard = heard_words(samples)
    return NOT_LISTENED if heard is None else HEARD if word in heard else NOT_HEARD


def heard_words(samples: FloatArray) -> set[str] | None:
    """Every word that is heard, in small letters; None where no recogniser is installed.

    By Moonshine (Jeffries et al., "Moonshine: Speech Recognition for Live Transcription", 2024), English.
    """
    if not find_spec("moonshine_voice"):
        return None
    from moonshine_voice import Transcriber
    from moonshine_voice.moonshine_api import ModelArch
    from moonshine_voice.utils import get_model_path

    with Transcriber(str(get_model_path("tiny-en")), ModelArch.TINY) as recogniser:
        found = recogniser.transcribe_without_streaming(samples.tolist(), RATE_HZ)
    return set(re.findall(r"[a-z]+", " ".join(line.text for line in found.lines).lower()))


def warning_of(record: Mapping[str, Any]) -> str:
    """A warning about a clip that is not what it should be; empty where it is."""
    if record["verdict"] == VERIFIED:
        return ""
    hint = f" ({HEAR} to have it heard)" if record["word_was"] == NOT_LISTENED else ""
    return f"the consent clip is {record['verdict']}: it shows {record['words']}{hint}"
