"""An avatar in memory from what was learnt of a person; nothing is measured or written yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from engine.avatar.avatar import Avatar, KeyFrame
from export.footage.prepared import Identity, Prepared


def assembled(
    name: str,
    prepared: Prepared,
    identity: Identity,
    models: Mapping[str, bytes],
    consent: Mapping[str, Any],
) -> Avatar:
    """models: file name to network, may be empty where the runner comes from elsewhere."""
    keyframes = tuple(
        KeyFrame(
            np.ascontiguousarray(key.rgba[..., :3]), np.ascontiguousarray(key.rgba[..., 3]), key.landmarks
        )
        for key in identity.keys
    )
    return Avatar(
        name=name,
        size=prepared.size,
        fps=prepared.fps,
        neutral=identity.arrays(),
        keyframes=keyframes,
        plate=identity.plate,
        models=dict(models),
        consent=dict(consent),
        manifest={"models": {}},
        report={},
        preview_jpeg=_jpeg(keyframes[0].rgb),
        bare_torso=identity.bare_torso,
    )


def kept_fields(avatar: Avatar) -> dict[str, Any]:
    """What `save_avatar` takes of the avatar; the manifest is made anew there."""
    return {field.name: getattr(avatar, field.name) for field in fields(avatar) if field.name != "manifest"}


def _jpeg(rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
