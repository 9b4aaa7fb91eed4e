"""The tables of `avatarcast bench voice`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.records.record import Record
from benchmarks.records.table import Table, cell

VOICES = {
    "own": "a fit to what comes before",
    "base": "no fit: rules and read speech alone",
    "no_base": "a fit without the base",
    "moonshine": "a fit to Moonshine's encoder, which hears the whole film at once",
    "phones": "a fit to curves of the phones that pocketsphinx places",
    "headaudio": "a fit to HeadAudio's visemes",
    "log_mel": "a fit to log-mel alone",
    "loudness": "a fit to loudness alone",
    "other": "another person's fit",
    "rolled": "their own fit, the sound rolled by half",
}
JUDGES = {"base": "by the base's own lips", "expert": "by the expert"}


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
    for name, what in JUDGES.items():
        sync = record["sync"][name]
        found = cell("{agrees:.0%}", sync)
        yield {"what": f"thirds of films that find the film's offset within 40 ms, {what}", "measured": found}
        found = cell("{area[true]:.2f} / {area[told]:.2f}", sync)
        yield {
            "what": f"2 s in time told from 2 s out of time, area under the curve, {what}: real / told lips",
            "measured": found,
        }
    for name, style in record["style"].items():
        form = "{difference:+.2f} ({interval[0]:+.2f} to {interval[1]:+.2f})"
        yield {"what": f"correlation of the own fit above: {VOICES[name]}", "measured": cell(form, style)}
    if (shut := record["closures"]) is not None:
        form = "{told:.0%} ({interval[0]:.0%} to {interval[1]:.0%}) / {true:.0%} of {count}"
        form += " (at any moment {told_anywhere:.0%} / {true_anywhere:.0%})"
        yield {"what": "lips shut at B, M and P: told / real", "measured": cell(form, shut)}
    for label, found in record["minutes"].items():
        form = "{last:.2f} / {first:.2f}; spread {spread:.2f}, jerk {jerk:.2f}"
        yield {
            "what": f"{label}: correlation in minute 10 / 1 of the same again",
            "measured": cell(form, found),
        }
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
            "FDD, head units / 1000: own / another's / none": "{dynamics:.1f}",
            "off by, share of spread, best of 10 (mean): head": "{turn[off_best]:.2f} ({turn[off_mean]:.2f})",
            "brows": "{brows[off_best]:.2f} ({brows[off_mean]:.2f})",
            "head turns": "{turn[spread]:.2f}",
            "between seeds, head / brows": "{turn[between_seeds]:.2f} / {brows[between_seeds]:.2f}",
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
