"""Motion as numbers and back: how many pixels that costs, and that each region means what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.avatar.avatar_file import load_avatar
from engine.person import topology as topo
from engine.person.gaze import EYEBALL
from engine.person.motion import Motion, Neutral, build_neutral, motion_of
from engine.voice.motion_code import (
    BROWS,
    CHEST,
    CODE,
    GAZE,
    HEAD,
    LIDS,
    LIP_GAP,
    LIPS,
    basis,
    decode,
    encode,
    learn_basis,
    mixed,
)

SIDE_PX = 256  # of the canvas that bounds in px are meant for
ASSETS = Path(__file__).parents[3] / "engine" / "assets"
MOUTH = np.concatenate([topo.LIPS_INNER, topo.LIPS_OUTER])


@pytest.fixture(scope="module")
def theo() -> tuple[Neutral, list[Motion]]:
    avatar = load_avatar(ASSETS / "theo.avatar")
    to_px = SIDE_PX / avatar.size
    frames = [key.landmarks.transformed(to_px, 0, 0, SIDE_PX, SIDE_PX) for key in avatar.keyframes]
    neutral = build_neutral(frames)
    return neutral, [motion_of(frame, neutral) for frame in frames]


def px(neutral: Neutral, before: FloatArray, after: FloatArray) -> FloatArray:
    """(478,) how far points moved in the picture."""
    return np.asarray(np.linalg.norm((after - before)[:, :2], axis=1) * neutral.scale, np.float32)


def test_there_and_back_costs_a_fraction_of_a_pixel(theo: tuple[Neutral, list[Motion]]) -> None:
    neutral, motions = theo
    errors = []
    for motion in motions:
        back = decode(encode(motion, neutral), neutral)
        errors.append(px(neutral, motion.expression, back.expression))
        assert back.lip_gap == pytest.approx(motion.lip_gap, abs=1e-5)
        np.testing.assert_allclose(back.lid_gap, motion.lid_gap, atol=1e-5)
        np.testing.assert_allclose(back.rotation, motion.rotation, atol=1e-4)
        np.testing.assert_allclose(back.centre, motion.centre, atol=1e-3)
        assert back.scale == pytest.approx(motion.scale, rel=1e-5)
        np.testing.assert_allclose(back.chest, motion.chest, atol=1e-4)
    moved = np.stack([px(neutral, np.zeros((478, 3), np.float32), motion.expression) for motion in motions])
    assert np.sqrt(np.mean(moved[:, MOUTH] ** 2)) > 2.0  # they do speak: 2.2 px
    assert np.sqrt(np.mean(np.stack(errors)[:, MOUTH] ** 2)) < 0.15  # 0.09 px
    assert np.sqrt(np.mean(np.square(errors))) < 0.3  # 0.19 px


def test_the_code_of_rest_is_rest(theo: tuple[Neutral, list[Motion]]) -> None:
    neutral, _ = theo
    rest = np.zeros(CODE, np.float32)
    rest[LIDS] = 1.0
    motion = decode(rest, neutral)
    np.testing.assert_allclose(motion.expression, 0.0, atol=1e-6)
    np.testing.assert_allclose(motion.lid_gap, neutral.lid_open, atol=1e-5)
    np.testing.assert_allclose(encode(motion, neutral), rest, atol=1e-5)


@pytest.mark.parametrize("wanted_deg", [(12.0, 0.0), (-12.0, 0.0), (0.0, 12.0), (0.0, -12.0), (5.0, -7.0)])
def test_eyes_turn_as_far_as_the_code_says(
    theo: tuple[Neutral, list[Motion]], wanted_deg: tuple[float, float]
) -> None:
    """Both, and whatever the rest of the face does."""
    neutral, motions = theo
    for code in (encode(motions[0], neutral), encode(motions[40], neutral)):
        code[GAZE] = EYEBALL * np.sin(np.radians(wanted_deg))
        shown = decode(code, neutral).expression
        for iris, corners in zip(topo.IRISES, topo.EYE_CORNERS, strict=True):
            turned = (shown[iris[0]] - shown[corners].mean(0))[:2] / EYEBALL
            np.testing.assert_allclose(np.degrees(np.arcsin(turned)), wanted_deg, atol=0.01)
        np.testing.assert_allclose(encode(decode(code, neutral), neutral)[GAZE], code[GAZE], atol=1e-5)


def test_regions_are_the_whole_code() -> None:
    numbers = np.zeros(CODE, int)
    for region in (LIPS, BROWS, LIDS, GAZE, HEAD, CHEST):
        numbers[region] += 1
    assert (numbers == 1).all()


def test_lips_of_one_and_all_else_of_another(theo: tuple[Neutral, list[Motion]]) -> None:
    neutral, motions = theo
    widest = max(motions, key=lambda motion: motion.lip_gap)
    shut = min(motions, key=lambda motion: motion.lip_gap)
    lips = np.zeros(CODE, np.float32)
    lips[LIPS] = 1.0
    both = mixed(shut, encode(widest, neutral), lips, neutral)
    assert both.lip_gap == pytest.approx(widest.lip_gap, abs=1e-5)
    assert px(neutral, widest.expression, both.expression)[MOUTH].mean() < 0.3
    eyes = np.concatenate([*topo.BROWS, *topo.IRISES, *topo.EYES])
    assert px(neutral, shut.expression, both.expression)[eyes].max() < 0.05
    np.testing.assert_array_equal(both.wrists, shut.wrists)
    nothing = mixed(shut, encode(widest, neutral), np.zeros(CODE, np.float32), neutral)
    np.testing.assert_allclose(nothing.expression, shut.expression, atol=1e-6)


def test_components_are_orthonormal() -> None:
    for rows in (basis().mouth, basis().upper):
        np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), atol=0.01)


def test_a_basis_learnt_anew_tells_its_own_people(theo: tuple[Neutral, list[Motion]]) -> None:
    neutral, motions = theo
    lids = np.stack([encode(motion, neutral)[LIDS] for motion in motions])
    learnt = learn_basis(np.stack([motion.expression for motion in motions]), lids)
    assert learnt.mouth.shape == basis().mouth.shape
    assert {name: array.dtype for name, array in learnt.arrays().items()} == dict.fromkeys(
        ("mouth", "upper", "controls"), np.dtype(np.float16)
    )
    assert encode(motions[0], neutral)[LIP_GAP] >= -0.01
