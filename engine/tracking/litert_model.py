"""One network of MediaPipe's, run by LiteRT on the CPU.

The models lie in engine/assets/tracking, so that tracking works offline.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from engine.arrays import FloatArray
from engine.cores import usable_cores
from engine.tracking.stderr_filter import without_lines

# What it says while a model loads, on descriptor 2, in pieces: another thread's line may come between.
_CHATTER = re.compile(rb"INFO: |(INFO: )?Created TensorFlow Lite XNNPACK delegate for CPU\.")
_MOST_THREADS = 4


def _threads() -> int:
    """Half the cores: face, body and hands run at the same time, and the avatar's network too."""
    return max(1, min(_MOST_THREADS, usable_cores() // 2))


def loading_quietly() -> AbstractContextManager[None]:
    """Around the models of a part: what LiteRT says as it loads them is left out of standard error."""
    return without_lines(_CHATTER)


class LiteRtModel:
    """Not thread-safe: one caller at a time. Load it quietly, see above."""

    def __init__(self, name: str) -> None:
        """name: of a file in engine/assets/tracking, without its suffix."""
        model = files("engine").joinpath(f"assets/tracking/{name}.tflite").read_bytes()
        self._interpreter: Any = Interpreter(model_content=model, num_threads=_threads())
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [output["index"] for output in self._interpreter.get_output_details()]

    def __call__(self, batch: FloatArray) -> list[FloatArray]:
        """batch: as the model wants it, (1, H, W, C) -> its outputs, in fresh arrays."""
        self._interpreter.set_tensor(self._input, batch)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def sigmoid(logits: FloatArray) -> FloatArray:
    """Any shape -> the same, 0..1."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0))), np.float32)
