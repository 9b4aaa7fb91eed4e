"""Draws a posed model with OpenGL: a surfaceless context, so Mesa's software rasteriser will do.

Two passes: depth from the key light for its shadow, then the picture; hair and lashes are blended last.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.synthetic.people.body import Mesh, Model
from benchmarks.synthetic.people.character import Character, Studio
from benchmarks.synthetic.people.shaders import SHADOW_FRAGMENT, SHADOW_VERTEX, VERTEX, fragment_shader
from benchmarks.synthetic.people.surfaces import texture_of

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
Context = Any  # a moderngl.Context; the library is an extra that type checks must do without

SUPERSAMPLING = 2
SHADOW_SIDE = 512
SHADOW_SPAN_M = 0.62  # half the width of what the key light's depth covers
KINDS = {
    "body": 0,
    "clothes": 1,
    "eyes": 2,
    "teeth": 3,
    "tongue": 4,
    "hair": 5,
    "brows": 6,
    "lashes": 6,
    "glasses": 7,
}
SOLID = ("body", "clothes", "eyes", "teeth", "tongue", "glasses")
CLOSED = ("body", "teeth")  # never seen from inside: half the triangles are skipped
BLENDED = ("eyes", "brows", "hair", "lashes")  # the eyes once more: their clear cornea
_STATIC = "2f 3f 4f 1f"


def open_context() -> Context:
    """A context without a window. Raises RuntimeError, in one line, where OpenGL cannot start."""
    try:
        moderngl = import_module("moderngl")
    except ImportError:
        raise RuntimeError("moderngl is not installed: pip install -e .[people]") from None
    try:
        return moderngl.create_standalone_context(backend="egl", require=330)
    except Exception as error:  # glcontext raises bare Exception for a missing libEGL
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RuntimeError(
            f"OpenGL 3.3 cannot start ({cause}): install EGL, on Debian `apt install libegl1 libgl1-mesa-dri`"
        ) from None


class Rasteriser:
    """The graphics of one character; several may share a context."""

    def __init__(
        self, context: Context, model: Model, character: Character, assets: Path, side_px: int
    ) -> None:
        self._context, self._model, self._studio = context, model, character.studio
        self._side = side_px * SUPERSAMPLING
        self._programs: dict[str, Any] = {}
        self._shadow = context.program(SHADOW_VERTEX, SHADOW_FRAGMENT)
        self._owned: list[Any] = []
        self._moving: dict[str, Any] = {}
        self._arrays: dict[str, tuple[Any, Any]] = {}
        self._textures: dict[str, Any] = {}
        for mesh in model.meshes:
            self._add(mesh, texture_of(mesh.name, mesh.texture, assets, character), character)
        size = (self._side, self._side)
        self._colour = context.texture(size, 4)
        self._target = context.framebuffer([self._colour], context.depth_renderbuffer(size))
        self._shade = context.depth_texture((SHADOW_SIDE, SHADOW_SIDE))
        self._shade.compare_func = "<="
        self._light = context.framebuffer(depth_attachment=self._shade)
        self._set_studio(character)

    def _add(self, mesh: Mesh, texture: Image, character: Character) -> None:
        context = self._context
        static = np.concatenate([mesh.uv, mesh.rest, mesh.paint, mesh.lift[:, None]], axis=1)
        still = context.buffer(np.ascontiguousarray(static, np.float32).tobytes())
        moving = context.buffer(reserve=len(mesh.vertex) * 24, dynamic=True)
        index = context.buffer(mesh.triangles.tobytes())
        names = ("uv", "rest", "paint", "lift")
        content = [(moving, "3f 3f", "position", "normal"), (still, _STATIC, *names)]
        # A shadow needs the lift only: the other columns are skipped as padding.
        shadow_content = [(moving, "3f 3f", "position", "normal"), (still, "2f 28x 1f", "uv", "lift")]
        program = context.program(
            VERTEX, fragment_shader(KINDS[mesh.name], not character.looks.clothing.outfit)
        )
        # A colour that a kind does not use is compiled away, and its column with it.
        picture = context.vertex_array(program, content, index, skip_errors=True)
        shadow = context.vertex_array(self._shadow, shadow_content, index)
        image = context.texture((texture.shape[1], texture.shape[0]), 4, texture.tobytes())
        image.build_mipmaps()
        image.filter = (context.LINEAR_MIPMAP_LINEAR, context.LINEAR)
        self._moving[mesh.name], self._arrays[mesh.name] = moving, (picture, shadow)
        self._textures[mesh.name], self._programs[mesh.name] = image, program
        self._owned += [still, moving, index, picture, shadow, image]

    def _set_studio(self, character: Character) -> None:
        studio, looks = character.studio, character.looks
        camera, eye = camera_matrix(studio, self._model.eyes)
        light = light_matrix(np.array(studio.key), self._model.eyes).T.astype(np.float32).tobytes()
        self._shadow["light"].write(light)
        clothing = looks.clothing
        uniforms: dict[str, object] = {
            "eye": tuple(eye), "key": studio.key, "key_colour": studio.key_colour, "fill": studio.fill,
            "fill_colour": studio.fill_colour, "rim": studio.rim, "rim_colour": studio.rim_colour,
            "ambient": studio.ambient, "hair_colour": looks.hair_colour, "beard": looks.beard,
            "shirt_colour": clothing.colour, "stripe_colour": clothing.second_colour,
            "stripes_per_m": clothing.stripes_per_m, "stripe_share": clothing.stripe_share,
            "scalp_cover": {"volume": 1.0, "cropped": 0.8}.get(looks.haircut, 0.35),
            "picture": 0, "shadow": 1,
        }  # fmt: skip
        for program in self._programs.values():
            program["camera"].write(camera.T.astype(np.float32).tobytes())
            program["light"].write(light)
            for name, value in uniforms.items():
                if name in program:
                    program[name].value = value

    def draw(self, moved: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """moved: see `Model.move` -> supersampled colour (H, W, 3) times coverage, coverage (H, W), 0..1."""
        for name, corners in moved.items():
            self._moving[name].write(np.ascontiguousarray(corners).tobytes())
        context = self._context
        context.enable(context.DEPTH_TEST)
        context.disable(context.BLEND)
        self._light.use()
        self._light.clear()
        for name in (*SOLID, "hair"):
            if name in self._arrays:
                self._cull(name)
                self._textures[name].use(0)
                self._arrays[name][1].render()
        self._target.use()
        self._target.clear(0, 0, 0, 0)
        self._shade.use(1)
        for name in (*SOLID, "hair"):
            self._render(name, solid=True)
        context.enable(context.BLEND)
        context.blend_func = (
            context.SRC_ALPHA, context.ONE_MINUS_SRC_ALPHA, context.ONE, context.ONE_MINUS_SRC_ALPHA,
        )  # fmt: skip
        self._target.depth_mask = False
        for name in BLENDED:
            self._render(name, solid=False)
        self._target.depth_mask = True
        pixels = np.frombuffer(self._colour.read(), np.uint8).reshape(self._side, self._side, 4)[::-1]
        picture = pixels.astype(np.float32) / 255
        return picture[..., :3], picture[..., 3]

    def _render(self, name: str, solid: bool) -> None:
        if name not in self._arrays:
            return
        if "solid" in self._programs[name]:
            self._programs[name]["solid"].value = solid
        self._cull(name)
        self._textures[name].use(0)
        self._arrays[name][0].render()

    def _cull(self, name: str) -> None:
        if name in CLOSED:
            self._context.enable(self._context.CULL_FACE)
        else:
            self._context.disable(self._context.CULL_FACE)

    def close(self) -> None:
        """Frees the graphics memory; the context stays open."""
        for item in (*self._owned, self._target, self._colour, self._light, self._shade):
            item.release()
        for program in (*self._programs.values(), self._shadow):
            program.release()


def camera_matrix(studio: Studio, eyes: Array) -> tuple[Array, Array]:
    """-> (4, 4) room to clip space, and the camera's place (3,)."""
    aim = eyes + np.array([studio.aim[0], -studio.aim[1], 0.0])
    eye = aim + np.array([*studio.camera_shift, studio.distance_m])
    focal = 2 * studio.distance_m / studio.height_m
    near, far = 0.1, studio.distance_m + 2
    lens = np.diag([focal, focal, (far + near) / (near - far), 0.0])
    lens[2, 3], lens[3, 2] = 2 * far * near / (near - far), -1.0
    return lens @ look_at(eye, aim), eye


def light_matrix(key: Array, eyes: Array) -> Array:
    """(4, 4) room to the key light's depth picture."""
    aim = eyes - np.array([0, 0.22, -0.1])
    scale = np.diag([1 / SHADOW_SPAN_M, 1 / SHADOW_SPAN_M, -1 / 1.5, 1.0])
    scale[2, 3] = -1.0
    return np.asarray(scale @ look_at(aim + 1.5 * key, aim))


def look_at(eye: Array, aim: Array) -> Array:
    """(4, 4) room to a camera at `eye` that looks at `aim` along its -z."""
    back = (eye - aim) / np.linalg.norm(eye - aim)
    right = np.cross([0.0, 1, 0], back)
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(back, right), back])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, -turn @ eye
    return matrix
