"""MediaPipe's face, body, hands and person matte, each as one small class that returns pixels.

Works offline: the wheel carries the models.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np

from engine.errors import FileError
from engine.user_folders import CACHE_VARIABLE

try:
    import mediapipe as mp
except OSError as error:  # matplotlib, which it imports, keeps a list of fonts
    raise FileError(
        f"MediaPipe needs a folder that can be written: name one with {CACHE_VARIABLE} or TMPDIR"
    ) from error
from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmark, NormalizedLandmarkList
from mediapipe.framework.formats.rect_pb2 import NormalizedRect
from mediapipe.python import CalculatorGraph, packet_creator

from engine.arrays import FloatArray, U8Image
from engine.tracking.hand_sides import HandFound, PoseFound
from engine.tracking.stderr_filter import without_lines

# What it says while models load, on descriptor 2 and whatever log-level variables say. TFLite writes its line
# in pieces, so that another thread's may come between.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    rb"|[IW]\d{4} [\d:.]+ +\d+ \w+\.cc:\d+\] .*"
    rb"|INFO: |(INFO: )?Created TensorFlow Lite XNNPACK delegate for CPU\."
)
_PROJECTION = """
input_stream: "point" input_stream: "box"
node { calculator: "LandmarkProjectionCalculator" output_stream: "NORM_LANDMARKS:projected"
       input_stream: "NORM_LANDMARKS:point" input_stream: "NORM_RECT:box" }
"""


@cache
def _spend_projection_warning() -> None:
    """MediaPipe warns once per process, at its first find in an oblong picture. Have it said unheard."""
    point = NormalizedLandmarkList(landmark=[NormalizedLandmark(x=0.5, y=0.5, z=0.0)])
    box = NormalizedRect(x_center=0.5, y_center=0.5, width=0.5, height=0.25)
    graph = CalculatorGraph(graph_config=_PROJECTION)
    graph.start_run()
    graph.add_packet_to_input_stream("point", packet_creator.create_proto(point).at(1))
    graph.add_packet_to_input_stream("box", packet_creator.create_proto(box).at(1))
    graph.wait_until_idle()
    graph.close()


class _Part:
    """One MediaPipe solution: started quietly, warmed up on an empty picture, closed once."""

    def __init__(self, solution: Any, **options: Any) -> None:
        with without_lines(_CHATTER):
            _spend_projection_warning()
            self._solution = solution(**options)
            self._show_nothing()  # the graph opens its models on threads of its own: wait for their chatter

    def _show_nothing(self) -> None:
        self._solution.process(np.zeros((64, 64, 3), np.uint8))

    def _process(self, rgb: U8Image) -> Any:
        view = np.ascontiguousarray(rgb).view()  # on strided rows MediaPipe can find nothing, without a word
        view.flags.writeable = False  # saves MediaPipe a copy
        return self._solution.process(view)

    def reset(self) -> None:
        """Forget where the part was: the next frame is searched from scratch.

        An empty picture loses it. MediaPipe's own reset builds its graph anew, and memory grows with each.
        """
        self._show_nothing()

    def close(self) -> None:
        """Release the models; a second call does nothing."""
        if self._solution is not None:
            self._solution.close()
            self._solution = None


def _pixels(landmarks: Any, rgb: U8Image) -> FloatArray:
    """A MediaPipe landmark list -> (N, 3) px of `rgb`; its z has the scale of x."""
    height, width = rgb.shape[:2]
    points = np.array([(p.x, p.y, p.z) for p in landmarks.landmark], np.float32)
    return points * np.array([width, height, width], np.float32)


class FacePart(_Part):
    """The face mesh with irises."""

    def __init__(self) -> None:
        super().__init__(mp.solutions.face_mesh.FaceMesh, max_num_faces=1, refine_landmarks=True)

    def find(self, rgb: U8Image) -> list[FloatArray]:
        """rgb: (H, W, 3) uint8 -> at most one (478, 3) px."""
        return [_pixels(face, rgb) for face in self._process(rgb).multi_face_landmarks or ()]


class FaceCounter(_Part):
    """Where faces are, without a mesh: to notice a second person."""

    def __init__(self) -> None:
        super().__init__(mp.solutions.face_detection.FaceDetection, min_detection_confidence=0.6)

    def find(self, rgb: U8Image) -> FloatArray:
        """rgb: (H, W, 3) uint8 -> (N, 5): x, y, width, height in px, and the score 0..1."""
        height, width = rgb.shape[:2]
        boxes = []
        for detection in self._process(rgb).detections or ():
            box = detection.location_data.relative_bounding_box
            size = (box.xmin * width, box.ymin * height, box.width * width, box.height * height)
            boxes.append((*size, detection.score[0]))
        return np.array(boxes, np.float32).reshape(-1, 5)


class PosePart(_Part):
    """The body, 33 points. Model 1 is the only one that the wheel carries."""

    def __init__(self) -> None:
        super().__init__(mp.solutions.pose.Pose, model_complexity=1, smooth_landmarks=False)

    def find(self, rgb: U8Image) -> PoseFound | None:
        """rgb: (H, W, 3) uint8."""
        body = self._process(rgb).pose_landmarks
        if body is None:
            return None
        visibility = np.array([p.visibility for p in body.landmark], np.float32)
        return PoseFound(_pixels(body, rgb), np.clip(visibility, 0.0, 1.0))


class HandsPart(_Part):
    """Up to two hands. `quick` takes the light models, for live use."""

    def __init__(self, quick: bool = False) -> None:
        super().__init__(mp.solutions.hands.Hands, max_num_hands=2, model_complexity=0 if quick else 1)

    def find(self, rgb: U8Image) -> list[HandFound]:
        """rgb: (H, W, 3) uint8, not mirrored."""
        result = self._process(rgb)
        found = []
        pairs = zip(result.multi_hand_landmarks or (), result.multi_handedness or (), strict=True)
        for points, sides in pairs:
            side = sides.classification[0]
            # MediaPipe names hands as in a mirrored picture. Ours is not: its "Right" is the person's left.
            left = side.score if side.label == "Right" else 1.0 - side.score
            found.append(HandFound(_pixels(points, rgb), min(float(side.score), 1.0), float(left)))
        return found


class PersonMatte(_Part):
    """Where the person is, per pixel (MediaPipe selfie segmentation, the general model)."""

    def __init__(self) -> None:
        super().__init__(mp.solutions.selfie_segmentation.SelfieSegmentation, model_selection=0)

    def alpha(self, rgb: U8Image) -> FloatArray:
        """rgb: (H, W, 3) uint8 -> (H, W) float32, 0 background, 1 person."""
        mask = np.asarray(self._process(rgb).segmentation_mask, np.float32)
        return np.clip(mask, 0.0, 1.0)
