"""A network from elsewhere is weights for a denoiser, or it is refused before any runtime sees it.

Everything that a runtime would do with it is known beforehand: the operators are those that our exporter
writes, with the attributes it writes; every shape is worked out and every size is bounded; what goes in and
out is what a denoiser of the canvas takes and gives. What is handed on is written anew from that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from engine.errors import RunnerError
from engine.network.contract import Array, TensorSpec, denoiser_inputs, denoiser_outputs, half_px
from engine.network.onnx_file import MAX_RANK, Graph, Node, encode_graph, read_graph

OPSET = 18  # what the exporter writes; the first with GroupNorm, and every runner reads it
MAX_NODES = 1024  # the INT8 network has 279
MAX_MACS = 16_000_000_000  # multiplications a picture; the network of today takes 1.5 billion at 256 px
MAX_VALUES = 64 * 1024 * 1024  # in all tensors between input and output; the INT8 network has 24 million

_FLOATS = ("float32", "float16")
# What the exporter writes for a picture of twice the size, each pixel repeated.
_REPEATED: Mapping[str, object] = MappingProxyType(
    {
        "mode": "nearest",
        "nearest_mode": "floor",
        "coordinate_transformation_mode": "asymmetric",
        "keep_aspect_ratio_policy": "stretch",
        "antialias": 0,
        "exclude_outside": 0,
        "extrapolation_value": 0.0,
        "cubic_coeff_a": -0.75,
    }
)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What is known of a tensor before anything runs."""

    dtype: str
    shape: tuple[int, ...]
    weights: Array | None = None  # None: computed

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


class _Misfit(Exception):
    """An operator that our exporter would not write; says why."""


@dataclass(slots=True)
class _Use:
    """One use of an operator: what goes in, and the attributes that no rule has asked for yet."""

    inputs: Sequence[_Tensor | None]
    attributes: dict[str, object]
    outputs: int
    macs: int = 0

    def tensor(self, index: int) -> _Tensor:
        tensor = self.inputs[index] if index < len(self.inputs) else None
        _require(tensor is not None, f"lacks input {index}")
        assert tensor is not None
        return tensor

    def floats(self, index: int, rank: int | None = None) -> _Tensor:
        tensor = self.tensor(index)
        _require(tensor.dtype in _FLOATS, f"takes {tensor}; wanted floats")
        _require(rank is None or len(tensor.shape) == rank, f"takes {tensor}; wanted {rank} axes")
        return tensor

    def weights(self, index: int, dtype: str) -> Array:
        tensor = self.tensor(index)
        fit = tensor.weights is not None and tensor.dtype == dtype
        _require(fit, f"takes {tensor} as input {index}; wanted {dtype} weights")
        assert tensor.weights is not None
        return tensor.weights

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        value = self.attributes.pop(name, default)
        fit = type(value) is int and least <= value <= most
        _require(fit, f"has {name} {value!r:.40}; wanted {least} to {most}")
        assert isinstance(value, int)
        return value

    def integers(self, name: str, count: int, least: int, most: int) -> tuple[int, ...]:
        values = self.attributes.pop(name, None)
        fit = isinstance(values, tuple) and len(values) == count
        _require(fit, f"has {name} {values!r:.40}; wanted {count} integers")
        assert isinstance(values, tuple)
        fit = all(least <= value <= most for value in values)
        _require(fit, f"has {name} {values}; wanted {least} to {most}")
        return values

    def fixed(self, name: str, wanted: object) -> None:
        value = self.attributes.pop(name, wanted)
        fit = value == wanted and type(value) is type(wanted)
        _require(fit, f"has {name} {value!r:.40}; wanted {wanted!r}")


def _require(holds: bool, flaw: str) -> None:
    if not holds:
        raise _Misfit(flaw)


def checked_denoiser(model: bytes, size: int, may_be_half: bool = False) -> bytes:
    """The network in the ONNX file `model`, written anew, if it is a denoiser of a `size` px canvas.

    may_be_half: or the smaller one that such a canvas can have, see `half_px`. Takes about 30 ms for 10 MB.
    Raises RunnerError, whose one line starts with what is wrong.
    """
    graph = read_graph(model)
    half = half_px(size) if may_be_half else None
    if half is not None and graph.inputs == denoiser_inputs(half):
        size = half
    _check_ends("inputs", graph.inputs, denoiser_inputs(size))
    _check_ends("outputs", graph.outputs, denoiser_outputs(size))
    if graph.opset != OPSET:
        raise RunnerError(f"the network is of operator set {graph.opset}; wanted {OPSET}")
    if len(graph.nodes) > MAX_NODES:
        raise RunnerError(f"the network has {len(graph.nodes)} operators; wanted at most {MAX_NODES}")
    nodes = _in_order(graph)
    known = _known(graph, nodes)
    for name, spec in graph.outputs.items():
        found = known.get(name)
        if (
            found is None
            or found.weights is not None
            or (found.dtype, found.shape) != (spec.dtype, spec.shape)
        ):
            raise RunnerError(f"the network computes {found} as {name!r}; wanted {spec}")
    return encode_graph(replace(graph, nodes=nodes))


