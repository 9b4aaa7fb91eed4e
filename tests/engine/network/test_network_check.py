"""A network from elsewhere: weights for a denoiser, or refused before a runtime sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto as T
from onnx import helper

from engine.avatar.avatar_file import load_avatar
from engine.avatar.bundled import bundled_file
from engine.avatar.container import read_package
from engine.errors import RunnerError
from engine.network import network_check, onnx_file
from engine.network.contract import Array, denoiser_inputs, denoiser_outputs
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.network.network_check import OPSET, checked_denoiser
from engine.network.onnx_file import Graph, Node, encode_graph, read_graph
from engine.runners.onnx_runner import OnnxRunner
from export.convert.fused import FusedDenoiser, HalfDenoiser
from export.convert.onnx_export import export_onnx
from export.convert.quantise import _quantised, _ranges
from tests.support.small_avatar import least_network

SIZE = 128
SHAPE = DenoiserConfig(SIZE, (8, 8, 8), 1)


def feed(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.random(spec.shape, np.float32) for name, spec in denoiser_inputs(SIZE).items()}


@pytest.fixture(scope="module")
def exported(small_network: bytes) -> dict[str, bytes]:
    """The networks that our exporter writes, by precision."""
    network = Denoiser(SHAPE)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    example = {name: torch.from_numpy(array) for name, array in feed().items()}
    running = onnx.load_from_string(export_onnx(FusedDenoiser(network).eval(), example))
    running = onnx.shape_inference.infer_shapes(running)
    return {
        "fp32": small_network,
        "fp16": export_onnx(HalfDenoiser(network).eval(), example),
        "int8": _quantised(running, _ranges(running, [feed(1)]), []),
    }


@pytest.fixture(scope="module")
def parsed(exported: Mapping[str, bytes]) -> dict[str, onnx.ModelProto]:
    return {precision: onnx.load_from_string(model) for precision, model in exported.items()}


def refused(model: bytes, size: int = SIZE) -> str:
    with pytest.raises(RunnerError) as caught:
        checked_denoiser(model, size)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_what_we_export_is_written_anew_as_the_same_function(
    exported: Mapping[str, bytes], precision: str
) -> None:
    model = exported[precision]
    anew = checked_denoiser(model, SIZE)
    assert checked_denoiser(anew, SIZE) == anew
    onnx.checker.check_model(onnx.load_from_string(anew), full_check=True)
    before, after = OnnxRunner(model, threads=1), OnnxRunner(anew, threads=1)
    for seed in range(2):
        assert np.array_equal(before.run(feed(seed))["clean"], after.run(feed(seed))["clean"])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_weights_are_read_as_onnx_reads_them(
    exported: Mapping[str, bytes], parsed: Mapping[str, onnx.ModelProto], precision: str
) -> None:
    found = read_graph(exported[precision]).weights
    stored = parsed[precision].graph.initializer
    wanted = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored}
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_the_presenters_networks_take_little_time() -> None:
    with bundled_file("theo") as file:
        package = read_package(file)
    size = package.manifest["size_px"]
    for member, model in package.members.items():
        if member.startswith("models/"):
            took = []
            for _ in range(3):
                begun = process_time()
                checked_denoiser(model, size, may_be_half=True)
                took.append(process_time() - begun)
            assert min(took) < 0.1, member


def built(
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    opset: Sequence[tuple[str, int]] = (("", OPSET),),
    **more: Any,
) -> bytes:
    """A network with a denoiser's ends, as a stranger may make one."""
    ends = [
        [helper.make_tensor_value_info(name, T.FLOAT, spec.shape) for name, spec in specs.items()]
        for specs in (denoiser_inputs(SIZE), denoiser_outputs(SIZE))
    ]
    graph = helper.make_graph(nodes, "g", ends[0], outputs or ends[1], list(weights))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid(*each) for each in opset], **more)
    written: bytes = made.SerializeToString()
    return written


