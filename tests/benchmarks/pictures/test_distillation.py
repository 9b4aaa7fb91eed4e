"""The record of a distillation: both avatars of each clip, by steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.pictures.distillation import STEPS, describe, figures
from benchmarks.records import tables


def evaluate(command: Sequence[str]) -> dict[str, Any]:
    """A report whose figures tell the avatar: teachers have 30 dB, students 29.8 and more detail."""
    assert command[0] == "evaluate"
    assert command[2:] == ["--footage", "clip.mp4"]
    is_student = command[1] == "student.avatar"
    psnr_db, sharpness = (29.8, 0.62) if is_student else (30.0, 0.5)
    return {
        "steps": {steps: {"frame": round(psnr_db + 0.01 * int(steps), 2), "face": 1.0} for steps in STEPS},
        "sharpness": {**dict.fromkeys(STEPS, sharpness), "warp_only": 0.4},
        "held_out": None,
    }


def test_both_avatars_of_each_clip_by_steps() -> None:
    clip = ("a clip", "clip.mp4", "teacher.avatar", "student.avatar")
    found = figures([clip, clip], evaluate)
    assert [entry["label"] for entry in found] == ["a clip", "a clip"]
    assert found[0]["teacher"]["8"]["psnr_db"]["frame"] == 30.08
    assert found[0]["student"]["1"] == {"psnr_db": {"frame": 29.81, "face": 1.0}, "sharpness": 0.62}
    assert "a clip, student: 1: 29.81 dB, 0.62" in describe({"clips": found})


def test_the_table_has_a_row_before_and_after() -> None:
    clips = figures([("a clip", "clip.mp4", "teacher.avatar", "student.avatar")], evaluate)
    lines = tables.distillation({"clips": clips}).splitlines()
    assert lines[0].endswith("| 1 step | 2 steps | 4 steps | 8 steps |")
    assert lines[2].startswith("| a clip, before | 30.01 / 0.50 | 30.02 / 0.50 |")
    assert lines[3].startswith("| a clip, distilled | 29.81 / 0.62 |")