def _check_ends(what: str, found: Mapping[str, TensorSpec], wanted: Mapping[str, TensorSpec]) -> None:
    if list(found.items()) != list(wanted.items()):
        raise RunnerError(f"the network's {what} are {_listed(found)}; wanted {_listed(wanted)}")


def _listed(specs: Mapping[str, TensorSpec]) -> str:
    listed = ", ".join(f"{name} {spec}" for name, spec in list(specs.items())[:8])
    return listed or "none"


def _in_order(graph: Graph) -> tuple[Node, ...]:
    """The operators, each after all that it takes: some writers append theirs at the end."""
    made, ordered, waiting = {"", *graph.inputs, *graph.weights}, [], list(graph.nodes)
    while waiting:
        later = []
        for node in waiting:
            if made.issuperset(node.inputs):
                made.update(node.outputs)
                ordered.append(node)
            else:
                later.append(node)
        if len(later) == len(waiting):
            missing = next(name for name in waiting[0].inputs if name not in made)
            raise RunnerError(f"operator {waiting[0].op!r} takes {missing!r}, which nothing before it makes")
        waiting = later
    return tuple(ordered)


def _known(graph: Graph, nodes: Sequence[Node]) -> dict[str, _Tensor]:
    """Every tensor by name, each made once."""
    known = {name: _Tensor(spec.dtype, spec.shape) for name, spec in graph.inputs.items()}
    for name, weights in graph.weights.items():
        if name in known:
            raise RunnerError(f"the network has weights named as its input {name!r}")
        known[name] = _Tensor(weights.dtype.name, weights.shape, weights)
    macs = values = 0
    for node in nodes:
        use, made = _checked_use(node, known)
        macs += use.macs
        for name, tensor in zip(node.outputs, made, strict=True):
            values += math.prod(tensor.shape)
            if not name or name in known:
                raise RunnerError(f"operator {node.op!r} makes {name!r}: there already, or no name")
            known[name] = tensor
        if macs > MAX_MACS or values > MAX_VALUES:
            raise RunnerError(
                f"the network takes more than {MAX_MACS} multiplications a picture, "
                f"or {MAX_VALUES} values between input and output"
            )
    return known


def _checked_use(node: Node, known: Mapping[str, _Tensor]) -> tuple[_Use, Sequence[_Tensor]]:
    rule = RULES.get(node.op)
    if rule is None:
        raise RunnerError(f"operator {node.op!r} has no place in a denoiser; wanted {', '.join(RULES)}")
    inputs = [known[name] if name else None for name in node.inputs]
    use = _Use(inputs, dict(node.attributes), len(node.outputs))
    try:
        made = rule(use)
        _require(len(made) == len(node.outputs), f"makes {len(node.outputs)} tensors; wanted {len(made)}")
        _require(not use.attributes, f"has the unknown attributes {sorted(use.attributes)}")
        for tensor in made:
            _require(all(length >= 1 for length in tensor.shape), f"makes {tensor}, which is empty")
    except _Misfit as misfit:
        where = node.outputs[0] if node.outputs else ""
        raise RunnerError(f"operator {node.op!r} at {where!r} {misfit}") from misfit
    return use, made


def _few(weights: Array) -> list[float]:
    """The first of them, for a message."""
    few: list[float] = weights.ravel()[: MAX_RANK + 1].tolist()
    return few


def _elementwise(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 2)
    one, other = use.floats(0), use.floats(1)
    _require(one.dtype == other.dtype, f"takes {one} and {other}; wanted one type")
    try:
        shape = np.broadcast_shapes(one.shape, other.shape)
    except ValueError:
        raise _Misfit(f"takes {one} and {other}, which do not fit") from None
    return [_Tensor(one.dtype, shape)]


def _inputs(use: _Use, most: int) -> None:
    _require(len(use.inputs) <= most, f"takes {len(use.inputs)} tensors; wanted at most {most}")


