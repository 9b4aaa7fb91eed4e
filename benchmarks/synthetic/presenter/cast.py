"""The cast: who the synthetic presenters are. Choices only; `mesh.py` and `shading.py` act on them.

Knows numpy and the asset names, nothing of Blender.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.synthetic.presenter.gestures import RESTING
from benchmarks.synthetic.presenter.mesh import Array, Look

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Skin:
    """How the skin texture is toned, and how the skin takes light."""

    gamma: float = 1.0
    tint: Rgb = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    blotch: float = 1.0  # share kept of the texture's local redness
    scatter: float = 1.0
    roughness: float = 0.5
    lip_tint: Rgb = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Hair:
    """Strands on the hair mesh; the cards below them are drawn with the texture, toned."""

    strands: int
    length_m: float
    melanin: float
    redness: float
    tone: tuple[float, float]  # saturation and value of the cards
    sweep: float  # how far the fringe is combed to the person's left
    wildness: float  # spread of the strands' directions


@dataclass(frozen=True)
class Cloth:
    """How the texture of the clothes is toned."""

    colour: Rgb  # linear
    pattern: float  # share kept of the texture, 0..1


@dataclass(frozen=True)
class Character:
    """One presenter."""

    name: str
    look: Look
    skin: Skin
    hair: Hair
    cloth: Cloth
    brow_gain: float  # opacity of the brow cards, which are drawn too thin
    camera_m: float  # from the camera to the middle of the head
    brow_motion: float = 1.6  # times what the performance says, which was tracked on calm people

    def express(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Weights of face targets by name -> those that this person shows."""
        shown = dict(weights)
        for name in weights:
            if name.startswith("brow"):
                rest = RESTING.get(name, 0.0)
                shown[name] = rest + self.brow_motion * (weights[name] - rest)
        return shown


SMALL_PARTS = {
    "eyes": "eyes/high-poly",
    "teeth": "teeth/teeth_base/teeth_base",
    "tongue": "tongue/tongue01/tongue01",
    "lashes": "eyelashes/eyelashes01/eyelashes01",
}
SMALL_TEXTURES = {
    "teeth": "teeth.png",
    "tongue": "tongue01_diffuse.png",
    "lashes": "eyelashes01.png",
}


@dataclass(frozen=True)
class ShoulderShape:
    """Narrower, sloping shoulders: the base mesh stands like an athlete.

    narrowing: share by which the span from neck to shoulder shrinks; drop_m: by how much its end sinks.
    """

    narrowing: float
    drop_m: float

    def __call__(self, base: Array) -> Array:
        """base: (N, 3) metres -> (N, 3); arms move along without changing their shape."""
        neck, shoulder = 0.06, 0.2
        span = np.clip(np.abs(base[:, 0]) - neck, 0.0, shoulder - neck)
        below_chin = np.clip((0.72 - base[:, 1]) / 0.06, 0.0, 1.0)
        level = span / (shoulder - neck)
        shaped = base.copy()
        shaped[:, 0] -= np.sign(base[:, 0]) * self.narrowing * span * below_chin
        shaped[:, 1] -= self.drop_m * level * level * (3 - 2 * level) * below_chin
        return shaped


def open_fringe(hair: Array) -> Array:
    """(P, 3) -> (P, 3): lifts the lock that hangs before the right eye towards the parting."""
    top = 0.83
    before_eye = np.interp(hair[:, 0], [-0.08, -0.06, -0.045, -0.025, 0.01], [1.0, 0.62, 0.5, 0.68, 1.0])
    in_front = np.clip((hair[:, 2] - 0.085) / 0.03, 0.0, 1.0)
    gain = 1.0 - in_front * (1.0 - before_eye)
    lifted = hair.copy()
    lifted[:, 1] = np.where(hair[:, 1] < top, top - gain * (top - hair[:, 1]), hair[:, 1])
    return lifted


THEO = Character(
    name="theo",
    look=Look(
        macros={"caucasian-male-young": 1.0, "universal-male-young-averagemuscle-averageweight": 1.0},
        proxies=SMALL_PARTS
        | {
            "clothes": "clothes/male_elegantsuit01/male_elegantsuit01",
            "hair": "hair/short02/short02",
            "brows": "eyebrows/eyebrow001/eyebrow001",
        },
        textures=SMALL_TEXTURES
        | {
            "body": "young_lightskinned_male_diffuse3.png",
            "clothes": "male_elegantsuit01_diffuse.png",
            "eyes": "blue_eye.png",
            "hair": "short02_diffuse.png",
            "brows": "eyebrow001.png",
        },
        reshape=ShoulderShape(0.11, 0.004),
    ),
    skin=Skin(saturation=1.08, blotch=0.35),
    hair=Hair(12000, 0.04, 0.82, 0.6, (0.9, 0.35), sweep=0.9, wildness=0.28),
    cloth=Cloth((0.02, 0.02, 0.022), pattern=1.0),
    brow_gain=1.7,
    camera_m=0.88,
)

AMARA = Character(
    name="amara",
    look=Look(
        macros={"african-female-young": 1.0, "universal-female-young-averagemuscle-averageweight": 1.0},
        proxies=SMALL_PARTS
        | {
            "clothes": "clothes/female_elegantsuit01/female_elegantsuit01",
            "hair": "hair/braid01/braid01",
            "brows": "eyebrows/eyebrow001/eyebrow001",
        },
        textures=SMALL_TEXTURES
        | {
            "body": "young_lightskinned_male_diffuse3.png",
            "clothes": "female_elegantsuit01_diffuse.png",
            "eyes": "brown_eye.png",
            "hair": "braid01_diffuse.png",
            "brows": "eyebrow001.png",
        },
        units={"eyebrows-left-inner-up": 0.35, "eyebrows-right-inner-up": 0.35},
        reshape=ShoulderShape(0.06, 0.004),
        reshape_parts={"hair": open_fringe},
    ),
    skin=Skin(
        1.35, (0.46, 0.37, 0.335), 0.88, blotch=0.2, scatter=0.6, roughness=0.45, lip_tint=(1.12, 0.84, 0.92)
    ),
    hair=Hair(0, 0.04, 0.97, 0.3, (0.8, 0.35), sweep=0.0, wildness=0.2),
    cloth=Cloth((0.13, 0.02, 0.045), pattern=0.2),
    brow_gain=1.0,
    camera_m=0.75,
)

CAST = {character.name: character for character in (THEO, AMARA)}
