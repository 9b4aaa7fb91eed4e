"""Drives an avatar by voice: alone, in the place of a camera that sees nobody, or the lips alone.

Time comes in as an argument. What is not told by a voice is idle life (`engine.voice.idle`).
"""

from __future__ import annotations

from collections import deque
from functools import partial

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person.blend import Shares, blended
from engine.person.landmarks import VISIBLE, Landmarks
from engine.person.lip_sight import LipSight
from engine.person.motion import Motion, Neutral
from engine.voice.assist import LipAssist
from engine.voice.features import LOUDNESS, ROWS_HZ, SAMPLES_A_ROW, SPEAKS, VoiceFeatures
from engine.voice.gate import SpeechGate
from engine.voice.idle import Idle
from engine.voice.manner import MANNERS, Manner, Wander, strength_at
from engine.voice.mel import SAMPLE_RATE_HZ
from engine.voice.motion_code import CODE, LIPS, decode
from engine.voice.speaker import LOOK_AHEAD_S, Speaker
from engine.voice.takeover import Takeover

__all__ = ["LOOK_AHEAD_S", "SpokenLips", "VoiceDriver"]

_LIPS_ALONE = partial(Shares, upper_face=0.0, head=0.0, body=0.0)

_KEPT_ROWS = 4 * ROWS_HZ  # of a sound that comes in: more than it is ever held back
_AHEAD_ROWS = 8  # of whether somebody speaks, before lips: more than LOOK_AHEAD_S
_HUSHED_S = 0.04  # until lips that are told to be still are shut
_OPENS_ROWS, _SHUTS_ROWS = 2, 6  # before speech lips may part; after it they shut
_WARM_ROWS = 6 * ROWS_HZ  # of what was said, that lips and the gate remember
_USUAL_ROWS = 5 * ROWS_HZ  # of speech
_OLDEST_S = 0.2  # before the hold: of what the camera saw
_REFUSED_S = 0.15  # until a voice that is refused moves nothing any more, and back
_CATCH_UP_ROWS = 2 * ROWS_HZ  # of what was set aside, heard beside a push: 0.01 s of work


