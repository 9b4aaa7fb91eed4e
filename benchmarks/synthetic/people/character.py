"""Draws a person: every choice that makes one synthetic person differ from the next. Knows only numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = tuple[float, float, float]
Random = np.random.Generator

RACES = ("african", "asian", "caucasian")
OUTFITS = ("female_elegantsuit01", "male_casualsuit05", "male_elegantsuit01")
HAIRCUTS = ("short02", "short04", "braid01", "cropped", "bald", "volume")  # the last three grow on the skin
EYE_TEXTURES = ("brown_eye.png", "blue_eye.png", "lightblue_eye.png", "deepblue_eye.png")
SKIN_TEXTURES = ("young_lightskinned_male_diffuse2.png", "young_lightskinned_male_diffuse3.png")
# The ends and the middle of the human range of skin, sRGB of the lit cheek.
SKIN_TONES = np.array([[244, 206, 182], [222, 172, 140], [186, 130, 96], [132, 86, 60], [76, 48, 36]]) / 255
HAIR_COLOURS = (
    (0.05, 0.045, 0.045), (0.13, 0.085, 0.06), (0.26, 0.16, 0.095), (0.45, 0.3, 0.17), (0.72, 0.56, 0.34),
    (0.36, 0.17, 0.1), (0.62, 0.61, 0.6), (0.35, 0.34, 0.34),
)  # fmt: skip
# Expression units that, held still, read as another face rather than as an expression.
FACE_UNITS = (
    "nose-left-dilatation", "nose-left-elevation", "nose-depression", "nose-compression", "mouth-compression",
    "mouth-protusion", "mouth-depression", "mouth-elevation", "mouth-retraction", "eyebrows-left-up",
    "eyebrows-left-down", "eyebrows-left-extern-up", "eye-left-slit", "eye-left-opened-up",
)  # fmt: skip


@dataclass(frozen=True)
class Bump:
    """A smooth mirrored change of the face: place and shift in metres from between the eyes, at x > 0."""

    place: Vector
    shift: Vector
    radius_m: float


@dataclass(frozen=True)
class Body:
    """Shape: macro targets, held expression units, and what no target gives."""

    macros: dict[str, float]
    units: dict[str, float]
    bumps: tuple[Bump, ...]
    head_scale: Vector
    trunk_scale: Vector


@dataclass(frozen=True)
class Clothing:
    """An outfit of the assets, or a shirt drawn onto the body where `outfit` is empty."""

    outfit: str
    colour: Vector
    second_colour: Vector  # of the stripes
    stripes_per_m: float  # 0 for none
    stripe_share: float
    sleeve: float  # of a shirt: 0 at the shoulder, 1 at the elbow, 2 at the wrist
    neck_m: float  # radius of its neck opening
    neck_drop: float  # depth of a V opening, in radii


@dataclass(frozen=True)
class Glasses:
    """Frames around the eyes; metres and sRGB."""

    half_width_m: float
    half_height_m: float
    squareness: float  # exponent of the rim's superellipse
    thickness_m: float
    colour: Vector


@dataclass(frozen=True)
class Looks:
    """Surface: skin, hair, eyes, clothes."""

    skin: Vector
    skin_texture: str
    blotch: float  # strength of the skin's own irregularity
    freckles: float
    haircut: str
    hair_colour: Vector
    hair_volume_m: float
    beard: float  # 0 none .. 1 full
    beard_cut: Vector  # cheek line, neck line, moustache
    brows: str
    eye_texture: str
    eye_saturation: float
    eye_brightness: float
    clothing: Clothing
    glasses: Glasses | None


@dataclass(frozen=True)
class Studio:
    """Light and camera; directions point at the light, metres are counted from between the eyes."""

    key: Vector
    key_colour: Vector
    fill: Vector
    fill_colour: Vector
    rim: Vector
    rim_colour: Vector
    ambient: Vector
    height_m: float  # of the picture, at the person
    distance_m: float
    aim: tuple[float, float]  # the middle of the picture, metres to the left and below the eyes
    camera_shift: tuple[float, float]  # where the camera stands, metres to the left and above its aim


@dataclass(frozen=True)
class Character:
    """One person in one place."""

    seed: int
    body: Body
    looks: Looks
    studio: Studio


def draw_character(seed: int) -> Character:
    """The person of this seed; the same seed gives the same person."""
    random = np.random.default_rng([seed, 1])
    age, femaleness = (
        float(random.beta(1.2, 1.6)),
        float(np.clip(random.normal(random.integers(2), 0.12), 0, 1)),
    )
    return Character(
        seed, draw_body(random, age, femaleness), draw_looks(random, age, femaleness), draw_studio(random)
    )


def draw_body(random: Random, age: float, femaleness: float) -> Body:
    """age: 0 young .. 1 old; femaleness: 0 .. 1. Neighbouring macro targets are mixed."""
    shares = random.dirichlet([0.45] * 3)
    muscle = float(random.random())
    macros: dict[str, float] = {}
    for sex, sex_share in (("female", femaleness), ("male", 1 - femaleness)):
        for years, age_share in (("old", age), ("young", 1 - age)):
            for race, share in zip(RACES, shares, strict=True):
                macros[f"{race}-{sex}-{years}"] = sex_share * age_share * float(share)
            for build, share in (("maxmuscle", muscle), ("averagemuscle", 1 - muscle)):
                macros[f"universal-{sex}-{years}-{build}-averageweight"] = sex_share * age_share * share
    units = {name: float(random.uniform(0, 0.45)) for name in random.choice(FACE_UNITS, 4, replace=False)}
    head = random.normal(1, [0.035, 0.035, 0.02])
    trunk = random.normal(1, [0.06, 0.01, 0.07])
    return Body(
        {name: weight for name, weight in macros.items() if weight > 0.02},
        units,
        tuple(draw_bump(random) for _ in range(9)),
        vector(head),
        vector(trunk),
    )


def draw_bump(random: Random) -> Bump:
    place = random.uniform([0.0, -0.13, -0.06], [0.075, 0.08, 0.03])
    radius = float(random.uniform(0.022, 0.05))
    return Bump(vector(place), vector(random.normal(0, 0.11 * radius, 3)), radius)


def draw_looks(random: Random, age: float, femaleness: float) -> Looks:
    tone = float(random.uniform(0, len(SKIN_TONES) - 1))
    lower = min(int(tone), len(SKIN_TONES) - 2)
    skin = SKIN_TONES[lower] + (tone - lower) * (SKIN_TONES[lower + 1] - SKIN_TONES[lower])
    skin = skin * random.normal(1, [0.02, 0.03, 0.04])
    female = femaleness > 0.5
    # The braid is for women only; the rest is for everybody.
    chances = np.array([0.2, 0.25, 0.3, 0.05, 0.0, 0.2] if female else [0.25, 0.15, 0.0, 0.3, 0.12, 0.18])
    haircut = str(random.choice(HAIRCUTS, p=chances))
    grey = age > 0.6 and random.random() < 0.7
    dark = tone > 2.2 and random.random() < 0.9
    shade = random.integers(6, 8) if grey else random.integers(0, 2) if dark else random.integers(0, 6)
    hair = np.array(HAIR_COLOURS[int(shade)]) * random.normal(1, 0.1) * random.normal(1, 0.025, 3)
    brown_eyes = dark or random.random() < 0.4
    return Looks(
        skin=vector(np.clip(skin, 0.05, 1)),
        skin_texture=str(random.choice(SKIN_TEXTURES)),
        blotch=float(random.uniform(0.3, 1.0)),
        freckles=float(max(0, random.uniform(-1, 1))),
        haircut=haircut,
        hair_colour=vector(np.clip(hair, 0.02, 1)),
        hair_volume_m=float(random.uniform(0.012, 0.04)),
        beard=0.0 if female else float(max(0, random.uniform(-0.7, 1.0))),
        beard_cut=vector(random.uniform([-0.02, -0.02, -0.3], [0.02, 0.02, 1.0])),
        brows=str(random.choice(["eyebrow001", "eyebrow008"])),
        eye_texture=EYE_TEXTURES[0] if brown_eyes else str(random.choice(EYE_TEXTURES[1:])),
        eye_saturation=float(random.uniform(0.2, 0.7)),
        eye_brightness=float(random.uniform(0.8, 1.3)),
        clothing=draw_clothing(random, female),
        glasses=draw_glasses(random) if random.random() < 0.28 else None,
    )


def draw_clothing(random: Random, female: bool) -> Clothing:
    outfits = ("female_elegantsuit01", "") if female else ("male_casualsuit05", "male_elegantsuit01", "")
    striped = random.random() < 0.35
    return Clothing(
        outfit=str(random.choice(outfits)),
        colour=draw_colour(random),
        second_colour=draw_colour(random),
        stripes_per_m=float(random.uniform(12, 70)) if striped else 0.0,
        stripe_share=float(random.uniform(0.25, 0.6)),
        sleeve=float(random.choice([random.uniform(0.45, 0.8), random.uniform(1.4, 1.95)])),
        neck_m=float(random.uniform(0.075, 0.1)),
        neck_drop=float(max(0, random.uniform(-0.8, 0.9))),
    )


def draw_glasses(random: Random) -> Glasses:
    return Glasses(
        half_width_m=float(random.uniform(0.021, 0.028)),
        half_height_m=float(random.uniform(0.015, 0.024)),
        squareness=float(random.uniform(2.0, 4.5)),
        thickness_m=float(random.uniform(0.0013, 0.0026)),
        colour=vector(
            draw_colour(random) if random.random() < 0.3 else random.uniform(0.02, 0.25) * np.ones(3)
        ),
    )


def draw_studio(random: Random) -> Studio:
    side = float(random.choice([-1, 1]))
    key = unit([side * random.uniform(0.2, 1.1), random.uniform(0.1, 0.9), 1.0])
    fill = unit([-side * random.uniform(0.5, 1.2), random.uniform(-0.2, 0.4), 0.8])
    rim = unit([-side * random.uniform(0.6, 1.2), random.uniform(0.2, 0.8), -1.0])
    warmth = float(random.normal(0, 0.09))
    brightness = float(random.uniform(0.5, 0.82))
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    framing = random.choice(3, p=[0.25, 0.25, 0.5])  # head, bust, upper body with hands
    low, high = ((0.26, 0.4), (0.42, 0.58), (0.58, 0.8))[framing]
    height = float(random.uniform(low, high))
    drop = float(height * random.uniform(*((0.02, 0.12), (0.15, 0.25), (0.25, 0.32))[framing]))
    return Studio(
        key=key,
        key_colour=vector(brightness * tint),
        fill=fill,
        fill_colour=vector(random.uniform(0.1, 0.45) * (2 - tint) * random.normal(1, 0.05, 3)),
        rim=rim,
        rim_colour=vector(max(0.0, random.uniform(-0.3, 0.7)) * random.normal(1, 0.1, 3)),
        ambient=vector(random.uniform(0.14, 0.3) * random.normal(1, 0.05, 3)),
        height_m=height,
        distance_m=float(random.uniform(0.55, 1.8)) * max(1.0, height / 0.6),
        aim=(float(random.normal(0, 0.03) * height), drop),
        camera_shift=(float(random.normal(0, 0.06)), float(random.normal(0, 0.09))),
    )


def draw_colour(random: Random) -> Vector:
    """Any sRGB colour of cloth: mostly muted, sometimes strong, sometimes nearly white or black."""
    grey = random.uniform(0.05, 0.92)
    colour = random.uniform(0.05, 0.9, 3)
    return vector(np.clip(grey + random.beta(1, 1.3) * (colour - grey), 0.03, 0.93))


def unit(values: npt.ArrayLike) -> Vector:
    array = np.asarray(values, dtype=float)
    return vector(array / np.linalg.norm(array))


def vector(values: npt.ArrayLike) -> Vector:
    """(3,) -> three plain floats."""
    x, y, z = (float(value) for value in np.asarray(values))
    return x, y, z
