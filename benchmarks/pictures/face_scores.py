"""Which of 52 expressions come through when somebody else drives an avatar?

    avatarcast bench face_scores --task face_landmarker.task

The 52 scores of ARKit that MediaPipe reads off a face, by a network of its own (Blendshape V2) on 146 of the
face mesh's points: an outside yardstick, by which nothing here is driven. The network is not part of
avatarcast. The synthetic presenters' generator rendered one motion of each (see cross_driving), so the
scores of an avatar's pictures are held against those of the true render of the same person: a score that
moves there comes through where its correlation is 0.85 or more and its gain 0.8 to 1.2. The other's film
itself, read beside the true render, says how alike two people are read who do the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.pictures.clips import FILMS
from benchmarks.pictures.cross_truth import Clip, retrack
from benchmarks.records.instrument import Instrument, add_common
from benchmarks.records.record import Record
from benchmarks.synthetic.presenter.performance import ARKIT_NAMES
from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.errors import SettingsError
from engine.person.landmarks import Landmarks
from engine.pipeline import PipelineConfig, build_pipeline
from engine.tracking.litert_model import loading_quietly
from export.evaluate.replay import NoTracker
from export.progress import Bars, StageFramesDone

MODEL = "face_blendshapes.tflite"
NAMES = ARKIT_NAMES[:-1]  # no tongue; before them the network tells how neutral the face is
CORRELATION, GAIN = 0.85, (0.8, 1.2)
MOVES = 0.03  # standard deviation from which a score of the truth counts as moving
# fmt: off
POINTS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70,
    78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149,
    150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195,
    197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300,
    308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375,
    377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454,
    466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
])
# fmt: on


class FaceScores:
    """Reads scores off face points."""

    def __init__(self, task: Path) -> None:
        """task: MediaPipe's face_landmarker.task. Raises SettingsError where it is none."""
        try:
            with ZipFile(task) as files:
                model = files.read(MODEL)
        except (OSError, BadZipFile, KeyError) as error:
            raise SettingsError(
                f"{task}: {error}; wanted face_landmarker.task as MediaPipe offers it"
            ) from None
        with loading_quietly():
            self._network: Any = Interpreter(model_content=model, num_threads=1)
            self._network.allocate_tensors()
        self._in = self._network.get_input_details()[0]["index"]
        self._out = self._network.get_output_details()[0]["index"]

    def of(self, frames: Sequence[Landmarks]) -> FloatArray:
        """(N, 51) in the order of NAMES, 0..1; NaN without a face."""
        return np.stack([self._of(frame) for frame in frames])

    def _of(self, frame: Landmarks) -> FloatArray:
        if frame.face_confidence <= 0:
            return np.full(len(NAMES), np.nan, np.float32)
        self._network.set_tensor(self._in, np.ascontiguousarray(frame.face[None, POINTS, :2], np.float32))
        self._network.invoke()
        return np.asarray(self._network.get_tensor(self._out).ravel()[1:], np.float32)


def agreement(truth: FloatArray, shown: FloatArray) -> dict[str, Any]:
    """How scores go with the truth's; both (N, 51), of the same frames, NaN without a face.

    `moving`: how many of the truth's move; `through`: the share of those that keep CORRELATION and GAIN,
    `correlated` the first; `correlation`, `gain`: their means; `eyes_asymmetry`: the correlation of how much
    further one eye is shut than the other, None where that does not move; `scores`: by name.
    """
    both = np.isfinite(truth).all(1) & np.isfinite(shown).all(1)
    truth, shown = truth[both], shown[both]
    scores = {
        NAMES[row]: _follows(truth[:, row], shown[:, row]) for row in np.flatnonzero(truth.std(0) > MOVES)
    }
    alike = np.array([one["correlation"] for one in scores.values()])
    gains = np.array([one["gain"] for one in scores.values()])
    through = (alike >= CORRELATION) & (gains >= GAIN[0]) & (gains <= GAIN[1])
    left, right = NAMES.index("eyeBlinkLeft"), NAMES.index("eyeBlinkRight")
    uneven = [side[:, left] - side[:, right] for side in (truth, shown)]
    means = (
        {
            "through": float(through.mean()),
            "correlated": float((alike >= CORRELATION).mean()),
            "correlation": float(alike.mean()),
            "gain": float(gains.mean()),
        }
        if scores
        else dict.fromkeys(("through", "correlated", "correlation", "gain"))
    )
    return {
        "frames": int(both.sum()),
        "moving": len(scores),
        **{name: None if value is None else round(value, 3) for name, value in means.items()},
        "eyes_asymmetry": _follows(*uneven)["correlation"] if uneven[0].std() > MOVES else None,
        "scores": scores,
    }


def _follows(truth: FloatArray, shown: FloatArray) -> dict[str, float]:
    """Correlation, and the least-squares gain about the means."""
    x, y = truth - truth.mean(), shown - shown.mean()
    shared, power = float((x * y).sum()), float((x * x).sum())
    alike = shared / max((power * float((y * y).sum())) ** 0.5, 1e-9)
    return {"correlation": round(alike, 3), "gain": round(shared / max(power, 1e-9), 3)}


def driven(avatar: Avatar, clip: Clip, runner: str, tell: StageFramesDone) -> list[Landmarks]:
    """What is found in the avatar's pictures, as it is driven by the clip in a call."""
    pipeline = build_pipeline(avatar, PipelineConfig(runner, live=False), NoTracker())
    pipeline.drive_by(clip.neutral())
    pictures = []
    for number, landmarks in enumerate(clip.steadied()):
        shown = pipeline.process(clip.rgb[number], clip.time_ns(number), landmarks=landmarks)
        pictures.append(shown.rgb.copy())
    pipeline.close()
    return retrack(pictures, clip.fps, f"{avatar.name} by {clip.label}", tell)


def measure(args: argparse.Namespace) -> Record:
    """Each presenter by each film."""
    reader = FaceScores(args.task)
    rows = []
    with Bars(disable=None) as bars:
        clips = {name: Clip.read(film, args.seconds).tracked(bars.show) for name, film in FILMS.items()}
        for name, truth in clips.items():
            true_scores = reader.of(truth.landmarks)
            avatar = load_avatar(name)
            for driver in clips.values():
                shown = reader.of(driven(avatar, driver, args.runner, bars.show))
                who = "its own film" if driver is truth else driver.label
                rows.append({"who": f"{name} driven by {who}", **agreement(true_scores, shown)})
                if driver is not truth:
                    film = agreement(true_scores, reader.of(driver.landmarks))
                    rows.append({"who": f"{driver.label}'s film itself, beside {name}'s", **film})
    return {"rows": rows}


def add_options(parser: argparse.ArgumentParser) -> None:
    """By which network, and how much of the films."""
    parser.add_argument("--task", type=Path, required=True, help="MediaPipe's face_landmarker.task")
    add_common(parser, "runner")
    parser.add_argument("--seconds", type=float, help="of the films, from their start (default all)")


main = Instrument("face_scores", __doc__, add_options, measure, quick={"seconds": 1.0})
