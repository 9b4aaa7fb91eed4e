"""What the CPU decides of a picture for the one graph, in buffers that its inputs are copied from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.arrays import U8Image
from engine.network.contract import Array, allocate
from engine.person.landmarks import VISIBLE, Landmarks
from engine.picture.contract import (
    ARM_MASKS,
    ARMS,
    BODIES,
    EYES,
    FACE_PARTS,
    HANDS,
    OFF,
    PAIRS,
    PATCHES,
    SOURCES,
    STATE,
    STRUCTURE,
    graph_inputs,
)
from engine.render.guidance import GuidancePainter
from engine.render.prior import Layer, PriorBuilder
from engine.render.sampler import START_LEVEL, STEADY_LEVEL
from engine.render.temporal_cache import PREVIOUS_WEIGHT, TemporalState
from engine.render.warp import Pairs

AGAIN = ("pairs", "levels")  # of the feed, what a second run of a start takes
SELDOM = (HANDS, ARM_MASKS)  # handed over only where they change


class GraphFeed:
    """Fills one feed again and again; its buffers are reused: one caller.

    What a picture does not have keeps its last source and mask in an empty box.
    """

    def __init__(self, builder: PriorBuilder, state: TemporalState, painter: GuidancePainter) -> None:
        self._builder, self._state, self._painter = builder, state, painter
        specs = graph_inputs(builder.size)
        small = {name: spec for name, spec in specs.items() if name not in (STATE, *SOURCES)}
        self._buffers = allocate(small)
        self._sources: dict[str, U8Image] = {}
        self._hands_shown = True  # as far as the graph knows

    def guide(self, target: Landmarks) -> None:
        """The guidance of the next picture, but its mesh, which the graph draws."""
        structure, surface = self._painter.halves(target, mesh=False)
        self._buffers[STRUCTURE], self._buffers[HANDS] = structure[None], surface[None, ..., ::3]
        vertices = self._buffers["face"][0]
        vertices[:] = target.face[: len(vertices), :2] if target.face_confidence > 0 else 0

    def decide(self, target: Landmarks) -> tuple[Mapping[str, Array], bool]:
        """What of the feed changes for the picture of the target, and whether it begins anew.

        A start takes a second run, with `again`, on what the network painted in the first.
        """
        for name in ("patch_boxes", "ellipses", "gazes"):
            self._buffers[name][:] = 0
        self._buffers["outline"][:] = OFF
        layers = {layer.region: layer for layer in self._builder.layers(target)}
        hands = [layer for name, layer in layers.items() if name.startswith("hand")]
        placed = dict(zip(ARMS[-len(hands) :] if hands else (), hands, strict=True))
        placed |= {name: layers[name] for name in (*BODIES, *FACE_PARTS) if name in layers}
        changed = [name for name, layer in placed.items() if self._sources.get(name) is not layer.source]
        self._sources |= {name: layer.source for name, layer in placed.items()}
        for name, layer in placed.items():
            self._place(name, layer)
        fresh = self._state.jumped(target)
        previous, noise = self._state.previous_pairs(target), self._state.noise_pairs(target)
        for name, pairs in (("previous", previous), ("noise", noise)):
            self._pair(name, pairs)
        share = 0.0 if previous is None else PREVIOUS_WEIGHT
        self._buffers["levels"][:] = (START_LEVEL if fresh else STEADY_LEVEL, share, 0.0)
        feed = {name: buffer for name, buffer in self._buffers.items() if name not in SELDOM}
        if hands:
            feed[ARM_MASKS] = self._buffers[ARM_MASKS]
        shown = bool((target.hand_confidence >= VISIBLE).any())
        if shown or self._hands_shown:
            feed[HANDS] = self._buffers[HANDS]
        self._hands_shown = shown
        return feed | {name: self._sources[name][None] for name in changed}, fresh

    def again(self) -> Mapping[str, Array]:
        """For the second run of a start: all of what the first painted, where it is."""
        self._pair("previous", None)
        self._buffers["levels"][:] = (STEADY_LEVEL, 1.0, 1.0)
        return {name: self._buffers[name] for name in AGAIN}

    def _place(self, name: str, layer: Layer) -> None:
        self._pair(name, layer.pairs)
        x0, y0, x1, y1 = layer.box
        if layer.mask is not None:  # the graph looks at it within the box only
            self._buffers[ARM_MASKS][0, ARMS.index(name), y0:y1, x0:x1] = layer.mask
        if layer.outline is not None:
            points = self._buffers["outline"]
            points[: len(layer.outline)], points[len(layer.outline) :] = layer.outline, layer.outline[-1]
        if name in PATCHES:
            solver = layer.pairs.solver
            self._buffers["patch_boxes"][PATCHES.index(name)] = (*layer.box, solver.columns, solver.rows)
        if layer.ellipse is not None:
            self._buffers["ellipses"][FACE_PARTS.index(name)] = layer.ellipse
        if (gaze := layer.gaze) is not None:
            row = EYES.index(name)
            self._buffers["gazes"][row] = np.concatenate([gaze.centre, gaze.source, (gaze.radius,)])
            self._buffers["lids"][row] = gaze.lids

    def _pair(self, name: str, pairs: Pairs | None) -> None:
        row = self._buffers["pairs"][PAIRS.index(name)]
        count = 0 if pairs is None else len(pairs.weights)
        row[4, count:] = 0
        if pairs is not None:
            row[0:2, :count], row[2:4, :count], row[4, :count] = pairs.target.T, pairs.source.T, pairs.weights
