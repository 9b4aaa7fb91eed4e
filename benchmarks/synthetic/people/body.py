"""The geometry of one character: a posable person, smoothed, with what is drawn onto the skin.

Built on the presenter's mesh.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, csr_matrix, vstack

from benchmarks.synthetic.people.character import Body, Bump, Character, Clothing, Glasses, Looks
from benchmarks.synthetic.presenter.mesh import DECIMETRE, Array, Index, Look, Part, Person, read_target

FloatArray = npt.NDArray[np.float32]

SUBDIVIDED = ("body", "clothes", "eyes")
# A wide picture with a low camera shows the hips.
HIDDEN_BONES = tuple(f"{side}{bone}" for side in ("Left", "Right") for bone in ("Leg", "Foot", "ToeBase"))
EDGE_M = 0.01  # a signed distance to a drawn border is stored in units of this, clipped
EDGE_CLIP = 4.0
SHIRT_LIFT_M = 0.007
BORDER_FADE = 0.7


@dataclass(frozen=True)
class Mesh:
    """What the graphics need of one part: corners share a vertex where place and texture place agree."""

    name: str
    texture: str
    triangles: npt.NDArray[np.int32]  # (T, 3) corner numbers
    vertex: Index  # (C,) smoothed vertex of each corner
    uv: FloatArray  # (C, 2)
    rest: FloatArray  # (C, 3) unposed place from between the eyes, metres
    paint: (
        FloatArray  # (C, 4) scalp, beard, shirt in EDGE_M inside their borders; shade of the mouth's inside
    )
    lift: FloatArray  # (C,) metres along the normal


class Model:
    """A character's person; `move` gives places and normals of every mesh for one frame."""

    def __init__(self, assets: Path, character: Character) -> None:
        self.person = Person(assets, look_of(assets, character))
        self.eyes = self.person.fitted("eyes", self.person.rest).mean(axis=0)
        self._smoothers: dict[str, csr_matrix] = {}
        self._gatherers: dict[str, tuple[csr_matrix, Index]] = {}
        self.meshes: list[Mesh] = []
        for part in self.person.parts:
            self._add_mesh(part, assets, character.looks)
        self._glasses: Array | None = None
        if character.looks.glasses is not None:
            self._add_glasses(character.looks.glasses)

    def _add_mesh(self, part: Part, assets: Path, looks: Looks) -> None:
        vertices = self.person.fitted(part.name, self.person.rest)
        paint, lift = np.zeros((len(vertices), 4)), np.zeros(len(vertices))
        if part.name == "body":
            paint, lift = paint_body(self.person, part, vertices, self.eyes, assets, looks)
        elif part.name in ("teeth", "tongue"):
            front = vertices[:, 2].max()
            paint[:, 3] = np.clip((front - vertices[:, 2]) / 0.035, 0, 1)
        faces, corner_uv = part.faces, part.uv[part.face_uv]
        smoother = csr_matrix(np.eye(0))
        if part.name in SUBDIVIDED:
            smoother, faces, corner_uv = subdivide(part.faces, corner_uv, len(vertices))
            self._smoothers[part.name] = smoother
            vertices, paint, lift = smoother @ vertices, smoother @ paint, smoother @ lift
        self._gatherers[part.name] = (vertex_faces(faces, len(vertices)), faces)
        self.meshes.append(
            join_corners(part.name, part.texture, faces, corner_uv, vertices - self.eyes, paint, lift)
        )

    def _add_glasses(self, glasses: Glasses) -> None:
        left = self.person.fitted("eyes", self.person.rest)
        left = left[left[:, 0] > 0]
        centre = left.mean(axis=0)
        front = float(left[:, 2].max()) + 0.008
        ear = np.array([0.0, centre[1], centre[2] - 0.085])
        body = self.person.fitted("body", self.person.rest)
        beside = np.abs(body - ear)[(np.abs(body[:, 1:] - ear[1:]) < 0.015).all(axis=1)]
        ear[0] = float(np.percentile(beside[:, 0], 70)) if len(beside) else 0.07
        vertices, faces = glasses_mesh(glasses, centre, front, ear)
        self._glasses = vertices
        uv = np.zeros((*faces.shape, 2))
        self._gatherers["glasses"] = (vertex_faces(faces, len(vertices)), faces)
        plain = np.zeros((len(vertices), 4))
        self.meshes.append(
            join_corners("glasses", "", faces, uv, vertices - self.eyes, plain, np.zeros(len(vertices)))
        )

    def move(
        self, weights: Mapping[str, float], rotations: Mapping[str, Array], root: Array
    ) -> dict[str, FloatArray]:
        """Face weights, bone rotations and (3,) shift -> mesh name -> (C, 6) float32 places and normals."""
        posed = self.person.pose_vertices(weights, rotations, root)
        if self._glasses is not None:
            head = self.person.bone_matrices(rotations, root)["Head"]
            posed["glasses"] = self._glasses @ head[:, :3].T + head[:, 3]
        moved: dict[str, FloatArray] = {}
        for mesh in self.meshes:
            vertices = posed[mesh.name]
            if mesh.name in self._smoothers:
                vertices = self._smoothers[mesh.name] @ vertices
            gatherer, faces = self._gatherers[mesh.name]
            crossed = np.cross(
                vertices[faces[:, 2]] - vertices[faces[:, 0]], vertices[faces[:, 3]] - vertices[faces[:, 1]]
            )
            normals = gatherer @ crossed
            normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
            moved[mesh.name] = np.concatenate([vertices, normals], axis=1).astype(np.float32)[mesh.vertex]
        return moved