def _unary(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 1)
    return [_Tensor(use.floats(0).dtype, use.floats(0).shape)]


def _leaky_relu(use: _Use) -> Sequence[_Tensor]:
    slope = use.attributes.pop("alpha", 0.01)
    _require(isinstance(slope, float) and abs(slope) <= 1, f"has alpha {slope}; wanted a number from -1 to 1")
    return _unary(use)


def _cast(use: _Use) -> Sequence[_Tensor]:
    to = use.integer("to", 0, 0, 255)
    _require(to in (1, 10), f"casts to data type {to}; wanted 1 or 10, floats")
    return [_Tensor("float32" if to == 1 else "float16", _unary(use)[0].shape)]


def _conv(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 3)
    picture, kernels = use.floats(0, 4), use.floats(1, 4)
    batch, channels, *place = picture.shape
    made, taken, *kernel = kernels.shape
    use.fixed("auto_pad", "NOTSET")
    use.fixed("group", 1)
    use.fixed("dilations", (1, 1))
    use.fixed("kernel_shape", tuple(kernel))
    _require(taken == channels, f"has kernels {kernels} for {picture}")
    pads = use.integers("pads", 4, 0, min(kernel) - 1)
    strides = use.integers("strides", 2, 1, 64)
    if len(use.inputs) == 3:
        _require(use.floats(2).shape == (made,), f"has the bias {use.tensor(2)}; wanted {made} values")
    _require(len({use.floats(index).dtype for index in range(len(use.inputs))}) == 1, "mixes data types")
    rooms = [length + pads[axis] + pads[axis + 2] - kernel[axis] for axis, length in enumerate(place)]
    _require(min(rooms) >= 0, f"has kernels {kernels} for the smaller {picture}")
    shape = (batch, made, *(room // stride + 1 for room, stride in zip(rooms, strides, strict=True)))
    use.macs = math.prod(shape) * math.prod(kernels.shape[1:])
    spread = use.macs // made  # values, where a runtime lays out what each kernel sees
    _require(spread <= MAX_VALUES, f"has kernels {kernels}, which see {spread} values of {picture}")
    return [_Tensor(picture.dtype, shape)]


def _gemm(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 3)
    rows, matrix = use.floats(0, 2), use.floats(1, 2)
    for name in ("alpha", "beta"):
        use.fixed(name, 1.0)
    use.fixed("transA", 0)
    taken, made = matrix.shape[::-1] if use.integer("transB", 0, 0, 1) else matrix.shape
    _require(rows.shape[1] == taken, f"multiplies {rows} with {matrix}")
    if len(use.inputs) == 3:
        _require(use.floats(2).shape == (made,), f"adds {use.tensor(2)}; wanted {made} values")
    _require(len({use.floats(index).dtype for index in range(len(use.inputs))}) == 1, "mixes data types")
    use.macs = rows.shape[0] * taken * made
    return [_Tensor(rows.dtype, (rows.shape[0], made))]


def _concat(use: _Use) -> Sequence[_Tensor]:
    _require(1 <= len(use.inputs) <= 8, f"joins {len(use.inputs)} tensors; wanted 1 to 8")
    parts = [use.floats(index) for index in range(len(use.inputs))]
    first, rank = parts[0], len(parts[0].shape)
    axis = use.integer("axis", -1, 0, rank - 1)
    for part in parts:
        same = len(part.shape) == rank and part.dtype == first.dtype
        beside = part.shape[:axis] == first.shape[:axis] and part.shape[axis + 1 :] == first.shape[axis + 1 :]
        _require(same and beside, f"joins {first} and {part}, which do not fit")
    length = sum(part.shape[axis] for part in parts)
    return [_Tensor(first.dtype, (*first.shape[:axis], length, *first.shape[axis + 1 :]))]


def _split(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 1)
    whole = use.floats(0)
    axis = use.integer("axis", 0, 0, len(whole.shape) - 1)
    parts = use.integer("num_outputs", 0, 1, 64)
    _require(parts == use.outputs and whole.shape[axis] % parts == 0, f"splits {whole} into {parts}")
    length = whole.shape[axis] // parts
    return [_Tensor(whole.dtype, (*whole.shape[:axis], length, *whole.shape[axis + 1 :]))] * parts


def _unsqueeze(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 2)
    flat, axes = use.floats(0), use.weights(1, "int64")
    rank = len(flat.shape) + axes.size
    fit = axes.ndim == 1 and rank <= MAX_RANK and all(-1 < axis < rank for axis in axes)
    fit = fit and bool((np.diff(axes) > 0).all())
    _require(fit, f"adds the axes {_few(axes)} to {flat}")
    shape = list(flat.shape)
    for axis in axes:
        shape.insert(int(axis), 1)
    return [_Tensor(flat.dtype, tuple(shape))]


def _reshape(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 2)
    use.fixed("allowzero", 0)
    old, wanted = use.floats(0), use.weights(1, "int64")
    _require(wanted.ndim == 1 and 1 <= wanted.size <= MAX_RANK, f"wants the shape {_few(wanted)}")
    given = [int(length) for length in wanted]
    rest = math.prod(old.shape) // max(1, math.prod(length for length in given if length != -1))
    shape = tuple(rest if length == -1 and given.count(-1) == 1 else length for length in given)
    fit = all(length >= 1 for length in shape) and math.prod(shape) == math.prod(old.shape)
    _require(fit, f"gives {old} the shape {shape}")
    return [_Tensor(old.dtype, shape)]


def _transpose(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 1)
    old = use.floats(0)
    order = use.integers("perm", len(old.shape), 0, len(old.shape) - 1)
    _require(len(set(order)) == len(order), f"has perm {order}; wanted every axis once")
    return [_Tensor(old.dtype, tuple(old.shape[axis] for axis in order))]


def _depth_to_space(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 1)
    batch, channels, height, width = use.floats(0, 4).shape
    use.fixed("mode", "CRD")
    block = use.integer("blocksize", 0, 1, 64)
    _require(channels % block**2 == 0, f"spreads {channels} channels over blocks of {block}")
    return [_Tensor(use.floats(0).dtype, (batch, channels // block**2, height * block, width * block))]


def _space_to_depth(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 1)
    batch, channels, height, width = use.floats(0, 4).shape
    block = use.integer("blocksize", 0, 1, 64)
    _require(height % block == width % block == 0, f"gathers {use.floats(0)} from blocks of {block}")
    return [_Tensor(use.floats(0).dtype, (batch, channels * block**2, height // block, width // block))]


def _resize(use: _Use) -> Sequence[_Tensor]:
    _require(len(use.inputs) == 3 and use.inputs[1] is None, "wanted a picture and its scales")
    picture, scales = use.floats(0, 4), use.weights(2, "float32")
    for name, value in _REPEATED.items():
        use.fixed(name, value)
    _require(np.array_equal(scales, (1, 1, 2, 2)), f"has scales {_few(scales)}; wanted [1, 1, 2, 2]")
    batch, channels, height, width = picture.shape
    return [_Tensor(picture.dtype, (batch, channels, 2 * height, 2 * width))]


def _quantize(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 3)
    values, scale, zero = use.tensor(0), use.weights(1, "float32"), use.weights(2, "uint8")
    _require(values.dtype == "float32", f"takes {values}; wanted float32")
    fit = scale.shape == zero.shape == () and float(scale) > 0
    _require(fit, "wanted one scale above 0 and one zero point")
    return [_Tensor("uint8", values.shape)]


def _dequantize(use: _Use) -> Sequence[_Tensor]:
    _inputs(use, 3)
    values, scale = use.tensor(0), use.weights(1, "float32")
    _require(values.dtype in ("uint8", "int8", "int32"), f"takes {values}; wanted integers")
    zero = use.weights(2, values.dtype)
    use.integer("axis", 0, 0, 0)
    one_each = bool(values.shape) and scale.shape == (values.shape[0],)
    fit = scale.shape == zero.shape and (one_each or scale.shape == ())
    _require(fit, f"has scales {scale.shape} and zero points {zero.shape} for {values}")
    _require(bool((scale > 0).all()), "has scales that are not above 0")
    return [_Tensor("float32", values.shape)]


RULES: Mapping[str, Callable[[_Use], Sequence[_Tensor]]] = MappingProxyType(
    {
        "Add": _elementwise,
        "Cast": _cast,
        "Concat": _concat,
        "Conv": _conv,
        "Cos": _unary,
        "DepthToSpace": _depth_to_space,
        "DequantizeLinear": _dequantize,
        "Gemm": _gemm,
        "LeakyRelu": _leaky_relu,
        "Mul": _elementwise,
        "QuantizeLinear": _quantize,
        "Reshape": _reshape,
        "Resize": _resize,
        "Sigmoid": _unary,
        "Sin": _unary,
        "SpaceToDepth": _space_to_depth,
        "Split": _split,
        "Sub": _elementwise,
        "Transpose": _transpose,
        "Unsqueeze": _unsqueeze,
    }
)
