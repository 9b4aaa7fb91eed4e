"""The runners by name, for command lines: nothing is imported for it."""

from __future__ import annotations

AUTO = "auto"
TENSORRT = ("tensorrt", "tensorrt-rtx")
NAMES = (AUTO, "onnx-cpu", "onnx-cuda", *TENSORRT, "torch", "null")
STEPS, GRAPH = "steps", "graph"
RENDERERS = (AUTO, STEPS, GRAPH)
