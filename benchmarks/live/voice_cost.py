"""What does a voice cost a core, beside what draws?

    avatarcast bench voice_cost --speech talk.wav

What a session does with the sound of a microphone, 25 pictures a second, as fast as it goes: lips in a
person's own way, idle life, a voice print, and, where a camera drives, how well it sees lips. CPU time of all
threads in shares of the time that the sound lasts; nothing is drawn. A fit, a manner and a print are learnt
of the sound itself, so that all is at work; the picture is noise of 640 x 480.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from benchmarks.live.echo_server import EchoPipeline
from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from engine.arrays import FloatArray
from engine.errors import SettingsError
from engine.media.sound import read_sound
from engine.person.landmarks import Landmarks
from engine.person.motion import Neutral, build_neutral, canonical_reference, motion_of
from engine.pipeline import Companion
from engine.voice.features import LOUDNESS, SPEAKS, features_of
from engine.voice.idle import Habits
from engine.voice.manner import MANNERS, fit_manner
from engine.voice.mel import SAMPLE_RATE_HZ
from engine.voice.motion_code import CODE
from engine.voice.own import OwnVoice
from engine.voice.speaker import Speaker, fit_speaker
from engine.voice.voice_print import print_of
from stream.render.live_voice import LiveVoice

MOST_SHARE = 0.15  # of a core, of everything together
_FRAME = SAMPLE_RATE_HZ // 50
_NS = 1_000_000_000


class _Led(EchoPipeline):
    """Knows who has its say."""

    companion: Companion | None = None

    def accompany(self, companion: Companion | None) -> None:
        self.companion = companion


@dataclass(frozen=True, slots=True)
class Case:
    """What goes on."""

    has_camera: bool
    lips_seen: bool = True
    prints: bool = True


CASES = {
    "the voice drives, no print": Case(has_camera=False, prints=False),
    "the voice drives": Case(has_camera=False),
    "both, the camera drives": Case(has_camera=True),
    "both, lips badly seen": Case(has_camera=True, lips_seen=False),
}


def learnt(samples: FloatArray) -> OwnVoice:
    """A way of speaking, made up of the sound itself. Raises SettingsError where that is too short."""
    rows, rng = features_of(samples), np.random.default_rng(0)
    codes = rng.normal(0, 0.01, (len(rows), CODE)).astype(np.float32)
    speaks = (rows[:, LOUDNESS] > SPEAKS).astype(np.float32)
    manner = fit_manner(codes[:, MANNERS], speaks, rows[:, LOUDNESS])
    print_ = print_of([samples])
    if manner is None or print_ is None:
        raise SettingsError("--speech: too little speech; wanted 15 s of one voice or more")
    return OwnVoice(Habits(), fit_speaker(rows, Speaker().predict(rows)), manner, print_)


def share_of_core(samples: FloatArray, own: OwnVoice, case: Case) -> float:
    """CPU seconds a second of sound."""
    face = np.zeros((478, 3), np.float32)
    face[:468] = canonical_reference() * 60.0 + np.array([320.0, 240.0, 0.0], np.float32)
    landmarks = Landmarks(640, 480, face=face, face_confidence=1.0)
    neutral: Neutral = build_neutral([landmarks])
    rgb = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    if not case.lips_seen:
        rgb[:] = 0
    voice, pipeline = LiveVoice(), _Led()
    pipeline.own_voice = own if case.prints else OwnVoice(own.habits, own.fit, own.manner)
    voice.attach(pipeline)
    assert pipeline.companion is not None
    begun_s = time.process_time()
    for number in range(len(samples) // _FRAME):
        now_ns = (number + 1) * _NS // 50
        voice.hear(_frame(samples[number * _FRAME :][:_FRAME], number), now_ns)
        if number % 2:
            continue
        voice.advance(now_ns)
        camera = None
        if case.has_camera:
            pipeline.companion.look(rgb, landmarks, now_ns)
            camera = motion_of(landmarks, neutral)
        pipeline.companion.motion(camera, neutral)
        voice.drew()
    voice.settle()
    return (time.process_time() - begun_s) / (len(samples) / SAMPLE_RATE_HZ)


def _frame(samples: FloatArray, number: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = (
        SAMPLE_RATE_HZ,
        number * _FRAME,
        Fraction(1, SAMPLE_RATE_HZ),
    )
    return frame


def measure(args: argparse.Namespace) -> Record:
    """Every case, after one that warms up."""
    if args.speech is None:
        raise SettingsError("no --speech: wanted a recording of one voice, 15 s or more")
    sound = read_sound(args.speech)
    if sound is None:
        raise SettingsError(f"--speech {args.speech}: no sound in it")
    own = learnt(sound.samples)
    share_of_core(sound.samples[: 2 * SAMPLE_RATE_HZ], own, CASES["both, lips badly seen"])
    shares = {name: share_of_core(sound.samples, own, case) for name, case in CASES.items()}
    over = [f"{name}: {share:.1%} of a core" for name, share in shares.items() if share > MOST_SHARE]
    return {"core_share": shares, "failures": [f"{one}; wanted {MOST_SHARE:.0%} at most" for one in over]}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is said."""
    parser.add_argument("--speech", type=Path, help="a recording of one voice, 15 s or more")


main = Instrument("voice_cost", __doc__, add_options, measure, quick={})
