"""Turns a torch module into one self-contained ONNX file, and measures how far the two are apart."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engine.errors import RunnerError
from engine.files import scratch
from engine.network.contract import Array, TensorSpec
from engine.network.network_check import OPSET
from engine.runners.onnx_runner import OnnxRunner
from engine.runners.torch_runner import TorchRunner

# On [-1, 1]: an eighth of one 8-bit step; fp32 summed in another order differs by about 1e-5.
PARITY_BOUND = 1e-3
_PEAK = 2.0  # of a signal on [-1, 1]


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How far an exported network is from its torch module, over all feeds and outputs."""

    max_abs_error: float  # on the outputs' own scale
    mean_abs_error: float
    psnr_db: float  # peak 2.0; infinite if equal
    feeds: int


def export_onnx(
    module: torch.nn.Module,
    example_inputs: Mapping[str, torch.Tensor],
    output_names: Sequence[str] = ("clean",),
) -> bytes:
    """The module as ONNX, weights inside, with the shapes of `example_inputs` fixed.

    example_inputs: by the names the network's inputs get, in the order the module takes them.
    output_names: of what it gives, in its order.
    """
    was_training = module.training
    module.eval()
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        with (
            scratch() as folder,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),  # the exporter reports its steps there
        ):
            warnings.simplefilter("ignore")  # its own deprecations and notes, nothing a user can act on
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            path = folder / "network.onnx"
            torch.onnx.export(
                module,
                tuple(example_inputs.values()),
                path,
                input_names=list(example_inputs),
                output_names=list(output_names),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            return path.read_bytes()
    except torch.onnx.OnnxExporterError as error:
        raise RunnerError(
            f"torch {torch.__version__} cannot export the network to ONNX: {_root_cause(error)}"
        ) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        module.train(was_training)


def _root_cause(error: BaseException) -> str:
    """The first line of what went wrong first; the exporter wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def parity(
    module: torch.nn.Module,
    model: bytes,
    feeds: Sequence[Mapping[str, Array]],
    bound: float = PARITY_BOUND,
) -> ParityReport:
    """Runs the module, moved to the CPU, and the same in ONNX on the same feeds.

    Beyond `bound`, the largest absolute difference, a RunnerError.
    """
    if not feeds:
        raise RunnerError("parity got 0 feeds; wanted at least one")
    was_training = module.training
    onnx_runner = OnnxRunner(model)
    specs = {name: TensorSpec(array.shape, array.dtype.name) for name, array in feeds[0].items()}
    ordered = {name: specs[name] for name in onnx_runner.inputs if name in specs}
    torch_runner = TorchRunner(module, ordered, output_names=tuple(onnx_runner.outputs))
    worst, absolute, squared, count = 0.0, 0.0, 0.0, 0
    try:
        for feed in feeds:
            found, want = onnx_runner.run(feed), torch_runner.run(feed)
            for name in onnx_runner.outputs:
                error = np.abs(found[name].astype(np.float64) - want[name])
                worst = max(worst, float(error.max(initial=0.0))) if np.isfinite(error).all() else math.inf
                absolute += float(error.sum())
                squared += float(np.square(error).sum())
                count += error.size
    finally:
        onnx_runner.close()
        torch_runner.close()
        module.train(was_training)
    mean_squared = squared / count
    psnr_db = 10.0 * math.log10(_PEAK**2 / mean_squared) if mean_squared > 0 else math.inf
    report = ParityReport(worst, absolute / count, psnr_db, len(feeds))
    if worst > bound:
        raise RunnerError(
            f"the ONNX network differs from torch by {worst:.2e} at most, "
            f"{report.mean_abs_error:.2e} on average; "
            f"wanted at most {bound:.0e}: do not use this file; another opset or torch may help"
        )
    return report
