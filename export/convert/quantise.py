"""Turns an ONNX network into one whose convolutions run in 8-bit integers, on x86 with VNNI or on ARM.

Static, with scales from real feeds: activations by tensor, weights by output channel, written as
quantise/dequantise pairs (Jacob et al., arXiv:1712.05877). Only convolutions are quantised: they are nearly
all of the work, and what lies between them costs accuracy but gains no time. Which of them must stay in float
is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType
from onnxruntime.quantization.calibrate import MinMaxCalibrater, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from engine.cores import usable_cores
from engine.errors import RunnerError
from engine.files import scratch
from engine.network.contract import Array
from engine.runners.onnx_runner import OnnxRunner

PEAK = 2.0  # of a signal on [-1, 1]
_CONVOLUTIONS = ["Conv"]
_SENSITIVITY_PROBES = 3  # layers are told apart by tens of dB, not by tenths

Feed = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Quantised:
    """An INT8 network and how it was arrived at."""

    model: bytes
    psnr_db: float  # against the float network, on the probes; peak 2.0
    float_layers: tuple[str, ...]  # kept in float32, the most sensitive first
    sensitivity_db: dict[str, float]  # layer -> PSNR when it alone is quantised, the most sensitive first


def quantise(
    model: bytes,
    feeds: Sequence[Feed],
    probes: Sequence[Feed],
    bound_db: float,
    progress: Callable[[int, int], None] | None = None,
) -> Quantised:
    """The network with its convolutions in INT8, as many of them as leave it at least `bound_db`.

    feeds: set the scales; probes: others of the same kind, to measure on. progress is called with layers done
    and layers in all. Raises RunnerError when it stays below the bound with half of the layers in float:
    then there is nothing to gain.
    """
    network = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    wanted = _outputs(model, probes)
    ranges = _ranges(network, feeds)
    layers = {_layer_name(node): node.name for node in network.graph.node if node.op_type == "Conv"}
    sensitivity = {}
    for done, (layer, node) in enumerate(layers.items()):
        alone = _quantised(network, ranges, [name for name in layers.values() if name != node])
        few = slice(0, _SENSITIVITY_PROBES)
        sensitivity[layer] = psnr_db(_outputs(alone, probes[few]), wanted[few])
        if progress:
            progress(done + 1, len(layers))
    ranked = sorted(sensitivity, key=sensitivity.__getitem__)
    best = -math.inf
    for kept in range(len(ranked) // 2 + 1):
        candidate = _quantised(network, ranges, [layers[layer] for layer in ranked[:kept]])
        best = max(best, found := psnr_db(_outputs(candidate, probes), wanted))
        if found >= bound_db:
            ordered = {layer: sensitivity[layer] for layer in ranked}
            return Quantised(candidate, found, tuple(ranked[:kept]), ordered)
    raise RunnerError(
        f"in INT8 the network reaches {best:.1f} dB of its float self with half of its layers in float; "
        f"wanted {bound_db:g} dB: use --target onnx or onnx-fp16"
    )


def psnr_db(found: Sequence[Array], wanted: Sequence[Array]) -> float:
    """PSNR over all arrays together, peak 2.0; infinite if equal, minus infinite if not finite."""
    squared = np.mean(
        [np.mean(np.square(a.astype(np.float64) - b)) for a, b in zip(found, wanted, strict=True)]
    )
    if not np.isfinite(squared):
        return -math.inf
    return 10.0 * math.log10(PEAK**2 / squared) if squared > 0 else math.inf


def _outputs(model: bytes, feeds: Sequence[Feed]) -> list[Array]:
    """The first output for each feed."""
    runner = OnnxRunner(model)
    try:
        return [next(iter(runner.run(feed).values())).copy() for feed in feeds]
    finally:
        runner.close()


def _layer_name(node: onnx.NodeProto) -> str:
    """After its weights, as the module names them."""
    return str(node.input[1]).removesuffix(".weight").removeprefix("network.")


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime ships no types
    """Hands the feeds to ONNX Runtime, one by one."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> dict[str, Array] | None:
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


class _Calibrator(MinMaxCalibrater):  # type: ignore[misc]  # ONNX Runtime ships no types
    """On as many threads as may compute: the usual session takes every core, whatever the quota."""

    def create_inference_session(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        self.infer_session = onnxruntime.InferenceSession(
            self.augmented_model_path, options, providers=["CPUExecutionProvider"]
        )


def _ranges(network: onnx.ModelProto, feeds: Sequence[Feed]) -> TensorsData:
    """The smallest and the largest value of every tensor into and out of a convolution."""
    with scratch() as folder:
        plain, augmented = folder / "plain.onnx", folder / "augmented.onnx"
        onnx.save(network, plain)
        calibrator = _Calibrator(plain, _CONVOLUTIONS, str(augmented))
        calibrator.augment_graph()
        calibrator.create_inference_session()
        calibrator.collect_data(_Reader(feeds))
        return calibrator.compute_data()


def _quantised(network: onnx.ModelProto, ranges: TensorsData, in_float: Sequence[str]) -> bytes:
    """in_float: names of nodes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    quantizer: Any = QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=True,  # 7-bit weights: without VNNI, x86 saturates sums of 8-bit products
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=list(in_float),
        op_types_to_quantize=_CONVOLUTIONS,
        extra_options={},
    )
    quantizer.quantize_model()
    written: bytes = quantizer.model.model.SerializeToString()
    return written
