"""Films a character: frames with the person's exact mask, tracked by the product's own trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.synthetic.people.body import Model
from benchmarks.synthetic.people.character import Character
from benchmarks.synthetic.people.motion import Motion
from benchmarks.synthetic.people.raster import SUPERSAMPLING, Context, Rasteriser
from benchmarks.synthetic.people.surfaces import backdrop
from benchmarks.synthetic.presenter.performance import FRAME_RATE_HZ
from benchmarks.synthetic.presenter.rig import BodyPose, Rig
from engine.person.landmarks import Landmarks
from engine.tracking.tracker import EveryFrameTracker
from export.footage.framing import Framing, to_canvas
from export.footage.prepared import Prepared

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """One frame at the supersampled size: (H, W, 3) and the person's share of each pixel, (H, W), uint8."""

    rgb: Image
    matte: Image


def film(
    context: Context, assets: Path, character: Character, motion: Motion, side_px: int
) -> Iterator[Picture]:
    """The frames of the motion, SUPERSAMPLING times side_px wide."""
    model = Model(assets, character)
    rig = Rig(model.person)
    raster = Rasteriser(context, model, character, assets, side_px)
    behind = backdrop(side_px * SUPERSAMPLING, character.seed).astype(np.float32) / 255
    clip = motion.performance
    try:
        for frame in range(len(motion)):
            pose = BodyPose(
                clip.head[frame], clip.torso[frame], clip.wrist[frame],
                clip.forward[frame], clip.palm[frame], clip.fingers[frame],
            )  # fmt: skip
            colour, cover = raster.draw(model.move(motion.face(frame), rig.solve(pose), clip.shift[frame]))
            picture = colour + (1 - cover[..., None]) * behind
            yield Picture(to_bytes(picture), to_bytes(cover))
    finally:
        raster.close()


def to_bytes(picture: npt.NDArray[np.float32]) -> Image:
    return np.asarray(np.round(np.clip(picture, 0, 1) * 255), np.uint8)


def prepare(pictures: Iterator[Picture], side_px: int, progress: Callable[[], None]) -> Prepared:
    """Tracks the pictures and brings them to side_px; progress is called once a frame."""
    rgb: list[Image] = []
    matte: list[Image] = []
    landmarks: list[Landmarks] = []
    tracker = EveryFrameTracker()
    try:
        for index, picture in enumerate(pictures):
            found = tracker.track(picture.rgb, index * 1_000_000_000 // FRAME_RATE_HZ)
            whole = Framing(0, 0, picture.rgb.shape[0])
            landmarks.append(to_canvas(found, whole, side_px))
            size = (side_px, side_px)
            rgb.append(cv2.resize(picture.rgb, size, interpolation=cv2.INTER_AREA))
            matte.append(cv2.resize(picture.matte, size, interpolation=cv2.INTER_AREA))
            progress()
    finally:
        tracker.close()
    shots = np.zeros(len(rgb), np.int32)
    return Prepared(float(FRAME_RATE_HZ), np.stack(rgb), np.stack(matte), landmarks, shots)
