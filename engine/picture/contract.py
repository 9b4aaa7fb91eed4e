"""What goes into the one graph of a picture and what comes out: names, shapes, types. Knows no backend.

What is decided once for a picture is small and comes from the CPU: which key frames, their flows on coarse
grids, masks, guidance. All that goes over whole pictures happens in the graph, whose state goes in and comes
out by name: `previous` is the last `picture`, or what the network painted of nothing; the noise lies still in
the graph, and `body_flows` says how far the person has moved since.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.network.contract import TensorSpec
from engine.render.prior import CELL_PX, PATCH_CELL_PX

BODIES = ("torso", "head")
FACE_PARTS = ("mouth", "eye_left", "eye_right")
ARMS = ("arm_far", "arm_near")
PATCHES = (*FACE_PARTS, *ARMS)
SOURCES = (*BODIES, *PATCHES)  # in the order in which they are laid
GUIDANCE = ("structure", "surface")  # the halves of `engine.render.guidance`
MASKS = ("head", *ARMS)
FLOWS = (*BODIES, "previous", "noise")  # over the whole canvas
LEVELS = ("noise", "share_near", "share_away")  # shares of the previous picture, near the person and away
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

    Pictures are uint8; masks 255 is all, and 0 of what is not there. body_flows, patch_flows: px, as
    `engine.render.warp.Flow.grid`, of a patch in the upper left corner. patch_boxes: x0, y0, x1, y1 px, then
    columns and rows of the flow; ellipses: x0, y0, x1, y1 px; all 0 for a patch that is not there.
    """
    body, patch = body_cells(size), patch_cells(size)
    return {
        STATE: TensorSpec((1, size, size, 3), "uint8"),
        **{name: TensorSpec((1, size, size, 4), "uint8") for name in SOURCES},
        **{name: TensorSpec((1, size // 2, size // 2, 4), "uint8") for name in GUIDANCE},
        "masks": TensorSpec((1, len(MASKS), size, size), "uint8"),
        "body_flows": TensorSpec((len(FLOWS), 2, body, body)),
        "patch_flows": TensorSpec((len(PATCHES), 2, patch, patch)),
        "patch_boxes": TensorSpec((len(PATCHES), 6)),
        "ellipses": TensorSpec((len(FACE_PARTS), 4)),
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
