"""Geometry of a synthetic presenter: base mesh, face targets, skeleton, skinning, fitted clothes and hair.

Knows numpy and the asset folder, nothing of Blender, of video or of where a pose comes from.
Everything is in metres, +x to the person's left, +y up, +z out of the face.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

DECIMETRE = 0.1  # MakeHuman's unit, in metres
TWIST_SEGMENTS = (
    5  # bones per arm bone: spreads a twist along the limb, which else collapses like a sweet wrapper
)
BONE_PREFIX = "mixamorig:"
UPPER_TEETH_DROP_M = 0.0025  # they sit too high behind the lip to be seen in an open mouth
HIDDEN_BONES = ("Hips", "LeftUpLeg", "LeftLeg", "LeftFoot", "LeftToeBase",
                "RightUpLeg", "RightLeg", "RightFoot", "RightToeBase")  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Which assets make up one person; paths are relative to the asset folder, without suffix."""

    macros: Mapping[str, float]  # macro target -> weight
    proxies: Mapping[str, str]  # part name -> proxy stem
    textures: Mapping[str, str]  # part name -> file below textures/
    units: Mapping[str, float] = field(default_factory=dict)  # expression unit held for good -> weight
    reshape: Callable[[Array], Array] | None = None  # (N, 3) base mesh -> (N, 3), before anything hangs on it
    reshape_parts: Mapping[str, Callable[[Array], Array]] = field(default_factory=dict)  # the same of a proxy
    hidden_bones: tuple[str, ...] = HIDDEN_BONES


@dataclass(frozen=True)
class ObjMesh:
    """A quad mesh as stored: vertices (N, 3), uv (M, 2), faces and face_uv (F, 4), groups (F,) names."""

    vertices: Array
    uv: Array
    faces: Index
    face_uv: Index
    groups: npt.NDArray[np.str_]


def read_obj(path: Path) -> ObjMesh:
    """Reads a quads-only Wavefront file, in the file's own unit."""
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    faces: list[list[int]] = []
    face_uv: list[list[int]] = []
    groups: list[str] = []
    group = ""
    for line in path.read_text().splitlines():
        key, *rest = line.split() or [""]
        if key == "v":
            vertices.append([float(value) for value in rest[:3]])
        elif key == "vt":
            uv.append([float(value) for value in rest[:2]])
        elif key == "g":
            group = rest[0]
        elif key == "f":
            corners = [corner.split("/") for corner in rest]
            faces.append([int(corner[0]) - 1 for corner in corners])
            face_uv.append([int(corner[1]) - 1 for corner in corners])
            groups.append(group)
    return ObjMesh(np.array(vertices), np.array(uv), np.array(faces), np.array(face_uv), np.array(groups))


@dataclass(frozen=True)
class Delta:
    """A sparse morph target: vertex `index` (K,) moves by `offset` (K, 3) at weight 1."""

    index: Index
    offset: Array


