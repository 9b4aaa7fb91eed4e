"""Footage: the quality gate and loading. Exact landmarks come from a drawn puppet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.arrays import U8Image
from engine.errors import FootageError, VideoError
from engine.media.video import VideoWriter
from engine.person import topology as topo
from engine.person.landmarks import LEFT, Landmarks
from export.footage.checks import FrameStats, covered, judge, sharpness, usable
from tests.support.puppet import Pose, Puppet

SIZE = 480
PUPPET = Puppet(SIZE)
FRAMES = 250


def performance(count: int = FRAMES, **changes: Any) -> list[Pose]:
    """A good take: looks about, speaks, closes the mouth now and then, blinks, shows both hands."""
    poses = []
    for index in range(count):
        pose = Pose(
            yaw_deg=14 * float(np.sin(index / 20)),
            pitch_deg=7 * float(np.sin(index / 13)),
            mouth=0.2 if index % 10 < 6 else 0.0,
            lids=(0.0, 0.0) if index % 60 in (30, 31, 32) else (1.0, 1.0),
            hands=((1.0, 1.9), (-1.0, 1.9)) if index % 50 < 20 else (None, None),
        )
        poses.append(replace(pose, **changes))
    return poses


def tracked(poses: Sequence[Pose], smiles: bool = True) -> list[Landmarks]:
    """Two seconds in ten are smiled, if any."""
    found = [PUPPET.landmarks(pose) for pose in poses]
    return [smiling(one) if smiles and index % 100 >= 80 else one for index, one in enumerate(found)]


def smiling(one: Landmarks) -> Landmarks:
    face, lips = one.face.copy(), np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER])
    face[lips, 0] += 0.2 * (face[lips, 0] - face[lips, 0].mean())
    return replace(one, face=face)


def hand_at(one: Landmarks, rows: Any) -> Landmarks:
    """A hand before those points of the face."""
    hands, confidence = one.hands.copy(), one.hand_confidence.copy()
    size = float(np.ptp(one.face[:, 0])) / 4
    spread = np.random.default_rng(0).uniform(-size, size, (21, 2))
    hands[LEFT, :, :2] = one.face[rows, :2].mean(axis=0) + spread
    confidence[LEFT] = 0.9
    return replace(one, hands=hands, hand_confidence=confidence)


def stats(count: int = FRAMES, **changes: Any) -> list[FrameStats]:
    """What good pictures say of themselves."""
    good = FrameStats(time_s=0.0, change=1.0, luma=120.0, sharpness=0.25, one_sided=1.1, second_face=0.0)
    return [replace(good, **changes) for _ in range(count)]


class TestGate:
    FRAME_S = 0.1  # 250 frames are 25 s

    def test_a_good_take_passes_without_a_word(self) -> None:
        assert judge(stats(), tracked(performance()), self.FRAME_S) == ()

    @pytest.mark.parametrize(
        ("frame_s", "message"),
        [(0.02, r"5\.0 s of usable footage, wanted 8 s"), (0.0317, "7.9 s .*: film longer")],
    )
    def test_too_short_is_an_error(self, frame_s: float, message: str) -> None:
        with pytest.raises(FootageError, match=message):
            judge(stats(), tracked(performance()), frame_s)

    def test_short_is_a_warning(self) -> None:
        (warning,) = judge(stats(), tracked(performance()), 0.05)
        assert warning.startswith("only 12 s of usable footage")

    @pytest.mark.parametrize("lost", [250, 110])
    def test_a_face_that_is_seldom_there_is_an_error(self, lost: int) -> None:
        found = tracked(performance())
        for index in range(lost):
            found[index] = replace(found[index], face_confidence=0.0)
        with pytest.raises(FootageError, match=r"a face is in .* % of the frames, wanted 60 %"):
            judge(stats(), found, self.FRAME_S)

    def test_a_second_person_is_an_error_and_a_passer_by_is_not(self) -> None:
        crowd = [
            replace(one, second_face=0.8 if index % 4 == 0 else 0.0) for index, one in enumerate(stats())
        ]
        with pytest.raises(FootageError, match="a second person is in 25 %"):
            judge(crowd, tracked(performance()), self.FRAME_S)
        passing = [replace(one, second_face=0.8 if index < 20 else 0.0) for index, one in enumerate(stats())]
        assert judge(passing, tracked(performance()), self.FRAME_S) == ()
        poster = stats(second_face=0.2)
        assert judge(poster, tracked(performance()), self.FRAME_S) == ()

    def test_frames_not_looked_at_do_not_count_as_alone(self) -> None:
        sampled = [
            replace(one, second_face=0.9 if index % 10 == 0 else None) for index, one in enumerate(stats())
        ]
        with pytest.raises(FootageError, match="a second person is in 100 %"):
            judge(sampled, tracked(performance()), self.FRAME_S)

    @pytest.mark.parametrize(
        ("changes", "error", "warning"),
        [
            ({"luma": 15.0}, "too dark .grey 15", ""),
            ({"luma": 40.0}, "", "the face is dark"),
            ({"sharpness": 0.005}, "the face is blurred", ""),
            ({"sharpness": 0.07}, "", "the face is soft"),
            (
                {"one_sided": 2.6},
                "",
                "one half of the face is 2.6 times as bright as the other: turn towards",
            ),
        ],
    )
    def test_light_and_focus(self, changes: dict[str, Any], error: str, warning: str) -> None:
        if error:
            with pytest.raises(FootageError, match=error):
                judge(stats(**changes), tracked(performance()), self.FRAME_S)
        else:
            (said,) = judge(stats(**changes), tracked(performance()), self.FRAME_S)
            assert said.startswith(warning)

    @pytest.mark.parametrize(("zoom", "error"), [(0.3, True), (0.55, False)])
    def test_a_small_face(self, zoom: float, error: bool) -> None:
        found = tracked(performance(zoom=zoom))
        if error:
            with pytest.raises(FootageError, match=r"the face is \d+ px wide, wanted 110"):
                judge(stats(), found, self.FRAME_S)
        else:
            (warning,) = judge(stats(), found, self.FRAME_S)
            assert warning.startswith("the face is only")

    @pytest.mark.parametrize(
        ("changes", "missing"),
        [
            ({"mouth": 0.25}, ["the mouth is closed in 0 %", "the lips moved"]),
            ({"mouth": 0.0}, ["the lips moved"]),
            ({"lids": (1.0, 1.0)}, ["0 blinks were seen"]),
            ({"yaw_deg": 0.0}, ["the head turns by 0 degrees"]),
            ({"pitch_deg": 0.0}, ["the head nods by 0 degrees"]),
            ({"hands": (None, None)}, ["the hands are hardly ever seen"]),
            ({"hands": ((1.0, 1.9), None)}, ["the right hand is hardly ever seen"]),
            ({"hands": (None, (-1.0, 1.9))}, ["the left hand is hardly ever seen"]),
        ],
    )
    def test_what_was_not_filmed_is_named(self, changes: dict[str, Any], missing: list[str]) -> None:
        said = judge(stats(), tracked(performance(**changes)), self.FRAME_S)
        assert len(said) == len(missing), said
        for warning, start in zip(said, missing, strict=True):
            assert warning.startswith(start)
            assert ":" in warning  # and what to do about it

    def test_a_face_that_never_smiles(self) -> None:
        (said,) = judge(stats(), tracked(performance(), smiles=False), self.FRAME_S)
        assert said.startswith("no smile was seen: smile")

    def test_messages_are_one_line(self) -> None:
        still: dict[str, Any] = {
            "mouth": 0.25,
            "lids": (1.0, 1.0),
            "yaw_deg": 0.0,
            "pitch_deg": 0.0,
            "hands": (None, None),
        }
        said = judge(
            stats(luma=40, sharpness=0.07, one_sided=3.0),
            tracked(performance(zoom=0.55, **still), smiles=False),
            0.05,
        )
        assert len(said) == 12
        assert all("\n" not in warning for warning in said)


class TestHandsOverTheFace:
    FRAME_S = 0.1

    @pytest.mark.parametrize("rows", [topo.LIPS_OUTER, *topo.EYES], ids=["mouth", "left eye", "right eye"])
    def test_such_a_frame_is_not_learnt_from(self, rows: Any) -> None:
        found = tracked(performance(hands=(None, None)))
        found[100] = hand_at(found[100], rows)
        assert covered(found[100])
        assert np.flatnonzero(~usable(found, stats())).tolist() == [100]

    def test_hands_beside_the_face_and_lost_hands_cover_nothing(self) -> None:
        one = PUPPET.landmarks(Pose(hands=((1.0, 1.9), (-1.0, 1.9))))
        assert not covered(one)
        lost = hand_at(one, topo.LIPS_OUTER)
        lost.hand_confidence[LEFT] = 0.0
        assert not covered(lost)

    def test_a_few_are_a_warning_and_many_an_error(self) -> None:
        found = tracked(performance())
        few = [hand_at(one, topo.LIPS_OUTER) if i % 20 == 0 else one for i, one in enumerate(found)]
        (said,) = judge(stats(), few, self.FRAME_S)
        assert said.startswith("a hand is over mouth or eyes in 5 % of the frames, which are left out: keep")
        many = [hand_at(one, topo.LIPS_OUTER) if i % 2 == 0 else one for i, one in enumerate(found)]
        with pytest.raises(
            FootageError, match=r"over mouth or eyes in 50 % of the frames, wanted 40 % at most"
        ):
            judge(stats(), many, self.FRAME_S)
        with pytest.raises(FootageError, match="in 100 % of the frames"):
            judge(stats(), [hand_at(one, topo.LIPS_OUTER) for one in found], self.FRAME_S)


def test_frames_around_a_passer_by_are_left_out() -> None:
    """Looked at every tenth frame; who is seen in one look may have come just after the one before."""
    found = tracked(performance())
    looks = [
        replace(one, second_face=(0.8 if index == 100 else 0.0) if index % 10 == 0 else None)
        for index, one in enumerate(stats())
    ]
    left_out = np.flatnonzero(~usable(found, looks))
    assert left_out.min() in (90, 91)
    assert left_out.max() in (109, 110)
    assert len(left_out) in range(19, 22)


def test_sharpness_tells_blur_and_ignores_size_and_light() -> None:
    face = np.random.default_rng(0).integers(0, 200, (24, 24)).astype(np.uint8)
    face = cv2.resize(face, (192, 192), interpolation=cv2.INTER_CUBIC)
    sharp = sharpness(face)
    assert sharpness(cv2.GaussianBlur(face, (0, 0), 8)) < 0.2 * sharp
    assert sharpness((face // 2 + 40).astype(np.uint8)) == pytest.approx(sharp, rel=0.1)
    assert sharpness(cv2.resize(face, (384, 384), interpolation=cv2.INTER_CUBIC)) == pytest.approx(
        sharp, rel=0.15
    )


class ScriptTracker:
    """The landmarks of a script."""

    def __init__(self, script: Sequence[Landmarks]) -> None:
        self.script = list(script)
        self.reset_before: list[int] = []  # frames tracked until then
        self._tracked = 0

    def track(self, rgb: U8Image, time_ns: int) -> Landmarks:
        self._tracked += 1
        return self.script.pop(0)

    def reset(self) -> None:
        self.reset_before.append(self._tracked)

    def close(self) -> None:
        raise AssertionError("the caller's tracker is not ours to close")


class TestLoading:
    @pytest.fixture
    def take(self, tmp_path: Path) -> Callable[..., tuple[Path, list[Landmarks]]]:
        """A filmed puppet and its landmarks; at `cut` it and its wall change."""

        def film(name: str, count: int, cut: int = 0) -> tuple[Path, list[Landmarks]]:
            rgb, _, landmarks = Puppet(256).film(performance(count))
            if cut:
                rgb[cut:] = 255 - rgb[cut:]
            path = tmp_path / name
            with VideoWriter(path, 256, 256, Fraction(10)) as writer:
                for picture in rgb:
                    writer.write(picture)
            return path, landmarks

        return film

    def test_clips_become_tracked_shots(self, take: Callable[..., tuple[Path, list[Landmarks]]]) -> None:
        footage_module = pytest.importorskip("export.footage.footage", reason="needs LiteRT")
        (one, first), (two, second) = take("one.mp4", 60, cut=25), take("two.mp4", 50)
        progress: list[tuple[int, int]] = []
        tracker = ScriptTracker(first + second)
        footage = footage_module.load_footage(
            [one, two], tracker, lambda _, done, total: progress.append((done, total))
        )
        assert [[(shot.start, shot.stop) for shot in clip.shots] for clip in footage.clips] == [
            [(0, 25), (25, 60)],
            [(0, 50)],
        ]
        assert tracker.reset_before == [25, 60, 110]  # at the cut, and after each clip
        assert progress[0] == (1, 110)
        assert progress[-1] == (110, 110)
        assert footage.duration_s == pytest.approx(11.0)
        assert footage.fps == pytest.approx(10)
        assert any("only 11 s" in warning for warning in footage.warnings)
        frames = list(footage.frames())
        assert [(f.clip, f.index) for f in frames[58:62]] == [(0, 58), (0, 59), (1, 0), (1, 1)]
        assert len(frames) == 110
        assert all(
            np.array_equal(frame.landmarks.face, given.face)
            for frame, given in zip(frames, first + second, strict=True)
        )

    def test_a_bad_file_is_told_before_any_tracking(
        self, take: Callable[..., tuple[Path, list[Landmarks]]], tmp_path: Path
    ) -> None:
        footage_module = pytest.importorskip("export.footage.footage", reason="needs LiteRT")
        good, _ = take("good.mp4", 5)
        (tmp_path / "bad.mp4").write_text("no video")
        with pytest.raises(VideoError, match=r"bad\.mp4"):
            footage_module.load_footage([good, tmp_path / "bad.mp4"], ScriptTracker([]))

    def test_nothing_given(self) -> None:
        footage_module = pytest.importorskip("export.footage.footage", reason="needs LiteRT")
        with pytest.raises(FootageError, match="no footage given"):
            footage_module.load_footage([])
