"""What surrounds the models: sides of hands, prediction, fading, filtering, the live tracker's threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.arrays import U8Image
from engine.person.landmarks import LEFT, RIGHT, Landmarks
from engine.stages import TRACK_PARTS
from engine.tracking.hand_sides import HandFound, HandSides, PoseFound
from engine.tracking.landmark_filter import LandmarkFilter
from engine.tracking.prediction import Fader, Predictor

FRAME_NS = 33_333_333
LIMIT_S = 30.0  # longest wait for a thread
SHAPE = np.random.default_rng(0).uniform(-20, 20, (21, 3)).astype(np.float32)
SHAPE[0], SHAPE[9] = (0, 0, 0), (0, -20, 0)


def hand(x: float, y: float, left: float, score: float = 0.9) -> HandFound:
    return HandFound(SHAPE + np.array([x, y, 0], np.float32), score, left)


def body(left_x: float, right_x: float, visible: float = 1.0) -> PoseFound:
    points = np.zeros((33, 3), np.float32)
    points[11, :2], points[12, :2] = (140, 50), (60, 50)
    points[15, :2], points[16, :2] = (left_x, 100), (right_x, 100)
    visibility = np.ones(33, np.float32)
    visibility[15:17] = visible
    return PoseFound(points, visibility)


class TestHandSides:
    def test_labels_decide_without_a_body(self) -> None:
        hands, confidence = HandSides().assign([hand(50, 100, left=0.1), hand(150, 100, left=0.9)], None, 0)
        assert hands[LEFT, 0, 0] == 150
        assert hands[RIGHT, 0, 0] == 50
        np.testing.assert_allclose(confidence, 0.9)

    def test_two_hands_with_the_same_label_are_told_apart_by_the_wrists(self) -> None:
        found = [hand(50, 100, left=0.9), hand(150, 100, left=0.8)]
        hands, confidence = HandSides().assign(found, body(left_x=150, right_x=50), 0)
        assert hands[LEFT, 0, 0] == 150
        assert hands[RIGHT, 0, 0] == 50
        assert (confidence > 0).all()

    def test_a_wrong_label_does_not_beat_body_and_memory(self) -> None:
        sides = HandSides()
        sides.assign([hand(150, 100, left=0.9)], body(150, 50), 0)
        hands, confidence = sides.assign([hand(152, 100, left=0.05)], body(150, 50), FRAME_NS)
        assert hands[LEFT, 0, 0] == 152
        assert confidence[RIGHT] == 0

    def test_memory_does_not_outlive_its_time(self) -> None:
        sides = HandSides()
        sides.assign([hand(150, 100, left=0.9)], None, 0)
        _, confidence = sides.assign([hand(152, 100, left=0.2)], None, 2_000_000_000)
        assert confidence[RIGHT] > 0

    def test_one_hand_found_twice_counts_once(self) -> None:
        found = [hand(150, 100, left=0.9, score=0.7), hand(151, 101, left=0.4, score=0.9)]
        _, confidence = HandSides().assign(found, None, 0)
        assert sorted(confidence.tolist()) == pytest.approx([0.0, 0.9])

    @pytest.mark.parametrize(("visible", "kept"), [(1.0, True), (0.1, False)])
    def test_a_hand_over_the_face_needs_a_wrist_that_the_body_sees(self, visible: float, kept: bool) -> None:
        _, confidence = HandSides().assign([hand(120, 70, left=0.9)], body(135, 50, visible), 0)
        assert (confidence[LEFT] > 0) == kept

    def test_a_find_that_the_body_contradicts_is_dropped(self) -> None:
        """Ears and collars were taken for hands in a clip that never showed one."""
        ear = [hand(100, -200, left=0.95)]
        _, confidence = HandSides().assign(ear, body(150, 50, visible=0.05), 0)
        assert not confidence.any()
        _, confidence = HandSides().assign(ear, None, 0)
        assert confidence[LEFT] > 0


class TestPredictor:
    def test_follows_an_even_motion_for_a_while_and_then_stops(self) -> None:
        predictor = Predictor()
        start = np.zeros((4, 2), np.float32)
        predictor.found(start, 0, noise_speed=1.0)
        predictor.found(start + 10, 100_000_000, noise_speed=1.0)
        ahead = [
            float(np.asarray(predictor.at(100_000_000 + ms * 1_000_000))[0, 0]) for ms in (0, 20, 150, 2000)
        ]
        assert ahead[0] == 10
        assert 11.2 < ahead[1] < 12.0  # 100 px/s for 20 ms, a little damped
        assert 10 < ahead[2] <= 16.0
        assert ahead[3] == ahead[2]

    def test_slow_drift_is_taken_for_noise(self) -> None:
        predictor = Predictor()
        predictor.found(np.zeros((1, 2), np.float32), 0, 100.0)
        predictor.found(np.ones((1, 2), np.float32), 100_000_000, 100.0)
        assert predictor.speed < 0.2 * 14.2
        assert np.asarray(predictor.at(200_000_000))[0, 0] < 1.1

    def test_nothing_before_the_first_find(self) -> None:
        assert Predictor().at(0) is None

    def test_an_old_find_tells_no_velocity(self) -> None:
        predictor = Predictor()
        predictor.found(np.zeros((1, 2), np.float32), 0, 1.0)
        predictor.found(np.full((1, 2), 500, np.float32), 5_000_000_000, 1.0)
        assert predictor.speed == 0


def test_confidence_falls_slowly_and_rises_quickly() -> None:
    fader = Fader(1)
    assert fader.toward(1.0, 0)[0] == 1.0
    assert fader.toward(0.0, 150_000_000)[0] == pytest.approx(0.5)
    assert fader.toward(0.0, 300_000_000)[0] == pytest.approx(0.0, abs=1e-6)
    assert fader.toward(1.0, 350_000_000)[0] == pytest.approx(0.5)
    assert fader.toward(1.0, 1_000_000_000)[0] == 1.0


def test_a_part_that_returns_does_not_sweep_in() -> None:
    smooth = LandmarkFilter()
    hands = np.zeros((2, 21, 3), np.float32)
    for index in range(10):
        smooth(
            Landmarks(200, 200, hands=hands + SHAPE, hand_confidence=np.ones(2, np.float32)), index * FRAME_NS
        )
    smooth(Landmarks(200, 200, hands=hands + SHAPE), 10 * FRAME_NS)
    moved = hands + SHAPE + 100
    back = smooth(Landmarks(200, 200, hands=moved, hand_confidence=np.ones(2, np.float32)), 11 * FRAME_NS)
    np.testing.assert_array_equal(back.hands, moved)


class FakeFace:
    def __init__(self, face: NDArray[np.float32] | None) -> None:
        self.face = face

    def find(self, rgb: U8Image) -> NDArray[np.float32] | None:
        return self.face

    def find_near(self, rgb: U8Image, pose: PoseFound | None) -> None:
        return None

    def reset(self) -> None:
        pass


class FakePart:
    """Finds what it is told to, when it is let."""

    def __init__(self, found: Any) -> None:
        self.found = found
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[int] = []
        self.resets = 0

    def find(self, rgb: U8Image) -> Any:
        self.calls.append(int(rgb[0, 0, 0]))
        assert self.gate.wait(LIMIT_S)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def reset(self) -> None:
        self.resets += 1


def frame(value: int = 0) -> U8Image:
    return np.full((100, 200, 3), value, np.uint8)


def until(condition: Callable[[], bool]) -> None:
    """Threads need a moment."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"nothing happened within {LIMIT_S} s"
        time.sleep(0.001)