def look_of(assets: Path, character: Character) -> Look:
    """The assets that a character is made of."""
    looks = character.looks
    proxies = {
        "eyes": "eyes/high-poly",
        "teeth": "teeth/teeth_base/teeth_base",
        "tongue": "tongue/tongue01/tongue01",
        "brows": f"eyebrows/{looks.brows}/{looks.brows}",
        "lashes": "eyelashes/eyelashes01/eyelashes01",
    }
    textures = {
        "body": looks.skin_texture,
        "eyes": looks.eye_texture,
        "teeth": "teeth.png",
        "tongue": "tongue01_diffuse.png",
        "brows": f"{looks.brows}.png",
        "lashes": "eyelashes01.png",
    }
    if looks.clothing.outfit:
        proxies["clothes"] = f"clothes/{looks.clothing.outfit}/{looks.clothing.outfit}"
        textures["clothes"] = f"{looks.clothing.outfit}_diffuse.png"
    if (assets / f"proxies/hair/{looks.haircut}").is_dir():
        proxies["hair"] = f"hair/{looks.haircut}/{looks.haircut}"
        textures["hair"] = f"{looks.haircut}_diffuse.png"
    return Look(
        character.body.macros,
        proxies,
        textures,
        reshape=lambda base: reshape(base, assets, character.body),
        hidden_bones=HIDDEN_BONES,
    )


def reshape(base: Array, assets: Path, body: Body) -> Array:
    """base: (N, 3) the macro body -> (N, 3) with this face's units, bumps and proportions."""
    groups = json.loads((assets / "base/basemesh_vertex_groups.json").read_text())

    def joint(name: str) -> Array:
        index = [i for first, last in groups[name] for i in range(first, last + 1)]
        return np.asarray(base[index].mean(axis=0))

    shaped = base.copy()
    for name, weight in body.units.items():
        for side in {name, name.replace("-left-", "-right-")}:
            delta = read_target(assets / f"targets_expr_units/{side}.target.gz")
            shaped[delta.index] += weight * delta.offset
    eyes = 0.5 * (joint("joint-l-eye") + joint("joint-r-eye"))
    for bump in body.bumps:
        shaped += bump_offsets(base - eyes, bump)
    neck, head = joint("joint-neck"), joint("joint-head")
    share = np.clip((base[:, 1:2] - neck[1]) / (head[1] - neck[1] + DECIMETRE * 0.3), 0, 1)
    scale = 1 + share * (np.array(body.head_scale) - 1) + (1 - share) * (np.array(body.trunk_scale) - 1)
    return np.asarray(neck + (shaped - neck) * scale)


