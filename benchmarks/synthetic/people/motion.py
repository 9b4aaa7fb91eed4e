"""How a character moves: the presenter's performance and written gestures, spliced, mirrored and varied.

One row per frame at the presenter's frame rate. Knows numpy and the presenter's motion files, no meshes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from benchmarks.synthetic.people.character import Random
from benchmarks.synthetic.presenter.gestures import (
    EXPRESSIONS,
    GESTURES,
    RESTING,
    blink_curve,
    face_weights,
    sample_keys,
    smooth_step,
    viseme_weights,
    window,
)
from benchmarks.synthetic.presenter.idle import eye_weights
from benchmarks.synthetic.presenter.performance import (
    ARKIT_NAMES,
    FRAME_RATE_HZ,
    PERFORMANCE_FILE,
    VISEMES,
    Array,
    Performance,
    load_performance,
)

REST_FRAMES = 8  # the resting face at the start, which an identity is learnt from
BLEND_FRAMES = 6
SYLLABLE_S = 0.16


@dataclass(frozen=True)
class Motion:
    """A clip: a performance, and visemes (T, len(VISEMES)) on top of its face."""

    performance: Performance
    visemes: Array

    def __len__(self) -> int:
        return len(self.performance)

    def face(self, frame: int) -> dict[str, float]:
        """Weights of the face targets by name."""
        weights = self.performance.face_weights(frame)
        for name, value in zip(VISEMES, self.visemes[frame], strict=True):
            weights[f"viseme_{name}"] = min(weights[f"viseme_{name}"] + float(value), 1.0)
        return weights


def draw_motion(seed: int, count: int) -> Motion:
    """The motion of the person of this seed: `count` frames; the same seed gives the same motion."""
    random = np.random.default_rng([seed, 4])
    source = load_performance(PERFORMANCE_FILE, "performance")
    pieces: list[Performance] = []
    length = 0
    while length < count + BLEND_FRAMES:
        piece = vary(random, cut(source, random))
        pieces.append(piece)
        length += len(piece) - BLEND_FRAMES
    clip = first_frames(splice(pieces), count)
    visemes = np.zeros((count, len(VISEMES)))
    add_hands(clip, random)
    add_head(clip, random)
    add_faces(clip, visemes, random)
    start_at_rest(clip, visemes)
    return Motion(clip, visemes)


def cut(source: Performance, random: Random) -> Performance:
    """A stretch of 2 to 5 seconds, now and then played backwards or mirrored."""
    length = int(random.integers(2 * FRAME_RATE_HZ, 5 * FRAME_RATE_HZ))
    start = int(random.integers(FRAME_RATE_HZ, len(source) - length))
    step = slice(start, start + length)
    piece = Performance(**{f.name: getattr(source, f.name)[step] for f in fields(Performance)})
    if random.random() < 0.25:
        piece = Performance(**{f.name: getattr(piece, f.name)[::-1] for f in fields(Performance)})
    return mirrored(piece) if random.random() < 0.5 else piece


def mirrored(clip: Performance) -> Performance:
    """Left and right changed over."""
    swapped = [
        name.replace("Left", "\0").replace("Right", "Left").replace("\0", "Right") for name in ARKIT_NAMES
    ]
    columns = [ARKIT_NAMES.index(name) for name in swapped]
    turn, side = np.array([-1.0, 1.0, -1.0]), np.array([-1.0, 1.0, 1.0])
    return Performance(
        face=clip.face[:, columns],
        viseme=clip.viseme,
        head=clip.head * turn,
        torso=clip.torso * turn,
        shift=clip.shift * side,
        wrist=clip.wrist[:, ::-1] * side,
        forward=clip.forward[:, ::-1] * side,
        palm=clip.palm[:, ::-1] * side,
        fingers=clip.fingers[:, ::-1],
    )


def vary(random: Random, piece: Performance) -> Performance:
    """Another temper: each part of the motion stronger or weaker."""
    gains = 1 + 0.25 * random.normal(size=len(ARKIT_NAMES)).clip(-2, 2)
    face = np.clip(piece.face * gains * random.uniform(0.8, 1.25), -0.35, 1.0)
    return replace(
        piece,
        face=face,
        head=piece.head * random.uniform(0.6, 1.2, 3) + random.normal(0, np.radians([3, 2, 2])),
        torso=piece.torso * random.uniform(0.5, 1.5) + random.normal(0, np.radians([3, 2, 1.5])),
        shift=piece.shift + random.normal(0, 0.012, 3),
        wrist=piece.wrist + random.normal(0, [0.05, 0.04, 0.04], (2, 3)),
        fingers=piece.fingers * random.uniform(0.85, 1.15, (2, 5, 1)),
    )


def splice(pieces: list[Performance]) -> Performance:
    """Pieces one after the other, each faded into the next."""
    joined = {f.name: getattr(pieces[0], f.name) for f in fields(Performance)}
    share = smooth_step(np.linspace(0, 1, BLEND_FRAMES + 2)[1:-1])
    for piece in pieces[1:]:
        for name, before in joined.items():
            after = getattr(piece, name)
            weight = share.reshape(-1, *[1] * (after.ndim - 1))
            seam = (1 - weight) * before[-BLEND_FRAMES:] + weight * after[:BLEND_FRAMES]
            joined[name] = np.concatenate([before[:-BLEND_FRAMES], seam, after[BLEND_FRAMES:]])
    return Performance(**joined)


def first_frames(clip: Performance, count: int) -> Performance:
    return Performance(**{f.name: getattr(clip, f.name)[:count].copy() for f in fields(Performance)})


def add_hands(clip: Performance, random: Random) -> None:
    """Written gestures over the stretches where both hands hang, so that hands are seen often."""
    times = np.arange(len(clip)) / FRAME_RATE_HZ
    start = random.uniform(0.8, 2.0)
    while start < times[-1] - 1.5:
        length = float(random.uniform(1.6, 2.8))
        shown = (times >= start) & (times < start + length)
        if (clip.wrist[shown, :, 1] < -0.9).all():
            gesture = GESTURES[str(random.choice(list(GESTURES)))](length)
            for side in random.permutation(2)[: int(random.integers(1, 3))]:
                moved = sample_keys(gesture, np.clip(times - start, 0, length), int(side))
                share = window(times, start, start + length, 0.45)
                place = random.normal(0, [0.05, 0.06, 0.04])
                targets = (clip.wrist, clip.forward, clip.palm, clip.fingers)
                for target, source in zip(targets, moved, strict=True):
                    weight = share.reshape(-1, *[1] * (source.ndim - 1))
                    target[:, side] += weight * (source - target[:, side])
                clip.wrist[:, side] += share[:, None] * place
                clip.forward[:, side, 2] += 1.2 * share * (1 - share)
        start += length + float(random.uniform(0.1, 0.8))


def add_head(clip: Performance, random: Random) -> None:
    """Slow wandering of head and trunk on top."""
    for target, degrees, seconds in ((clip.head, (7, 4, 3), 0.6), (clip.torso, (3, 2, 2), 1.2)):
        drift = gaussian_filter1d(
            random.normal(size=(len(clip), 3)), seconds * FRAME_RATE_HZ, axis=0, mode="nearest"
        )
        drift /= drift.std(axis=0) + 1e-6
        target += drift * np.radians(degrees) * random.uniform(0.3, 1.0)
    limit = np.radians([38, 22, 17])
    clip.head[:] = limit * np.tanh(clip.head / limit)


def add_faces(clip: Performance, visemes: Array, random: Random) -> None:
    """Babble, expressions, gaze and blinks; a stretch of babble replaces what the mouth did."""
    times = np.arange(len(clip)) / FRAME_RATE_HZ
    mouth = [
        k for k, name in enumerate(ARKIT_NAMES) if name.startswith(("mouth", "jaw", "cheekPuff", "tongue"))
    ]
    start = random.uniform(0.5, 2.0)
    while start < times[-1]:
        length = float(random.uniform(1.0, 3.0))
        share = window(times, start, start + length, 0.15)
        if random.random() < 0.6:
            clip.face[:, mouth] *= 1 - 0.85 * share[:, None]
            clip.viseme[:] *= 1 - 0.85 * share[:, None]
            visemes += share[:, None] * babble(times, random)
        else:
            named = EXPRESSIONS[str(random.choice(list(EXPRESSIONS)))]
            strength = random.uniform(0.6, 1.1)
            row = face_weights(named) * strength
            visemes += share[:, None] * viseme_weights(named) * strength
            clip.face[:] += share[:, None] * (row - clip.face) * (0.3 + 0.7 * (np.abs(row) > 0))
        start += length + float(random.uniform(0.2, 1.5))
    look = [k for k, name in enumerate(ARKIT_NAMES) if name.startswith("eyeLook")]
    clip.face[:, look] += gaze(times, random)[:, look]
    starts = np.cumsum(random.uniform(1.0, 3.5, size=len(times) // 10 + 4))
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        column = ARKIT_NAMES.index(name)
        clip.face[:, column] = np.maximum(clip.face[:, column], blink_curve(times, starts))
    np.clip(clip.face, -0.35, 1.0, out=clip.face)


def babble(times: Array, random: Random) -> Array:
    """(T, len(VISEMES)) one viseme a syllable, smoothed into the next."""
    weights = np.zeros((len(times), len(VISEMES)))
    syllable = (times / SYLLABLE_S).astype(int)
    spoken = random.integers(0, len(VISEMES), syllable[-1] + 1)
    strength = random.uniform(0.35, 0.95, syllable[-1] + 1)
    weights[np.arange(len(times)), spoken[syllable]] = strength[syllable]
    return np.asarray(gaussian_filter1d(weights, 0.6, axis=0, mode="nearest"))


def gaze(times: Array, random: Random) -> Array:
    """(T, 52) eyes that jump between places and rest there."""
    rests = np.cumsum(random.uniform(0.4, 2.0, size=len(times)))
    at = np.searchsorted(rests, times)
    places = random.normal(0, 0.28, (len(times), 2)) * (random.random((len(times), 1)) < 0.6)
    x, y = gaussian_filter1d(places[at], 0.6, axis=0, mode="nearest").T
    return eye_weights(x, y, 0.9)


def start_at_rest(clip: Performance, visemes: Array) -> None:
    """A resting face that looks at the camera, then the motion."""
    share = np.clip((np.arange(len(clip)) - REST_FRAMES) / BLEND_FRAMES, 0, 1)[:, None]
    clip.face[:] = share * clip.face + (1 - share) * face_weights(RESTING)
    clip.head[:] *= share
    clip.viseme[:] *= share
    visemes *= share
