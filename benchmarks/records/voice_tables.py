"""The tables of `avatarcast bench voice`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.records.record import Record
from benchmarks.records.table import Table, cell

VOICES = {
    "own": "a fit to what comes before",
    "base": "no fit: rules and read speech alone",
    "no_base": "a fit without the base",
    "log_mel": "a fit to log-mel alone",
    "loudness": "a fit to loudness alone",
    "other": "another person's fit",
    "rolled": "their own fit, the sound rolled by half",
}


def _methods(record: Record) -> Iterator[Record]:
    """A row for each that was measured."""
    for name, what in VOICES.items():
        if name in record["methods"]:
            yield {"what": what, **record["methods"][name]}


def _synced(record: Record) -> Iterator[Record]:
    """What is known of picture and sound, of style, closures and cost."""
    for film in record["films"]:
        found = cell("{offset_ms:+.0f} ms, {certainty:.0%} certain", film)
        yield {"what": f"{film['label']}: its picture is early by", "measured": found}
    sync = record["sync"]
    yield {
        "what": "thirds of the films that find their film's offset within 40 ms",
        "measured": cell("{agrees:.0%}", sync),
    }
    areas = cell("{area[true]:.2f} / {area[told]:.2f}", sync)
    yield {
        "what": "2 s in time told from 2 s out of time, area under the curve: real lips / told ones",
        "measured": areas,
    }
    for name, style in record["style"].items():
        form = "{difference:+.2f} ({interval[0]:+.2f} to {interval[1]:+.2f})"
        yield {"what": f"correlation of the own fit above: {VOICES[name]}", "measured": cell(form, style)}
    if (shut := record["closures"]) is not None:
        form = "{told:.0%} / {true:.0%} of {count} (at any moment {told_anywhere:.0%} / {true_anywhere:.0%})"
        yield {"what": "lips shut at B, M and P: told / real", "measured": cell(form, shut)}
    form = "{core_share:.1%} of a core; {fit_s:.2f} s; {look_ahead_s:.2f} s"
    yield {"what": "listening; a fit; sound that is waited for", "measured": cell(form, record["cost"])}


def _moving(record: Record) -> Iterator[Record]:
    """A row for each film."""
    for label, found in record["manner"].items():
        yield {"film": label, **found}


VOICE_TABLES: Mapping[str, Table] = {
    "mouth": Table(
        "glass_to_glass",
        {
            "p50 / p95 / p99": "ms",
            "mouth to photon": "{mouth_to_photon_ms:.0f}",
            "mouth to ear": "{mouth_to_ear_ms:.0f}",
            "voice before lips, as played": "{offset_ms[by_reports]:.0f}",
            "size of that": "{offset_size_ms:.0f}",
            "bursts said / seen / heard": "{bursts:.0f}",
        },
        files=("glass_to_glass_voice",),
        part="mouth_to_photon_ms",
    ),
    "voice": Table(
        "voice",
        {
            "lips told by": "{what}",
            "correlation (95 %)": "{correlation:.2f} ({interval[0]:.2f} to {interval[1]:.2f})",
            "of each film": "{films:.2f}",
            "gain": "{gain:.2f}",
            "width": "{width_correlation:.2f}",
            "worst lip point, head units / 1000": "{lip_error:.0f}",
            "jerk, share of real": "{jerk:.2f}",
            "above 2 Hz, share of real": "{quick_share:.2f}",
        },
        _methods,
    ),
    "voice_manner": Table(
        "voice",
        {
            "drawn / real": "{film}",
            "brows' points move": "{upper_face:.2f}",
            "head turns": "{turn[spread]:.2f}",
            "between seeds": "{turn[between_seeds]:.2f}",
            "jerk of head / brows": "{turn[jerk]:.2f} / {brows[jerk]:.2f}",
            "above 2 Hz, head / brows": "{turn[quick_share]:.2f} / {brows[quick_share]:.2f}",
            "quick where it is loud, drawn / real": "{beats[told]:.2f} / {beats[true]:.2f}",
            "minute 10 / 1: spread, jerk": "{minutes[spread]:.2f}, {minutes[jerk]:.2f}",
        },
        _moving,
        part="manner",
    ),
    "voice_sync": Table(
        "voice",
        {
            "of what": "{what}",
            "measured": "{measured}",
        },
        _synced,
    ),
}
