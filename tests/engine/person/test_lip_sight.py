"""How well lips are seen: in the dark, out of focus, covered; and that a mouth which opens is still seen."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from engine.arrays import FloatArray, U8Image
from engine.person import topology as topo
from engine.person.landmarks import Landmarks
from engine.person.lip_sight import LipSight
from tests.support.puppet import Pose, Puppet

PUPPET = Puppet(512, shape_seed=2)


def drawn(mouth: float) -> tuple[U8Image, Landmarks]:
    """A face with dark lips around a darker gap, with the grain of skin."""
    landmarks = PUPPET.landmarks(Pose(mouth=mouth))
    rgb = np.full((512, 512, 3), 170, np.float32)
    for ring, shade in ((topo.LIPS_OUTER, (150, 90, 90)), (topo.LIPS_INNER, (50, 20, 20))):
        cv2.fillPoly(rgb, [landmarks.face[ring, :2].astype(np.int32)], shade)
    skin = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 8, (512, 512)).astype(np.float32), (0, 0), 1.0)
    return np.clip(rgb + skin[..., None], 0, 255).astype(np.uint8), landmarks


def noisy(rgb: FloatArray, spread: float) -> U8Image:
    return np.clip(rgb + np.random.default_rng(1).normal(0, spread, rgb.shape), 0, 255).astype(np.uint8)


def covered(rgb: U8Image) -> U8Image:
    middle = PUPPET.landmarks().face[topo.LIPS_OUTER, :2].mean(0)
    hand = cv2.ellipse(rgb.copy(), (int(middle[0]), int(middle[1])), (60, 45), 0, 0, 360, (190, 150, 130), -1)
    return noisy(hand.astype(np.float32), 6.0)


BAD: dict[str, Callable[[U8Image], U8Image]] = {
    "dark": lambda rgb: noisy(0.05 * rgb.astype(np.float32), 6.0),
    "out of focus": lambda rgb: cv2.GaussianBlur(rgb, (0, 0), 8.0),
    "covered": covered,
}


@pytest.mark.parametrize("how", BAD)
def test_lips_that_are_badly_seen_count_for_little_and_are_seen_again(how: str) -> None:
    sight, (clear, landmarks), seen = LipSight(), drawn(0.0), []
    bad = BAD[how](clear)
    for at in range(60):
        seen.append(sight.of(bad if 20 <= at < 40 else clear, landmarks.face, at / 10))
    assert min(seen[:20]) > 0.9
    assert max(seen[35:40]) < 0.3
    assert min(seen[45:]) > 0.9


def test_a_mouth_that_opens_and_shuts_is_seen() -> None:
    sight = LipSight()
    films = [drawn(mouth) for mouth in (0.0, 0.1, 0.25, 0.1)]
    seen = [sight.of(films[at // 3 % 4][0], films[at // 3 % 4][1].face, at / 25) for at in range(100)]
    assert min(seen) > 0.7
