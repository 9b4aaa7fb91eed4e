"""An emotion on a face: what moves, what must not, and whose own it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.expression.emotion import EmotionControl
from engine.expression.feeling import EMOTIONS, NEUTRAL, Feeling, parse_schedule, steady
from engine.expression.repertoire import EMFACS, mean_units, repertoire_of
from engine.person import topology as topo
from engine.person.landmarks import Landmarks
from engine.person.motion import Motion, Neutral, in_head_axes, lid_gaps, lip_gap
from engine.person.retarget import Retargeter
from tests.support.puppet_stage import FRAME_NS
from tests.support.rest import resting


@pytest.fixture
def retargeter(puppet_avatar: Avatar) -> Retargeter:
    return Retargeter(puppet_avatar.neutral, puppet_avatar.support, puppet_avatar.torso, puppet_avatar.size)


def feeling(emotion: str, strength: float) -> Feeling:
    return Feeling(**{emotion: strength})


def face_with(wanted: Feeling, motion: Motion, retargeter: Retargeter) -> FloatArray:
    """(478, 3) head units: the avatar's face as its landmarks show it."""
    control = EmotionControl(steady(wanted))
    target = retargeter.target(control.adjusted(motion, retargeter, 0))
    return in_head_axes(target.face, retargeter.avatar.face)[0]


def unit_seen(name: str, face: FloatArray, rest: FloatArray) -> float:
    """How strongly a unit shows: 1 is the mean person's full strength."""
    unit = mean_units()[name]
    return float(((face - rest) * unit).sum() / (unit**2).sum())


# Directions that anybody would name, in head units; y points down.
def _corners_up(face: FloatArray) -> float:
    return -float(face[list(topo.MOUTH_OUTER_CORNERS), 1].mean() - face[topo.NOSE_BASE, 1].mean())


def _brows_up(face: FloatArray) -> float:
    return -float(np.mean([face[rows, 1].mean() for rows in topo.BROWS]))


def _eyes_wide(face: FloatArray) -> float:
    return float(lid_gaps(face).mean())


SEEN = {
    "happy": (_corners_up, 1),
    "sad": (_corners_up, -1),
    "angry": (_brows_up, -1),
    "afraid": (_eyes_wide, 1),
    "disgusted": (_eyes_wide, -1),
    "surprised": (_brows_up, 1),
}


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_each_emotion_moves_the_face_its_way_and_the_more_the_stronger(
    retargeter: Retargeter, emotion: str
) -> None:
    measure, sign = SEEN[emotion]
    rest = resting(retargeter.driver)
    seen = [
        sign * measure(face_with(feeling(emotion, k), rest, retargeter)) for k in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert (np.diff(seen) > 0.001).all()


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_lips_open_and_shut_as_they_are_driven(retargeter: Retargeter, emotion: str) -> None:
    for gap in (float(retargeter.driver.lip_closed), 0.05, 0.2):
        motion = replace(resting(retargeter.driver), lip_gap=gap)
        calm, moved = (
            lip_gap(face_with(wanted, motion, retargeter)) for wanted in (NEUTRAL, feeling(emotion, 1.0))
        )
        assert moved == pytest.approx(calm, abs=0.01)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_blink_stays_a_blink(retargeter: Retargeter, emotion: str) -> None:
    shut = replace(resting(retargeter.driver), lid_gap=retargeter.driver.lid_closed)
    calm, moved = (
        lid_gaps(face_with(wanted, shut, retargeter)) for wanted in (NEUTRAL, feeling(emotion, 1.0))
    )
    assert moved == pytest.approx(calm, abs=0.005)


def test_neutral_is_the_motion_itself(retargeter: Retargeter) -> None:
    motion = resting(retargeter.driver)
    assert EmotionControl().adjusted(motion, retargeter, 0) is motion


def test_it_is_eased_into_and_out_of(retargeter: Retargeter) -> None:
    control = EmotionControl(parse_schedule("1:happy, 3:neutral"))
    motion = resting(retargeter.driver)
    strengths = np.array(
        [
            unit_seen(
                "au12", control.adjusted(motion, retargeter, n * FRAME_NS).expression, 0 * motion.expression
            )
            for n in range(150)
        ]
    )
    assert np.abs(np.diff(strengths)).max() < 0.15 * strengths.max()
    assert strengths[25] < 0.2 * strengths[74]
    assert strengths[:25].max() == strengths[149] == 0.0


def filmed(neutral: Neutral, shapes: Mapping[str, FloatArray], strengths: list[float]) -> list[Landmarks]:
    """Frames of a person who faces the camera and makes these shapes, each as strongly as told."""
    frames = []
    for shape in shapes.values():
        for strength in strengths:
            face = 100.0 * (neutral.face + strength * shape) @ neutral.rotation.T + [200.0, 200.0, 0.0]
            frames.append(Landmarks(400, 400, face=np.asarray(face, np.float32), face_confidence=1.0))
    return frames


def test_what_was_filmed_is_known_and_the_rest_is_called_a_warp(puppet_avatar: Avatar) -> None:
    units = mean_units()
    shapes = {"rest": 0 * units["au12"], "smile": units["au12"] + units["au6"]}
    frames = filmed(puppet_avatar.neutral, shapes, [0.2, 0.6, 1.0])
    shown = dict(zip(EMOTIONS, repertoire_of(puppet_avatar.neutral, frames).filmed, strict=True))
    assert shown["happy"] > 0.9
    assert shown["angry"] < 0.4
    assert shown["surprised"] < 0.4
    assert set(repertoire_of(puppet_avatar.neutral, []).filmed) == {0.0}


def test_their_own_smile_is_their_happy(puppet_avatar: Avatar) -> None:
    """Somebody smiles with one corner more than with the other, and so does their avatar."""
    crooked = mean_units()["au12"].copy()
    crooked[crooked[:, 0] > 0] *= 1.0
    right = puppet_avatar.neutral.face[:, 0] < 0
    crooked[right] *= 0.4
    frames = filmed(puppet_avatar.neutral, {"smile": crooked}, [0.3, 0.6, 0.9, 1.0] * 4)
    corners = list(topo.MOUTH_OUTER_CORNERS)
    happy = EMOTIONS.index("happy")
    mean, own = (
        np.linalg.norm(repertoire_of(puppet_avatar.neutral, shown).offsets[happy][corners], axis=1)
        for shown in ([], frames)
    )
    assert mean[0] / mean[1] == pytest.approx(1.0, abs=0.25)
    assert own[0] / own[1] < 0.75 * mean[0] / mean[1]


def test_units_leave_the_irises_alone() -> None:
    assert {name for weights in EMFACS.values() for name in weights} <= set(mean_units())
    for unit in mean_units().values():
        assert not unit[np.concatenate(topo.IRISES)].any()
