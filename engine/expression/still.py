"""The rest of a person of whom there is one picture, which shows none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.arrays import FloatArray
from engine.expression.repertoire import OWN, mean_units, telling_points
from engine.person.landmarks import FACE_POINTS, Landmarks
from engine.person.motion import SHUT_LIDS, Neutral, build_neutral, canonical_reference

LIPS_SHUT, LIDS_OPEN = 0.0, 0.073  # head units: the gaps of six people at rest, within 0.003 and 0.02
PRIOR = 1.0  # ridge, of a unit's own energy: what may be the shape of a face counts half as its expression


def still_neutral(frame: Landmarks) -> Neutral:
    """What this person would be at rest: facing the camera, lips shut, eyes open, where they are.

    Lips and lids are taken by their gaps, which are alike in all people. How brows and the mouth's corners
    are moved cannot be told from how they are shaped: what the mean person's units explain counts half.
    Raises FootageError when there is no face.
    """
    found = build_neutral([frame])
    face = found.face.copy()
    told = np.setdiff1d(telling_points(), np.arange(len(canonical_reference()), FACE_POINTS))
    units = np.stack([mean_units()[name] for name in OWN])
    basis = units[:, told].reshape(len(units), -1)
    energy = basis @ basis.T
    shape = (face[told] - canonical_reference()[told]).ravel()
    strengths = np.linalg.solve(energy + PRIOR * np.diag(np.diag(energy)), basis @ shape)
    face -= np.tensordot(np.clip(strengths, 0.0, 1.0).astype(np.float32), units, axes=1)
    lids: FloatArray = np.full(2, LIDS_OPEN, np.float32)
    return replace(
        found,
        face=face,
        rotation=np.eye(3, dtype=np.float32),
        lip_closed=np.array(LIPS_SHUT, np.float32),
        lid_open=lids,
        lid_closed=np.asarray(SHUT_LIDS * lids, np.float32),
    )
