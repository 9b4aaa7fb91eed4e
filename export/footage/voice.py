"""What the footage's sound says: how they speak, for how long, and how far its picture is off.

Only numbers fitted to it are kept. How well they foretell lips is measured on what they were not fitted to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray
from engine.errors import FootageError
from engine.media.sound import read_sound
from engine.person.landmarks import VISIBLE
from engine.person.motion import Neutral, build_neutral, motion_of
from engine.voice.features import LOUDNESS, ROWS_HZ, SPEAKS, features_of
from engine.voice.manner import MANNERS, Manner, fit_manner
from engine.voice.mel import SAMPLE_RATE_HZ
from engine.voice.motion_code import CODE, LIP_GAP, encode
from engine.voice.own import OwnVoice, habits_of
from engine.voice.speaker import Speaker, SpeakerFit, at_rows, fit_speaker
from engine.voice.sync import AGREES_MS, SyncEstimate, estimate_offset
from engine.voice.voice_print import LEAST_S, print_of
from export.footage.footage import Clip, Footage
from export.footage.prepared import HELD_OUT

GOOD_SPEECH_S = 25.0  # lips still get better with more of it, up to half a minute
LEAST_SPEECH_S = 4.0  # less says nothing of a person's way
SURE = 0.8  # share of the stretches that agree, from which an offset is believed
_LEAST_SPREAD = 1e-6  # head units squared: lips that never move tell nothing
_NEAR_S = 0.06  # a row is of the frame so near


@dataclass(frozen=True, slots=True)
class FootageVoice:
    """What was learnt of it."""

    own: OwnVoice
    facts: Mapping[str, Any]  # see `listen`
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Heard:
    """One clip: its sound by rows, and its lips by frames."""

    rows: FloatArray  # (n, ROW)
    codes: FloatArray  # (m, CODE) of the frames with a face
    times_s: FloatArray  # (m,) on the sound's clock


def listen(footage: Footage, with_print: bool = False) -> FootageVoice:
    """Habits from the picture; a way of speaking from sound and picture, where there is enough of both.

    Facts: `speech_s`, None without sound; `offset_ms` and `certainty`, lists by clip, as in SyncEstimate;
    `lips`, the correlation of the lips' gap with what a fit to the first part foretells of the rest.
    with_print: a print of their voice is made, too; only where they agreed to one.
    """
    frames = [frame for clip in footage.clips for frame in clip.landmarks]
    neutral = build_neutral(frames)
    habits = habits_of([motion_of(frame, neutral) for frame in frames], neutral, footage.duration_s)
    sounds: dict[Path, tuple[FloatArray, FloatArray] | None] = {}  # samples and rows
    said: list[FloatArray] = []
    heard: list[_Heard] = []
    synced: list[SyncEstimate | None] = []
    for clip in footage.clips:
        if clip.path not in sounds:
            sound = read_sound(clip.path, SAMPLE_RATE_HZ)
            samples = None if sound is None else sound.from_picture()
            sounds[clip.path] = None if samples is None else (samples, features_of(samples))
        if (known := sounds[clip.path]) is None:
            continue
        piece = _heard(known[1], clip, neutral)
        said.append(_said(known[0], clip))
        synced.append(estimate_offset(piece.rows, piece.codes, piece.times_s))
        heard.append(_mended(piece, synced[-1]))
    speech_s = sum(float((one.rows[_seen(one), LOUDNESS] > SPEAKS).sum()) / ROWS_HZ for one in heard)
    fit, lips, manner = _fitted(heard) if speech_s >= LEAST_SPEECH_S else (None, None, None)
    facts = {
        "speech_s": round(speech_s, 1) if heard else None,
        "offset_ms": [None if one is None else round(one.offset_ms) for one in synced],
        "certainty": [None if one is None else round(one.certainty, 2) for one in synced],
        "lips": lips,
    }
    print_ = print_of(said) if with_print else None
    warnings = [*_warnings(bool(heard), speech_s, synced)]
    if with_print and print_ is None:
        warnings.append(f"no voice print is kept: it wants {LEAST_S:.0f} s of speech in the footage")
    return FootageVoice(OwnVoice(habits, fit, manner, print_), facts, tuple(warnings))


def _said(samples: FloatArray, clip: Clip) -> FloatArray:
    """The sound while the clip lasts."""
    begin, end = (round(clip.stats[at].time_s * SAMPLE_RATE_HZ) for at in (0, -1))
    return samples[begin:end]


def _heard(rows: FloatArray, clip: Clip, neutral: Neutral) -> _Heard:
    pairs = [
        (encode(motion_of(frame, neutral), neutral), stats.time_s)
        for frame, stats in zip(clip.landmarks, clip.stats, strict=True)
        if frame.face_confidence >= VISIBLE
    ]
    begin, end = (int(clip.stats[at].time_s * ROWS_HZ) for at in (0, -1))
    codes = np.stack([code for code, _ in pairs]) if pairs else np.zeros((0, CODE), np.float32)
    times_s = np.array([time_s for _, time_s in pairs], np.float32) - np.float32(begin / ROWS_HZ)
    return _Heard(rows[begin : end + 1], codes, times_s)


def _mended(heard: _Heard, found: SyncEstimate | None) -> _Heard:
    """Its picture where its sound is, as far as that is known."""
    if found is None or found.certainty < SURE:
        return heard
    return _Heard(heard.rows, heard.codes, heard.times_s + np.float32(found.offset_ms / 1e3))


def _seen(heard: _Heard) -> NDArray[np.bool_]:
    """(n,) the rows at whose time there is a face."""
    if not len(heard.times_s):
        return np.zeros(len(heard.rows), bool)
    at = np.arange(len(heard.rows)) / ROWS_HZ
    after = np.clip(np.searchsorted(heard.times_s, at), 1, max(1, len(heard.times_s) - 1))
    near = np.minimum(
        np.abs(at - heard.times_s[after - 1]),
        np.abs(at - heard.times_s[np.minimum(after, len(heard.times_s) - 1)]),
    )
    return np.asarray(near <= _NEAR_S)


def _fitted(heard: list[_Heard]) -> tuple[SpeakerFit | None, float | None, Manner | None]:
    """The fit to all of it, how well one to its first part foretells the rest, and how they move."""
    heard = [one for one in heard if len(one.codes)]
    rows = np.concatenate([one.rows for one in heard])
    codes = np.concatenate([at_rows(one.codes, one.times_s, len(one.rows)) for one in heard])
    seen = np.concatenate([_seen(one) for one in heard])
    speaks = (rows[:, LOUDNESS] > SPEAKS).astype(np.float32)
    manner = fit_manner(codes[:, MANNERS], speaks, rows[:, LOUDNESS], seen)
    tail = round(len(rows) * (1.0 - HELD_OUT))
    try:
        whole = fit_speaker(rows, codes, seen)
        part = fit_speaker(rows[:tail], codes[:tail], seen[:tail])
    except FootageError:  # spoken where no face was seen
        return None, None, manner
    told = Speaker(part).predict(rows[tail:])[seen[tail:], LIP_GAP]
    true = codes[tail:][seen[tail:], LIP_GAP]
    spread = float(told.std() * true.std()) if len(true) else 0.0
    if spread < _LEAST_SPREAD:
        return whole, None, manner
    return whole, round(float(((told - told.mean()) * (true - true.mean())).mean()) / spread, 2), manner


def _warnings(has_sound: bool, speech_s: float, synced: list[SyncEstimate | None]) -> Iterator[str]:
    if not has_sound:
        yield "no sound in the footage: driven by voice, the lips move in nobody's own way"
        return
    if speech_s < GOOD_SPEECH_S:
        yield (
            f"only {speech_s:.0f} s of speech: {GOOD_SPEECH_S:.0f} to 30 s teach the avatar better how they"
            " speak, for when a voice drives it"
        )
    for found in synced:
        if found is not None and found.certainty >= SURE and abs(found.offset_ms) > AGREES_MS:
            side = "before" if found.offset_ms > 0 else "behind"
            yield (
                f"the picture is {abs(found.offset_ms):.0f} ms {side} its sound, {found.certainty:.0%} sure;"
                " lips are learnt as if it were not"
            )
