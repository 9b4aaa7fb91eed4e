"""An avatar in memory from what was learnt of a person; nothing is measured or written yet."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from engine.avatar.avatar import Avatar
from export.footage.prepared import Identity, Prepared


def assembled(
    name: str,
    prepared: Prepared,
    identity: Identity,
    models: Mapping[str, bytes],
    consent: Mapping[str, Any],
) -> Avatar:
    """models: file name to network, may be empty where the runner comes from elsewhere."""
    return Avatar(
        name=name,
        size=prepared.size,
        fps=prepared.fps,
        neutral=identity.neutral,
        support=identity.support,
        torso=identity.torso,
        keyframes=identity.keys,
        plate=identity.plate,
        models=dict(models),
        consent=dict(consent),
        report={},
        preview_jpeg=_jpeg(identity.keys[0].rgb),
        bare_torso=identity.bare_torso,
        scene=prepared.scene,
        voice=prepared.voice,
    )


def _jpeg(rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
