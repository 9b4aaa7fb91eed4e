"""What one person's face does for each emotion: action units, as far as possible in their own way.

An emotion is a combination of the action units of FACS as EMFACS lists them (Friesen and Ekman, 1983; Ekman,
Friesen and Hager, FACS, 2002), without those that would part or shut the lips: these belong to speech. Each
unit is a shape, the mean over rendered people, bent towards what the person's own key frames show of it and
as strong as they show it. What they never showed is that mean: a warp, which no picture of theirs backs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from weakref import WeakKeyDictionary

import numpy as np

from engine.arrays import FloatArray
from engine.expression.feeling import EMOTIONS
from engine.person import topology as topo
from engine.person.blend import lower_face
from engine.person.geometry import rotation_to_euler_deg
from engine.person.landmarks import FACE_POINTS, Landmarks
from engine.person.motion import Neutral, in_head_axes, lid_gaps, lip_gap
from engine.person.retarget import Retargeter

# In strengths of the rendered people's units, whose brows and noses move half as far as a face can.
EMFACS: Mapping[str, Mapping[str, float]] = {
    "happy": {"au6": 1.0, "au12": 1.0},
    "sad": {"au1": 1.6, "au4": 0.6, "au15": 1.0, "au17": 0.4},
    "angry": {"au4": 1.4, "au5": 0.5, "au7": 1.2, "au17": 0.8},
    "afraid": {"au1": 1.5, "au2": 0.8, "au4": 0.6, "au5": 1.8, "au20": 1.2},
    "disgusted": {"au4": 0.6, "au7": 0.8, "au9": 1.5, "au10": 0.8, "au15": 0.5, "au17": 0.5},
    "surprised": {"au1": 1.6, "au2": 1.6, "au5": 1.8},
}
UPPER = ("au1", "au2", "au4", "au5", "au7")  # these leave the lower face alone
LOWER = ("au12", "au15", "au16", "au17", "au20", "au24", "au26")  # and these the upper
# Learnt of the person. Not lids, where a blink would count; not the rest of the mouth, where speech would.
OWN = ("au1", "au2", "au4", "au12")
FACING_DEG = 18.0  # the trackers' depth is poor in heads turned further: those key frames tell nothing
SHRINK = 0.02  # ridge, of a unit's own energy
LOOKS_ALIKE = 1.5  # how much seeing of a unit, in sums of squared strengths, weighs as much as the mean shape
ALIKE = 0.5  # cosine from which a key frame counts as showing an emotion
UNFILMED = 0.6  # strength of what was not: a warp looks wrong before it looks strong
STRONGEST = 1.2
MOST_MOVED = 0.16  # head units, of any point


@dataclass(frozen=True, slots=True)
class Repertoire:
    """One person's emotions, in the order of EMOTIONS."""

    offsets: FloatArray  # (6, 478, 3) head units, of the face from its rest, at full strength
    lids: FloatArray  # (6, 2) head units: how much further the left and the right lids open
    filmed: tuple[float, ...]  # share of each that the key frames show, 0 to 1; the rest is a warp


@cache
def mean_units() -> dict[str, FloatArray]:
    """Name to (478, 3) head units; benchmarks/synthetic/people/action_units.py makes them."""
    path = files("engine").joinpath("assets/action_units.npz")
    with path.open("rb") as stream, np.load(stream) as data:
        units = {name: data[name].astype(np.float32) for name in data.files}
    lower = lower_face()[:, None]
    for name in units:
        units[name] *= 1.0 - lower if name in UPPER else lower if name in LOWER else 1.0
    return units


_REPERTOIRES: WeakKeyDictionary[Retargeter, Repertoire] = WeakKeyDictionary()


def repertoire_for(retargeter: Retargeter) -> Repertoire:
    """Of the person it retargets onto: made once, some 40 ms, at best before a call begins."""
    if (known := _REPERTOIRES.get(retargeter)) is None:
        known = _REPERTOIRES[retargeter] = repertoire_of(retargeter.avatar, retargeter.filmed)
    return known


def repertoire_of(neutral: Neutral, filmed: Sequence[Landmarks]) -> Repertoire:
    """filmed: frames of the footage of the person whose neutral this is; may be none."""
    shown = _expressions(neutral, filmed)
    units, strongest = _own_units(shown)
    offsets = np.zeros((len(EMOTIONS), FACE_POINTS, 3), np.float32)
    for row, emotion in enumerate(EMOTIONS):
        for name, weight in EMFACS[emotion].items():
            full = np.clip(strongest[name], UNFILMED, STRONGEST) if name in OWN else 1.0
            offsets[row] += weight * full * units[name]
        _keep_lip_gap(offsets[row], neutral)
    lids = np.stack([lid_gaps(neutral.face + offset) - lid_gaps(neutral.face) for offset in offsets])
    moved = np.linalg.norm(offsets, axis=2, keepdims=True)
    offsets *= np.minimum(1.0, MOST_MOVED / np.maximum(moved, 1e-6))
    return Repertoire(offsets, lids.astype(np.float32), _shares_filmed(shown, offsets))


