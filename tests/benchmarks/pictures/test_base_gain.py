"""The record of what base weights buy, and its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.tables import TABLES
from export.footage.prepared import Prepared

pytest.importorskip("torch", reason="needs torch")
import torch

from benchmarks.pictures.base_gain import curves, sooner
from engine.network.denoiser import Denoiser, DenoiserConfig
from export.training.base_weights import save_base


def clip(base: list[list[float]], scratch: list[list[float]]) -> dict[str, Any]:
    return {
        "label": "a clip",
        "prior_db": 23.0,
        "base": {"steps": 9, "best_db": max(db for _, db in base), "curve": base},
        "scratch": {"steps": 9, "best_db": max(db for _, db in scratch), "curve": scratch},
    }


def test_sooner_is_the_ratio_of_the_times_to_the_same_quality() -> None:
    scratch = [[30.0, 24.0], [60.0, 25.0], [90.0, 24.9]]
    assert sooner(clip([[30.0, 25.1], [60.0, 26.0]], scratch)) == 2.0
    assert sooner(clip([[30.0, 24.1], [60.0, 24.9]], scratch)) is None


def test_the_table_says_what_was_gained() -> None:
    found = clip([[30.0, 25.1]], [[30.0, 24.0], [60.0, 25.0]])
    record = {"clips": [{**found, "sooner": sooner(found)}]}
    assert "| a clip | 23.00 dB | 25.00 dB, 9 steps | 25.10 dB, 9 steps | 2.0 |" in TABLES["base_gain"].draw(
        record
    )


def test_both_runs_build_on_the_same_prior(prepared: Prepared, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Denoiser(DenoiserConfig(size=prepared.size))
    torch.nn.init.constant_(network.head.bias, 0.5)  # type: ignore[arg-type]  # a base that paints all white
    save_base(tmp_path / "white.npz", network, {})
    found = curves(prepared, str(tmp_path / "white.npz"), 0.01)
    assert found["base"]["steps"] > 0
    assert found["scratch"]["steps"] > 0
    assert found["base"]["curve"][0][1] < found["prior_db"]  # it began from what was given
    assert abs(found["scratch"]["curve"][0][1] - found["prior_db"]) < 3
