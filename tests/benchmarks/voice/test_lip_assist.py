"""The instrument of lips that are badly seen: what it makes of pictures, and of gaps."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from benchmarks.voice.lip_assist import DRIVERS, WORSE, Told, _figures, measure
from engine.errors import SettingsError
from engine.person import topology as topo
from tests.support.puppet import Puppet


@pytest.mark.parametrize("how", list(WORSE)[1:])
def test_lips_are_made_worse_and_nothing_is_lost(how: str) -> None:
    face = Puppet(256, shape_seed=1).landmarks().face
    rgb = np.full((256, 256, 3), 180, np.uint8)
    x, y = np.rint(face[topo.LIPS_OUTER, :2].mean(0)).astype(int)
    rgb[y - 3 : y + 3, x - 12 : x + 12] = (150, 60, 60)
    worse = WORSE[how](rgb, face, np.random.default_rng(0))
    assert worse.dtype == np.uint8
    by = worse.shape[0] / 256
    redness = [
        int(picture[round(y * k), round(x * k), 0]) - int(picture[round(y * k), round(x * k), 1])
        for picture, k in ((rgb, 1.0), (worse, by))
    ]
    assert redness[1] < 0.7 * redness[0] or by < 0.5


def test_each_driver_is_compared_with_what_was_true_when_it_shows() -> None:
    true = np.sin(np.arange(100) / 5.0)
    told = Told(shares=[0.5] * 100)
    for name, noise in zip(DRIVERS, (2.0, 1.0, 0.1), strict=True):
        told.true[name] = true.tolist()
        told.gaps[name] = (true + np.random.default_rng(0).normal(0, noise, 100)).tolist()
    found = _figures([told, told])
    camera, voice, both = (found[name]["correlation"] for name in DRIVERS)
    assert camera < voice < both
    assert found["both"]["interval"][0] <= both <= found["both"]["interval"][1]
    assert found["share"] == 0.5


def test_a_film_is_wanted() -> None:
    with pytest.raises(SettingsError, match="no --film"):
        measure(argparse.Namespace(film=None, work=None))