def _keep_lip_gap(offset: FloatArray, neutral: Neutral) -> None:
    """Lets both lips give way by half of what would part them: the driver says how far they are open."""
    parted = lip_gap(neutral.face + offset) - lip_gap(neutral.face)
    for upper, lower in (
        (topo.LIPS_UPPER_INNER, topo.LIPS_LOWER_INNER),
        (topo.LIPS_UPPER_OUTER, topo.LIPS_LOWER_OUTER),
    ):
        offset[upper, 1] += 0.5 * parted
        offset[lower, 1] -= 0.5 * parted


def _shares_filmed(shown: FloatArray, offsets: FloatArray) -> tuple[float, ...]:
    """How strongly some key frame shows each emotion as a whole, leaving aside how far the jaw is open."""
    if not len(shown):
        return (0.0,) * len(EMOTIONS)
    told = telling_points()
    jaw = mean_units()["au26"][told].ravel()
    jaw = jaw / np.linalg.norm(jaw)
    faces, emotions = (points[:, told].reshape(len(points), -1) for points in (shown, offsets))
    faces, emotions = (rows - np.outer(rows @ jaw, jaw) for rows in (faces, emotions))
    along = faces @ emotions.T  # (K, 6)
    strength = along / (emotions**2).sum(1)
    alike = along / (np.linalg.norm(faces, axis=1)[:, None] * np.linalg.norm(emotions, axis=1) + 1e-9)
    return tuple(np.where(alike > ALIKE, np.clip(strength, 0.0, 1.0), 0.0).max(0).tolist())


def _own_units(shown: FloatArray) -> tuple[dict[str, FloatArray], dict[str, float]]:
    """Each unit's shape and the strongest seen of it, on this person.

    Key frames are explained by all units at once (ridge regression); what they show beside the other units
    bends a unit's shape, weighed by how strongly it was seen: the posterior mean under a Gaussian prior.
    shown: (K, 478, 3) as of `_expressions`.
    """
    means = mean_units()
    names = list(means)
    if not len(shown):
        return dict(means), dict.fromkeys(names, 0.0)
    told = telling_points()
    basis = np.stack([means[name][told].ravel() for name in names])
    energy = basis @ basis.T
    strengths = np.linalg.solve(
        energy + SHRINK * np.diag(np.diag(energy)), basis @ shown[:, told].reshape(len(shown), -1).T
    ).T
    strengths = np.maximum(strengths, 0.0)  # (K, U)
    explained = np.einsum("ku,upc->kpc", strengths, np.stack([means[name] for name in names]))
    units, strongest, jaw = {}, {}, means["au26"]
    for number, name in enumerate(names):
        own = strengths[:, number]
        strongest[name] = float(np.percentile(own, 98))
        if name not in OWN:
            units[name] = means[name]
            continue
        beside = shown - explained  # what the mean shapes leave of it
        bent = np.einsum("k,kpc->pc", own, beside) / (LOOKS_ALIKE + float((own**2).sum()))
        bent *= _near(means[name])[:, None]
        bent -= jaw * ((bent * jaw).sum() / (jaw * jaw).sum())  # they may have talked meanwhile
        units[name] = np.asarray(means[name] + bent, np.float32)
    return units, strongest


def _expressions(neutral: Neutral, filmed: Sequence[Landmarks]) -> FloatArray:
    """(K, 478, 3) head units: how the frames that face the camera differ from the neutral."""
    shown = []
    for frame in filmed:
        if frame.face_confidence <= 0:
            continue
        face, rotation, *_ = in_head_axes(frame.face, neutral.face)
        if np.abs(rotation_to_euler_deg(rotation @ neutral.rotation.T)[:2]).max() < FACING_DEG:
            shown.append(face - neutral.face)
    return np.asarray(shown, np.float32).reshape(-1, FACE_POINTS, 3)


@cache
def telling_points() -> FloatArray:
    """(P,) rows by which units are told apart: not the eyes, which blink and look about."""
    eyes = np.concatenate([*topo.EYES, *topo.IRISES])
    return np.setdiff1d(np.arange(FACE_POINTS), eyes)


def _near(unit: FloatArray) -> FloatArray:
    """(478,) 1 where a unit moves the face, 0 where it does not: limits what is taken for its shape."""
    moved = np.linalg.norm(unit, axis=1)
    return np.asarray(np.clip(3.0 * moved / max(float(moved.max()), 1e-6), 0.0, 1.0), np.float32)
