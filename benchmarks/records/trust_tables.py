"""The tables of TRUST.md: what the invisible mark survives, and what consent clips are taken for."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.records.table import Table

FACES, LIPS = ("same", "unsure", "another"), ("moving with speech", "still", "silent")  # of consent clips
VERDICTS = ("verified", "in part", "contradicted")

_SURVIVES = {
    "{seen[psnr_db]:.1f} dB, {cost[n_256]:.2f} N (720p {cost[n_1280x720]:.2f}), treated by": "{name}",
    "found in 2 s: the mark / all 40 bits": "{2_s[found]:.0%} / {2_s[read]:.0%}",
    "in one picture": "{one_picture[found]:.0%} / {one_picture[read]:.0%}",
}

TRUST_TABLES: Mapping[str, Table] = {
    "invisible_mark": Table(
        "invisible_mark",
        _SURVIVES,
        "survives",
    ),
    "invisible_mark_unseen": Table(
        "invisible_mark",
        _SURVIVES,
        "survives",
        files=("invisible_mark_unseen",),
    ),
    "clean_pictures": Table(
        "invisible_mark",
        {"clean pictures": "{clean[pictures]:,}", "false alarms": "{clean[false_alarms]}"}
        | {"most z (bound)": "{clean[z_most]:.2f} ({clean[z_bound]:.2f})"},
    ),
    "consent_faces": Table(
        "consent_clips",
        {"two films of {films[persons]} persons show": "{name}", "pairs": "{pairs}"}
        | {"taken for the same / unsure / another": " / ".join(f"{{taken_for[{face}]}}" for face in FACES)}
        | {"distance, least / median / most": " / ".join(f"{{distance[{n}]:.2f}}" for n in range(3))},
        "faces",
    ),
    "consent_clips": Table(
        "consent_clips",
        {"a clip of": "{name}", "clips": "{clips}"}
        | {verdict: f"{{verdicts[{verdict}]}}" for verdict in VERDICTS}
        | {"lips that speak / are still / silent": " / ".join(f"{{lips[{lips}]}}" for lips in LIPS)},
        "clips",
    ),
    "voice_prints": Table(
        "voice_prints",
        {
            "recordings": "{name}",
            "both wrong as often, at the best bound": "{equal_error:.1%}",
            "own taken for another": "{refused:.1%} ({refused_interval[0]:.1%}, {refused_interval[1]:.1%})",
            "another taken for own": "{taken:.1%} ({taken_interval[0]:.1%}, {taken_interval[1]:.1%})",
            "verdicts": "{verdicts[0]} / {verdicts[1]}",
        },
        "voices",
    ),
    "dubbing": Table(
        "dubbing",
        {"a clip of": "{person}, {seconds} s", "area under the curve": "{area:.2f}"}
        | {"own sound: fits / does not": "{true_fits:.0%} / {true_does_not:.0%}"}
        | {"foreign sound: fits / does not": "{foreign_fits:.0%} / {foreign_does_not:.0%}"},
        "table",
    ),
}
