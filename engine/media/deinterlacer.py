"""Takes the combs out of interlaced films: two halves of a picture that were filmed one after the other.

FFmpeg's filters do it: idet tells, frame by frame, whether what is flagged as interlaced is, and which half
came first; bwdif (after the BBC's Weston filter) makes whole pictures of the first halves. A film that is
flagged, but was filmed in whole pictures, stays as it is; one that flags nothing passes untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import av
from av.filter import Graph

_FILTERS = (("idet", ""), ("bwdif", "mode=send_frame:parity=auto:deint=interlaced"))


def deinterlaced(frames: Iterable[Any]) -> Iterator[Any]:
    """The decoded frames of one stream, in order, without combs: as many as went in."""
    graph: Graph | None = None  # from the first flagged frame on, while the form stays the same
    form: tuple[int, int, str] | None = None
    for frame in frames:
        found = (frame.width, frame.height, frame.format.name)
        if found != form:
            yield from _rest(graph)
            graph, form = None, found
        if graph is None and frame.interlaced_frame:
            graph = _graph(frame)
        if graph is None:
            yield frame
        else:
            graph.push(frame)
            yield from _pulled(graph)
    yield from _rest(graph)


def _graph(frame: Any) -> Graph:
    graph = Graph()
    size = {"width": frame.width, "height": frame.height, "format": frame.format}
    source = graph.add_buffer(**size, time_base=frame.time_base)
    filters = [graph.add(name, settings) for name, settings in _FILTERS]
    graph.link_nodes(source, *filters, graph.add("buffersink")).configure()
    return graph


def _rest(graph: Graph | None) -> Iterator[Any]:
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):  # it wants the next frame, or has no more
            return
