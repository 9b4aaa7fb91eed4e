"""Tracking for a live call: the face on every frame, body and hands as often as the machine allows.

`track` never waits for body or hands: each runs in a thread of its own on the newest frame, and between two
finds the last one is carried forward.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person.landmarks import FACE_POINTS, HAND_POINTS, POSE_POINTS, Landmarks
from engine.person.topology import SHOULDERS
from engine.stages import Clock, StageClock
from engine.tracking.bystanders import Bystanders, Counter
from engine.tracking.chest import ChestTracker
from engine.tracking.face_finder import FaceFinder
from engine.tracking.hand_sides import HandFound, HandSides, PoseFound, hand_size_px
from engine.tracking.landmark_filter import LandmarkFilter
from engine.tracking.mediapipe_parts import FaceCounter, HandsPart, PosePart
from engine.tracking.prediction import Fader, Predictor

Result = TypeVar("Result")

_EARLY_NS = 8_000_000  # a frame this much before its turn is taken: cameras are not punctual
_SILENT_NS = 600_000_000  # a part without any finding for so long counts as lost, at the usual rates
_POSE_NOISE = 0.6  # shoulder widths per second: jitter of a still body, see Predictor
_HAND_NOISE = 1.0  # hand sizes per second
_MOVING = 0.5  # of those speeds, after the noise is taken off: from here on a part is looked for more often


# How often the slow parts are looked for, at rest and in motion; a look takes about 10 ms of a core.
_POSE_HZ = 8.0, 15.0
_HANDS_HZ = 10.0, 30.0


class _Part(Protocol):
    def find(self, rgb: U8Image) -> Any: ...
    def reset(self) -> None: ...


class _Forgetful(Protocol):
    def reset(self) -> None: ...


class Finding(NamedTuple):
    """What a part found, in the frame of which time, and how long it looked."""

    found: Any
    time_ns: int
    took_ms: float


class NewestWorker(Generic[Result]):
    """A thread with a one-place inbox: a newer frame replaces one not yet begun and counts in `dropped`."""

    def __init__(
        self,
        name: str,
        work: Callable[[U8Image], Result],
        restart: Callable[[], None],
        clock: Clock = perf_counter,
    ) -> None:
        self.dropped = 0
        self._now = clock
        self._work, self._restart = work, restart
        self._condition = threading.Condition()
        self._job: tuple[U8Image, int] | None = None
        self._finding: Finding | None = None
        self._error: BaseException | None = None
        self._age = 0  # counts resets: what was begun before the last one is not told
        self._stop = False
        self._thread = threading.Thread(target=self._run, name=f"avatarcast-{name}", daemon=True)
        self._thread.start()

    def put(self, rgb: U8Image, time_ns: int) -> None:
        """Hand over a frame; the caller may reuse its array."""
        with self._condition:
            self.dropped += self._job is not None
            self._job = (rgb.copy(), time_ns)
            self._condition.notify()

    def take(self) -> Finding | None:
        """The newest find that was not taken yet. Raises what the work raised."""
        with self._condition:
            if self._error is not None:
                raise self._error
            finding, self._finding = self._finding, None
            return finding

    def reset(self) -> None:
        """Forget inbox and finds; `restart` runs before the next frame."""
        with self._condition:
            self._job = self._finding = None
            self._age += 1

    def close(self) -> None:
        """Let the work at hand end, and the thread with it."""
        with self._condition:
            self._stop = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        age = 0
        try:
            while True:
                with self._condition:
                    self._condition.wait_for(lambda: self._stop or self._job is not None)
                    if self._stop or self._job is None:
                        return
                    (rgb, time_ns), self._job = self._job, None
                    outdated, age = age != self._age, self._age
                if outdated:
                    self._restart()
                began = self._now()
                found = self._work(rgb)
                took_ms = (self._now() - began) * 1e3
                with self._condition:
                    if age == self._age:
                        self._finding = Finding(found, time_ns, took_ms)
        except BaseException as error:  # told to the caller's thread by `take`
            with self._condition:
                self._error = error


class _Turn:
    """Says when a part is due to be looked for again."""

    def __init__(self, rest_hz: float, moving_hz: float) -> None:
        self.share = 1.0  # of these rates
        self._rest_ns, self._moving_ns = 1e9 / rest_hz, 1e9 / moving_hz
        self._last_ns: int | None = None

    def due(self, time_ns: int, moving: bool) -> bool:
        period_ns = (self._moving_ns if moving else self._rest_ns) / self.share
        if self._last_ns is not None and time_ns < self._last_ns + period_ns - _EARLY_NS:
            return False
        self._last_ns = time_ns
        return True

    def reset(self) -> None:
        self._last_ns = None


class _SlowPart(Generic[Result]):
    """A part that is looked for in a thread of its own; between two finds the last one is carried forward."""

    def __init__(
        self,
        name: str,
        part: _Part,
        turn: _Turn,
        predictors: int,
        faded: int,
        clock: Clock,
    ) -> None:
        """predictors: of points that move together; faded: confidences."""
        self.turn = turn
        self._worker: NewestWorker[Result] = NewestWorker(name, part.find, part.reset, clock)
        self._predictors = [Predictor() for _ in range(predictors)]
        self._faded, self._fader = faded, Fader(faded)
        self._forget()

    def _forget(self) -> None:
        self._goal = np.zeros(self._faded, np.float32)  # confidences to fade towards
        self._moving = False
        self._heard_ns = 0

    def look(self, rgb: U8Image, time_ns: int) -> None:
        """Hands the frame over, if it is the part's turn."""
        if self.turn.due(time_ns, self._moving):
            self._worker.put(rgb, time_ns)

    def _heard(self) -> Finding | None:
        """What was found since the last call, if anything was."""
        finding = self._worker.take()
        if finding is not None:
            self._heard_ns = finding.time_ns
        return finding

    def at(self, time_ns: int) -> tuple[list[FloatArray | None], FloatArray]:
        """The points of each predictor, None before the first find, and the confidences."""
        if time_ns - self._heard_ns > _SILENT_NS / self.turn.share:
            self._goal[:] = 0.0
        points = [predictor.at(time_ns) for predictor in self._predictors]
        return points, self._fader.toward(self._goal, time_ns)

    def _moved(self, predictor: Predictor, points: FloatArray, time_ns: int, noise: float) -> bool:
        """Takes a find in; True where it moves faster than a part at rest seems to."""
        predictor.found(points, time_ns, noise)
        return predictor.speed > _MOVING * noise

    def reset(self) -> None:
        """Forget the person."""
        forgetful: list[_Forgetful] = [self._worker, self.turn, *self._predictors, self._fader]
        for part in forgetful:
            part.reset()
        self._forget()

    def close(self) -> None:
        """End the thread."""
        self._worker.close()


