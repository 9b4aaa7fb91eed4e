"""MediaPipe's face, body, hands and person matte, each as one small class that returns pixels.

Knows nothing of time, filters or which hand is whose. Offline: the wheel carries the models.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import cv2
import mediapipe as mp
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Image = NDArray[np.uint8]

_STDERR_LOCK = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what C++ writes to descriptor 2: TFLite's start-up lines ignore every log-level variable."""
    with _STDERR_LOCK:
        sys.stderr.flush()
        saved = os.dup(2)
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(sink)
            os.close(saved)


def limited(rgb: Image, max_side_px: int) -> Image:
    """The picture with no side longer than `max_side_px` (0: any), contiguous; landmarks are relative, so unharmed."""
    longest = max(rgb.shape[:2])
    if 0 < max_side_px < longest:
        ratio = max_side_px / longest
        size = (max(2, round(rgb.shape[1] * ratio)), max(2, round(rgb.shape[0] * ratio)))
        return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.ascontiguousarray(rgb)


class _Part:
    """One MediaPipe solution: started quietly, warmed up on an empty picture, closed once."""

    def __init__(self, solution: Any, **options: Any) -> None:
        with _quiet():
            self._solution = solution(**options)
            # The graph opens its models on threads of its own; one frame waits for them and their chatter.
            self._solution.process(np.zeros((64, 64, 3), np.uint8))

    def _process(self, rgb: Image) -> Any:
        view = np.ascontiguousarray(rgb).view()
        view.flags.writeable = False  # saves MediaPipe a copy
        return self._solution.process(view)

    def reset(self) -> None:
        """Forget where the part was: the next frame is searched from scratch."""
        with _quiet():
            self._solution.reset()
            self._solution.process(np.zeros((64, 64, 3), np.uint8))

    def close(self) -> None:
        """Release the models; a second call does nothing."""
        if self._solution is not None:
            self._solution.close()
            self._solution = None


def _pixels(landmarks: Any, width: int, height: int) -> FloatArray:
    """A MediaPipe landmark list -> (N, 3) px; its z has the scale of x."""
    points = np.array([(p.x, p.y, p.z) for p in landmarks.landmark], np.float32)
    return points * np.array([width, height, width], np.float32)


class FacePart(_Part):
    """Face mesh with irises: up to `max_faces` arrays of (478, 3) px."""

    def __init__(self, max_faces: int = 1) -> None:
        super().__init__(mp.solutions.face_mesh.FaceMesh, max_num_faces=max_faces, refine_landmarks=True)

    def find(self, rgb: Image, width: int, height: int) -> list[FloatArray]:
        """rgb: (h, w, 3) uint8, any scale of the `width` x `height` px picture in whose pixels the answer is."""
        faces = self._process(rgb).multi_face_landmarks
        return [_pixels(face, width, height) for face in faces or ()]


class FaceCounter(_Part):
    """How many faces there are, quickly: the short-range detector without a mesh."""

    def __init__(self) -> None:
        super().__init__(mp.solutions.face_detection.FaceDetection, min_detection_confidence=0.6)

    def find(self, rgb: Image, width: int, height: int) -> FloatArray:
        """(N, 5): x, y, width, height in px and the score 0..1, best first."""
        boxes = []
        for detection in self._process(rgb).detections or ():
            box = detection.location_data.relative_bounding_box
            size = (box.xmin * width, box.ymin * height, box.width * width, box.height * height)
            boxes.append((*size, detection.score[0]))
        return np.array(boxes, np.float32).reshape(-1, 5)


class PoseFound(NamedTuple):
    """points: (33, 3) px, visibility: (33,) 0..1."""

    points: FloatArray
    visibility: FloatArray


class PosePart(_Part):
    """The body: 33 points with their visibility, or None. Model 1 is the one that the wheel carries."""

    def __init__(self) -> None:
        super().__init__(mp.solutions.pose.Pose, model_complexity=1, smooth_landmarks=False)

    def find(self, rgb: Image, width: int, height: int) -> PoseFound | None:
        """rgb: as in FacePart.find."""
        body = self._process(rgb).pose_landmarks
        if body is None:
            return None
        visibility = np.array([p.visibility for p in body.landmark], np.float32)
        return PoseFound(_pixels(body, width, height), np.clip(visibility, 0.0, 1.0))


class HandFound(NamedTuple):
    """One hand, not yet assigned: points (21, 3) px, its score 0..1, and how likely it is the person's left."""

    points: FloatArray
    score: float
    left_probability: float


class HandsPart(_Part):
    """Up to two hands. `quick` takes the light model: for live use."""

    def __init__(self, quick: bool = False) -> None:
        super().__init__(mp.solutions.hands.Hands, max_num_hands=2, model_complexity=0 if quick else 1)

    def find(self, rgb: Image, width: int, height: int) -> list[HandFound]:
        """rgb: as in FacePart.find, not mirrored."""
        result = self._process(rgb)
        found = []
        for points, sides in zip(result.multi_hand_landmarks or (), result.multi_handedness or ()):
            side = sides.classification[0]
            # MediaPipe names hands as in a mirrored picture; ours are not, so its "Right" is the person's left.
            left = side.score if side.label == "Right" else 1.0 - side.score
            found.append(HandFound(_pixels(points, width, height), float(side.score), float(left)))
        return found


class PersonMatte(_Part):
    """Where the person is, per pixel (MediaPipe selfie segmentation, general model)."""

    def __init__(self) -> None:
        super().__init__(mp.solutions.selfie_segmentation.SelfieSegmentation, model_selection=0)

    def alpha(self, rgb: Image) -> FloatArray:
        """rgb: (H, W, 3) uint8 -> (H, W) float32, 0 background, 1 person."""
        mask = np.asarray(self._process(rgb).segmentation_mask, np.float32)
        return np.clip(mask, 0.0, 1.0)
