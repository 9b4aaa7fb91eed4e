"""The patches for aioice and aiortc apply to what is installed, and the test in each fails without it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

PATCHES = sorted((ROOT / "stream" / "upstream").glob("*.patch"))
LIMIT_S = 120  # on a machine that is busy with other tests


def passes(folder: Path) -> bool:
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    command = [sys.executable, "-m", "unittest", "discover", "tests"]
    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=LIMIT_S)
    assert re.search(rb"^Ran 1 test", finished.stderr, re.MULTILINE), finished.stderr.decode()
    return finished.returncode == 0


@pytest.mark.skipif(shutil.which("git") is None, reason="no git to apply a patch with")
@pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.stem)
def test_a_patch_mends_what_its_test_shows(patch: Path, tmp_path: Path) -> None:
    library = patch.stem.partition("_")[0]
    found = importlib.util.find_spec(library)
    assert found is not None
    assert found.origin is not None
    source = tmp_path / "src" / library
    shutil.copytree(Path(found.origin).parent, source)
    subprocess.run(["git", "apply", str(patch)], cwd=tmp_path, check=True, timeout=LIMIT_S)
    assert passes(tmp_path)
    shutil.rmtree(source)  # what is installed is found again
    assert not passes(tmp_path)
