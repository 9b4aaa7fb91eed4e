"""What a device can do at best, and how far above that floor a network runs.

Arithmetic and bandwidth of the device are measured, by a large matrix product and a large copy, not taken
from a data sheet: no program can be asked for more than those reach. A network's floor is the longer of its
multiplications at that rate and its traffic at that bandwidth (the roofline of Williams, Waterman and
Patterson, 2009), with the least traffic there can be: weights, inputs and outputs once, all between kept near
the cores. Needs torch, and a device that nobody else uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

TRIES = 10


@dataclass(frozen=True, slots=True)
class Device:
    """The best it was seen to do."""

    flop_per_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """What one run of a network needs at least."""

    flop: float
    bytes_moved: float

    def floor_ms(self, device: Device) -> dict[str, float]:
        """By what limits it."""
        return {
            "arithmetic": 1e3 * self.flop / device.flop_per_s,
            "bandwidth": 1e3 * self.bytes_moved / device.bytes_per_s,
        }


def parameters(module: nn.Module) -> int:
    """How many weights it has."""
    return sum(weight.numel() for weight in module.parameters())


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    """Counts what runs in it, for `.get_total_flops()`; a multiplication with its addition is 2."""
    with FlopCounterMode(display=False) as counter:
        yield counter


def work_of(module: nn.Module, inputs: Sequence[Tensor]) -> Work:
    """Of one run on these inputs."""
    with torch.inference_mode(), counted() as counter:
        output: Tensor = module(*inputs)
    moved = sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *inputs, output))
    return Work(counter.get_total_flops(), moved)


def waiter(device: str) -> Callable[[], None]:
    """What waits until the device has done all it was given."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def measure_device(device: str, dtype: torch.dtype, side: int, copied_bytes: int) -> Device:
    """side: of the square matrices multiplied. The best of some tries, as what disturbs only ever slows."""
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    source = torch.zeros(copied_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    wait = waiter(device)
    product_s = _best_s(lambda: torch.mm(left, right), wait)
    copy_s = _best_s(lambda: target.copy_(source), wait)
    return Device(2.0 * side**3 / product_s, 2.0 * copied_bytes / copy_s)


def _best_s(run: Callable[[], object], wait: Callable[[], None]) -> float:
    best = float("inf")
    for _ in range(TRIES):
        wait()
        began = perf_counter()
        run()
        wait()
        best = min(best, perf_counter() - began)
    return best