def bump_offsets(places: Array, bump: Bump) -> Array:
    """places: (N, 3) from between the eyes -> (N, 3) metres; mirrored, smooth across the middle."""
    offsets = np.zeros_like(places)
    for side in (1.0, -1.0):
        mirror = np.array([side, 1, 1])
        distance = ((places - np.array(bump.place) * mirror) ** 2).sum(axis=1, keepdims=True)
        offsets += np.exp(-distance / (2 * bump.radius_m**2)) * np.array(bump.shift) * mirror
    return offsets


def paint_body(
    person: Person, part: Part, vertices: Array, eyes: Array, assets: Path, looks: Looks
) -> tuple[Array, Array]:
    """vertices: (V, 3) -> paint (V, 4), lift (V,); see `Mesh`."""
    uv = np.zeros((len(vertices), 2))
    uv[part.faces] = part.uv[part.face_uv]

    def mask(name: str) -> Array:
        image = cv2.imread(str(assets / f"mask_textures/mpfb_{name}.jpg"), cv2.IMREAD_GRAYSCALE)
        height, width = image.shape
        column = np.clip(uv[:, 0] * width, 0, width - 1).astype(int)
        row = np.clip((1 - uv[:, 1]) * height, 0, height - 1).astype(int)
        return np.asarray(image[row, column] / 255.0)

    place = vertices - eyes
    neck = person.bones["Neck"].head - eyes
    on_head = place[:, 1] > neck[1] + 0.02
    # From the forehead over the temple and behind the ear to the nape.
    hairline = np.interp(
        place[:, 2], [-0.2, -0.13, -0.1, -0.06, -0.03, 0.02], [-0.09, -0.08, -0.015, 0.01, 0.05, 0.062]
    )
    scalp = (place[:, 1] - hairline) / EDGE_M
    ears, lips, inside = mask("ears"), mask("lips"), mask("inside-mouth")
    scalp = np.where(on_head & (ears < 0.3), scalp, -EDGE_CLIP)
    cheek, under, lip = looks.beard_cut
    cheek_line = np.interp(place[:, 2], [-0.1, -0.07, -0.02, 0.03], [0.0, -0.02, -0.06, -0.045]) + cheek
    beard = np.minimum(cheek_line - place[:, 1], place[:, 1] - (-0.155 + under)) / EDGE_M
    near_lip = np.hypot(place[:, 0], place[:, 1] + 0.06) < 0.03
    beard = np.where(near_lip, np.minimum(beard, EDGE_CLIP * lip), beard)
    beard = np.where(on_head & (ears < 0.3) & (lips < 0.3) & (inside < 0.3), beard, -EDGE_CLIP)
    if looks.beard == 0:
        beard[:] = -EDGE_CLIP
    if looks.haircut == "bald":
        scalp[:] = -EDGE_CLIP
    shirt = np.full(len(vertices), -EDGE_CLIP)
    if not looks.clothing.outfit:
        shirt = shirt_distance(person, vertices, looks.clothing) / EDGE_M
    paint = np.clip(np.stack([scalp, beard, shirt], axis=1), -EDGE_CLIP, EDGE_CLIP)
    volume = {"volume": looks.hair_volume_m, "cropped": 0.003}.get(looks.haircut, 0.0)
    lift = SHIRT_LIFT_M * np.clip(shirt / 1.5 + 0.5, 0, 1)
    lift += volume * np.clip((scalp + BORDER_FADE) / EDGE_CLIP, 0, 1) ** 0.7
    return np.concatenate([paint, inside[:, None]], axis=1), lift


