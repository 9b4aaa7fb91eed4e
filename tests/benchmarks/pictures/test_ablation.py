"""The ablation instrument: each variation does what its name says; figures are of the trained network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.footage.prepared import Identity, Prepared

pytest.importorskip("torch", reason="needs torch")
import torch

from benchmarks.pictures.ablation import (
    VARIATIONS,
    Variation,
    driven,
    enrolled,
    network_ms,
    without_hands,
    without_plate,
)
from benchmarks.records.tables import TABLES
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.render.prior import PriorBuilder
from export.training.base_weights import starting_network


def test_without_a_plate_the_background_is_the_key_frames(identity: Identity) -> None:
    bare = without_plate(identity)
    marked = replace(bare, plate=np.full_like(bare.plate, 255))
    target = identity.keys[0].landmarks
    for one in (bare, marked):
        prior = PriorBuilder(one.keys, one.neutral, one.plate, bare_torso=one.bare_torso).build(target)
        assert prior.matte.min() == 255
        assert (prior.rgb == 255).all(2).mean() < 0.5


def test_without_hands_no_key_frame_shows_one(identity: Identity) -> None:
    assert any(key.landmarks.hand_confidence.any() for key in identity.keys)
    assert not any(key.landmarks.hand_confidence.any() for key in without_hands(identity).keys)


def test_figures_are_those_of_the_network(prepared: Prepared) -> None:
    network, identity, seconds = enrolled(Variation(network=small), prepared, None, 2, 1)
    found = driven(network, identity, prepared)
    assert seconds > 0
    assert found["frame_db"] is not None
    assert 10 < found["frame_db"] < 60
    torch.nn.init.constant_(network.head.bias, 1.0)  # type: ignore[arg-type]  # Conv2d has one
    worse = driven(network, identity, prepared)
    assert worse["frame_db"] is not None
    assert worse["frame_db"] < found["frame_db"] - 1
    assert network_ms(network, prepared.size) > 0


def small(config: DenoiserConfig, base: object) -> Denoiser:
    return starting_network(DenoiserConfig(config.size, (8, 8, 8), 1), None)


def test_a_row_for_each_part_that_is_on_or_off() -> None:
    assert next(iter(VARIATIONS)) == "as shipped"
    assert len(VARIATIONS) == len({repr(v) for v in VARIATIONS.values()})


def test_the_table_has_a_row_for_each_part() -> None:
    row = {
        "part": "as shipped",
        "frame_db": 26.5,
        "mouth_db": 31.25,
        "hands_db": None,
        "flicker": 0.9,
        "sharpness": 0.5,
        "network_ms": 15.24,
    }
    lines = TABLES["ablation"].draw({"rows": [row]}).splitlines()
    assert lines[2] == "| as shipped | 26.50 | 31.25 | - | 0.90 | 0.50 | 15.2 |"
