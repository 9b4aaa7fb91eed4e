"""The studio: Blender materials, lights, camera, hair strands and the meshes of the presenter.

Needs `bpy` (Blender as a module, GPL-3, a build tool only).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Vector  # type: ignore[import-not-found]
from mathutils.bvhtree import BVHTree  # type: ignore[import-not-found]

from benchmarks.synthetic.presenter.camera import APERTURE, FACE_DEPTH_M, LENS_MM, SENSOR_MM, Camera
from benchmarks.synthetic.presenter.cast import Character, Hair
from benchmarks.synthetic.presenter.mesh import Array, Part, Person
from benchmarks.synthetic.presenter.shading import part_material, strand_material

SUBDIVISION = {
    "body": 1,
    "eyes": 1,
    "clothes": 1,
    "teeth": 0,
    "tongue": 1,
    "hair": 1,
    "brows": 1,
    "lashes": 0,
}
STRAND_POINTS = 5
STRAND_RADIUS_M = 0.00036


def to_room(points: Array) -> npt.NDArray[np.float32]:
    """(..., 3) person axes (y up) -> Blender axes (z up, the camera at -y)."""
    room = np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)
    return np.asarray(room, dtype=np.float32)


def start_scene(side_px: int, samples: int, threads: int) -> bpy.types.Scene:
    """An empty scene with Cycles set for speed: few samples, few bounces, denoised, fixed seed."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", samples, 1
    cycles.use_adaptive_sampling = cycles.use_light_tree = False
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.denoising_input_passes, cycles.denoising_prefilter = "RGB_ALBEDO_NORMAL", "FAST"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 1, 1
    cycles.transmission_bounces, cycles.transparent_max_bounces = 1, 8
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4
    scene.cycles_curves.shape, scene.cycles_curves.subdivisions = "RIBBONS", 2
    render = scene.render
    render.threads_mode, render.threads, render.use_persistent_data = "FIXED", threads, True
    render.resolution_x = render.resolution_y = side_px
    render.resolution_percentage, render.image_settings.file_format = 100, "PNG"
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    scene.view_settings.exposure = 0.35
    return scene


def add_light(
    name: str, place: Vector, aim: Vector, size_m: float, watts: float, rgb: tuple[float, ...]
) -> None:
    light = bpy.data.lights.new(name, "AREA")
    light.shape, light.size, light.energy, light.color = "DISK", size_m, watts, rgb
    holder = bpy.data.objects.new(name, light)
    bpy.context.scene.collection.objects.link(holder)
    holder.location = place
    holder.rotation_euler = (aim - place).to_track_quat("-Z", "Y").to_euler()


def add_studio(eye_height_m: float, camera: Camera) -> bpy.types.Object:
    """Three-point light, world light, the camera around the eyes, and a plain wall, returned hidden."""
    scene = bpy.context.scene
    face = Vector((0.0, -0.05, eye_height_m - 0.04))
    add_light("key", face + Vector((-0.85, -1.15, 0.6)), face, 1.1, 26, (1, 0.95, 0.89))
    add_light("fill", face + Vector((1.25, -1.2, 0.05)), face, 1.4, 13, (0.92, 0.96, 1))
    add_light("rim", face + Vector((0.8, 1.0, 0.55)), face, 0.8, 6, (1, 0.97, 0.94))
    add_light("rim2", face + Vector((-0.9, 0.95, 0.42)), face, 0.6, 5, (0.92, 0.96, 1))
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs[0].default_value, background.inputs[1].default_value = (0.58, 0.61, 0.66, 1), 0.3
    add_camera(camera)
    return add_wall(face)


def stand_before(plate: Path, share: float) -> None:
    """What the camera sees behind the person is this picture; the light on the person stays.

    share: of the picture's width that is seen, its middle.
    """
    tree = bpy.context.scene.world.node_tree
    picture, place, middle, shown, ray, mix = (
        tree.nodes.new(f"ShaderNode{kind}")
        for kind in ("TexImage", "TexCoord", "Mapping", "Background", "LightPath", "MixShader")
    )
    picture.image, picture.extension = bpy.data.images.load(str(plate)), "EXTEND"
    middle.inputs["Location"].default_value = ((1 - share) / 2, 0, 0)
    middle.inputs["Scale"].default_value = (share, 1, 1)
    tree.links.new(place.outputs["Window"], middle.inputs["Vector"])
    tree.links.new(middle.outputs[0], picture.inputs["Vector"])
    tree.links.new(picture.outputs["Color"], shown.inputs["Color"])
    tree.links.new(ray.outputs["Is Camera Ray"], mix.inputs[0])
    tree.links.new(tree.nodes["Background"].outputs[0], mix.inputs[1])
    tree.links.new(shown.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], tree.nodes["World Output"].inputs["Surface"])


