"""The record of a distillation: both avatars of each clip, by steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.pictures import distillation
from benchmarks.records.tables import TABLES

STEPS = ("1", "2", "4", "8")


def of_steps(name: str, footage: Path) -> dict[str, Any]:
    """Teachers have 30 dB, students 29.8 and more detail."""
    assert footage == Path("clip.mp4")
    psnr_db, sharpness = (29.8, 0.62) if name == "student.avatar" else (30.0, 0.5)
    return {
        steps: {"psnr_db": {"frame": psnr_db + 0.01 * int(steps)}, "sharpness": sharpness} for steps in STEPS
    }


def test_both_avatars_of_each_clip_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "figures", of_steps)
    options = ["--clip", "a clip", "clip.mp4", "teacher.avatar", "student.avatar"]
    record = distillation.measure(distillation.main.options(options))
    (clip,) = record["clips"]
    assert clip["label"] == "a clip"
    assert clip["teacher"]["8"]["psnr_db"]["frame"] == pytest.approx(30.08)
    assert clip["student"]["1"]["sharpness"] == 0.62
    lines = TABLES["distillation"].draw(record).splitlines()
    assert lines[0].endswith("| 1 step | 2 steps | 4 steps | 8 steps |")
    assert lines[2].startswith("| a clip, before | 30.01 / 0.50 | 30.02 / 0.50 |")
    assert lines[3].startswith("| a clip, distilled | 29.81 / 0.62 |")