class SpokenLips:
    """What lips do for a sound, as it comes in. 0 s is where the sound begins."""

    def __init__(self, speaker: Speaker, kept_rows: int | None = _KEPT_ROWS) -> None:
        """kept_rows: what is remembered of the past; None: all."""
        self._speaker = speaker
        self._lips: deque[FloatArray] = deque(maxlen=kept_rows)
        self._spoken: deque[float] = deque(
            maxlen=None if kept_rows is None else kept_rows + _SHUTS_ROWS + _AHEAD_ROWS
        )
        self._hushed: tuple[float, float] | None = None  # from when on, and up to what sound, lips are still
        self._said: deque[tuple[float, float]] = deque(maxlen=kept_rows)
        self._usual = 0.0  # loudness of speech, lately
        self._aside = np.zeros(0, np.float32)  # not heard yet
        self._listen_from(0)

    def _listen_from(self, row: int) -> None:
        """As if the sound began there."""
        self._features = VoiceFeatures()
        self._gate = SpeechGate()
        self._stream = self._speaker.stream()
        self._lips.clear()
        self._spoken.clear()
        self._said.clear()
        self._heard = row * SAMPLES_A_ROW  # samples, before `_aside`
        self._rows = row  # of lips
        self._felt = row  # rows of which is known how loudly
        self._gated = row  # rows of which is known whether somebody speaks

    @property
    def known_s(self) -> float:
        """Lips are known up to here."""
        return (self._rows - 1) / ROWS_HZ

    @property
    def speech_s(self) -> float:
        """Of what is remembered, so much is speech, or as loud."""
        return sum(spoken > 0.5 for spoken in self._spoken) / ROWS_HZ

    def push(self, samples: FloatArray, asked_for: bool = True) -> None:
        """samples: (n,) float32, -1..1, 16 kHz. asked_for: else they are set aside, and cost nothing.

        What was set aside is heard when lips are asked for again, the last seconds of it, in some pushes.
        """
        self._aside = np.concatenate([self._aside, samples])
        if asked_for:
            count = len(samples) + _CATCH_UP_ROWS * SAMPLES_A_ROW
            heard, self._aside = self._aside[:count], self._aside[count:]
            self._hear(heard)
        elif len(self._aside) > 2 * _WARM_ROWS * SAMPLES_A_ROW:
            row = (self._heard + len(self._aside)) // SAMPLES_A_ROW - _WARM_ROWS
            self._aside = self._aside[row * SAMPLES_A_ROW - self._heard :]
            self._listen_from(row)

    def _hear(self, samples: FloatArray) -> None:
        self._heard += len(samples)
        spoken = self._gate.push(samples)
        self._gated += len(spoken)
        self._spoken.extend(spoken.tolist())
        rows = self._features.push(samples)
        lips = self._stream.push(rows)
        self._rows += len(lips)
        self._lips.extend(lips)
        for loudness in rows[:, LOUDNESS].tolist():
            speaks = float(loudness > SPEAKS)
            if speaks:
                self._usual += (loudness - self._usual) / (_USUAL_ROWS if self._usual else 1)
            self._said.append((speaks, loudness - self._usual))
        self._felt += len(rows)

    def said(self, row: int) -> tuple[float, float]:
        """Whether they speak in that row, and how much louder than usual; see `features.LOUDNESS`."""
        behind = self._felt - row
        return self._said[-behind] if 0 < behind <= len(self._said) else (0.0, 0.0)

    def hush(self, time_s: float) -> None:
        """What was pushed is not said after all: lips shut from this time on, until what comes from now."""
        self._hushed = time_s, self._gated / ROWS_HZ

    def finish(self) -> None:
        """Nothing more comes: lips are known up to its end."""
        self.push(np.zeros(round(2 * LOOK_AHEAD_S * SAMPLE_RATE_HZ), np.float32))

    def at(self, time_s: float) -> FloatArray:
        """(CODE,) float32: the code of the lips then; shut where nobody speaks or nothing is known."""
        code = np.zeros(CODE, np.float32)
        row = time_s * ROWS_HZ
        low = int(np.floor(row))
        for number, share in ((low, 1.0 - (row - low)), (low + 1, row - low)):
            code[LIPS] += np.float32(share) * self._of_row(number)
        if self._hushed is not None and self._hushed[0] <= time_s < self._hushed[1]:
            code *= max(0.0, 1.0 - (time_s - self._hushed[0]) / _HUSHED_S)
        return code

    def _of_row(self, number: int) -> FloatArray:
        behind = self._rows - number
        if not 0 < behind <= len(self._lips):
            return np.zeros(LIPS.stop, np.float32)
        return np.asarray(self._lips[-behind] * np.float32(self._parted(number)), np.float32)

    def _parted(self, number: int) -> float:
        """How far lips may part: 1 while somebody speaks, eased to 0 where they have stopped."""
        first = self._gated - len(self._spoken)
        most = 0.0
        for offset in range(-_SHUTS_ROWS, _OPENS_ROWS + 1):
            at = number + offset - first
            if 0 <= at < len(self._spoken):
                eased = 1.0 if offset >= 0 else min(1.0, 2.0 * (1.0 + offset / (_SHUTS_ROWS + 1)))
                most = max(most, eased * self._spoken[at])
        return most