class TestLiveTracker:
    @pytest.fixture
    def parts(self) -> tuple[FakeFace, FakePart, FakePart]:
        face = np.random.default_rng(3).uniform(40, 90, (478, 3)).astype(np.float32)
        return FakeFace(face), FakePart(body(150, 50)), FakePart([hand(150, 100, left=0.95)])

    @pytest.fixture
    def tracker(self, parts: tuple[FakeFace, FakePart, FakePart]) -> Iterator[Any]:
        module = pytest.importorskip("engine.tracking.live_tracker", reason="needs LiteRT")
        face, pose, hands = parts
        tracker = module.LiveTracker(face=face, pose=pose, hands=hands)
        yield tracker
        for part in (pose, hands):
            part.gate.set()
        tracker.close()

    def _track_until(self, tracker: Any, ready: Callable[[Landmarks], bool]) -> Landmarks:
        found: list[Landmarks] = []

        def step() -> bool:
            found.append(tracker.track(frame(), len(found) * FRAME_NS))
            return ready(found[-1])

        until(step)
        return found[-1]

    def test_everything_found_arrives(self, tracker: Any) -> None:
        found = self._track_until(
            tracker, lambda one: one.hand_confidence[LEFT] > 0.8 and one.pose_confidence[11] > 0.5
        )
        assert found.face_confidence == 1.0
        assert found.hands[LEFT, 0, 0] == pytest.approx(150, abs=1)
        assert found.hand_confidence[RIGHT] == 0

    def test_the_time_of_its_parts(self, tracker: Any) -> None:
        """Its own on every frame; of body and hands on those that bring news of them."""
        beside = {"pose", "hands"}
        told: set[str] = set()

        def step(_: Landmarks) -> bool:
            assert set(tracker.part_ms) - beside == set(TRACK_PARTS) - beside
            assert all(taken >= 0 for taken in tracker.part_ms.values())
            told.update(tracker.part_ms)
            return beside <= told

        self._track_until(tracker, step)

    def test_the_face_never_waits_for_body_and_hands(
        self, tracker: Any, parts: tuple[FakeFace, FakePart, FakePart]
    ) -> None:
        _, pose, hands = parts
        pose.gate.clear()
        hands.gate.clear()
        for index in range(20):  # who waits for a gate gets its error
            found = tracker.track(frame(index), index * FRAME_NS)
            assert found.face_confidence > 0
            assert not found.hand_confidence.any()

    def test_a_worker_takes_the_newest_frame_and_counts_the_others(
        self, tracker: Any, parts: tuple[FakeFace, FakePart, FakePart]
    ) -> None:
        _, _, hands = parts
        hands.gate.clear()
        tracker.track(frame(0), 0)
        until(lambda: hands.calls == [0])
        for index in range(1, 13):
            tracker.track(frame(index), index * FRAME_NS)
        hands.gate.set()
        until(lambda: len(hands.calls) == 2)
        assert hands.calls[1] >= 10  # one of the last three: at rest hands are looked for 10 times a second
        assert tracker._hands._worker.dropped >= 2

    def test_the_caller_may_reuse_its_array(
        self, tracker: Any, parts: tuple[FakeFace, FakePart, FakePart]
    ) -> None:
        _, _, hands = parts
        hands.gate.clear()
        tracker.track(frame(0), 0)
        until(lambda: hands.calls == [0])
        picture = frame(7)
        tracker.track(picture, 4 * FRAME_NS)
        picture[:] = 99
        hands.gate.set()
        until(lambda: len(hands.calls) == 2)
        assert hands.calls[1] == 7

    def test_looks_are_as_many_as_the_machine_can_afford(
        self, tracker: Any, parts: tuple[FakeFace, FakePart, FakePart]
    ) -> None:
        _, pose, hands = parts
        looks = []
        for share in (1.0, 0.25):
            tracker.reset()
            tracker.look_less(share)
            before = len(pose.calls), len(hands.calls)
            for index in range(50):  # two seconds
                found = tracker.track(frame(), index * FRAME_NS)
                until(lambda: tracker._body._worker._job is None and tracker._hands._worker._job is None)
            until(lambda: tracker._hands._worker._job is None)
            looks.append((len(pose.calls) - before[0], len(hands.calls) - before[1]))
            assert (
                found.hand_confidence[LEFT] > 0.8
            )  # what is looked for seldom is not lost between two looks
        assert looks[0] == pytest.approx((16, 20), abs=4)
        assert looks[1] == pytest.approx((4, 5), abs=1)

    def test_a_lost_hand_fades_in_place(
        self, tracker: Any, parts: tuple[FakeFace, FakePart, FakePart]
    ) -> None:
        self._track_until(tracker, lambda one: one.hand_confidence[LEFT] > 0.8)
        parts[2].found = []
        start = tracker._time_ns
        confidences, places = [], []
        for step in range(1, 60):
            found = tracker.track(frame(), start + step * FRAME_NS)
            confidences.append(float(found.hand_confidence[LEFT]))
            places.append(float(found.hands[LEFT, 0, 0]))
            time.sleep(0.002)  # lets the worker answer
        falls = -np.diff(confidences)
        assert falls.max() <= FRAME_NS / 300e6 + 1e-3
        assert confidences[-1] == 0
        assert abs(places[5] - 150) < 5

    def test_a_lost_face_fades_and_keeps_its_place(
        self, tracker: Any, parts: tuple[FakeFace, FakePart, FakePart]
    ) -> None:
        before = tracker.track(frame(), 0)
        parts[0].face = None
        after = tracker.track(frame(), 3 * FRAME_NS)
        assert 0.5 < after.face_confidence < 0.8
        np.testing.assert_allclose(after.face, before.face, atol=1e-3)
        assert tracker.track(frame(), 12 * FRAME_NS).face_confidence == 0

    def test_an_error_in_a_thread_reaches_the_caller(
        self, tracker: Any, parts: tuple[FakeFace, FakePart, FakePart]
    ) -> None:
        parts[1].found = RuntimeError("model broke")
        with pytest.raises(RuntimeError, match="model broke"):
            self._track_until(tracker, lambda _: False)

    def test_time_running_backwards_is_another_source(
        self, tracker: Any, parts: tuple[FakeFace, FakePart, FakePart]
    ) -> None:
        self._track_until(tracker, lambda one: one.hand_confidence[LEFT] > 0.8)
        tracker.track(frame(), tracker._time_ns + FRAME_NS)  # the first frame may have been enough
        parts[2].gate.clear()
        found = tracker.track(frame(), 0)
        assert not found.hand_confidence.any()
        parts[2].gate.set()
        until(lambda: parts[2].resets == 1)

    def test_close_ends_the_threads(self, tracker: Any) -> None:
        tracker.track(frame(), 0)
        tracker.close()
        tracker.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("avatarcast-")]
