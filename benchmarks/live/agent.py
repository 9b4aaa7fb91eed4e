"""How soon does an agent answer, and how soon is it silent when it is interrupted?

    avatarcast bench agent [--avatar FILE] [--calls 3]

Runs `stream.example_agent`: a server, an agent with espeak-ng for a voice, and a caller who watches by WHEP,
all on this machine. The caller asks three things and breaks into the last answer. Measured is what the caller
sees: from their own last sample sent to the first picture in which the mouth is open, and from the first
sample of the interruption to the last picture in which it is not shut. Rules stand for the language model,
and take no time; the synthesiser's is in it. Lips are those that a face finder sees in the pictures.
"""

from __future__ import annotations

import argparse
import asyncio

import numpy as np

from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.record import Record
from engine.arrays import FloatArray
from engine.avatar.avatar_file import load_avatar
from engine.errors import SettingsError
from engine.media.disclosure import DEFAULT_MARK
from engine.person.motion import Neutral, in_head_axes, lip_gap
from engine.pipeline import PipelineConfig
from engine.tracking.mediapipe_parts import FacePart
from stream.example_agent import Watched, talk
from stream.render.avatars import served_file

ANSWER_MS, STOP_MS = 500.0, 200.0  # at most, in every call
OPEN, SHUT = 0.25, 0.2  # of the range of the lips' gaps
_BEFORE_S, _WITHIN_S = 0.4, 1.5


def lips(seen: Watched, neutral: Neutral) -> tuple[FloatArray, FloatArray]:
    """When each picture with a face came, and how far its lips are open, of what they are least and most."""
    finder = FacePart()
    found = [(time_s, faces[0]) for time_s, rgb in seen.frames if (faces := finder.find(rgb))]
    gaps = np.array([lip_gap(in_head_axes(face, neutral.face)[0]) for _, face in found])
    low, high = np.percentile(gaps, [10, 98])
    return np.array([time_s for time_s, _ in found]), (gaps - low) / max(float(high - low), 1e-6)


def delays_ms(seen: Watched, neutral: Neutral) -> tuple[list[float], float]:
    """Of each answer, and of the silence after the interruption. Raises SettingsError."""
    times_s, opened = lips(seen, neutral)
    answers = [
        1e3 * float(np.min(times_s[(times_s > ended_s) & (opened > OPEN)], initial=np.inf) - ended_s)
        for ended_s in seen.ended_s
    ]
    after_s = times_s - seen.broke_in_s
    if not (opened[(after_s > -_BEFORE_S) & (after_s <= 0.0)] > OPEN).any():
        raise SettingsError("the mouth was shut when the caller broke in: measure again")
    still_open = after_s[(after_s > 0.0) & (after_s < _WITHIN_S) & (opened > SHUT)]
    return answers, 1e3 * float(still_open.max(initial=0.0))


def measure(args: argparse.Namespace) -> Record:
    """Calls again and again."""
    neutral = load_avatar(args.avatar).neutral
    answers: list[float] = []
    stops: list[float] = []
    pictures, seconds = 0, 0.0
    for _ in range(args.calls):
        served = served_file(args.avatar, PipelineConfig(runner=args.runner), DEFAULT_MARK)
        seen = asyncio.run(talk(served))
        delays, stop = delays_ms(seen, neutral)
        answers += delays
        stops.append(stop)
        pictures += len(seen.frames)
        seconds += seen.frames[-1][0] - seen.frames[0][0]
    failures = [f"an answer took {one:.0f} ms, wanted {ANSWER_MS:.0f}" for one in answers if one > ANSWER_MS]
    failures += [f"silence took {one:.0f} ms, wanted {STOP_MS:.0f}" for one in stops if one > STOP_MS]
    return {
        "answer_ms": [round(one) for one in answers],
        "stop_ms": [round(one) for one in stops],
        "fps": round(pictures / seconds, 1),
        "failures": failures,
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who speaks, and how often."""
    parser.add_argument("--calls", type=counted, default=3, help="how many (default 3)")
    add_common(parser, "avatar", "runner")


main = Instrument("agent", __doc__, add_options, measure, quick={"calls": 1})