def add_camera(camera: Camera) -> None:
    taken = bpy.data.cameras.new("camera")
    # By its height: a wider frame shows more at its sides.
    taken.lens, taken.sensor_fit, taken.sensor_height = LENS_MM, "VERTICAL", SENSOR_MM
    taken.dof.use_dof, taken.dof.focus_distance = True, camera.distance_m - FACE_DEPTH_M
    taken.dof.aperture_fstop = APERTURE
    holder = bpy.data.objects.new("camera", taken)
    bpy.context.scene.collection.objects.link(holder)
    bpy.context.scene.camera = holder
    holder.location = (0, -camera.distance_m, camera.height_m)
    holder.rotation_euler = (np.pi / 2, 0, 0)


def add_wall(face: Vector) -> bpy.types.Object:
    """A wall with a soft glow of a lamp behind the person; only the plate shows it."""
    add_light(
        "wall", face + Vector((0.4, 0.95, -0.58)), face + Vector((0.1, 1.85, 0)), 0.6, 10, (0.85, 0.9, 1)
    )
    wall = bpy.data.meshes.new("wall")
    wall.from_pydata([(-6, 1.8, -4), (6, 1.8, -4), (6, 1.8, 6), (-6, 1.8, 6)], [], [(0, 1, 2, 3)])
    material = bpy.data.materials.new("wall")
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"].inputs
    shader["Base Color"].default_value, shader["Roughness"].default_value = (0.2, 0.23, 0.26, 1), 1.0
    wall.materials.append(material)
    holder = bpy.data.objects.new("wall", wall)
    bpy.context.scene.collection.objects.link(holder)
    holder.hide_render = True
    return holder


class Presenter:
    """The person's meshes in the scene; `move` puts new vertices into them in place."""

    def __init__(self, person: Person, character: Character, assets: Path) -> None:
        self._meshes: dict[str, bpy.types.Mesh] = {}
        self._holders: list[bpy.types.Object] = []
        for part in person.parts:
            self._add_part(
                part, person.fitted(part.name, person.rest), part_material(part, character, assets)
            )
        self._strands: bpy.types.HairCurves | None = None
        if character.hair.strands:
            self._rest_strands = grow_strands(person, assets, character.hair)
            self._strands = self._add_strands(self._rest_strands, strand_material(character.hair))

    def _add_part(self, part: Part, vertices: Array, material: bpy.types.Material) -> None:
        mesh = bpy.data.meshes.new(part.name)
        count = len(part.faces)
        mesh.vertices.add(len(vertices))
        mesh.loops.add(4 * count)
        mesh.polygons.add(count)
        mesh.vertices.foreach_set("co", to_room(vertices).ravel())
        mesh.loops.foreach_set("vertex_index", part.faces.ravel().astype(np.int32))
        mesh.polygons.foreach_set("loop_start", np.arange(0, 4 * count, 4, dtype=np.int32))
        mesh.uv_layers.new(name="UV")
        mesh.update(calc_edges=True)
        mesh.uv_layers["UV"].uv.foreach_set("vector", part.uv[part.face_uv].astype(np.float32).ravel())
        mesh.shade_smooth()
        holder = bpy.data.objects.new(part.name, mesh)
        bpy.context.scene.collection.objects.link(holder)
        mesh.materials.append(material)
        if SUBDIVISION[part.name]:
            modifier = holder.modifiers.new("smooth", "SUBSURF")
            modifier.levels = modifier.render_levels = SUBDIVISION[part.name]
            modifier.uv_smooth = "NONE" if part.name in ("hair", "brows") else "PRESERVE_CORNERS"
            modifier.boundary_smooth = "PRESERVE_CORNERS"
        holder.visible_shadow = part.name not in ("brows", "lashes")
        self._meshes[part.name] = mesh
        self._holders.append(holder)

    def _add_strands(self, points: Array, material: bpy.types.Material) -> bpy.types.HairCurves:
        """points: (S, STRAND_POINTS, 3) person axes -> hair curves linked into the scene."""
        curves = bpy.data.hair_curves.new("strands")
        curves.add_curves([points.shape[1]] * len(points))
        curves.position_data.foreach_set("vector", to_room(points).ravel())
        radius = np.tile(np.linspace(1, 0.35, points.shape[1]) * STRAND_RADIUS_M, len(points))
        attribute = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
        attribute.data.foreach_set("value", radius.astype(np.float32))
        curves.materials.append(material)
        self._holders.append(bpy.data.objects.new("strands", curves))
        bpy.context.scene.collection.objects.link(self._holders[-1])
        return curves

    def show(self, on: bool) -> None:
        """The person in the picture, or out of it."""
        for holder in self._holders:
            holder.hide_render = not on

    def move(self, vertices: Mapping[str, Array], head: Array) -> None:
        """vertices: (V, 3) by part name; head: (3, 4) matrix that the hair strands follow."""
        for name, points in vertices.items():
            mesh = self._meshes[name]
            mesh.vertices.foreach_set("co", to_room(points).ravel())
            mesh.update()
        if self._strands is not None:
            points = self._rest_strands @ head[:, :3].T + head[:, 3]
            self._strands.position_data.foreach_set("vector", to_room(points).ravel())
            self._strands.update_tag()


