"""What the CPU decides of a picture for the one graph, in buffers that its inputs are copied from."""

from __future__ import annotations

from collections.abc import Mapping

from engine.arrays import U8Image
from engine.network.contract import Array, allocate
from engine.person.landmarks import Landmarks
from engine.picture.contract import (
    ARMS,
    BODIES,
    FACE_PARTS,
    FLOWS,
    GUIDANCE,
    MASKS,
    PATCHES,
    SOURCES,
    STATE,
    graph_inputs,
)
from engine.render.guidance import GuidancePainter
from engine.render.prior import Layer, PriorBuilder
from engine.render.sampler import START_LEVEL, STEADY_LEVEL
from engine.render.temporal_cache import PREVIOUS_WEIGHT, TemporalState

AGAIN = ("body_flows", "levels")  # of the feed, what a second run of a start takes


class GraphFeed:
    """Fills one feed again and again; its buffers are reused: one caller.

    What a picture does not have keeps its last source under an empty mask.
    """

    def __init__(self, builder: PriorBuilder, state: TemporalState, painter: GuidancePainter) -> None:
        self._builder, self._state, self._painter = builder, state, painter
        specs = graph_inputs(builder.size)
        small = {name: spec for name, spec in specs.items() if name not in (STATE, *SOURCES)}
        self._buffers = allocate(small)
        self._sources: dict[str, U8Image] = {}

    def guide(self, target: Landmarks) -> None:
        """The guidance of the next picture."""
        for name, half in zip(GUIDANCE, self._painter.halves(target), strict=True):
            self._buffers[name] = half[None]

    def decide(self, target: Landmarks) -> tuple[Mapping[str, Array], bool]:
        """What of the feed changes for the picture of the target, and whether it begins anew.

        A start takes a second run, with `again`, on what the network painted in the first.
        """
        self._buffers["patch_boxes"][:] = 0
        self._buffers["ellipses"][:] = 0
        layers = {layer.region: layer for layer in self._builder.layers(target)}
        hands = [layer for name, layer in layers.items() if name.startswith("hand")]
        placed = dict(zip(ARMS[-len(hands) :] if hands else (), hands, strict=True))
        placed |= {name: layers[name] for name in (*BODIES, *FACE_PARTS) if name in layers}
        changed = [name for name, layer in placed.items() if self._sources.get(name) is not layer.source]
        self._sources |= {name: layer.source for name, layer in placed.items()}
        for name, layer in placed.items():
            self._place(name, layer)
        if "head" not in placed:
            self._buffers["masks"][0, MASKS.index("head")] = 0
        fresh = self._state.jumped(target)
        previous, noise = self._state.previous_flow(target), self._state.noise_flow(target)
        for name, flow in (("previous", previous), ("noise", noise)):
            self._buffers["body_flows"][FLOWS.index(name)] = 0 if flow is None else flow.grid
        share = 0.0 if previous is None else PREVIOUS_WEIGHT
        self._buffers["levels"][:] = (START_LEVEL if fresh else STEADY_LEVEL, share, 0.0)
        return self._buffers | {name: self._sources[name][None] for name in changed}, fresh

    def again(self) -> Mapping[str, Array]:
        """For the second run of a start: all of what the first painted, where it is."""
        self._buffers["body_flows"][FLOWS.index("previous")] = 0
        self._buffers["levels"][:] = (STEADY_LEVEL, 1.0, 1.0)
        return {name: self._buffers[name] for name in AGAIN}

    def _place(self, name: str, layer: Layer) -> None:
        if layer.mask is not None:  # the graph looks at it within the box only
            x0, y0, x1, y1 = layer.flow.box
            self._buffers["masks"][0, MASKS.index(name), y0:y1, x0:x1] = layer.mask
        if name in BODIES:
            self._buffers["body_flows"][FLOWS.index(name)] = layer.flow.grid
            return
        row = PATCHES.index(name)
        _, rows, columns = layer.flow.grid.shape
        self._buffers["patch_flows"][row, :, :rows, :columns] = layer.flow.grid
        self._buffers["patch_boxes"][row] = (*layer.flow.box, columns, rows)
        if layer.ellipse is not None:
            self._buffers["ellipses"][FACE_PARTS.index(name)] = layer.ellipse
