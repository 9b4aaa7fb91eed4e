"""ONNX files from anywhere, read as data and written anew from what was understood of them.

A runtime that is given somebody's file also takes its loops, its functions and the names of other files that
it would then read. So it is given `encode_graph` of what `read_graph` found: operators with plain attributes,
and weights that lie in the file itself. Reads the wire format of Protocol Buffers by itself, with every field
counted, as a library would turn a few megabytes into gigabytes of objects. Knows no operator.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from engine.errors import RunnerError
from engine.network.contract import Array, TensorSpec

MAX_BYTES = 32 * 1024 * 1024  # of a file; the networks of today take 10 MB
MAX_FIELDS = 200_000  # in it, over all levels; the networks of today have 10,000
MAX_RANK = 8
MAX_TEXT = 200  # characters of a name

Attribute = int | float | str | tuple[int, ...]
_Found = TypeVar("_Found")

# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto: the numbers of the fields, by message.
_MODEL_IR, _MODEL_GRAPH, _MODEL_OPSET, _MODEL_FUNCTIONS = 1, 7, 8, 25
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_WEIGHT, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 2, 5, 11, 12, 15
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_TYPE, _ATTRIBUTE_REFERENCE = 1, 20, 21
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_TEXT, _ATTRIBUTE_INTS = 2, 3, 4, 8
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_TENSOR_FLOATS, _TENSOR_INT32S, _TENSOR_INT64S = 4, 5, 7
_TENSOR_ELSEWHERE, _TENSOR_LOCATION = 13, 14
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_TYPE_ELEMENT, _TENSOR_TYPE_SHAPE = 1, 1, 2
_SHAPE_DIM, _DIM_VALUE = 1, 1

_FLOAT, _INT, _TEXT, _INTS = 1, 2, 3, 7  # of an attribute's types
_DTYPES: Mapping[int, str] = MappingProxyType(
    {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16"}
)
_NUMBERS: Mapping[str, int] = MappingProxyType({name: number for number, name in _DTYPES.items()})
_IR_VERSION = 8  # the oldest that has every operator set up to 18


@dataclass(frozen=True, slots=True)
class Node:
    """One operator."""

    op: str
    inputs: tuple[str, ...]  # "" for one left out
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Graph:
    """A network: all that a runtime needs of it, and nothing else."""

    opset: int  # of the standard operators; there are no others
    inputs: Mapping[str, TensorSpec]  # in the network's order
    outputs: Mapping[str, TensorSpec]
    weights: Mapping[str, Array]  # read only
    nodes: tuple[Node, ...]


class _Message:
    """The fields of one message: number -> values, in their order; numbers as int, all else as bytes."""

    def __init__(self, data: memoryview, budget: list[int]) -> None:
        self._budget = budget  # fields that may still come, shared by all messages of a file
        self._fields: dict[int, list[int | memoryview]] = {}
        at = 0
        while at < len(data):
            tag, at = _varint(data, at)
            value, at = _value(data, at, tag & 7)
            self._spend(1)
            self._fields.setdefault(tag >> 3, []).append(value)

    def _spend(self, fields: int) -> None:
        self._budget[0] -= fields
        if self._budget[0] < 0:
            raise RunnerError(f"the network has more than {MAX_FIELDS} fields")

    def has(self, number: int) -> bool:
        return number in self._fields

    def integer(self, number: int, default: int = 0) -> int:
        value = self._fields.get(number, [default])[-1]
        if not isinstance(value, int):
            raise RunnerError(f"field {number} of the network is not a number")
        return _signed(value)

    def many(self, number: int) -> Iterator[memoryview]:
        for value in self._fields.get(number, ()):
            if isinstance(value, int):
                raise RunnerError(f"field {number} of the network is a number")
            yield value

    def messages(self, number: int) -> Iterator[_Message]:
        return (_Message(value, self._budget) for value in self.many(number))

    def message(self, number: int) -> _Message:
        """Exactly one: a second would be merged into it."""
        found = list(self.many(number))
        if len(found) != 1:
            raise RunnerError(f"field {number} of the network is there {len(found)} times; wanted once")
        return _Message(found[0], self._budget)

    def texts(self, number: int) -> tuple[str, ...]:
        texts = []
        for value in self.many(number):
            if len(value) > MAX_TEXT:
                raise RunnerError(f"a name in the network has {len(value)} bytes; wanted at most {MAX_TEXT}")
            texts.append(str(value, "utf-8"))
        return tuple(texts)

    def text(self, number: int) -> str:
        return (self.texts(number) or ("",))[-1]

    def integers(self, number: int) -> tuple[int, ...]:
        """One by one or packed, as writers please."""
        integers = []
        for value in self._fields.get(number, ()):
            if isinstance(value, int):
                integers.append(_signed(value))
                continue
            at = 0
            while at < len(value):
                self._spend(1)
                item, at = _varint(value, at)
                integers.append(_signed(item))
        return tuple(integers)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    if at < len(data) and data[at] < 0x80:  # nearly always
        return data[at], at + 1
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise RunnerError("the network is cut short")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _value(data: memoryview, at: int, kind: int) -> tuple[int | memoryview, int]:
    if kind == 0:
        return _varint(data, at)
    if kind == 2:
        length, at = _varint(data, at)
    elif kind in (1, 5):
        length = 8 if kind == 1 else 4
    else:
        raise RunnerError(f"the network has a field of the unknown wire type {kind}")
    if length > len(data) - at:
        raise RunnerError("the network is cut short")
    return data[at : at + length], at + length


def read_graph(model: bytes) -> Graph:
    """The network in an ONNX file. Raises RunnerError, whose one line starts with what is wrong.

    What says nothing about the function is left out: texts for people, metadata, shapes in between.
    """
    if len(model) > MAX_BYTES:
        raise RunnerError(f"the network has {len(model)} bytes; wanted at most {MAX_BYTES}")
    try:
        return _graph(_Message(memoryview(model), [MAX_FIELDS]))
    except UnicodeDecodeError as error:
        raise RunnerError(f"a name in the network is not text ({error.reason})") from error


def _graph(model: _Message) -> Graph:
    if model.has(_MODEL_FUNCTIONS):
        raise RunnerError("the network defines functions; wanted operators alone")
    if not model.has(_MODEL_GRAPH):
        raise RunnerError("this is no ONNX network")
    graph = model.message(_MODEL_GRAPH)
    if graph.has(_GRAPH_SPARSE):
        raise RunnerError("the network has sparse weights; wanted plain ones")
    opsets = {each.text(_OPSET_DOMAIN): each.integer(_OPSET_VERSION) for each in model.messages(_MODEL_OPSET)}
    weights = [_weight(tensor) for tensor in graph.messages(_GRAPH_WEIGHT)]
    nodes = tuple(_node(node) for node in graph.messages(_GRAPH_NODE))
    if set(opsets) != {""}:
        raise RunnerError(f"the network takes operators from {sorted(opsets)}; wanted those of ONNX alone")
    return Graph(
        opset=opsets[""],
        inputs=_once("input", [_spec(value) for value in graph.messages(_GRAPH_INPUT)]),
        outputs=_once("output", [_spec(value) for value in graph.messages(_GRAPH_OUTPUT)]),
        weights=_once("weights", weights),
        nodes=nodes,
    )


def _once(what: str, named: Sequence[tuple[str, _Found]]) -> Mapping[str, _Found]:
    found: dict[str, _Found] = {}
    for name, value in named:
        if not name or name in found:
            raise RunnerError(f"the network's {what} {name!r} is there twice or has no name")
        found[name] = value
    return MappingProxyType(found)


def _node(node: _Message) -> Node:
    op = node.text(_NODE_OP)
    if domain := node.text(_NODE_DOMAIN):
        raise RunnerError(f"operator {op!r} is of {domain!r}; wanted those of ONNX alone")
    attributes = _once("attribute", [_attribute(op, each) for each in node.messages(_NODE_ATTRIBUTE)])
    return Node(op, node.texts(_NODE_INPUT), node.texts(_NODE_OUTPUT), attributes)


def _attribute(op: str, attribute: _Message) -> tuple[str, Attribute]:
    name, kind = attribute.text(_ATTRIBUTE_NAME), attribute.integer(_ATTRIBUTE_TYPE)
    if kind == _INT:
        return name, attribute.integer(_ATTRIBUTE_INT)
    if kind == _INTS:
        return name, attribute.integers(_ATTRIBUTE_INTS)
    if kind == _TEXT:
        return name, attribute.text(_ATTRIBUTE_TEXT)
    stored = list(attribute.many(_ATTRIBUTE_FLOAT))
    if kind == _FLOAT and len(stored) == 1 and len(stored[0]) == 4:
        value = float(struct.unpack("<f", stored[0])[0])
        if math.isfinite(value):
            return name, value
    # A graph within, a tensor, a reference to a function's attribute, ...
    raise RunnerError(f"attribute {name!r} of operator {op!r} is of kind {kind}; wanted a number or a text")


def _dtype(number: int, what: str) -> str:
    if number not in _DTYPES:
        raise RunnerError(f"{what} is of data type {number}; wanted one of {', '.join(_DTYPES.values())}")
    return _DTYPES[number]


def _shape(lengths: tuple[int, ...], what: str) -> tuple[int, ...]:
    if len(lengths) > MAX_RANK or any(length < 0 for length in lengths) or math.prod(lengths) > MAX_BYTES:
        raise RunnerError(
            f"{what} has the shape {lengths[: MAX_RANK + 1]}; wanted fixed lengths, at most {MAX_RANK}, "
            f"of at most {MAX_BYTES} values"
        )
    return lengths


def _spec(value: _Message) -> tuple[str, TensorSpec]:
    name = value.text(_VALUE_NAME)
    tensor = value.message(_VALUE_TYPE).message(_TYPE_TENSOR)
    dims = tensor.message(_TENSOR_TYPE_SHAPE).messages(_SHAPE_DIM)
    # An open length has no value.
    lengths = tuple(dim.integer(_DIM_VALUE, -1) for dim in dims)
    dtype = _dtype(tensor.integer(_TENSOR_TYPE_ELEMENT), f"the network's {name!r}")
    return name, TensorSpec(_shape(lengths, f"the network's {name!r}"), dtype)


def _weight(tensor: _Message) -> tuple[str, Array]:
    name = tensor.text(_TENSOR_NAME)
    what = f"the network's weights {name!r}"
    if tensor.has(_TENSOR_ELSEWHERE) or tensor.integer(_TENSOR_LOCATION):
        raise RunnerError(f"{what} lie in another file; wanted all weights inside")
    dtype = np.dtype(_dtype(tensor.integer(_TENSOR_TYPE), what))
    shape = _shape(tensor.integers(_TENSOR_DIMS), what)
    values = _values(tensor, dtype, what)
    if values.size != math.prod(shape):
        raise RunnerError(f"{what} are {values.size} values; wanted {math.prod(shape)}, as their shape says")
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise RunnerError(f"{what} are not finite")
    return name, values.reshape(shape)


def _values(tensor: _Message, dtype: np.dtype[np.generic], what: str) -> Array:
    """Flat; as bytes, or as the numbers that some writers prefer for small tensors."""
    for raw in tensor.many(_TENSOR_RAW):
        if len(raw) % dtype.itemsize:
            raise RunnerError(f"{what} are {len(raw)} bytes; wanted a multiple of {dtype.itemsize}")
        return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False)
    if dtype == np.float32:
        packed = b"".join(tensor.many(_TENSOR_FLOATS))
        if len(packed) % 4:
            raise RunnerError(f"{what} are {len(packed)} bytes; wanted a multiple of 4")
        return np.frombuffer(packed, "<f4").astype(np.float32, copy=False)
    integers = np.array(tensor.integers(_TENSOR_INT64S if dtype == np.int64 else _TENSOR_INT32S), np.int64)
    values = integers.astype(dtype)
    if dtype.kind not in "iu" or not np.array_equal(values, integers):
        raise RunnerError(f"{what} have values that {dtype} cannot hold")
    return values


def encode_graph(graph: Graph) -> bytes:
    """The network as an ONNX file; the same graph gives the same bytes."""
    parts = [_bytes_field(_GRAPH_NODE, _encode_node(node)) for node in graph.nodes]
    parts.append(_bytes_field(_GRAPH_NAME, b"denoiser"))
    parts += [_bytes_field(_GRAPH_WEIGHT, _encode_weight(name, w)) for name, w in graph.weights.items()]
    parts += [_bytes_field(_GRAPH_INPUT, _encode_spec(name, spec)) for name, spec in graph.inputs.items()]
    parts += [_bytes_field(_GRAPH_OUTPUT, _encode_spec(name, spec)) for name, spec in graph.outputs.items()]
    return b"".join(
        [
            _int_field(_MODEL_IR, _IR_VERSION),
            _bytes_field(_MODEL_GRAPH, b"".join(parts)),
            _bytes_field(_MODEL_OPSET, _int_field(_OPSET_VERSION, graph.opset)),
        ]
    )


def _encode_varint(value: int) -> bytes:
    value &= 0xFFFF_FFFF_FFFF_FFFF
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _int_field(number: int, value: int) -> bytes:
    return _encode_varint(number << 3) + _encode_varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return b"".join([_encode_varint(number << 3 | 2), _encode_varint(len(value)), value])


def _encode_node(node: Node) -> bytes:
    return b"".join(
        [
            *(_bytes_field(_NODE_INPUT, name.encode()) for name in node.inputs),
            *(_bytes_field(_NODE_OUTPUT, name.encode()) for name in node.outputs),
            _bytes_field(_NODE_OP, node.op.encode()),
            *(_bytes_field(_NODE_ATTRIBUTE, _encode_attribute(*each)) for each in node.attributes.items()),
        ]
    )


def _encode_attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, int):
        kind, encoded = _INT, _int_field(_ATTRIBUTE_INT, value)
    elif isinstance(value, float):
        kind, encoded = _FLOAT, _encode_varint(_ATTRIBUTE_FLOAT << 3 | 5) + struct.pack("<f", value)
    elif isinstance(value, str):
        kind, encoded = _TEXT, _bytes_field(_ATTRIBUTE_TEXT, value.encode())
    else:
        kind, encoded = _INTS, b"".join(_int_field(_ATTRIBUTE_INTS, each) for each in value)
    return _bytes_field(_ATTRIBUTE_NAME, name.encode()) + encoded + _int_field(_ATTRIBUTE_TYPE, kind)


def _encode_weight(name: str, values: Array) -> bytes:
    return b"".join(
        [
            *(_int_field(_TENSOR_DIMS, length) for length in values.shape),
            _int_field(_TENSOR_TYPE, _NUMBERS[values.dtype.name]),
            _bytes_field(_TENSOR_NAME, name.encode()),
            _bytes_field(_TENSOR_RAW, values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()),
        ]
    )


def _encode_spec(name: str, spec: TensorSpec) -> bytes:
    dims = b"".join(_bytes_field(_SHAPE_DIM, _int_field(_DIM_VALUE, length)) for length in spec.shape)
    tensor = _int_field(_TENSOR_TYPE_ELEMENT, _NUMBERS[spec.dtype]) + _bytes_field(_TENSOR_TYPE_SHAPE, dims)
    kind = _bytes_field(_TYPE_TENSOR, tensor)
    return _bytes_field(_VALUE_NAME, name.encode()) + _bytes_field(_VALUE_TYPE, kind)
