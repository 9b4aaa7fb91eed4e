"""The person in an avatar's file: typed when it is read, every flaw a line that names the array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.avatar.members import encode_arrays, person_arrays, read_person
from engine.cli import main
from engine.errors import PackageError
from engine.person import topology as topo
from tests.support.forged_package import forge

NAMES = [
    *("face", "rotation", "centre", "scale", "lip_closed", "lid_open", "lid_closed", "shoulders", "chest"),
    *("chest_middle", "chest_shape", "body_scale", "arm_bones", "hand_size", "rest_wrists"),
    *("support_low", "support_high", "support_hand_seen"),
    *("torso_from_head", "torso_from_both", "torso_slack", "torso_bend"),
]


@pytest.fixture
def arrays(noise: Avatar) -> dict[str, FloatArray]:
    return person_arrays(noise.neutral, noise.support, noise.torso)


def read(arrays: Mapping[str, FloatArray]) -> None:
    read_person(Path("x.avatar"), "neutral.npz", encode_arrays(arrays), 64)


def refused(arrays: Mapping[str, FloatArray]) -> str:
    with pytest.raises(PackageError) as caught:
        read(arrays)
    message = str(caught.value)
    assert message.startswith("x.avatar: member neutral.npz: ")
    assert "\n" not in message
    return message


def test_the_person_comes_back(arrays: dict[str, FloatArray], noise: Avatar) -> None:
    assert sorted(arrays) == sorted(NAMES)
    found = read_person(Path("x.avatar"), "neutral.npz", encode_arrays(arrays), 64)
    for name, array in person_arrays(*found).items():
        assert np.array_equal(array, arrays[name]), name


@pytest.mark.parametrize("name", NAMES)
def test_every_array_is_there_whole_and_finite(arrays: dict[str, FloatArray], name: str) -> None:
    array = arrays[name]
    rest = {key: value for key, value in arrays.items() if key != name}
    assert f"array '{name}' is missing" in refused(rest)
    assert f"array {name} is " in refused(rest | {name: np.zeros((*array.shape, 1), np.float32)})
    assert f"array '{name}' is float64; wanted float32" in refused(rest | {name: array.astype(np.float64)})
    for value in (np.nan, np.inf):
        spoilt = array.copy()
        spoilt.flat[-1] = value
        assert f"array '{name}' has values that are not finite" in refused(rest | {name: spoilt})
    far = array.copy()
    far.flat[0] = 1e9
    assert f"array {name} leaves " in refused(rest | {name: far})


def test_an_array_more(arrays: dict[str, FloatArray]) -> None:
    assert "array 'new\\nline' is unknown" in refused(arrays | {"new\nline": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda a: {"rotation": -a["rotation"]}, "rotation is not a rotation"),
        (lambda a: {"rotation": np.zeros((3, 3), np.float32)}, "rotation is not a rotation"),
        (lambda a: {"face": np.zeros_like(a["face"])}, "face is not a face"),
        (lambda a: {"face": a["face"] * np.array([1, 0, 0], np.float32)}, "face is not a face"),
        (lambda a: {"scale": np.float32(0.0)}, "scale leaves"),
        (lambda a: {"body_scale": np.float32(-1.0)}, "body_scale leaves"),
        (lambda a: {"support_low": a["support_high"] + 1}, "support_low exceeds support_high"),
        (lambda a: {"support_hand_seen": np.array([0.5, 1.5], np.float32)}, "support_hand_seen leaves 0..1"),
        (lambda a: {"torso_slack": np.array([-0.1, 0.1], np.float32)}, "torso_slack leaves"),
    ],
)
def test_what_nobody_looks_like(
    arrays: dict[str, FloatArray],
    change: Callable[[Mapping[str, FloatArray]], Mapping[str, FloatArray]],
    complaint: str,
) -> None:
    assert complaint in refused({**arrays, **change(arrays)})


def test_a_cut_face_is_one_line_on_the_command_line(
    avatar_file: Path, arrays: dict[str, FloatArray], error_line: Callable[[], str], tmp_path: Path
) -> None:
    """It passed loading, and ended in a KeyError or an IndexError wherever the avatar was used."""
    cut = {name: array for name, array in arrays.items() if name != "support_low"}
    cut["face"] = arrays["face"][:100]
    forge(avatar_file, {"neutral.npz": encode_arrays(cut)})
    for command in (["info"], ["evaluate"], ["export"]):
        assert main([*command, str(avatar_file)]) == 1
        assert error_line().endswith("member neutral.npz: array 'support_low' is missing: enrol again")


def test_a_real_face_is_far_from_that(noise: Avatar) -> None:
    rigid = noise.neutral.face[topo.RIGID]
    assert np.linalg.svd(rigid - rigid.mean(0), compute_uv=False)[1] > 0.5
