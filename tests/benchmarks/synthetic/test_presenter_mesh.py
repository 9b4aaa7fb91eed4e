"""The synthetic presenters' geometry, on the real assets; skipped where the asset folder is absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic.presenter.cast import CAST, THEO, ShoulderShape
from benchmarks.synthetic.presenter.mesh import Person, parse_ranges, read_fit, read_obj
from benchmarks.synthetic.presenter.rig import BodyPose, Rig, bend_triangle, transform
from tests.support.places import SHARED

ASSETS = SHARED / "synthetic_person"
needs_assets = pytest.mark.skipif(not ASSETS.is_dir(), reason=f"no synthetic person assets at {ASSETS}")


@pytest.fixture(scope="module")
def person() -> Person:
    return Person(ASSETS, THEO.look)


def pose(wrist_y: float, wrist_z: float) -> BodyPose:
    """Both hands at one height and depth, palms to the camera, head turned to the left."""
    outward = np.array([1.0, -1.0])
    return BodyPose(
        head=np.array([0.5, 0.0, 0.0]),
        torso=np.zeros(3),
        wrist=np.stack([[0.45 * side, wrist_y, wrist_z] for side in outward]),
        forward=np.tile([0.0, 1.0, 0.0], (2, 1)),
        palm=np.tile([0.0, 0.0, 1.0], (2, 1)),
        fingers=np.zeros((2, 5, 3)),
    )


def test_ranges_of_hidden_vertices() -> None:
    assert parse_ranges(["3", "-", "5", "9"]) == {3, 4, 5, 9}


def test_elbow_keeps_bone_lengths_and_reaches() -> None:
    start, target = np.zeros(3), np.array([0.1, -0.2, 0.3])
    elbow, wrist = bend_triangle(start, target, 0.3, 0.25, np.array([1.0, -1.0, 0.0]))
    assert np.linalg.norm(elbow) == pytest.approx(0.3)
    assert np.linalg.norm(wrist - elbow) == pytest.approx(0.25)
    np.testing.assert_allclose(wrist, target)


def test_elbow_of_a_target_out_of_reach_stays_on_the_line() -> None:
    _elbow, wrist = bend_triangle(
        np.zeros(3), np.array([0.0, 0.0, 2.0]), 0.3, 0.25, np.array([0.0, -1.0, 0.0])
    )
    np.testing.assert_allclose(wrist, [0, 0, 0.985 * 0.55])


def test_missing_assets_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="synthetic_person"):
        Person(tmp_path, THEO.look)


def test_shoulders_come_in_and_arms_keep_their_shape() -> None:
    base = np.array([[0.03, 0.6, 0.0], [0.2, 0.6, 0.0], [0.5, 0.3, 0.2], [-0.5, 0.3, 0.2], [0.2, 0.9, 0.0]])
    shaped = ShoulderShape(0.1, 0.01)(base)
    np.testing.assert_allclose(shaped[[0, 4]], base[[0, 4]])  # neck and head stay
    np.testing.assert_allclose(shaped[1] - base[1], [-0.014, -0.01, 0])
    np.testing.assert_allclose(shaped[2] - shaped[1], base[2] - base[1])
    np.testing.assert_allclose(shaped[3], shaped[2] * [-1, 1, 1])


@needs_assets
def test_an_open_mouth_shows_upper_teeth() -> None:
    """Lower than the modelled ones, and not taken along by the jaw."""
    person = Person(ASSETS, THEO.look)
    shut, wide = (person.fitted("teeth", person.expression({"jawOpen": jaw})) for jaw in (0.0, 1.0))
    stay = np.linalg.norm(wide - shut, axis=1) < 0.002
    fit = read_fit(ASSETS / "proxies/teeth/teeth_base/teeth_base.mhclo")
    modelled = fit.apply(person.rest, fit.scale(person.rest))
    np.testing.assert_allclose(modelled[stay, 1] - shut[stay, 1], 0.0025, atol=1e-9)
    np.testing.assert_allclose(shut[~stay], modelled[~stay], atol=1e-9)


@needs_assets
def test_hair_leaves_both_eyes_free() -> None:
    """No hair in front of the iris of either eye, seen from the camera."""
    for character in CAST.values():
        person = Person(ASSETS, character.look)
        hair, eyes = person.fitted("hair", person.rest), person.fitted("eyes", person.rest)
        middle = eyes.mean(axis=0)
        in_front = (hair[:, 2] > eyes[:, 2].min()) & (np.abs(hair[:, 0]) < 0.045)
        assert (hair[in_front, 1] > middle[1] + 0.008).all(), character.name


@needs_assets
def test_identity_pose_is_the_rest_mesh(person: Person) -> None:
    posed = person.pose_vertices({}, {})
    for part in person.parts:
        np.testing.assert_allclose(posed[part.name], person.fitted(part.name, person.rest), atol=1e-9)


@needs_assets
@pytest.mark.parametrize("name", sorted(THEO.look.proxies))
def test_fitted_parts_have_a_row_for_every_vertex(person: Person, name: str) -> None:
    stem = ASSETS / f"proxies/{THEO.look.proxies[name]}"
    mesh, fit = read_obj(stem.with_suffix(".obj")), read_fit(stem.with_suffix(".mhclo"))
    assert fit.index.shape == fit.weight.shape == fit.offset.shape == mesh.vertices.shape
    part = next(part for part in person.parts if part.name == name)
    vertices = person.fitted(name, person.rest)
    assert part.faces.max() == len(vertices) - 1
    assert part.face_uv.max() < len(part.uv)


@needs_assets
def test_jaw_open_lowers_the_chin(person: Person) -> None:
    moved = person.expression({"jawOpen": 1.0}) - person.rest
    lowest = moved[:, 1].min()
    chin = person.rest[moved[:, 1].argmin()]
    assert -0.06 < lowest < -0.01
    assert abs(chin[0]) < 0.03
    assert chin[1] < person.fitted("eyes", person.rest)[:, 1].mean()


@needs_assets
def test_unknown_face_target_is_named(person: Person) -> None:
    with pytest.raises(KeyError, match="earWiggle"):
        person.expression({"earWiggle": 1.0})


@needs_assets
def test_bone_weights_sum_to_one(person: Person) -> None:
    total = person.body_weights.sum(axis=1)
    assert np.all((np.abs(total - 1) < 1e-9) | (total == 0))


@needs_assets
def test_solved_wrists_reach_their_places(person: Person) -> None:
    rig, wanted = Rig(person), pose(-0.1, 0.7)
    placed = person.bone_matrices(rig.solve(wanted))
    centre = (
        sum(transform(placed["Spine2"], person.bones[f"{side}Arm"].head) for side in ("Left", "Right")) / 2
    )
    for number, side in enumerate(("Left", "Right")):
        wrist = transform(placed[f"{side}Hand"], person.bones[f"{side}Hand"].head)
        np.testing.assert_allclose((wrist - centre) / rig.shoulder_width, wanted.wrist[number], atol=0.02)


@needs_assets
def test_solved_rotations_are_rotations_and_turn_the_face_left(person: Person) -> None:
    rotations = Rig(person).solve(pose(-0.1, 0.7))
    for name, matrix in rotations.items():
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9, err_msg=name)
        assert np.linalg.det(matrix) == pytest.approx(1.0)
    assert (rotations["Head"] @ [0.0, 0.0, 1.0])[0] == pytest.approx(np.sin(0.5))


@needs_assets
def test_raised_palm_faces_the_camera(person: Person) -> None:
    rig = Rig(person)
    rotations = rig.solve(pose(-0.1, 0.7))
    for number, side in enumerate(("Left", "Right")):
        forward, palm, _third = (rotations[f"{side}Hand"] @ rig.rest_hand_axes(number)).T
        assert forward[1] > 0.8
        assert palm[2] > 0.7