class _Body(_SlowPart[PoseFound | None]):
    def __init__(self, part: _Part, clock: Clock) -> None:
        super().__init__("pose", part, _Turn(*_POSE_HZ), 1, POSE_POINTS, clock)

    def _forget(self) -> None:
        super()._forget()
        self.last: PoseFound | None = None  # as last seen

    def hear(self) -> float | None:
        """Takes in what was found meanwhile; how long that look took, ms."""
        finding = self._heard()
        if finding is None:
            return None
        self.last = finding.found
        if finding.found is None:
            self._goal[:] = 0.0
            return finding.took_ms
        points, visibility = finding.found
        left, right = SHOULDERS
        noise = _POSE_NOISE * float(np.linalg.norm(points[left] - points[right]))
        self._moving = self._moved(self._predictors[0], points, finding.time_ns, noise)
        self._goal[:] = visibility
        return finding.took_ms


class _Hands(_SlowPart[list[HandFound]]):
    def __init__(self, part: _Part, clock: Clock) -> None:
        super().__init__("hands", part, _Turn(*_HANDS_HZ), 2, 2, clock)
        self._sides = HandSides()

    def hear(self, pose: PoseFound | None) -> float | None:
        """Takes in what was found meanwhile, sides told by the body; how long that look took, ms."""
        finding = self._heard()
        if finding is None:
            return None
        points, confidence = self._sides.assign(finding.found, pose, finding.time_ns)
        moved = [
            self._moved(predictor, hand, finding.time_ns, _HAND_NOISE * hand_size_px(hand))
            for predictor, hand, seen in zip(self._predictors, points, confidence, strict=True)
            if seen > 0
        ]
        self._moving = any(moved)
        self._goal[:] = confidence
        return finding.took_ms

    def reset(self) -> None:
        super().reset()
        self._sides.reset()