def outside(location: str, length: int) -> onnx.TensorProto:
    """Weights that lie in another file."""
    tensor = T(name="leak", data_type=T.UINT8, dims=[length], data_location=T.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def leaking(location: str, length: int) -> bytes:
    """Paints the file's first bytes."""
    pixels = 3 * SIZE**2
    weights = [
        outside(location, length),
        helper.make_tensor("pads", T.INT64, [2], [0, pixels - length]),
        helper.make_tensor("shape", T.INT64, [4], [1, 3, SIZE, SIZE]),
    ]
    nodes = [
        helper.make_node("Cast", ["leak"], ["numbers"], to=T.FLOAT),
        helper.make_node("Pad", ["numbers", "pads"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["clean"]),
    ]
    return built(nodes, weights)


@pytest.mark.parametrize("location", ["token", "./token", "../{folder}/token", "{path}", "sub/../token"])
def test_no_file_outside_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    """ONNX Runtime read the working folder's `token` for a network that lay in memory."""
    (tmp_path / "token").write_bytes(b"secret")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    model = leaking(location.format(folder=tmp_path.name, path=tmp_path / "token"), 6)
    assert "weights 'leak' lie in another file; wanted all weights inside" in refused(model)
    with pytest.raises(RunnerError, match="cannot load the network"):  # were the check to miss it
        OnnxRunner(model, threads=1)


def value(name: str, shape: Sequence[int | str], dtype: int = T.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def loop() -> bytes:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Add", ["s", "s"], ["t"])],
        "body",
        [value("i", [], T.INT64), value("c", [], T.BOOL), value("s", (1, 3, SIZE, SIZE))],
        [value("d", [], T.BOOL), value("t", (1, 3, SIZE, SIZE))],
    )
    weights = [
        helper.make_tensor("turns", T.INT64, [], [2**62]),
        helper.make_tensor("on", T.INT32, [], [1]),
    ]
    return built([helper.make_node("Loop", ["turns", "on", "prior"], ["clean"], body=body)], weights)


def function() -> bytes:
    opsets = [helper.make_opsetid("", OPSET)]
    body = [helper.make_node("Add", ["x", "x"], ["y"])]
    made = helper.make_function("", "Twice", ["x"], ["y"], body, opsets)
    return built([helper.make_node("Twice", ["prior"], ["clean"])], functions=[made])


def spread(times: int) -> bytes:
    """Each doubling takes four times the memory of the one before."""
    scales = helper.make_tensor("scales", T.FLOAT, [4], [1, 1, 2, 2])
    way = {"coordinate_transformation_mode": "asymmetric"}
    names = ["prior", *(f"x{index}" for index in range(times))]
    nodes = [
        helper.make_node("Resize", [one, "", "scales"], [other], mode="nearest", nearest_mode="floor", **way)
        for one, other in pairwise(names)
    ]
    return built([*nodes, helper.make_node("Sin", ["prior"], ["clean"])], [scales])


def wide_kernels() -> bytes:
    """Few multiplications, but every place of the picture is copied for each kernel that sees it."""
    kernels = T(name="k", data_type=T.FLOAT, dims=[1, 3, 64, 64], raw_data=bytes(4 * 3 * 64 * 64))
    way: dict[str, Any] = {"kernel_shape": [64, 64], "pads": [63, 63, 0, 0], "strides": [1, 1]}
    return built([helper.make_node("Conv", ["prior", "k"], ["wide"], **way), ADD], [kernels])


def plain(op: str, *inputs: str, **attributes: Any) -> bytes:
    return built([helper.make_node(op, inputs or ["prior"], ["clean"], **attributes)])


CLEAN = value("clean", (1, 3, SIZE, SIZE))
ADD = helper.make_node("Add", ["prior", "prior"], ["clean"])


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (b"", "this is no ONNX network"),
        (b"not a network", "unknown wire type 6"),
        (b"\x08\x08\x3a\x7f", "is cut short"),
        (loop(), "attribute 'body' of operator 'Loop' is of kind 5"),
        (function(), "defines functions"),
        (plain("Add", "prior", "prior", domain="com.microsoft"), "operator 'Add' is of 'com.microsoft'"),
        (built([ADD], opset=[("", OPSET), ("com.microsoft", 1)]), "operators from ['', 'com.microsoft']"),
        (built([ADD], opset=[("", 17)]), "operator set 17; wanted 18"),
        (plain("Identity"), "operator 'Identity' has no place in a denoiser"),
        (plain("Sin", surprise=1), "unknown attributes ['surprise']"),
        (plain("LeakyRelu", alpha=9.0), "has alpha 9.0"),
        (plain("Add", "prior", "nobody"), "takes 'nobody', which nothing before it makes"),
        (plain("Add", "prior", "clean"), "takes 'clean', which nothing before it makes"),
        (plain("Add", "prior", "guidance"), "which do not fit"),
        (plain("Sin", "guidance"), "computes float32 (1, 8, 64, 64) as 'clean'"),
        (plain("DepthToSpace", "guidance", blocksize=65), "has blocksize 65"),
        (plain("DepthToSpace", "guidance", blocksize=4, mode="CRD"), "spreads 8 channels"),
        (plain("SpaceToDepth", "guidance", blocksize=3), "from blocks of 3"),
        (plain("SpaceToDepth", "guidance", blocksize=4), "(1, 128, 16, 16) as 'clean'"),
        (plain("Transpose", perm=[0, 0, 2, 3]), "wanted every axis once"),
        (plain("Split", axis=2, num_outputs=3), "into 3"),
        (plain("Split", axis=4, num_outputs=1), "has axis 4"),
        (plain("Cast", to=T.INT64), "casts to data type 7"),
        (built([ADD, ADD]), "makes 'clean': there already"),
        (built([ADD], outputs=[value("other", (1, 3, SIZE, SIZE))]), "outputs are other float32"),
        (built([ADD], outputs=[CLEAN, value("big", (1 << 12, 1 << 12))]), "outputs are clean "),
        (built([ADD], outputs=[value("clean", (1, 3, 1 << 20, 1 << 20))]), "of at most 33554432 values"),
        (built([ADD], outputs=[value("clean", (1, 3, "h", "w"))]), "wanted fixed lengths"),
        (built([ADD], outputs=[value("clean", (1, 3, SIZE, SIZE), T.DOUBLE)]), "is of data type 11"),
        (built([ADD], [helper.make_tensor("w", T.FLOAT, [1], [np.nan])]), "weights 'w' are not finite"),
        (built([ADD], [T(name="w", data_type=T.STRING, dims=[1], string_data=[b"x"])]), "is of data type 8"),
        (built([ADD], [helper.make_tensor("prior", T.FLOAT, [1], [0.0])]), "weights named as its input"),
        (wide_kernels(), "which see 201326592 values"),
        (spread(8), "values between input and output"),
        (built([*[helper.make_node("Sin", ["prior"], [f"x{i}"]) for i in range(1100)], ADD]), "at most 1024"),
        (least_network(256), "inputs are noisy float32 (1, 3, 256, 256), "),
    ],
)  # fmt: skip
def test_what_is_no_denoiser_is_refused(model: bytes, complaint: str) -> None:
    assert complaint in refused(model)


