"""What goes into the one graph of a picture and what comes out: names, shapes, types. Knows no backend.

What is decided once for a picture is small and comes from the CPU: which key frames, the points that carry
them, the strokes of the guidance. All that goes over grids and whole pictures happens in the graph, whose
state goes in and comes out by name: `previous` is the last `picture`, or what the network painted of nothing;
the noise lies still in the graph, and a row of `pairs` says how far the person has moved since.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.network.contract import TensorSpec
from engine.person import topology as topo
from engine.render.prior import CELL_PX, PATCH_CELL_PX
from engine.render.warp import CONTROL_POINTS

BODIES = ("torso", "head")
FACE_PARTS = ("mouth", "eye_left", "eye_right")
ARMS = ("arm_far", "arm_near")
PATCHES = (*FACE_PARTS, *ARMS)
SOURCES = (*BODIES, *PATCHES)  # in the order in which they are laid
EYES = FACE_PARTS[1:]
FLOWS = (*BODIES, "previous", "noise")  # over the whole canvas
PAIRS = (*FLOWS, *PATCHES)
OUTLINE_POINTS = len(topo.FACE_OVAL)  # at most
LID_POINTS = 9
LEVELS = ("noise", "share_near", "share_away")  # shares of the previous picture, near the person and away
STRUCTURE, HANDS, ARM_MASKS = "structure", "hands", "arms"
OFF = -1e4  # px, of a point that is not there
STATE, PICTURE, PAINTED, MATTE = "previous", "picture", "painted", "matte"
FRAME, I420 = "frame", "i420"  # what leaves, as RGB and for an encoder


def body_cells(size: int) -> int:
    """Cells of a flow across the canvas."""
    return size // max(2, CELL_PX * size // 256)


def patch_cells(size: int) -> int:
    """The most cells that a patch's flow has across."""
    return size // (PATCH_CELL_PX * size // 256)


def graph_inputs(size: int) -> Mapping[str, TensorSpec]:
    """What the graph of a `size` px canvas takes, in its order.

    Pictures are uint8. face: vertices of the mesh, px, all 0 where it is lost. outline: of the head, px,
    convex; its last point again and again, OFF where there is no head. arms: masks, 255 is all. pairs: see
    `engine.render.warp.Pairs`: x and y of the target px, of the source px, weights, all 0 where nothing
    moves. patch_boxes: x0, y0, x1, y1 px, then columns and rows of the flow; ellipses: x0, y0, x1, y1 px.
    gazes, lids: see `engine.render.patches.Gaze`: middle, source and radius px. All 0 of what is not there.
    """
    half = size // 2
    return {
        STATE: TensorSpec((1, size, size, 3), "uint8"),
        **{name: TensorSpec((1, size, size, 4), "uint8") for name in SOURCES},
        STRUCTURE: TensorSpec((1, half, half, 4), "uint8"),  # the first half of `engine.render.guidance`
        HANDS: TensorSpec((1, half, half, 2), "uint8"),  # 255 where none is before the mesh; its last map
        "face": TensorSpec((1, len(topo.canonical_face()[0]), 2)),
        "outline": TensorSpec((OUTLINE_POINTS, 2)),
        ARM_MASKS: TensorSpec((1, len(ARMS), size, size), "uint8"),
        "pairs": TensorSpec((len(PAIRS), 5, CONTROL_POINTS)),
        "patch_boxes": TensorSpec((len(PATCHES), 6)),
        "ellipses": TensorSpec((len(FACE_PARTS), 4)),
        "gazes": TensorSpec((len(EYES), 5)),
        "lids": TensorSpec((len(EYES), 2, LID_POINTS, 2)),
        "levels": TensorSpec((len(LEVELS),)),  # 0..1
    }


def graph_outputs(size: int, frame_px: tuple[int, int]) -> Mapping[str, TensorSpec]:
    """What it gives: all uint8. frame_px: (width, height) of the pictures that leave, both even."""
    width, height = frame_px
    return {
        PICTURE: TensorSpec((1, size, size, 3), "uint8"),  # on the canvas, over its own plate
        PAINTED: TensorSpec((1, size, size, 3), "uint8"),  # by the network, before it is composed
        MATTE: TensorSpec((1, size, size), "uint8"),
        FRAME: TensorSpec((1, height, width, 3), "uint8"),
        I420: TensorSpec((1, height * 3 // 2, width), "uint8"),  # BT.601, video range
    }