def sample_hair_roots(person: Person, assets: Path, count: int, rng: np.random.Generator) -> Array:
    """(count, 3) points on the opaque part of the hair mesh, even by area."""
    part = next(part for part in person.parts if part.name == "hair")
    vertices = person.fitted("hair", person.rest)
    image = bpy.data.images.load(str(assets / "textures" / part.texture), check_existing=True)
    width, height = image.size
    alpha = np.array(image.pixels[:], dtype=np.float32).reshape(height, width, 4)[..., 3]
    corners = vertices[part.faces]
    area = np.linalg.norm(np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]), axis=1)
    face = rng.choice(len(corners), 3 * count, p=area / area.sum())
    u, v = rng.random((2, 3 * count, 1))
    shares = np.concatenate([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=1)
    points = np.einsum("sk,skc->sc", shares, corners[face])
    place = np.einsum("sk,skc->sc", shares, part.uv[part.face_uv[face]])
    column = np.clip((place[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip((place[:, 1] * height).astype(int), 0, height - 1)
    return np.asarray(points[alpha[row, column] > 0.45][:count])


def grow_strands(person: Person, assets: Path, hair: Hair) -> Array:
    """(S, STRAND_POINTS, 3) short strands combed away from the crown over the hair mesh, swept in front."""
    rng = np.random.default_rng(0)
    roots = sample_hair_roots(person, assets, hair.strands, rng)
    count = len(roots)
    part = next(part for part in person.parts if part.name == "hair")
    shell = person.fitted("hair", person.rest)
    tree = BVHTree.FromPolygons([Vector(p) for p in shell], [list(map(int, face)) for face in part.faces])
    top = shell[:, 1].max()
    middle = np.array([0.0, top - 0.12, 0.035])
    crown = np.array([0.012, top, -0.035])
    # Hair falls in locks: strands share most of their random direction with their neighbours.
    lock_centres = roots[rng.integers(0, count, count // 25)]
    lock = np.array([int(((lock_centres - root) ** 2).sum(axis=1).argmin()) for root in roots])
    stray = hair.wildness * rng.normal(size=(len(lock_centres), 3))[lock] + 0.1 * rng.normal(size=(count, 3))
    lengths = hair.length_m * rng.uniform(0.6, 1.2, size=(count, 1))
    lift = 0.003 * rng.random((count, 1))
    fringe = np.clip((roots[:, 2:] - 0.09) / 0.06, 0, 1) * np.clip((roots[:, 1:2] - top + 0.1) / 0.04, 0, 1)
    tip = roots - 0.005 * outwards(roots, middle)
    points = [tip]
    for step in range(1, STRAND_POINTS):
        normal = outwards(tip, middle)
        direction = outwards(tip, crown) + stray
        direction[:, :1] += hair.sweep * fringe
        direction[:, 1:2] -= 0.25 * (1 - fringe)
        direction -= normal * (direction * normal).sum(axis=1, keepdims=True)
        tip = tip + outwards(direction, np.zeros(3)) * lengths / (STRAND_POINTS - 1)
        near = [tree.find_nearest(Vector(point)) for point in tip]
        on_shell = np.array([found[0] for found in near])
        close = np.array([[found[3] < 0.014] for found in near])
        tip = np.where(close, on_shell + outwards(on_shell, middle) * (0.0025 * step + lift), tip)
        points.append(tip)
    return np.stack(points, axis=1)


def outwards(points: Array, middle: Array) -> Array:
    """(S, 3) unit vectors from middle to the points."""
    away = points - middle
    return np.asarray(away / (np.linalg.norm(away, axis=1, keepdims=True) + 1e-6))
