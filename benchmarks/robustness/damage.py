"""Ways to damage an `.avatar` file: by accident, and as a careful forger would, down to the network's graph.

The same seed gives the same damage. What is forged has hashes and a digest that agree, so that whatever is
wrong must be found in the content itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.avatar.container import FIELDS, MANIFEST, SIGNATURES, build_manifest, encode_json
from engine.network.contract import TensorSpec
from engine.network.network_check import RULES
from engine.network.onnx_file import Attribute, Graph, Node, encode_graph, read_graph

Members = dict[str, bytes]

_ODD_TEXTS = ("", "é" * 3, "a\nb", "\x1b[2J", "../x", "/etc/hostname", "x" * 5000, "\ud800", "nan", "0")
_ODD_VALUES: tuple[Any, ...] = (None, True, 0, -1, 3, 10**17, 10**30, 0.5, -1e300, [], {}, [1], {"a": 1})
_HARMFUL = ("Loop", "If", "Scan", "Expand", "Tile", "Pad", "Range", "Gather", "ConstantOfShape", "MatMul")
_OPERATORS = (*RULES, "Identity", *_HARMFUL)
_NUMBERS = (-(2**63), -1, 0, 1, 2, 3, 7, 64, 255, 2**20, 2**31, 2**40, 2**62)
_DTYPES = ("float32", "float16", "int64", "int32", "int8", "uint8")


class Damage:
    """Every way, chosen and carried out with one seed on one whole file."""

    def __init__(self, whole: bytes, outside: Path) -> None:
        """outside: a file that no network may read; its name is put into some."""
        self._whole = whole
        self._outside = outside
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            self._members = {name: archive.read(name) for name in archive.namelist()}
        manifest = json.loads(self._members.pop(MANIFEST))
        self._signatures = {SIGNATURES: self._members.pop(SIGNATURES)}  # of the digest; the manifest has none
        self._fields = {key: manifest[key] for key in FIELDS}
        self._graphs = {name: read_graph(data) for name, data in self._members.items() if _is_model(name)}

    def damaged(self, seed: int) -> tuple[str, bytes]:
        """What was done, in a few words, and the file."""
        random = Random(seed)
        ways: list[tuple[int, Callable[[Random], tuple[str, bytes]]]] = [
            (1, self._bytes),
            (4, self._arrays),
            (1, self._pictures),
            (2, self._json),
            (2, self._manifest),
            (1, self._which_members),
            (1, self._signed),
            (5 if self._graphs else 0, self._graph),
        ]
        way = random.choices([way for _, way in ways], [weight for weight, _ in ways])[0]
        with np.errstate(all="ignore"):
            return way(random)

    def _forged(self, changes: Mapping[str, bytes | None], fields: Mapping[str, Any] | None = None) -> bytes:
        members = {**self._members, **changes}
        kept = {name: data for name, data in members.items() if data is not None}
        manifest = encode_json(build_manifest(kept, fields or self._fields))
        return _zipped({MANIFEST: manifest, **self._signatures, **kept})

    def _with_manifest(self, manifest: bytes) -> bytes:
        return _zipped({MANIFEST: manifest, **self._signatures, **self._members})

    def _signed(self, random: Random) -> tuple[str, bytes]:
        """The signatures of the whole file: dropped, garbage, or changed somewhere."""
        kind = random.choice(["drop", "garbage", "change", "change", "change"])
        signatures = {}
        if kind == "garbage":
            signatures = {SIGNATURES: random.randbytes(random.randrange(200))}
        elif kind == "change":
            changed = _changed_json(random, json.loads(self._signatures[SIGNATURES]))
            signatures = {SIGNATURES: _dumped(changed)}
        manifest = encode_json(build_manifest(self._members, self._fields))
        return f"signatures: {kind}", _zipped({MANIFEST: manifest, **signatures, **self._members})

    def _bytes(self, random: Random) -> tuple[str, bytes]:
        """Of the file itself: no hash agrees any more."""
        whole = bytearray(self._whole)
        kind = random.choice(["flip", "cut", "insert", "double", "zero"])
        at = random.choice([random.randrange(len(whole)), whole.rindex(b"PK\x01\x02") + random.randrange(60)])
        at = min(at, len(whole) - 1)
        if kind == "flip":
            whole[at] ^= random.randrange(1, 256)
        elif kind == "cut":
            del whole[at:]
        elif kind == "insert":
            whole[at:at] = random.randbytes(random.randrange(1, 40))
        elif kind == "double":
            whole += whole[at:]
        else:
            whole[at : at + 30] = bytes(len(whole[at : at + 30]))
        return f"bytes: {kind}", bytes(whole)

    def _arrays(self, random: Random) -> tuple[str, bytes]:
        member = random.choice([name for name in self._members if name.endswith(".npz")])
        with np.load(io.BytesIO(self._members[member])) as stored:
            arrays: dict[str, NDArray[Any]] = {name: stored[name] for name in stored.files}
        said = []
        for _ in range(random.choice([1, 1, 1, 2, 3])):
            name = random.choice(sorted(arrays))
            kind = random.choice(sorted(_ARRAY_DAMAGE))
            try:
                changed = _ARRAY_DAMAGE[kind](random, arrays[name])
            except (TypeError, ValueError):  # what became text before is not scaled, say
                changed = arrays[name]
            if changed is None:
                del arrays[name]
            else:
                arrays[name] = changed
            if kind == "rename":
                arrays[f"x{random.choice(['y', chr(10), 'z' * 300])}"] = arrays.pop(name)
            said.append(f"{kind} {name}")
            if not arrays:
                break
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return f"arrays: {member}: {', '.join(said)}", self._forged({member: buffer.getvalue()})

    def _pictures(self, random: Random) -> tuple[str, bytes]:
        pictures = [name for name in self._members if name.endswith((".png", ".jpg"))]
        member = random.choice(pictures)
        data = bytearray(self._members[member])
        kind = random.choice(["flip", "cut", "another", "empty", "garbage", "length"])
        if kind == "flip":
            for _ in range(random.randrange(1, 6)):
                data[random.randrange(len(data))] ^= random.randrange(1, 256)
        elif kind == "cut":
            del data[random.randrange(len(data)) :]
        elif kind == "another":
            data = bytearray(self._members[random.choice(pictures)])
        elif kind == "length":
            data[16:24] = random.randbytes(8)  # width and height of a PNG
        else:
            data = bytearray(b"" if kind == "empty" else random.randbytes(random.randrange(1, 200)))
        return f"pictures: {kind} {member}", self._forged({member: bytes(data)})

    def _json(self, random: Random) -> tuple[str, bytes]:
        member = random.choice([name for name in self._members if name.endswith(".json")])
        if random.random() < 0.1:
            text = random.choice([b"", b"[]", b"{", b"\xff\xfe", b"null", b"[" * 5000, b'{"a": 1e999}'])
            return f"json: {member}: {text[:20]!r}", self._forged({member: text})
        changed = _changed_json(random, json.loads(self._members[member]))
        return f"json: {member}", self._forged({member: _dumped(changed)})

    def _manifest(self, random: Random) -> tuple[str, bytes]:
        manifest = build_manifest(self._members, self._fields)
        del manifest["digest"]
        part = random.choice([*FIELDS, "members", "format_version", ""])
        if part:
            manifest[part] = _changed_json(random, manifest[part])
        else:
            manifest = _changed_json(random, manifest)
        if isinstance(manifest, dict) and random.random() < 0.95:
            manifest["digest"] = hashlib.sha256(_dumped(manifest)).hexdigest()
        return f"manifest: {part or 'all'}", self._with_manifest(_dumped(manifest))

    def _which_members(self, random: Random) -> tuple[str, bytes]:
        member = random.choice(sorted(self._members))
        kind = random.choice(["drop", "add", "swap", "rename", "empty"])
        fields = self._fields
        if kind == "drop":
            changes: dict[str, bytes | None] = {member: None}
            if _is_model(member) and random.random() < 0.5:
                rest = {name: facts for name, facts in fields["models"].items() if not member.endswith(name)}
                fields = {**fields, "models": rest}
        elif kind == "add":
            name = random.choice(
                ["keyframes/41.png", "memory/99.jpg", "models/x.onnx", "held_out/09.jpg", "a"]
            )
            changes = {name: self._members[member]}
        elif kind == "rename":
            changes = {member: None, member + "x": self._members[member]}
        else:
            other = b"" if kind == "empty" else self._members[random.choice(sorted(self._members))]
            changes = {member: other}
        return f"members: {kind} {member}", self._forged(changes, fields)

    def _graph(self, random: Random) -> tuple[str, bytes]:
        member = random.choice(sorted(self._graphs))
        if random.random() < 0.1:
            data = bytearray(self._members[member])
            for _ in range(random.randrange(1, 5)):
                data[random.randrange(len(data))] ^= random.randrange(1, 256)
            return f"graph: flip {member}", self._forged({member: bytes(data)})
        graph, said = self._graphs[member], []
        for _ in range(random.choice([1, 1, 2, 4])):
            kind = random.choice(sorted(_GRAPH_DAMAGE))
            graph = _GRAPH_DAMAGE[kind](random, graph)
            said.append(kind)
        data = bytearray(encode_graph(graph))
        if random.random() < 0.15:
            kind = random.choice(["outside", "function", "sparse", "twice"])
            data = _with_more(kind, bytes(data), self._outside, random)
            said.append(kind)
        return f"graph: {', '.join(said)}", self._forged({member: bytes(data)})


def _is_model(member: str) -> bool:
    return member.startswith("models/")


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _dumped(value: Any) -> bytes:
    """As `encode_json`, but of anything."""
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _changed_json(random: Random, value: Any) -> Any:
    """The same with one place changed, however deep."""
    if isinstance(value, (dict, list)) and value and random.random() < 0.8:
        keys = sorted(value) if isinstance(value, dict) else list(range(len(value)))
        key = random.choice(keys)
        copy = dict(value) if isinstance(value, dict) else list(value)
        kind = random.random()
        if kind < 0.15:
            del copy[key]
        elif kind < 0.25 and isinstance(copy, dict):
            copy[random.choice(_ODD_TEXTS)] = copy.pop(key)
        else:
            copy[key] = _changed_json(random, copy[key])
        return copy
    return random.choice([*_ODD_VALUES, *_ODD_TEXTS])


def _one_value(random: Random, array: NDArray[Any], value: float) -> NDArray[Any]:
    changed = array.copy()
    if changed.size:
        with np.errstate(all="ignore"):
            changed.reshape(-1)[random.randrange(changed.size)] = np.float64(value).astype(changed.dtype)
    return changed


_ARRAY_DAMAGE: Mapping[str, Callable[[Random, NDArray[Any]], NDArray[Any] | None]] = {
    "drop": lambda random, array: None,
    "rename": lambda random, array: array,
    "cut": lambda random, array: array[: random.randrange(max(len(array), 1))] if array.ndim else array[None],
    "retype": lambda random, array: array.astype(
        random.choice(["f8", "f2", "i4", "u1", "c8", "S4", "U4", "?", ">f4"])
    ),
    "not finite": lambda random, array: _one_value(random, array, random.choice([np.nan, np.inf, -np.inf])),
    "reshape": lambda random, array: array.reshape(random.choice([(-1,), (1, *array.shape), (-1, 1)])),
    "repeat": lambda random, array: np.concatenate([np.atleast_1d(array)] * 2),
    "zero": lambda random, array: np.zeros_like(array),
    "extreme": lambda random, array: _one_value(
        random, array, random.choice([3e38, -3e38, 1e-38, 1e5, -1e5])
    ),
    "scale": lambda random, array: np.asarray(array * random.choice([-1.0, 0.0, 0.01, 100.0]), array.dtype),
    "noise": lambda random, array: np.asarray(
        np.random.default_rng(random.getrandbits(32)).normal(0, random.choice([0.01, 1, 50]), array.shape),
        array.dtype,
    ),
    "one everywhere": lambda random, array: np.full_like(array, random.choice([0.5, 1.0, -1.0, 15.0])),
}


def _changed_node(random: Random, graph: Graph, change: Callable[[Node], Node]) -> Graph:
    if not graph.nodes:
        return graph
    index = random.randrange(len(graph.nodes))
    return replace(graph, nodes=(*graph.nodes[:index], change(graph.nodes[index]), *graph.nodes[index + 1 :]))


def _any_name(random: Random, graph: Graph) -> str:
    made = [name for node in graph.nodes for name in node.outputs]
    return random.choice([*graph.inputs, *graph.weights, *made, "", "nobody"])


def _other_attribute(random: Random, node: Node) -> Node:
    attributes: dict[str, Attribute] = dict(node.attributes)
    name = random.choice([*attributes, "axis", "blocksize", "to", "alpha", "group", "body"])
    old = attributes.get(name, 0)
    values: list[Attribute] = [random.choice(_NUMBERS), 0.5, -1e30, "linear", (1, 2), ()]
    if isinstance(old, tuple) and old:
        values += [tuple(random.choice(_NUMBERS) for _ in old)] * 4
    attributes[name] = random.choice(values)
    if random.random() < 0.2:
        del attributes[name]
    return replace(node, attributes=attributes)


def _other_weights(random: Random, graph: Graph) -> Graph:
    if not graph.weights:
        return graph
    weights = dict(graph.weights)
    name = random.choice(sorted(weights))
    array = weights[name]
    kind = random.choice(["drop", "value", "dtype", "reshape", "all", "grow", "shapes"])
    if kind == "drop":
        del weights[name]
    elif kind == "value":
        weights[name] = _one_value(random, array, random.choice([np.nan, np.inf, 6e4, -1.0, 0.0, 127.0]))
    elif kind == "dtype":
        with np.errstate(all="ignore"):
            weights[name] = array.astype(random.choice(_DTYPES))
    elif kind == "reshape":
        weights[name] = array.reshape(random.choice([(-1,), (1, *array.shape), (-1, 1)]))
    elif kind == "all":
        weights[name] = np.full_like(array, random.choice([0, 1, 2, 100]))
    elif kind == "grow":
        weights[name] = np.repeat(np.atleast_1d(array), 2, axis=0)
    else:  # what says a shape
        small = [key for key, value in weights.items() if value.dtype == np.int64]
        if small:
            chosen = random.choice(small)
            numbers = [random.choice(_NUMBERS) for _ in range(random.randrange(0, 9))]
            weights[chosen] = np.array(numbers, np.int64)
    return replace(graph, weights=weights)


def _other_ends(random: Random, graph: Graph) -> Graph:
    ends = {"inputs": dict(graph.inputs), "outputs": dict(graph.outputs)}
    side = random.choice(sorted(ends))
    specs = ends[side]
    name = random.choice([*specs, "more"])
    kind = random.choice(["drop", "shape", "dtype", "rename", "add"])
    spec = specs.get(name, TensorSpec((1, 3, 2**20, 2**12)))
    if kind == "drop":
        specs.pop(name, None)
    elif kind == "shape":
        specs[name] = TensorSpec(tuple(random.choice([1, 3, 64, 2**31, 0]) for _ in spec.shape), spec.dtype)
    elif kind == "dtype":
        specs[name] = TensorSpec(spec.shape, random.choice(_DTYPES))
    elif kind == "rename":
        specs[_any_name(random, graph) or "x"] = specs.pop(name, spec)
    else:
        specs[_any_name(random, graph) or "x"] = spec
    return replace(graph, inputs=ends["inputs"], outputs=ends["outputs"])


def _doubled(random: Random, graph: Graph) -> Graph:
    """The picture grows by four with each operator, and is thrown away."""
    weights = {**graph.weights, "twice": np.array([1, 1, 2, 2], np.float32)}
    way: dict[str, Attribute] = {
        "mode": "nearest",
        "nearest_mode": "floor",
        "coordinate_transformation_mode": "asymmetric",
    }
    names = ["prior", *(f"grown{index}" for index in range(random.randrange(1, 12)))]
    more = [Node("Resize", (one, "", "twice"), (other,), way) for one, other in pairwise(names)]
    return replace(graph, weights=weights, nodes=(*more, *graph.nodes))


def _many(random: Random, graph: Graph) -> Graph:
    more = [Node("Sin", ("prior",), (f"sine{index}",), {}) for index in range(random.choice([50, 500, 5000]))]
    return replace(graph, nodes=(*more, *graph.nodes))


_GRAPH_DAMAGE: Mapping[str, Callable[[Random, Graph], Graph]] = {
    "another operator": lambda random, graph: _changed_node(
        random, graph, lambda node: replace(node, op=random.choice(_OPERATORS))
    ),
    "drop an operator": lambda random, graph: replace(
        graph, nodes=tuple(node for node in graph.nodes if random.random() > 0.01)
    ),
    "another input": lambda random, graph: _changed_node(
        random,
        graph,
        lambda node: replace(
            node,
            inputs=tuple(_any_name(random, graph) if random.random() < 0.5 else name for name in node.inputs),
        ),
    ),
    "another output": lambda random, graph: _changed_node(
        random, graph, lambda node: replace(node, outputs=(*node.outputs[1:], _any_name(random, graph)))
    ),
    "another attribute": lambda random, graph: _changed_node(
        random, graph, lambda node: _other_attribute(random, node)
    ),
    "other weights": _other_weights,
    "other ends": _other_ends,
    "shuffled": lambda random, graph: replace(
        graph, nodes=tuple(random.sample(graph.nodes, len(graph.nodes)))
    ),
    "another set of operators": lambda random, graph: replace(graph, opset=random.choice([0, 1, 17, 19, 99])),
    "doubled": _doubled,
    "many": _many,
}


def _with_more(kind: str, model: bytes, outside: Path, random: Random) -> bytearray:
    """Adds what our own writer cannot: see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto."""
    import onnx  # only here

    parsed = onnx.load_from_string(model)
    if kind == "outside":
        name = random.choice(
            [outside.name, f"./{outside.name}", str(outside), f"../{outside.parent.name}/{outside.name}"]
        )
        for tensor in random.sample(list(parsed.graph.initializer), min(2, len(parsed.graph.initializer))):
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", name), ("offset", "0"), ("length", "4")):
                tensor.external_data.add(key=key, value=value)
    elif kind == "function":
        parsed.functions.add(name="Add", domain=random.choice(["", "x"]), input=["a", "b"], output=["c"])
    elif kind == "sparse":
        parsed.graph.sparse_initializer.add(dims=[2, 2])
    else:
        return bytearray(model + model)
    return bytearray(parsed.SerializeToString())
