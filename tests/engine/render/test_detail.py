"""Fine detail from the prior: taken where both pictures agree, left where they do not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.arrays import U8Image
from engine.render.detail import with_detail


def textured(size: int = 256, seed: int = 1) -> U8Image:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(128, 20, (size, size, 3)), 0, 255).astype(np.uint8)


def blurred(picture: U8Image, sigma: float = 3.0) -> U8Image:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_soft_picture_gets_the_priors_texture_back(size: int) -> None:
    prior = textured(size)
    soft = blurred(prior, size / 100)
    made = with_detail(soft, prior)
    assert made.shape == prior.shape
    assert np.abs(made - prior).mean() < 0.35 * np.abs(soft.astype(np.float32) - prior).mean()


def test_where_the_prior_is_wrong_its_detail_stays_out() -> None:
    prior = textured()
    soft = blurred(prior)
    soft[:, 128:] = 30  # a hand that is not there
    made = with_detail(soft, prior)
    assert np.abs(made[:, 140:] - 30).max() < 1
    assert made[:, :116].std() > 3 * soft[:, :116].std()


def test_a_prior_that_is_the_picture_changes_nothing() -> None:
    picture = textured()
    assert np.abs(with_detail(picture, picture) - picture).max() < 1e-3


def test_brightness_is_the_networks() -> None:
    prior = textured()
    brighter = np.clip(blurred(prior).astype(int) + 6, 0, 255).astype(np.uint8)
    assert abs(with_detail(brighter, prior).mean() - brighter.mean()) < 1
