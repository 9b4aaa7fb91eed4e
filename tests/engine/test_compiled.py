"""Compiled functions: kept where that can be, made anew where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import numpy as np
from engine.compiled import compiled

@compiled
def total(values):
    return values.sum()

assert total(np.ones(3)) == 3
print(sum(total.stats.cache_hits.values()))
"""


def run(program: Path, cache: str) -> int:
    """How many functions the program found compiled."""
    environment = {**os.environ, "AVATARCAST_CACHE": cache, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def test_a_second_start_finds_what_the_first_compiled(program: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert [run(program, str(cache)), run(program, str(cache))] == [0, 1]
    assert list((cache / "compiled").rglob("*.nbi"))


def test_without_a_folder_to_keep_it_in_it_is_compiled_all_the_same(program: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    assert run(program, str(tmp_path / "file")) == 0
    assert not list(tmp_path.rglob("*.nbi"))
