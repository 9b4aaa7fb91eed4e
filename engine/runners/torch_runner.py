"""Runs a torch module as a runner: for `--runner torch`, for parity, and for networks of trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch

from engine.errors import RunnerError
from engine.network.contract import Array, TensorSpec, allocate, check_feed


class TorchRunner:
    """One torch module whose inputs have fixed shapes. Not thread-safe; the module stays the caller's.

    The module takes the inputs in the order of `inputs` and gives a tensor, or a tuple, for `output_names`.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Mapping[str, TensorSpec],
        device: str = "cpu",
        output_names: Sequence[str] = ("clean",),
    ) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise RunnerError(
                f"device is {device!r}, but torch {torch.__version__} sees no CUDA device: "
                "use device cpu, or install a torch built for CUDA and the GPU's driver"
            )
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType(dict(inputs))
        try:
            self._module: torch.nn.Module | None = module.to(device).eval()
        except RuntimeError as error:
            raise RunnerError(
                f"device is {device!r}; wanted one that torch {torch.__version__} knows"
            ) from error
        self._feed = allocate(self.inputs)
        # On the CPU these are the feed's own memory, and copying them onto themselves does nothing.
        self._tensors = {name: torch.from_numpy(array).to(device) for name, array in self._feed.items()}
        results = self._infer(self._module)
        if len(results) != len(output_names):
            raise RunnerError(
                f"the module gives {len(results)} tensors; wanted {len(output_names)}: "
                f"{', '.join(output_names)}"
            )
        self._results: dict[str, Array] = {
            name: result.cpu().numpy().copy() for name, result in zip(output_names, results, strict=True)
        }
        self._made: dict[str, torch.Tensor] = {}
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType(
            {name: TensorSpec(array.shape, array.dtype.name) for name, array in self._results.items()}
        )

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Runs once. Returned arrays are reused: copy what must outlive the next call."""
        if self._module is None:
            raise RunnerError("the torch runner is closed; make a new one")
        check_feed(self.inputs, feed)
        self.put(feed)
        self.infer()
        return {name: self.read(name) for name in self._results}

    def put(self, feed: Mapping[str, Array]) -> None:
        """See `ResidentRunner`."""
        check_feed(self.inputs, feed, partly=True)
        for name, array in feed.items():
            np.copyto(self._feed[name], array)
            self._tensors[name].copy_(torch.from_numpy(self._feed[name]))

    def infer(self) -> None:
        """See `ResidentRunner`."""
        if self._module is None:
            raise RunnerError("the torch runner is closed; make a new one")
        self._made = dict(zip(self._results, self._infer(self._module), strict=True))

    def read(self, name: str) -> Array:
        """See `ResidentRunner`."""
        torch.from_numpy(self._results[name]).copy_(self._made[name])
        return self._results[name]

    def carry(self, output: str, into: str) -> None:
        """See `ResidentRunner`."""
        self._tensors[into].copy_(self._made[output])

    def close(self) -> None:
        """Lets the module go."""
        self._module = None
        self._tensors, self._made = {}, {}

    def _infer(self, module: torch.nn.Module) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            result = module(*self._tensors.values())
        return result if isinstance(result, tuple) else (result,)
