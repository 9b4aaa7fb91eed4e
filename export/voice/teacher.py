"""The teacher: the encoder of Moonshine tiny (Jeffries et al., arXiv:2410.15608), as in moonshine-voice.

It hears the whole utterance, so it knows what comes; the student is to guess as much from what has come.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray
from engine.errors import SettingsError

FEATURES = 288
HOP_S = 0.024  # between its features, the first of which is about HOP_S / 2


def encoder_file(given: Path | None = None) -> Path:
    """`given`, or the one that the installed moonshine-voice carries. Raises SettingsError where none is."""
    if given is not None:
        found = given
    else:
        package = find_spec("moonshine_voice")
        places = (package.submodule_search_locations if package else None) or ["moonshine_voice"]
        found = Path(places[0]) / "assets/tiny-en/encoder_model.ort"
    if not found.is_file():
        raise SettingsError(
            f"{found}: no such encoder; pip install moonshine-voice==0.0.49, or name its file"
        )
    return found


class Teacher:
    """Gives features of whole utterances."""

    def __init__(self, encoder: Path) -> None:
        """encoder: see `encoder_file`."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(encoder), options, providers=["CPUExecutionProvider"]
        )

    def features(self, samples: FloatArray) -> FloatArray:
        """(k, 288) float32, HOP_S apart, of (n,) samples at 16 kHz."""
        heard = samples[None].astype(np.float32)
        given = {"input_values": heard, "attention_mask": np.ones(heard.shape, np.int64)}
        return np.asarray(self._session.run(None, given)[0][0], np.float32)


def at_rate(features: FloatArray, count: int, step_s: float) -> NDArray[np.float32]:
    """(count, D): the features at 0, step_s, 2 step_s, ... between those around."""
    at = np.clip(np.arange(count) * step_s / HOP_S - 0.5, 0.0, len(features) - 1.001)
    low = at.astype(int)
    share = (at - low).astype(np.float32)[:, None]
    return np.asarray((1.0 - share) * features[low] + share * features[low + 1], np.float32)