class VoiceDriver:
    """The voice beside a camera (an `engine.pipeline.Companion`), or without one.

    Use: at() for every picture, then the pipeline asks for motion().
    """

    def __init__(
        self,
        lips: SpokenLips,
        idle: Idle,
        always_lips: bool = False,
        manner: Manner | None = None,
        seed: int = 0,
        hold_s: float | None = None,
    ) -> None:
        """always_lips: the lips are the voice's also while the camera drives the rest.

        manner: of face and head while they speak; seed: another one moves them otherwise, lips apart. hold_s:
        how much earlier than the camera's picture the sound is that goes with it; the voice then helps lips
        that the camera sees badly. None: it does not.
        """
        self._wander = (
            None if manner is None else Wander(manner, seed, partial(strength_at, manner, lips.said))
        )
        self.lips = lips
        self.share = 1.0  # how much the voice drove the last picture
        self.refuses = False  # what is heard moves nothing: idle life, or the camera, goes on
        self._heeded = 1.0  # how much of what is heard moves anything
        self.assist = LipAssist()
        self._hold_s = hold_s
        self._sight, self._person = LipSight(), 0
        self._seen_lips = 1.0  # how well, in the last picture
        self._before: deque[tuple[float, Motion, Neutral]] = deque()  # what the camera saw lately
        self._idle = idle
        self._always_lips = always_lips
        self._takeover = Takeover()
        self._is_seen = False
        self._time_s = self._sound_s = 0.0
        self._held: tuple[Motion, Neutral] | None = None  # what the camera saw last

    def at(self, time_s: float, sound_s: float) -> None:
        """The next picture is of this time, and goes with this time of the sound."""
        passed_s = max(time_s - self._time_s, 0.0)
        step = passed_s / _REFUSED_S
        self._heeded = max(self._heeded - step, 0.0) if self.refuses else min(self._heeded + step, 1.0)
        self._time_s, self._sound_s = time_s, sound_s

    @property
    def asks_for_lips(self) -> bool:
        """Not while a camera alone drives: the voice is heard from the moment on when its face is lost."""
        helps = self.assist.late > 0.0 or self._seen_lips < 1.0
        return self._always_lips or self.share > 0.0 or not self._is_seen or helps

    def look(self, rgb: U8Image, landmarks: Landmarks, time_ns: int) -> None:
        """See Companion."""
        if landmarks.person != self._person:
            self._person, self._sight = landmarks.person, LipSight()
        if self._hold_s is not None:
            self._seen_lips = self._sight.of(rgb, landmarks.face, time_ns / 1e9)

    def motion(self, camera: Motion | None, neutral: Neutral) -> Motion | None:
        """See Companion. A face that is lost holds still until the voice takes over."""
        is_seen = camera is not None and camera.face_confidence > VISIBLE
        self._is_seen = is_seen
        if camera is not None and is_seen:
            self._held = self._helped(camera, neutral), neutral
        self.share = self._takeover.share(self._time_s, is_seen)
        if self._held is None or self._held[1] is not neutral:
            return self.motion_at(neutral)
        if self.share == 0.0 and not self._always_lips:
            return self._held[0] if is_seen else None
        lips = 1.0 if self._always_lips else self.share
        return blended(
            self._held[0], self.motion_at(neutral), Shares(lips, self.share, self.share, self.share)
        )

    def _helped(self, camera: Motion, neutral: Neutral) -> Motion:
        """What the camera sees, the lips with as much of the voice as they are badly seen."""
        if self._hold_s is None:
            return camera
        heeded = self._heeded if self.lips.speech_s else 0.0  # nobody spoke lately: a voice cannot help
        self.assist.update(self._time_s, self._seen_lips, heeded)
        self._before.append((self._time_s, camera, neutral))
        while (
            self._before[0][0] < self._time_s - self._hold_s - _OLDEST_S or self._before[0][2] is not neutral
        ):
            self._before.popleft()
        if not self.assist.late:
            return camera
        lips = self._lips_at(self._time_s - self.assist.late * self._hold_s)
        if self.assist.share:
            lips = blended(lips, self.motion_at(neutral), _LIPS_ALONE(self.assist.share))
        return blended(camera, lips, _LIPS_ALONE(1.0))

    def _lips_at(self, time_s: float) -> Motion:
        """The camera's motion then, as far as lips go."""
        after = next((at for at, (seen_s, *_) in enumerate(self._before) if seen_s > time_s), None)
        if after is None or after == 0:
            return self._before[-1 if after is None else 0][1]
        (low_s, low, _), (high_s, high, _) = self._before[after - 1], self._before[after]
        return blended(low, high, _LIPS_ALONE((time_s - low_s) / (high_s - low_s)))

    def motion_at(self, neutral: Neutral) -> Motion:
        """What the voice alone has them do."""
        said = self.lips.at(self._sound_s)
        if self._wander is not None:
            said[MANNERS] += self._wander.at(self._sound_s * ROWS_HZ)
        return decode(self._idle.code_at(self._time_s) + np.float32(self._heeded) * said, neutral)
