"""Bursts of speech, found again in what comes back."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.live.mouth_lag import CURVE_HZ, failures, lags_s


def test_a_burst_is_found_as_late_as_it_came() -> None:
    at = np.arange(6 * CURVE_HZ) / CURVE_HZ
    made = np.exp(-(((at % 1.0) - 0.8) ** 2) / 0.004) * (1.0 + 0.5 * np.sin(23.0 * at))
    came = np.interp(at - 0.287, at, made) * 3.0 + 0.4
    found = lags_s(made, came, [0.6, 1.6, 2.6, 3.6])
    assert [lag for _, lag in found] == pytest.approx([0.287] * 4, abs=0.003)


def test_what_does_not_come_back_has_no_lag() -> None:
    at = np.arange(6 * CURVE_HZ) / CURVE_HZ
    made = np.exp(-(((at % 1.0) - 0.8) ** 2) / 0.004)
    noise = np.random.default_rng(1).normal(size=len(at))
    assert lags_s(made, noise, [0.6, 1.6, 2.6]) == []


def test_late_lips_fail() -> None:
    found = {"mouth_to_photon_ms": {"p95": 310.0}, "offset_size_ms": {"p95": None}}
    assert [failure.split(":")[0] for failure in failures(found)] == [
        "mouth_to_photon_p95",
        "offset_size_p95",
    ]