class LiveTracker:
    """See the module. One caller; results are filtered. Time going backwards is a stream that begins anew."""

    def __init__(
        self,
        *,
        face: FaceFinder | None = None,
        pose: _Part | None = None,
        hands: _Part | None = None,
        counter: Counter | None = None,
        clock: Clock = perf_counter,
    ) -> None:
        """face, pose, hands, counter: other finders than MediaPipe's, mainly for tests.

        clock: times the parts.
        """
        self.part_ms: dict[str, float] = {}  # of the last frame, by engine.stages.TRACK_PARTS
        self._now = clock
        self._face = face or FaceFinder()
        self._face_fader = Fader(1)
        self._bystanders = Bystanders(counter or FaceCounter())
        self._body = _Body(pose or PosePart(), clock)
        self._hands = _Hands(hands or HandsPart(quick=True), clock)
        self._chest = ChestTracker()
        self._filter = LandmarkFilter()
        self._closed = False
        self._forget()

    def _forget(self) -> None:
        self._last_face = np.zeros((FACE_POINTS, 3), np.float32)
        self._time_ns: int | None = None

    def track(self, rgb: U8Image, time_ns: int) -> Landmarks:
        """rgb: (H, W, 3) uint8 RGB, not mirrored. Costs about the face alone."""
        if self._time_ns is not None and time_ns < self._time_ns:
            self._begin_anew()
        self._time_ns = time_ns
        clock = StageClock(self._now)
        self.part_ms = clock.stage_ms
        rgb = np.ascontiguousarray(rgb)
        alone = self._bystanders.cover(rgb, time_ns)
        clock.end("others")
        self._body.look(alone, time_ns)
        self._hands.look(alone, time_ns)
        clock.end("hand_over")
        face = self._face.find(alone)
        clock.end("face")
        for name, took_ms in (("pose", self._body.hear()), ("hands", self._hands.hear(self._body.last))):
            if took_ms is not None:
                self.part_ms[name] = took_ms
        if self._body.last is not None and self._bystanders.is_astray(self._body.last):
            self._body.reset()
        if face is None:
            face = self._face.find_near(alone, self._body.last)
        if face is not None and not self._bystanders.follow(face, time_ns):
            self._face.reset()
            face = None
        if face is not None:
            self._last_face = face
        clock.end("body")
        chest = self._chest.update(rgb, face)
        clock.end("chest")
        (body,), pose_confidence = self._body.at(time_ns)
        hands, hand_confidence = self._hands.at(time_ns)
        nothing = np.zeros((HAND_POINTS, 3), np.float32)
        found = Landmarks(
            width=rgb.shape[1],
            height=rgb.shape[0],
            face=self._last_face,
            face_confidence=float(self._face_fader.toward(float(face is not None), time_ns)[0]),
            pose=np.zeros((POSE_POINTS, 3), np.float32) if body is None else body,
            pose_confidence=pose_confidence,
            hands=np.stack([nothing if hand is None else hand for hand in hands]),
            hand_confidence=hand_confidence,
            chest=chest.shift,
            chest_middle=chest.middle,
            chest_shape=chest.shape,
            chest_confidence=chest.confidence,
            person=self._bystanders.person,
            others=self._bystanders.others,
        )
        clock.end("predict")
        steady = self._filter(found, time_ns)
        clock.end("filter")
        return steady

    def look_less(self, share: float) -> None:
        """Body and hands are looked for this share as often as usual, until told otherwise."""
        for part in (self._body, self._hands):
            part.turn.share = share

    def reset(self) -> None:
        """Forget the person: for a cut or another source."""
        self._begin_anew()
        self._bystanders.reset()

    def _begin_anew(self) -> None:
        """Forget how the person moved."""
        parts: list[_Forgetful] = [
            self._body,
            self._hands,
            self._face,
            self._face_fader,
            self._chest,
            self._filter,
        ]
        for part in parts:
            part.reset()
        self._forget()

    def close(self) -> None:
        """End the threads; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for part in (self._body, self._hands):
            part.close()

    def __enter__(self) -> LiveTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
