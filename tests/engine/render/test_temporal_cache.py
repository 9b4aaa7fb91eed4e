"""The temporal cache: what it carries from frame to frame, and when it lets go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.person.landmarks import Landmarks
from engine.person.motion import Neutral, build_neutral
from engine.render.keyframes import KeyFrame
from engine.render.prior import Prior, PriorBuilder
from engine.render.temporal_cache import (
    PREVIOUS_WEIGHT,
    REFRESH_FRAMES,
    CacheConfig,
    TemporalCache,
    warm_start,
)
from engine.render.warp import remap
from tests.support.puppet import Pose, Puppet, lively

SIZE = 256
PUPPET = Puppet(SIZE)
RAISED = Pose(hands=((1.5, 1.7), None))

Make = Callable[..., TemporalCache]


@pytest.fixture(scope="module")
def builder() -> PriorBuilder:
    neutral: Neutral = build_neutral([PUPPET.landmarks(pose) for pose in lively(60, hands=True)])
    rest = PUPPET.landmarks()
    rgb, matte = PUPPET.picture(rest)
    return PriorBuilder([KeyFrame(np.dstack([rgb, matte]), rest)], neutral, PUPPET.wall)


@pytest.fixture
def make(builder: PriorBuilder) -> Make:
    def cache(**parts: bool) -> TemporalCache:
        return TemporalCache(CacheConfig(**parts), builder)

    return cache


def picture(landmarks: Landmarks) -> NDArray[np.uint8]:
    return PUPPET.picture(landmarks)[0]


def kept(cache: TemporalCache, pose: Pose | None = None) -> Landmarks:
    """Has the cache keep a picture of the pose."""
    landmarks = PUPPET.landmarks(pose)
    cache.keep(landmarks, picture(landmarks))
    return landmarks


def shifted(landmarks: Landmarks, px: float) -> Landmarks:
    return landmarks.transformed(1.0, px, 0.0, SIZE, SIZE)


# The gate


@pytest.mark.parametrize(("px", "still"), [(0.0, True), (0.29, True), (0.31, False), (5.0, False)])
def test_the_gate_holds_below_a_third_of_a_pixel(make: Make, px: float, still: bool) -> None:
    cache = make()
    rest = kept(cache)
    assert cache.may_resend(shifted(rest, px)) is still


def test_the_gate_scales_with_the_canvas() -> None:
    small = Puppet(128)
    rest = small.landmarks()
    rgb, matte = small.picture(rest)
    keys = [KeyFrame(np.dstack([rgb, matte]), rest)]
    cache = TemporalCache(CacheConfig(), PriorBuilder(keys, build_neutral([rest]), small.wall))
    cache.keep(rest, rgb)
    assert cache.may_resend(rest.transformed(1.0, 0.14, 0.0, 128, 128))
    assert not cache.may_resend(rest.transformed(1.0, 0.16, 0.0, 128, 128))


@pytest.mark.parametrize("part", ["face", "pose", "hands"])
def test_one_moving_landmark_opens_the_gate(make: Make, part: str) -> None:
    cache = make()
    rest = kept(cache, RAISED)
    points = getattr(rest, part).copy()
    points.reshape(-1, 3)[11, 0] += 0.5
    assert cache.may_resend(rest)
    assert not cache.may_resend(replace(rest, **{part: points}))


def test_unseen_parts_do_not_open_the_gate_but_appearing_ones_do(make: Make) -> None:
    cache = make()
    rest = kept(cache)
    hands = rest.hands + np.float32(50)
    assert cache.may_resend(replace(rest, hands=hands))
    appeared = replace(rest, hands=hands, hand_confidence=np.array([1, 0], np.float32))
    assert not cache.may_resend(appeared)


def test_slow_drift_opens_the_gate(make: Make) -> None:
    """Compared with the frame that was rendered, not with the one before: slow motion adds up."""
    cache = make()
    rest = kept(cache)
    stills = [cache.may_resend(shifted(rest, 0.08 * step)) for step in range(1, 6)]
    assert stills == [True, True, True, False, False]  # 0.32 px in all


def test_a_still_picture_is_refreshed(make: Make) -> None:
    cache = make()
    rest = kept(cache)
    answers = []
    for _ in range(3 * (REFRESH_FRAMES + 1)):
        answers.append(cache.may_resend(rest))
        if not answers[-1]:
            cache.keep(rest, picture(rest))
    assert answers == 3 * [*[True] * REFRESH_FRAMES, False]
    assert REFRESH_FRAMES == 10


def test_the_gate_is_open_at_a_start_and_when_switched_off(make: Make) -> None:
    assert not make().may_resend(PUPPET.landmarks())
    cache = make(pose_gate=False)
    assert not cache.may_resend(kept(cache))


# The previous output


def prior_of(colour: int = 0) -> Prior:
    """Of one grey, with somebody everywhere."""
    everywhere = np.full((SIZE, SIZE), 255, np.uint8)
    return Prior(np.full((SIZE, SIZE, 3), colour, np.uint8), everywhere, everywhere)


def test_the_previous_picture_comes_along(make: Make) -> None:
    cache = make()
    kept(cache)
    target = PUPPET.landmarks(Pose(x=0.1, roll_deg=3))
    truth, matte = PUPPET.picture(target)
    found = cache.start(prior_of(), target) / np.float32(PREVIOUS_WEIGHT)
    person = matte > 127
    error = np.abs(found - truth)[person].mean()
    unwarped = np.abs(picture(PUPPET.landmarks()).astype(int) - truth)[person].mean()
    assert error < 0.5 * unwarped


def test_live_and_in_training_a_picture_starts_alike(make: Make, builder: PriorBuilder) -> None:
    cache, target = make(), PUPPET.landmarks(Pose(x=0.1, roll_deg=3))
    rest = kept(cache)
    prior = builder.build(target)
    trained = warm_start(prior.rgb, remap(picture(rest), builder.flow_between(rest, target)))
    live = cache.start(prior, target)
    near = prior.near > 0
    assert np.abs(live[near].astype(int) - trained[near]).max() <= 1
    assert np.array_equal(live[~near], prior.rgb[~near])


def test_no_previous_picture_at_a_start_after_a_jump_or_switched_off(make: Make) -> None:
    target, prior = PUPPET.landmarks(), prior_of(90)
    assert make().start(prior, target) is prior.rgb
    off = make(previous_output=False)
    assert off.start(prior, kept(off)) is prior.rgb
    cache = make()
    assert cache.start(prior, kept(cache)) is not prior.rgb
    assert cache.start(prior, shifted(target, 0.09 * SIZE)) is prior.rgb


def test_what_is_kept_is_a_copy(make: Make) -> None:
    cache = make()
    rest = PUPPET.landmarks()
    rgb = picture(rest)
    cache.keep(rest, rgb)
    before = cache.start(prior_of(), rest)
    rgb[:] = 0
    assert np.array_equal(before, cache.start(prior_of(), rest))


def test_a_jump_starts_fresh_and_a_step_does_not(make: Make) -> None:
    cache = make()
    rest = PUPPET.landmarks()
    assert cache.jumped(rest)
    kept(cache)
    assert not cache.jumped(rest)
    assert not cache.jumped(shifted(rest, 0.07 * SIZE))
    assert cache.jumped(shifted(rest, 0.09 * SIZE))
    cache.forget()
    assert cache.jumped(rest)
    prior = prior_of()
    assert cache.start(prior, rest) is prior.rgb
    assert not cache.may_resend(rest)


# The noise field


def test_noise_has_unit_variance_and_stays_put(make: Make) -> None:
    cache = make()
    rest = PUPPET.landmarks()
    first, second = cache.noise(rest).copy(), cache.noise(rest)
    assert first.shape == (1, 3, SIZE, SIZE)
    assert first.dtype == np.float32
    assert abs(float(first.mean())) < 0.02
    assert float(first.var()) == pytest.approx(1.0, abs=0.02)
    assert (first == second).mean() > 0.99


def test_advected_noise_keeps_its_variance(make: Make) -> None:
    """Interpolating would smooth it: bilinear at half a pixel leaves a quarter of the variance."""
    cache = make()
    cache.noise(PUPPET.landmarks())
    for pose in (Pose(x=0.13), Pose(yaw_deg=12, x=-0.2), Pose(roll_deg=10), Pose(zoom=0.9)):
        assert float(cache.noise(PUPPET.landmarks(pose)).var()) == pytest.approx(1.0, abs=0.04)


def test_noise_moves_with_the_person(make: Make) -> None:
    cache = make()
    rest = PUPPET.landmarks()
    before = cache.noise(rest)[0].copy()
    moved = cache.noise(PUPPET.landmarks(Pose(x=8.0 / PUPPET.unit_px)))[0]
    x, y = rest.face[1, :2].astype(int)
    nose = before[:, y - 8 : y + 8, x - 8 : x + 8]
    along = moved[:, y - 8 : y + 8, x : x + 16]
    still = moved[:, y - 8 : y + 8, x - 8 : x + 8]

    def correlation(other: NDArray[np.float32]) -> float:
        return float(np.corrcoef(nose.ravel(), other.ravel())[0, 1])

    assert correlation(along) > 0.6
    assert abs(correlation(still)) < 0.3


def test_two_sessions_have_the_same_noise(make: Make) -> None:
    rest = PUPPET.landmarks()
    assert np.array_equal(make().noise(rest), make().noise(rest))
