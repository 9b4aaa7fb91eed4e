"""Blender materials of the presenter. Needs `bpy`; knows the part names of `mesh.Person`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from benchmarks.synthetic.presenter.cast import Character, Cloth, Hair, Skin
from benchmarks.synthetic.presenter.mesh import Part

# saturation and value applied to each texture; the rest are used as they are
TONE = {
    "eyes": (0.85, 1.45),
    "teeth": (0.85, 1.6),
    "tongue": (1.0, 0.7),
}
ROUGHNESS = {"eyes": 0.35, "teeth": 0.25, "tongue": 0.35, "hair": 0.75, "clothes": 0.85}
SPECULAR = {"body": 0.4, "eyes": 0.3, "teeth": 0.5, "tongue": 0.5, "clothes": 0.2}
CARD_GAIN = {"hair": 1.7, "lashes": 1.7}  # opacity: the cards are drawn too thin


class MaterialBuilder:
    """Node graph of one textured principled material."""

    def __init__(self, name: str, texture: Path) -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.shader = self.tree.nodes["Principled BSDF"]
        self.inputs = self.shader.inputs
        self.image = self.node("ShaderNodeTexImage")
        self.image.image = bpy.data.images.load(str(texture), check_existing=True)
        self.colour = self.image.outputs["Color"]

    def node(self, kind: str) -> Any:
        return self.tree.nodes.new(kind)

    def link(self, source: Any, target: Any) -> None:
        self.tree.links.new(source, target)

    def tone(self, saturation: float, value: float) -> None:
        node = self.node("ShaderNodeHueSaturation")
        node.inputs["Saturation"].default_value, node.inputs["Value"].default_value = saturation, value
        self.link(self.colour, node.inputs["Color"])
        self.colour = node.outputs[0]

    def gamma(self, gamma: float) -> None:
        node = self.node("ShaderNodeGamma")
        node.inputs["Gamma"].default_value = gamma
        self.link(self.colour, node.inputs["Color"])
        self.colour = node.outputs[0]

    def tint(self, rgb: tuple[float, float, float]) -> None:
        self._mix("MULTIPLY", 1.0, rgb)

    def towards(self, rgb: tuple[float, float, float], share: float) -> None:
        self._mix("MIX", share, rgb)

    def _mix(self, kind: str, factor: float, rgb: tuple[float, ...]) -> None:
        node = self.node("ShaderNodeMix")
        node.data_type, node.blend_type = "RGBA", kind
        node.inputs[0].default_value = factor
        self.link(self.colour, node.inputs[6])
        node.inputs[7].default_value = (*rgb, 1.0)
        self.colour = node.outputs[2]

    def bump(self, scale: float, detail: float, strength: float, distance_m: float) -> None:
        noise, bump, place = (self.node(f"ShaderNode{kind}") for kind in ("TexNoise", "Bump", "TexCoord"))
        noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = scale, detail
        bump.inputs["Strength"].default_value, bump.inputs["Distance"].default_value = strength, distance_m
        self.link(place.outputs["UV"], noise.inputs["Vector"])
        self.link(noise.outputs[0], bump.inputs["Height"])
        self.link(bump.outputs[0], self.inputs["Normal"])

    def scatter(self, weight: float, radius: tuple[float, float, float], scale_m: float) -> None:
        # A random walk costs a quarter more of a picture, and looks the same once denoised.
        self.shader.subsurface_method = "BURLEY"
        self.inputs["Subsurface Weight"].default_value = weight
        self.inputs["Subsurface Radius"].default_value = radius
        self.inputs["Subsurface Scale"].default_value = scale_m


def part_material(part: Part, character: Character, assets: Path) -> Any:
    """The material of one part of the person."""
    builder = MaterialBuilder(part.name, assets / "textures" / part.texture)
    if part.name in TONE:
        builder.tone(*TONE[part.name])
    builder.inputs["Roughness"].default_value = ROUGHNESS.get(part.name, 0.8)
    builder.inputs["Specular IOR Level"].default_value = SPECULAR.get(part.name, 0.1)
    if part.name == "body":
        shade_skin(builder, character.skin, assets)
    elif part.name == "eyes":
        shade_eyes(builder)
    elif part.name == "teeth":
        builder.scatter(0.5, (1, 0.8, 0.6), 0.002)
    elif part.name == "clothes":
        shade_cloth(builder, character.cloth)
    elif part.name in ("hair", "brows", "lashes"):
        if part.name == "hair":
            builder.tone(*character.hair.tone)
        gain = builder.node("ShaderNodeMath")
        gain.operation, gain.use_clamp = "MULTIPLY", True
        gain.inputs[1].default_value = CARD_GAIN.get(part.name, character.brow_gain)
        builder.link(builder.image.outputs["Alpha"], gain.inputs[0])
        builder.link(gain.outputs[0], builder.inputs["Alpha"])
    builder.link(builder.colour, builder.inputs["Base Color"])
    return builder.material


def shade_skin(builder: MaterialBuilder, skin: Skin, assets: Path) -> None:
    """Toned texture, subsurface scattering, pores, and moister lips by the lips mask."""
    lips = bpy.data.images.load(str(assets / "mask_textures/mpfb_lips.jpg"), check_existing=True)
    lips.colorspace_settings.name = "Non-Color"
    retouch(builder.image.image, lips, skin)
    builder.gamma(skin.gamma)
    builder.tint(skin.tint)
    builder.tone(skin.saturation, 1.0)
    builder.scatter(skin.scatter, (1, 0.35, 0.18), 0.0035)
    builder.bump(1100, 3, 0.18, 0.0006)
    mask = builder.node("ShaderNodeTexImage")
    mask.image = lips
    roughness = builder.node("ShaderNodeMapRange")
    roughness.inputs[3].default_value, roughness.inputs[4].default_value = skin.roughness, 0.33
    builder.link(mask.outputs[0], roughness.inputs[0])
    builder.link(roughness.outputs[0], builder.inputs["Roughness"])


def retouch(image: Any, lips: Any, skin: Skin) -> None:
    """Pulls the colour of the skin towards its mean, less its brightness, and tints the lips."""
    width, height = image.size
    pixels = np.array(image.pixels[:], dtype=np.float32).reshape(height, width, 4)
    lip_width, lip_height = lips.size
    mask = np.array(lips.pixels[:], dtype=np.float32).reshape(lip_height, lip_width, 4)[..., :1]
    rows, columns = (np.arange(n) * m // n for n, m in ((height, lip_height), (width, lip_width)))
    mask = mask[rows][:, columns]
    grey = pixels[..., :3].mean(axis=2, keepdims=True)
    colour = pixels[..., :3] / np.maximum(grey, 1e-3)
    is_skin = (grey[..., 0] > 0.2) & (mask[..., 0] < 0.1)
    mean = np.median(colour[is_skin], axis=0)
    share = skin.blotch + (1 - skin.blotch) * mask
    tint = 1 + mask * (np.array(skin.lip_tint, dtype=np.float32) - 1)
    pixels[..., :3] = np.clip(grey * (mean + share * (colour - mean)) * tint, 0, 1)
    image.pixels.foreach_set(pixels.ravel())


def shade_cloth(builder: MaterialBuilder, cloth: Cloth) -> None:
    """Toned pattern, weave and soft folds."""
    builder.towards(cloth.colour, 1 - cloth.pattern)
    builder.bump(7, 3, 0.7, 0.02)


def shade_eyes(builder: MaterialBuilder) -> None:
    """The transparent texels are the cornea: clear, with a sharp reflection."""
    clear, gloss, fresnel = (
        builder.node(f"ShaderNode{k}") for k in ("BsdfTransparent", "BsdfGlossy", "Fresnel")
    )
    gloss.inputs["Roughness"].default_value, fresnel.inputs["IOR"].default_value = 0.03, 1.25
    cornea, eye = builder.node("ShaderNodeMixShader"), builder.node("ShaderNodeMixShader")
    builder.link(fresnel.outputs[0], cornea.inputs[0])
    builder.link(clear.outputs[0], cornea.inputs[1])
    builder.link(gloss.outputs[0], cornea.inputs[2])
    builder.link(builder.image.outputs["Alpha"], eye.inputs[0])
    builder.link(cornea.outputs[0], eye.inputs[1])
    builder.link(builder.shader.outputs[0], eye.inputs[2])
    builder.link(eye.outputs[0], builder.tree.nodes["Material Output"].inputs["Surface"])


def strand_material(hair: Hair) -> Any:
    """Hair strands of the character's colour."""
    material = bpy.data.materials.new("strands")
    material.use_nodes = True
    shader = material.node_tree.nodes.new("ShaderNodeBsdfHairPrincipled")
    shader.model, shader.parametrization = "CHIANG", "MELANIN"
    settings = {"Melanin": hair.melanin, "Melanin Redness": hair.redness, "Roughness": 0.38,
                "Radial Roughness": 0.5, "Random Color": 0.25, "Random Roughness": 0.2}  # fmt: skip
    for name, value in settings.items():
        shader.inputs[name].default_value = value
    output = material.node_tree.nodes["Material Output"]
    material.node_tree.links.new(shader.outputs[0], output.inputs["Surface"])
    return material