def shirt_distance(person: Person, vertices: Array, clothing: Clothing) -> Array:
    """vertices: (V, 3) unposed body -> (V,) metres inside the border of a shirt, negative outside."""
    joints = {name: bone.head for name, bone in person.bones.items()}
    neck = joints["Neck"] + np.array([0, -0.005, 0.0])
    away = vertices - neck
    away[:, 1] *= np.where((away[:, 1] < 0) & (away[:, 2] > 0), 1 / (1 + clothing.neck_drop), 1.6)
    distance = np.linalg.norm(away, axis=1) - clothing.neck_m
    turns_with_head = person.body_weights[:, [person.bone_names.index("Head")]]
    distance = np.where(person.fitted("body", turns_with_head)[:, 0] > 0.03, -1.0, distance)
    distance = np.minimum(distance, 0.06 - (vertices - neck)[:, 1])
    for name in ("Left", "Right"):
        shoulder, elbow, wrist = (joints[f"{name}{end}"] for end in ("Arm", "ForeArm", "Hand"))
        upper, lower = elbow - shoulder, wrist - elbow
        side = np.sign(shoulder[0])
        along_upper = (vertices - shoulder) @ upper / np.linalg.norm(upper)
        along_lower = (vertices - elbow) @ lower / np.linalg.norm(lower)
        lengths = np.linalg.norm(upper), np.linalg.norm(lower)
        along = np.where(along_lower > 0, lengths[0] + along_lower, along_upper)
        end = lengths[0] * min(clothing.sleeve, 1) + lengths[1] * max(clothing.sleeve - 1, 0)
        is_arm = (side * (vertices[:, 0] - shoulder[0]) > 0.02) & (along > 0)
        distance = np.where(is_arm, np.minimum(distance, end - along), distance)
    return np.asarray(distance)


def subdivide(faces: Index, corner_uv: Array, count: int) -> tuple[csr_matrix, Index, Array]:
    """One step of Catmull and Clark 1978 ("Recursively generated B-spline surfaces").

    faces: (F, 4), corner_uv: (F, 4, 2) -> smoother (V', V), faces (4F, 4), corner_uv (4F, 4, 2), linear.
    """
    number = len(faces)
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    edges, edge_of = np.unique(ends, axis=0, return_inverse=True)
    edge_of = edge_of.reshape(number, 4)
    uses = np.bincount(edge_of.ravel(), minlength=len(edges))
    face_rows = sparse(np.repeat(np.arange(number), 4), faces.ravel(), 0.25, (number, count))
    middles = sparse(np.repeat(np.arange(len(edges)), 2), edges.ravel(), 0.5, (len(edges), count))
    beside = sparse(edge_of.ravel(), np.repeat(np.arange(number), 4), 1.0, (len(edges), number))
    inner = uses == 2
    edge_rows = rows_where(inner, 0.5 * middles + 0.25 * (beside @ face_rows), middles)
    corner_faces = sparse(faces.ravel(), np.repeat(np.arange(number), 4), 1.0, (count, number))
    corner_edges = sparse(edges.ravel(), np.repeat(np.arange(len(edges)), 2), 1.0, (count, len(edges)))
    valence = np.maximum(np.asarray(corner_edges.sum(axis=1)).ravel(), 3)
    around = scaled(1 / valence**2, corner_faces @ face_rows) + scaled(2 / valence**2, corner_edges @ middles)
    own = sparse(np.arange(count), np.arange(count), 1.0, (count, count))
    border = np.asarray(corner_edges @ (~inner).astype(float)).ravel() > 0
    border_edges = corner_edges @ sparse(
        np.flatnonzero(~inner), np.flatnonzero(~inner), 1.0, (len(edges), len(edges))
    )
    regular = np.asarray(border_edges.sum(axis=1)).ravel() == 2
    bordering = rows_where(regular, 0.5 * own + 0.25 * (border_edges @ middles), own)
    vertex_rows = rows_where(~border, around + scaled((valence - 3) / valence, own), bordering)
    smoother = vstack([vertex_rows, edge_rows, face_rows]).tocsr()
    edge_ids = count + edge_of
    face_ids = np.repeat(count + len(edges) + np.arange(number)[:, None], 4, axis=1)
    quads = np.stack([faces, edge_ids, face_ids, np.roll(edge_ids, 1, axis=1)], axis=2).reshape(-1, 4)
    half = 0.5 * (corner_uv + np.roll(corner_uv, -1, axis=1))
    centre = np.repeat(corner_uv.mean(axis=1, keepdims=True), 4, axis=1)
    uv = np.stack([corner_uv, half, centre, np.roll(half, 1, axis=1)], axis=2).reshape(-1, 4, 2)
    return smoother, quads, uv


