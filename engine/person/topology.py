"""Index tables of the MediaPipe landmarks, and the canonical face mesh.

"Left" and "right" are the person's own. Nothing here depends on MediaPipe being installed.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


def _table(*rows: int) -> Indices:
    return np.array(rows, np.intp)


# fmt: off
LIPS_OUTER = _table(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = _table(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIPS_UPPER_INNER = _table(80, 81, 82, 13, 312, 311, 310)
LIPS_LOWER_INNER = _table(88, 178, 87, 14, 317, 402, 318)
LIPS_UPPER_OUTER = _table(39, 37, 0, 267, 269)
LIPS_LOWER_OUTER = _table(181, 84, 17, 314, 405)
LIP_MIDDLES = (13, 14)  # inner edges, upper and lower
MOUTH_CORNERS = _table(78, 308)  # inner
MOUTH_OUTER_CORNERS = (61, 291)

EYE_RIGHT = _table(33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
EYE_LEFT = _table(263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
LID_UPPER = (_table(384, 385, 386, 387, 388), _table(157, 158, 159, 160, 161))  # left eye, right eye
LID_LOWER = (_table(381, 380, 374, 373, 390), _table(154, 153, 145, 144, 163))
EYES = (EYE_LEFT, EYE_RIGHT)
IRISES = (_table(473, 474, 475, 476, 477), _table(468, 469, 470, 471, 472))  # centre, then the rim
LIDS = ((159, 145, 33, 133), (386, 374, 263, 362))  # right eye, left: middles of the lids, both corners
EYE_OUTER_CORNERS = (33, 263)
EYE_CORNERS = (_table(362, 263), _table(133, 33))  # inner, outer

BROWS = (
    _table(276, 283, 282, 295, 285), _table(300, 293, 334, 296, 336),
    _table(46, 53, 52, 65, 55), _table(70, 63, 105, 66, 107),
)
NOSE_BRIDGE = _table(168, 6, 197, 195, 5, 4)
NOSE_BASE = _table(98, 97, 2, 326, 327)
FACE_OVAL = _table(
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
FACE_OVAL_TOP = _table(127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356)
FOREHEAD, CHIN = 10, 152
FACE_SIDES = (234, 454)  # by the ears
CHEEKS = _table(50, 101, 205, 187, 280, 330, 425, 411, 118, 347, 123, 352, 207, 427, 192, 416)
# Points that jaw, cheeks, lips and lids move little: the basis of MediaPipe's own face geometry without its
# jaw and cheeks, which read an open mouth as a nod, and with the whole nose, which stands out of the plane.
RIGID = _table(
    4, 5, 6, 10, 33, 54, 67, 98, 117, 119, 121, 127, 129, 133, 143, 168, 195, 197, 198, 263, 284, 297,
    327, 346, 348, 350, 356, 358, 362, 372, 420,
)

HEAD = slice(0, 11)  # nose, eyes, ears, mouth
SHOULDERS = _table(11, 12)  # left, right
HIPS = _table(23, 24)  # left, right
ELBOWS = _table(13, 14)
WRISTS = _table(15, 16)
HAND_BONES = np.array([
    [0, 1], [1, 2], [2, 3], [3, 4], [0, 5], [5, 6], [6, 7], [7, 8], [0, 9], [9, 10], [10, 11], [11, 12],
    [0, 13], [13, 14], [14, 15], [15, 16], [0, 17], [17, 18], [18, 19], [19, 20], [5, 9], [9, 13], [13, 17],
], np.intp)
PALM = _table(0, 1, 5, 9, 13, 17)
FINGERTIPS = _table(4, 8, 12, 16, 20)
# fmt: on


@cache
def canonical_face() -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Vertices (468, 3) float32 in cm, x right, y down, z away from the camera; triangles (898, 3).

    From MediaPipe's canonical face model (Apache-2.0, see NOTICE).
    """
    with files("engine").joinpath("assets/face_mesh.npz").open("rb") as stream, np.load(stream) as data:
        return data["vertices"].astype(np.float32), data["triangles"].astype(np.intp)
