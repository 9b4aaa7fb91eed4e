"""Pictures that a character wears: skin, hair, cloth and eye textures in its colours, and the background."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.synthetic.people.character import Character, Clothing, Random

Image = npt.NDArray[np.uint8]
FloatImage = npt.NDArray[np.float32]

TEXTURE_SIDE = 1024
CARD_ALPHA_GAIN = 1.6  # hair, brow and lash cards are drawn too thin
CHEEK = np.array([0.815, 0.6, 0.49])  # mean sRGB of the face in the skin textures


def texture_of(name: str, file: str, assets: Path, character: Character) -> Image:
    """The texture (H, W, 4) uint8 RGBA of the mesh `name`, first row at the bottom as OpenGL wants it."""
    looks = character.looks
    if not file:
        colour = looks.glasses.colour if looks.glasses is not None else (0.1, 0.1, 0.1)
        return to_bytes(np.full((2, 2, 3), colour, np.float32), np.ones((2, 2), np.float32))
    rgb, alpha = read_texture(assets / "textures" / file)
    random = np.random.default_rng([character.seed, 2])
    if name == "body":
        rgb = skin_texture(rgb, np.array(looks.skin), looks.blotch, looks.freckles, random)
    elif name == "clothes":
        rgb = cloth_texture(rgb, looks.clothing)
    elif name == "eyes":
        grey = rgb.mean(axis=2, keepdims=True)
        rgb = looks.eye_brightness * (grey + looks.eye_saturation * (rgb - grey))
    elif name == "hair":
        grey = rgb.mean(axis=2, keepdims=True)
        level = float(np.average(grey[..., 0], weights=alpha + 1e-6))
        rgb = (0.35 + 0.65 * np.clip(grey / level, 0, 2.2)) * np.array(looks.hair_colour, np.float32)
    elif name in ("brows", "lashes"):
        shade = 0.75 if name == "brows" else 0.2
        rgb = np.broadcast_to(shade * np.array(looks.hair_colour, np.float32), rgb.shape)
    elif name == "teeth":
        rgb = rgb * np.array([1.0, 0.98, 0.94], np.float32)
    if name in ("hair", "brows", "lashes"):
        alpha = np.clip(alpha * CARD_ALPHA_GAIN, 0, 1)
    return to_bytes(np.asarray(rgb, np.float32), alpha)


def read_texture(path: Path) -> tuple[FloatImage, FloatImage]:
    """-> sRGB (H, W, 3) and alpha (H, W), float32 0..1."""
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None:
        raise FileNotFoundError(
            f"{path}: no such texture, or not a picture; restore the synthetic_person folder"
        )
    if stored.shape[0] > TEXTURE_SIDE:
        stored = cv2.resize(stored, (TEXTURE_SIDE, TEXTURE_SIDE), interpolation=cv2.INTER_AREA)
    picture = stored.astype(np.float32) / 255
    alpha = picture[..., 3] if picture.shape[2] == 4 else np.ones(picture.shape[:2], np.float32)
    return np.ascontiguousarray(picture[..., 2::-1]), alpha


def to_bytes(rgb: FloatImage, alpha: FloatImage) -> Image:
    rgba = np.concatenate([rgb, alpha[..., None]], axis=2)[::-1]
    return np.ascontiguousarray(np.round(np.clip(rgba, 0, 1) * 255).astype(np.uint8))


def skin_texture(
    rgb: FloatImage, tone: npt.NDArray[np.float64], blotch: float, freckles: float, random: Random
) -> FloatImage:
    """The stored skin moved to `tone`: its own contrast kept, with blotches and freckles."""
    height, width = rgb.shape[:2]
    contrast = np.log(np.clip(rgb, 0.02, 1)) - np.log(CHEEK)
    grey = contrast.mean(axis=2, keepdims=True)
    contrast = grey + 0.85 * (contrast - grey)
    redness = layered_noise((height, width), (12, 40, 160), 0.4, random)[..., None]
    light = layered_noise((height, width), (60, 250), 0.3, random)[..., None]
    contrast = contrast + blotch * (0.14 * redness * np.array([0.15, -0.6, -0.5]) + 0.1 * light)
    spots = smooth_noise((height, width), 300, random)
    freckle = freckles * 0.8 * np.clip(spots - 0.55, 0, 0.4)[..., None]
    contrast = contrast - freckle * np.array([0.7, 1.0, 1.2])
    return np.asarray(tone * np.exp(contrast), np.float32)


def cloth_texture(rgb: FloatImage, clothing: Clothing) -> FloatImage:
    """The stored outfit with its dark cloth in one colour and its light cloth in another."""
    grey = rgb.mean(axis=2)
    middle = float(np.median(grey[grey > 0.02])) if (grey > 0.02).any() else 0.3
    share = np.clip((grey - middle) / (0.9 - middle + 1e-3), 0, 1)[..., None]
    saturation = np.clip((rgb.max(axis=2) - rgb.min(axis=2)) / 0.25, 0, 1)[..., None]
    share = np.maximum(share, saturation)
    detail = np.clip(grey / max(middle, 0.05), 0.25, 1.5)[..., None] ** 0.6
    first = np.array(clothing.colour, np.float32) * detail
    second = np.array(clothing.second_colour, np.float32) * np.clip(grey * 1.3 + 0.4, 0, 1.1)[..., None]
    return np.asarray(first + share * (second - first), np.float32)


def smooth_noise(shape: tuple[int, int], cells: int, random: Random) -> FloatImage:
    """(H, W) smooth noise, about -1..1, with `cells` hills across."""
    coarse = random.uniform(-1, 1, (cells + 3, cells + 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def layered_noise(
    shape: tuple[int, int], layers: tuple[int, ...], fall: float, random: Random
) -> npt.NDArray[np.float64]:
    """(H, W) sum of smooth noises, the finer the fainter."""
    noises = [smooth_noise(shape, cells, random) / cells**fall for cells in layers]
    return np.asarray(np.sum(noises, axis=0), np.float64)


def backdrop(side: int, seed: int) -> Image:
    """What is behind the person: (side, side, 3) uint8 sRGB; a gradient, a lit wall or a blurred room."""
    random = np.random.default_rng([seed, 3])
    kind = random.choice(4, p=[0.2, 0.25, 0.4, 0.15])
    base = random.uniform(0.15, 0.85) + random.uniform(-0.15, 0.15, 3)
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / side
    angle = random.uniform(0, 2 * np.pi)
    ramp = (columns - 0.5) * np.cos(angle) + (rows - 0.5) * np.sin(angle)
    picture = base + random.uniform(0.05, 0.4) * ramp[..., None] * random.uniform(0.6, 1.2, 3)
    picture = picture.astype(np.float32)
    if kind == 2:
        picture = room(picture, random)
    elif kind == 3:
        for cells in (3, 6, 14, 40):
            hue = random.uniform(-1, 1, 3)
            picture += 0.22 / cells**0.5 * smooth_noise((side, side), cells, random)[..., None] * hue
    if kind != 0:
        light = random.uniform(0.1, 0.9, 2)
        glow = np.exp(-((columns - light[0]) ** 2 + (rows - light[1]) ** 2) / random.uniform(0.08, 0.5))
        picture += random.uniform(-0.1, 0.25) * glow[..., None]
    centre = (columns - 0.5) ** 2 + (rows - 0.5) ** 2
    picture *= 1 - random.uniform(0, 0.6) * centre[..., None]
    picture += random.normal(0, 0.006, (side, side, 1))
    return np.asarray(np.round(np.clip(picture, 0.02, 0.98) * 255), np.uint8)


def room(picture: FloatImage, random: Random) -> FloatImage:
    """Shelves, windows, pictures and plants as rectangles and ovals, out of focus by depth."""
    side = picture.shape[0]
    for blur in (random.uniform(0.01, 0.03), random.uniform(0.004, 0.02)):
        for _ in range(int(random.integers(3, 12))):
            x, y = random.uniform(-0.1, 1.0, 2) * side
            width, height = random.uniform(0.04, 0.5, 2) * side
            grey = random.uniform(0.05, 0.95)
            colour = np.clip(grey + random.beta(1, 3) * random.uniform(-0.8, 0.8, 3), 0, 1).tolist()
            first, second = (int(x), int(y)), (int(x + width), int(y + height))
            if random.random() < 0.75:
                cv2.rectangle(picture, first, second, colour, -1)
            else:
                axes = (int(width / 2) + 1, int(height / 2) + 1)
                cv2.ellipse(picture, first, axes, random.uniform(0, 90), 0, 360, colour, -1)
        picture = cv2.GaussianBlur(picture, (0, 0), blur * side)
    return picture