def sparse(rows: Index, columns: Index, value: float, shape: tuple[int, int]) -> csr_matrix:
    return coo_matrix((np.full(len(rows), value), (rows, columns)), shape).tocsr()


def scaled(factors: Array, matrix: csr_matrix) -> csr_matrix:
    """Each row times its factor."""
    index = np.arange(len(factors))
    return coo_matrix((factors, (index, index)), (len(factors), len(factors))).tocsr() @ matrix


def rows_where(chosen: npt.NDArray[np.bool_], first: csr_matrix, second: csr_matrix) -> csr_matrix:
    """Rows of `first` where chosen, of `second` elsewhere."""
    return scaled(chosen.astype(float), first) + scaled((~chosen).astype(float), second)


def vertex_faces(faces: Index, count: int) -> csr_matrix:
    """(count, F) which faces meet at each vertex."""
    return sparse(faces.ravel(), np.repeat(np.arange(len(faces)), 4), 1.0, (count, len(faces)))


def join_corners(
    name: str, texture: str, faces: Index, corner_uv: Array, rest: Array, paint: Array, lift: Array
) -> Mesh:
    """Quads with a texture place per corner -> triangles whose corners are shared where they agree."""
    keys = np.concatenate([faces.reshape(-1, 1), np.round(corner_uv.reshape(-1, 2) * 8192)], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    quads = inverse.reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    vertex = faces.reshape(-1)[first]
    return Mesh(
        name, texture, triangles, vertex, corner_uv.reshape(-1, 2)[first].astype(np.float32),
        rest[vertex].astype(np.float32), paint[vertex].astype(np.float32), lift[vertex].astype(np.float32),
    )  # fmt: skip


def glasses_mesh(glasses: Glasses, eye: Array, front: float, behind: Array) -> tuple[Array, Index]:
    """Two rims, a bridge and temples as square tubes, unposed.

    eye, behind: (3,) the left eye and the left temple's end; front: depth of the rims -> vertices, quads.
    """
    angles = np.linspace(0, 2 * np.pi, 33)
    power = 2 / glasses.squareness
    wave = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    wave = np.sign(wave) * np.abs(wave) ** power
    tubes = []
    for side in (1.0, -1.0):
        x, y = side * eye[0], eye[1] - 0.003
        rim = np.stack([
            x + side * wave[:, 0] * glasses.half_width_m, y + wave[:, 1] * glasses.half_height_m,
            front - 12 * (wave[:, 0] * glasses.half_width_m + 0.01) ** 2,
        ], axis=1)  # fmt: skip
        hinge = np.array([x + side * glasses.half_width_m, y + 0.3 * glasses.half_height_m, rim[0, 2]])
        ear = behind * np.array([side, 1, 1]) + np.array([0, 0.004, 0])
        tubes += [rim, np.linspace(hinge, ear, 5)]
    inner = abs(eye[0]) - glasses.half_width_m
    across = np.linspace(-1, 1, 7)
    tubes.append(np.stack([across * inner, eye[1] + 0.004 - 0.003 * across**2, 0 * across + front], axis=1))
    vertices, faces, start = [], [], 0
    for line in tubes:
        along = np.gradient(line, axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        first = np.cross(along, np.array([0.1, 0.2, 1.0]))
        first /= np.linalg.norm(first, axis=1, keepdims=True)
        second = np.cross(along, first)
        ring = [
            line + glasses.thickness_m * (a * first + b * second)
            for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))
        ]
        vertices.append(np.stack(ring, axis=1).reshape(-1, 3))
        for step in range(len(line) - 1):
            for corner in range(4):
                a, b = start + 4 * step + corner, start + 4 * step + (corner + 1) % 4
                faces.append([a, b, b + 4, a + 4])
        start += 4 * len(line)
    return np.concatenate(vertices), np.array(faces)
