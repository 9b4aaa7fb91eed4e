"""The finished picture: fine detail where the prior agrees with the network, the plate where nobody is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.arrays import FloatArray, U8Image
from engine.render.composer import Composer
from engine.render.planes import to_planes
from engine.render.prior import Prior


def textured(size: int = 256, seed: int = 1) -> U8Image:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(128, 20, (size, size, 3)), 0, 255).astype(np.uint8)


def blurred(picture: U8Image, sigma: float = 3.0) -> U8Image:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def composed(picture: U8Image, prior: U8Image, near: int = 255, plate: int = 77) -> FloatArray:
    """What becomes of the network's picture; signed, for differences."""
    everywhere = np.full(prior.shape[:2], near, np.uint8)
    finished = np.empty_like(prior)
    behind = np.full_like(prior, plate)
    Composer(behind).compose(
        to_planes(picture), to_planes(prior), Prior(prior, everywhere, everywhere), finished
    )
    return finished.astype(np.float32)


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_soft_picture_gets_the_priors_texture_back(size: int) -> None:
    prior = textured(size)
    soft = blurred(prior, size / 100)
    made = composed(soft, prior)
    assert made.shape == prior.shape
    assert np.abs(made - prior).mean() < 0.35 * np.abs(soft.astype(np.float32) - prior).mean()


def test_where_the_prior_is_wrong_its_detail_stays_out() -> None:
    prior = textured()
    soft = blurred(prior)
    soft[:, 128:] = 30  # a hand that is not there
    made = composed(soft, prior)
    assert np.abs(made[:, 140:] - 30).max() <= 1
    assert made[:, :116].std() > 3 * soft[:, :116].std()


def test_a_prior_that_is_the_picture_changes_nothing() -> None:
    picture = textured()
    assert np.array_equal(composed(picture, picture), picture)


def test_brightness_is_the_networks() -> None:
    prior = textured()
    brighter = np.clip(blurred(prior).astype(int) + 6, 0, 255).astype(np.uint8)
    assert abs(composed(brighter, prior).mean() - brighter.mean()) < 1


def test_away_from_the_person_the_plate_stays_as_it_is() -> None:
    picture = textured()
    assert (composed(picture, picture, near=0) == 77).all()
    halfway = composed(picture, picture, near=51)
    assert np.abs(halfway - (0.8 * 77 + 0.2 * picture.astype(np.float32))).max() <= 0.51