def read_target(path: Path) -> Delta:
    """Reads a MakeHuman .target or .target.gz file; offsets in metres."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    rows = [row for row in rows if len(row) == 4]
    return Delta(
        np.array([int(row[0]) for row in rows], dtype=np.int64),
        DECIMETRE * np.array([[float(value) for value in row[1:]] for row in rows]).reshape(-1, 3),
    )


@dataclass
class Fit:
    """How a proxy hangs on the base mesh: each vertex follows three base vertices plus an offset."""

    index: Index = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    weight: Array = field(default_factory=lambda: np.zeros((0, 3)))
    offset: Array = field(default_factory=lambda: np.zeros((0, 3)))
    scale_refs: list[tuple[int, int, float]] = field(default_factory=lambda: [(0, 0, 1.0)] * 3)
    hidden: set[int] = field(default_factory=set)

    def scale(self, base: Array) -> Array:
        """base: (N, 3) metres -> (3,) scale of the offsets on this body, metres per file unit."""
        spans = enumerate(self.scale_refs)
        return np.array([abs(base[a, k] - base[b, k]) / span for k, (a, b, span) in spans])

    def apply(self, base: Array, scale: Array) -> Array:
        """base: (N, 3) unposed body -> (P, 3) unposed proxy."""
        return np.asarray(np.einsum("pk,pkc->pc", self.weight, base[self.index]) + self.offset * scale)

    def reshape(self, base: Array, change: Callable[[Array], Array]) -> None:
        """Changes the offsets so that on this body the proxy has the shape `change` gives it."""
        scale = self.scale(base)
        vertices = self.apply(base, scale)
        self.offset = self.offset + (change(vertices) - vertices) / scale


def read_fit(path: Path) -> Fit:
    """Reads an .mhclo file."""
    fit = Fit()
    rows: list[list[float]] = []
    section = ""
    for line in path.read_text().splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        key = words[0]
        if key in ("x_scale", "y_scale", "z_scale"):
            fit.scale_refs["xyz".index(key[0])] = (int(words[1]), int(words[2]), float(words[3]))
        elif key in ("verts", "delete_verts", "weights"):  # other words may sit inside a section
            section = key
        elif key[0].isalpha():
            continue
        elif section == "verts":
            values = [float(word) for word in words]
            rows.append(
                [values[0]] * 3 + [1, 0, 0, 0, 0, 0] if len(values) == 1 else (values + [0.0] * 3)[:9]
            )
        elif section == "delete_verts":
            fit.hidden |= parse_ranges(words)
    table = np.array(rows)
    fit.index, fit.weight, fit.offset = table[:, :3].astype(np.int64), table[:, 3:6], table[:, 6:]
    return fit


def parse_ranges(words: Sequence[str]) -> set[int]:
    """`["3", "-", "5", "9"]` -> {3, 4, 5, 9}."""
    found: set[int] = set()
    at = 0
    while at < len(words):
        if at + 2 < len(words) and words[at + 1] == "-":
            found.update(range(int(words[at]), int(words[at + 2]) + 1))
            at += 3
        else:
            found.add(int(words[at]))
            at += 1
    return found


@dataclass(frozen=True)
class Bone:
    """One joint: rest position (3,), and the bone it hangs on ('' for the root)."""

    parent: str
    head: Array


@dataclass(frozen=True)
class Part:
    """One renderable mesh: faces and face_uv (F, 4) index compact vertices and uv (M, 2)."""

    name: str
    texture: str
    faces: Index
    uv: Array
    face_uv: Index


@dataclass(frozen=True)
class _Skin:
    """What is needed to pose one part: `fit` is None for the body itself; weights (V, bones)."""

    fit: Fit | None
    scale: Array
    used: Index
    weights: Array


class Person:
    """A posable person. `parts` never change; `pose_vertices` gives their positions for one frame."""

    def __init__(self, assets: Path, look: Look) -> None:
        if not (assets / "base/base.obj").is_file():
            raise FileNotFoundError(f"{assets}: no base/base.obj; pass the synthetic_person folder")
        self._assets = assets
        self._hidden_bones = look.hidden_bones
        self._deltas: dict[str, Delta] = {}
        base = read_obj(assets / "base/base.obj")
        self.rest: Array = base.vertices * DECIMETRE
        for macro, weight in look.macros.items():
            self._add_delta(self.rest, read_target(assets / f"targets_macro/{macro}.target.gz"), weight)
        for unit, weight in look.units.items():
            self._add_delta(self.rest, read_target(assets / f"targets_expr_units/{unit}.target.gz"), weight)
        if look.reshape is not None:
            self.rest = look.reshape(self.rest)
        self.bones = self._read_bones()
        weights = self._split_arm_weights(self._read_weights())
        self.bone_names: list[str] = list(weights)
        self.body_weights: Array = np.stack([weights[name] for name in self.bone_names], axis=1)
        self.body_weights /= np.maximum(self.body_weights.sum(axis=1, keepdims=True), 1e-9)
        self.parts: list[Part] = []
        self._skins: list[_Skin] = []
        hidden: set[int] = set()
        for name, stem in look.proxies.items():
            fit = read_fit(assets / f"proxies/{stem}.mhclo")
            if name == "clothes":
                hidden = fit.hidden
            if name in look.reshape_parts:
                fit.reshape(self.rest, look.reshape_parts[name])
            if name == "teeth":
                self._lower_upper_teeth(fit)
            self._add_proxy(name, read_obj(assets / f"proxies/{stem}.obj"), fit, look.textures[name])
        visible = (base.groups == "body") & ~np.isin(base.faces, list(hidden)).all(axis=1)
        skin = _Skin(None, np.ones(3), np.zeros(0, np.int64), self.body_weights)
        self._add_part("body", look.textures["body"], base, visible, skin)

    @staticmethod
    def _add_delta(vertices: Array, delta: Delta, weight: float) -> None:
        vertices[delta.index] += weight * delta.offset

    def _json(self, relative: str) -> Any:
        return json.loads((self._assets / relative).read_text())

    def _read_bones(self) -> dict[str, Bone]:
        groups = self._json("base/basemesh_vertex_groups.json")
        bones: dict[str, Bone] = {}
        for name, entry in self._json("rigs/rig.mixamo.json")["bones"].items():
            head = entry["head"]
            if head["strategy"] == "MEAN":
                index = head["vertex_indices"]
            else:
                index = [i for first, last in groups[head["cube_name"]] for i in range(first, last + 1)]
            parent = (entry.get("parent") or "").removeprefix(BONE_PREFIX)
            bones[name.removeprefix(BONE_PREFIX)] = Bone(parent, self.rest[index].mean(axis=0))
        for side in ("Left", "Right"):
            for limb in (f"{side}Arm", f"{side}ForeArm"):
                for segment in range(1, TWIST_SEGMENTS):
                    bones[twist_bone(limb, segment)] = Bone(limb, bones[limb].head)
        return bones

    def _read_weights(self) -> dict[str, Array]:
        weights: dict[str, Array] = {}
        for name, pairs in self._json("rigs/weights.mixamo.json")["weights"].items():
            column = np.zeros(len(self.rest))
            table = np.array(pairs, dtype=float).reshape(-1, 2)
            column[table[:, 0].astype(int)] = table[:, 1]
            weights[name.removeprefix(BONE_PREFIX)] = column
        return weights

    def _split_arm_weights(self, weights: dict[str, Array]) -> dict[str, Array]:
        """Spreads each arm bone's weights over its twist segments by position along the bone."""
        for side in ("Left", "Right"):
            for limb, end in ((f"{side}Arm", f"{side}ForeArm"), (f"{side}ForeArm", f"{side}Hand")):
                start, axis = self.bones[limb].head, self.bones[end].head - self.bones[limb].head
                along = np.clip((self.rest - start) @ axis / (axis @ axis), 0.0, 1.0) * (TWIST_SEGMENTS - 1)
                whole = weights[limb]
                for segment in range(TWIST_SEGMENTS):
                    weights[twist_bone(limb, segment)] = whole * np.maximum(0.0, 1.0 - abs(along - segment))
        return weights

    def _lower_upper_teeth(self, fit: Fit) -> None:
        """Those that the jaw does not take along."""
        scale = fit.scale(self.rest)
        with_jaw = fit.apply(self.expression({"jawOpen": 1.0}), scale) - fit.apply(self.rest, scale)
        fit.offset[np.linalg.norm(with_jaw, axis=1) < 0.002, 1] -= UPPER_TEETH_DROP_M / scale[1]

    def _add_proxy(self, name: str, mesh: ObjMesh, fit: Fit, texture: str) -> None:
        if len(mesh.vertices) != len(fit.index):
            raise ValueError(f"{name}: {len(mesh.vertices)} vertices but {len(fit.index)} fitted ones")
        weights = np.maximum(np.einsum("pk,pkb->pb", fit.weight, self.body_weights[fit.index]), 0.0)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
        skin = _Skin(fit, fit.scale(self.rest), np.zeros(0, np.int64), weights)
        self._add_part(name, texture, mesh, np.ones(len(mesh.faces), bool), skin)

    def _add_part(
        self, name: str, texture: str, mesh: ObjMesh, keep: npt.NDArray[np.bool_], skin: _Skin
    ) -> None:
        """Keeps the faces that can ever be in the picture and renumbers their vertices."""
        below = [self.bone_names.index(bone) for bone in self._hidden_bones if bone in self.bone_names]
        is_below = skin.weights[:, below].sum(axis=1) > 0.5
        keep = keep & ~is_below[mesh.faces].all(axis=1)
        used, inverse = np.unique(mesh.faces[keep], return_inverse=True)
        faces = inverse.reshape(-1, 4)
        self.parts.append(Part(name, texture, faces, mesh.uv, mesh.face_uv[keep]))
        self._skins.append(_Skin(skin.fit, skin.scale, used, skin.weights[used]))

    def delta(self, target: str) -> Delta:
        """The face target called `target` ("jawOpen", "viseme_aa", ...), read once."""
        if target not in self._deltas:
            path = self._assets / f"targets_arkit_viseme/{target}.target"
            if not path.is_file():
                raise KeyError(f"{target}: no such face target in {path.parent}")
            self._deltas[target] = read_target(path)
        return self._deltas[target]

    def expression(self, weights: Mapping[str, float]) -> Array:
        """Face weights 0..1 by target name -> (N, 3) unposed base mesh."""
        vertices = self.rest.copy()
        for target, weight in weights.items():
            if weight:
                self._add_delta(vertices, self.delta(target), weight)
        return vertices

    def fitted(self, name: str, base: Array) -> Array:
        """base: (N, 3) unposed body -> (P, 3) the unposed part `name`."""
        at = [part.name for part in self.parts].index(name)
        skin = self._skins[at]
        return (base if skin.fit is None else skin.fit.apply(base, skin.scale))[skin.used]

    def pose_vertices(
        self, weights: Mapping[str, float], rotations: Mapping[str, Array], root: Array | None = None
    ) -> dict[str, Array]:
        """Posed vertices (V, 3) of every part.

        rotations: bone name -> (3, 3) rotation in the room; bones left out turn with their parent.
        root: (3,) shift of the whole person.
        """
        base = self.expression(weights)
        matrices = np.stack(list(self.bone_matrices(rotations, root).values()))
        posed: dict[str, Array] = {}
        for part, skin in zip(self.parts, self._skins, strict=True):
            unposed = (base if skin.fit is None else skin.fit.apply(base, skin.scale))[skin.used]
            blend = np.tensordot(skin.weights, matrices, 1)
            posed[part.name] = np.einsum("vij,vj->vi", blend[:, :, :3], unposed) + blend[:, :, 3]
        return posed

    def bone_matrices(self, rotations: Mapping[str, Array], root: Array | None = None) -> dict[str, Array]:
        """Bone name -> (3, 4) matrix from unposed to posed, in the order of `bone_names`."""
        turns: dict[str, Array] = {}
        heads: dict[str, Array] = {}

        def place(name: str) -> None:
            if name in heads:
                return
            bone = self.bones[name]
            if not bone.parent:
                heads[name] = bone.head + (np.zeros(3) if root is None else root)
                turns[name] = rotations.get(name, np.eye(3))
                return
            place(bone.parent)
            heads[name] = heads[bone.parent] + turns[bone.parent] @ (bone.head - self.bones[bone.parent].head)
            turns[name] = rotations.get(name, turns[bone.parent])

        matrices: dict[str, Array] = {}
        for name in self.bone_names:
            place(name)
            shift = heads[name] - turns[name] @ self.bones[name].head
            matrices[name] = np.concatenate([turns[name], shift[:, None]], axis=1)
        return matrices


def twist_bone(limb: str, segment: int) -> str:
    """Name of the n-th twist segment of an arm bone; segment 0 is the bone itself."""
    return limb if segment == 0 else f"{limb}.{segment}"
