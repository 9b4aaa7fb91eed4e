"""From "when was each number sent" and "when did which number arrive" to latency, drops and freezes.

Pure functions of lists; all times in ns of one clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.records.series import slope_per_minute
from engine.media.frame_code import NUMBER_MODULUS
from engine.stages import percentiles

FREEZE_MS = 200.0  # a gap between new pictures that people see as a standstill


@dataclass(frozen=True, slots=True)
class Arrival:
    """One picture of the avatar. number: None where no intact code was found."""

    at_ns: int
    number: int | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the caller noted; times in ns of its own clock."""

    sent_ns: dict[int, list[int]]
    arrivals: list[Arrival]
    stats: list[tuple[int, dict[str, Any]]]
    modulus: int  # of the numbers


def numbers(arrivals: Sequence[Arrival]) -> list[int]:
    """The readable numbers in order of arrival."""
    return [arrival.number for arrival in arrivals if arrival.number is not None]


def histogram(values_ms: Sequence[float], most_bins: int = 64) -> dict[str, Any]:
    """How many of the values are in each bin, from the lowest's to the highest's.

    Bins are 4 ms wide, or the fewest doublings of that with which there are no more than most_bins.
    """
    values, bin_ms = np.asarray(values_ms, float), 4.0
    while len(values) and values.max() // bin_ms - values.min() // bin_ms >= most_bins:
        bin_ms *= 2
    bins = (values // bin_ms).astype(int)
    first = int(bins.min()) if len(bins) else 0
    return {"from_ms": first * bin_ms, "bin_ms": bin_ms, "counts": np.bincount(bins - first).tolist()}


def timeline(latencies: Sequence[tuple[int, float]], start_ns: int) -> list[dict[str, Any]]:
    """(arrival ns, latency ms) second by second: delivered, p50, p95. A second without any has None."""
    seconds: dict[int, list[float]] = {}
    for at_ns, latency_ms in latencies:
        seconds.setdefault((at_ns - start_ns) // 1_000_000_000, []).append(latency_ms)
    rows: list[dict[str, Any]] = []
    for second in range(max(seconds, default=-1) + 1):
        values = seconds.get(second, [])
        ranks = percentiles(values)
        rows.append({"second": second, "delivered": len(values), "p50": ranks["p50"], "p95": ranks["p95"]})
    return rows


def jitter(gaps_ms: Sequence[float], latency_ms: Sequence[float]) -> dict[str, dict[str, float | None]]:
    """How uneven pictures come, in ms.

    interval: how far each gap between arrivals is from the middle one. latency: by how much each picture's
    latency differs from that of the one before (|D| of RFC 3550 section 6.4.1).
    """
    middle = float(np.median(gaps_ms)) if gaps_ms else 0.0
    return {
        "interval": percentiles([abs(gap - middle) for gap in gaps_ms]),
        "latency": percentiles([abs(after - before) for before, after in pairwise(latency_ms)]),
    }


def summarise(
    sent_ns: Mapping[int, Sequence[int]],
    arrivals: Sequence[Arrival],
    start_ns: int,
    modulus: int = NUMBER_MODULUS,
) -> dict[str, Any]:
    """The figures of one call, over the arrivals from `start_ns` on.

    sent_ns: number -> the times it was sent, growing (numbers come round again after `modulus`).
    motion_to_photon_ms: receive time minus latest send time of the same number before it, new pictures only.
    dropped: numbers between the first and last that arrived, and did not. frozen: gaps of more than FREEZE_MS
    between new pictures. stale: pictures that came before. unreadable: pictures without an intact code.
    latency_histogram, jitter_ms, timeline: see above. latency_slope_ms_per_min: drift; a backlog shows there.
    """
    latencies: list[tuple[int, float]] = []  # (arrival ns, ms)
    new_ns: list[int] = []
    last: int | None = None
    dropped = stale = unreadable = 0
    for arrival in arrivals:
        if arrival.at_ns < start_ns:
            continue
        if arrival.number is None:
            unreadable += 1
            continue
        if last is not None:
            step = (arrival.number - last) % modulus
            if step == 0 or step > modulus // 2:
                stale += 1
                continue
            dropped += step - 1
        last = arrival.number
        new_ns.append(arrival.at_ns)
        before = [at_ns for at_ns in sent_ns.get(arrival.number, ()) if at_ns <= arrival.at_ns]
        if before:
            latencies.append((arrival.at_ns, (arrival.at_ns - before[-1]) / 1e6))
    latency_ms = [latency for _, latency in latencies]
    gaps_ms = [(b - a) / 1e6 for a, b in pairwise(new_ns)]
    duration_s = (new_ns[-1] - new_ns[0]) / 1e9 if len(new_ns) > 1 else 0.0
    freezes_ms = [gap for gap in gaps_ms if gap > FREEZE_MS]
    return {
        "fps_delivered": round((len(new_ns) - 1) / duration_s, 2) if duration_s else 0.0,
        "motion_to_photon_ms": percentiles(latency_ms),
        "latency_histogram": histogram(latency_ms),
        "jitter_ms": jitter(gaps_ms, latency_ms),
        "latency_slope_ms_per_min": slope_per_minute(latencies),
        "dropped": dropped,
        "dropped_share": round(dropped / (dropped + len(new_ns)), 4) if new_ns else None,
        "frozen": len(freezes_ms),
        "longest_gap_ms": round(max(gaps_ms), 1) if gaps_ms else None,
        "stale": stale,
        "unreadable": unreadable,
        "delivered": len(new_ns),
        "latency_samples": len(latency_ms),
        "duration_s": round(duration_s, 2),
        "timeline": timeline(latencies, start_ns),
    }