@pytest.mark.parametrize("length", [10, 1_000_000])
def test_weights_that_are_fewer_than_their_shape_says(length: int) -> None:
    tensor = T(name="w", data_type=T.FLOAT, dims=[length], raw_data=bytes(8))
    assert f"are 2 values; wanted {length}" in refused(built([ADD], [tensor]))


def test_a_graph_that_is_there_twice() -> None:
    """Protocol Buffers merges the two; what is read here is one of them."""
    model = least_network(SIZE)
    assert "field 7 of the network is there 2 times" in refused(model + model)


def test_millions_of_empty_operators_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library makes an object of 100 bytes for each two; ours counts."""
    nodes = b"\x0a\x00" * (onnx_file.MAX_FIELDS + 1)
    graph = b"\x3a" + onnx_file._encode_varint(len(nodes)) + nodes
    assert "more than 200000 fields" in refused(graph + b"\x42\x02\x10\x12")
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1000)
    assert "bytes; wanted at most 1000" in refused(graph)


def test_multiplications_are_counted(monkeypatch: pytest.MonkeyPatch, exported: Mapping[str, bytes]) -> None:
    monkeypatch.setattr(network_check, "MAX_MACS", 10_000_000)
    assert "more than 10000000 multiplications" in refused(exported["fp32"])


def test_graphs_come_back_as_they_were_written() -> None:
    node = Node("Any", ("a", "", "b"), ("c", "d"), {"i": -3, "f": 0.5, "s": "ä", "is": (-1, 2, 1 << 40)})
    weights: dict[str, Array] = {
        "f": np.arange(6, dtype=np.float32).reshape(2, 3),
        "h": np.ones((), np.float16),
        "i": np.array([-(2**63), 2**63 - 1]),
        "b": np.array([[-128], [127]], np.int8),
        "e": np.zeros((0, 4), np.uint8),
    }
    graph = Graph(7, denoiser_inputs(SIZE), denoiser_outputs(SIZE), weights, (node,))
    found = read_graph(encode_graph(graph))
    assert found.opset == 7
    assert (found.inputs, found.outputs, found.nodes) == (graph.inputs, graph.outputs, (node,))
    for name, array in weights.items():
        assert found.weights[name].dtype == array.dtype
        assert np.array_equal(found.weights[name], array)
        assert found.weights[name].shape == array.shape


@pytest.mark.parametrize("kind", [T.FLOAT, T.INT32, T.INT64, T.INT8, T.UINT8])
def test_small_weights_written_as_numbers(kind: int) -> None:
    tensor = helper.make_tensor("w", kind, [3], [1, 0, 3])
    assert not tensor.raw_data
    assert read_graph(built([ADD], [tensor])).weights["w"].tolist() == [1, 0, 3]
    if kind in (T.INT8, T.UINT8):
        tensor.int32_data[0] = 300
        assert "cannot hold" in refused(built([ADD], [tensor]))


def test_an_avatar_holds_what_was_written_anew(networked_file: Path, small_network: bytes) -> None:
    avatar = load_avatar(networked_file)
    (model,) = avatar.models.values()
    assert model == checked_denoiser(small_network, SIZE) != small_network


MUTATIONS: Mapping[str, Callable[[onnx.ModelProto, st.DataObject], None]] = {
    "drop a node": lambda m, d: m.graph.node.pop(pick(d, m.graph.node)) and None,
    "another operator": lambda m, d: setattr(node_of(m, d), "op_type", another_operator(d)),
    "drop an attribute": lambda m, d: node_of(m, d).ClearField("attribute"),
    "another number": lambda m, d: another_number(node_of(m, d), d),
    "another input": lambda m, d: another_input(m, node_of(m, d), d),
    "drop weights": lambda m, d: m.graph.initializer.pop(pick(d, m.graph.initializer)) and None,
    "reshape weights": lambda m, d: weights_of(m, d).dims.append(d.draw(st.integers(-1, 3))),
    "other type of weights": lambda m, d: setattr(weights_of(m, d), "data_type", d.draw(st.integers(0, 20))),
    "cut weights": lambda m, d: setattr(weights_of(m, d), "raw_data", b"\x00" * d.draw(st.integers(0, 9))),
    "drop an input": lambda m, d: m.graph.input.pop(pick(d, m.graph.input)) and None,
    "another output": lambda m, d: m.graph.output.append(m.graph.input[0]),
}


def another_operator(data: st.DataObject) -> str:
    others = ["Identity", "Expand", "Tile", "Pad", "Range", "If", "Gather"]
    return data.draw(st.sampled_from([*network_check.RULES, *others]))


def pick(data: st.DataObject, things: Any) -> int:
    return data.draw(st.integers(0, len(things) - 1))


def node_of(model: onnx.ModelProto, data: st.DataObject) -> onnx.NodeProto:
    node: onnx.NodeProto = model.graph.node[pick(data, model.graph.node)]
    return node


def weights_of(model: onnx.ModelProto, data: st.DataObject) -> onnx.TensorProto:
    weights: onnx.TensorProto = model.graph.initializer[pick(data, model.graph.initializer)]
    return weights


def another_number(node: onnx.NodeProto, data: st.DataObject) -> None:
    numbers = st.one_of(st.integers(-2, 70), st.sampled_from([2**31, 2**62, -(2**63)]))
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.INT:
            attribute.i = data.draw(numbers)
        elif attribute.ints:
            attribute.ints[pick(data, attribute.ints)] = data.draw(numbers)


def another_input(model: onnx.ModelProto, node: onnx.NodeProto, data: st.DataObject) -> None:
    other = node_of(model, data)
    names = [*other.input, *other.output, "", "prior"]
    node.input[pick(data, node.input)] = data.draw(st.sampled_from(names))


def understood(model: bytes) -> bytes | None:
    """Written anew; None where it is refused, which must take one line."""
    try:
        return checked_denoiser(model, SIZE)
    except RunnerError as error:
        if "\n" in str(error):
            raise AssertionError(str(error)) from error
    return None


@settings(max_examples=100)
@given(data=st.data())
def test_a_changed_graph_is_refused_in_a_line_or_runs(
    parsed: dict[str, onnx.ModelProto], data: st.DataObject
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(parsed[data.draw(st.sampled_from(sorted(parsed)))])
    for name in data.draw(st.lists(st.sampled_from(sorted(MUTATIONS)), min_size=1, max_size=2)):
        MUTATIONS[name](model, data)
    if anew := understood(model.SerializeToString()):
        made = OnnxRunner(anew, threads=1).run(feed())["clean"]
        assert made.shape == (1, 3, SIZE, SIZE)


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_bytes_never_raise_anything_else(exported: dict[str, bytes], data: st.DataObject) -> None:
    model = bytearray(exported["int8"])
    for at in data.draw(st.lists(st.integers(0, len(model) - 1), min_size=1, max_size=4)):
        model[at] ^= data.draw(st.integers(1, 255))
    understood(bytes(model))


def test_no_number_is_longer_than_ten_bytes() -> None:
    assert "cut short" in refused(b"\x08" + b"\xff" * 11)
