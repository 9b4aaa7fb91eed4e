"""Writes engine/assets/tracking: the models of MediaPipe's last wheel that carries any, for LiteRT alone.

    pip download --no-deps mediapipe==0.10.21
    .venv/bin/python .ci/tracking_models.py mediapipe-0.10.21-*.whl

Weights stay as they are. What MediaPipe alone can compute is taken out: the face mesh falls into what comes
before its three crops and a network for each crop (engine/tracking/face_mesh.py does what lies between); a
transposed convolution becomes the built-in one; outputs that nobody reads go, with what only they need.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

TARGET = Path(__file__).parents[1] / "engine" / "assets" / "tracking"
AS_THEY_ARE = {
    "face_detector": "face_detection/face_detection_short_range",
    "pose_detector": "pose_detection/pose_detection",
    "palm_detector": "palm_detection/palm_detection_full",
    "palm_detector_quick": "palm_detection/palm_detection_lite",
}
REDUCED = {  # to these outputs, by position
    "pose_landmarks": ("pose_landmark/pose_landmark_full", (0, 1, 3)),
    "hand_landmarks": ("hand_landmark/hand_landmark_full", (0, 1, 2)),
    "hand_landmarks_quick": ("hand_landmark/hand_landmark_lite", (0, 1, 2)),
}
FACE_CROPS = ("lips", "right_eye", "left_eye")  # the person's own right


def read(data: bytes) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def written(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def part(data: bytes, inputs: list[int], outputs: list[int]) -> bytes:
    """The operators between those tensors, with the constants that they read."""
    model = read(data)
    graph = model.subgraphs[0]
    wanted, kept = set(outputs), []
    for operator in reversed(graph.operators):
        if wanted & set(operator.outputs) and not set(operator.outputs) <= set(inputs):
            kept.append(operator)
            wanted |= {int(tensor) for tensor in operator.inputs if tensor >= 0} - set(inputs)
    graph.operators = kept[::-1]
    used = sorted({int(t) for o in kept for t in (*o.inputs, *o.outputs) if t >= 0} | {*inputs, *outputs})
    place = {old: new for new, old in enumerate(used)} | {-1: -1}
    graph.tensors = [graph.tensors[old] for old in used]
    buffers = [model.buffers[0]]
    for tensor in graph.tensors:
        if model.buffers[tensor.buffer].data is not None:
            buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = len(buffers) - 1
        else:
            tensor.buffer = 0
    for operator in kept:
        operator.inputs = [place[int(t)] for t in operator.inputs]
        operator.outputs = [place[int(t)] for t in operator.outputs]
    codes = sorted({operator.opcodeIndex for operator in kept})
    for operator in kept:
        operator.opcodeIndex = codes.index(operator.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[code] for code in codes]
    graph.inputs, graph.outputs = [place[t] for t in inputs], [place[t] for t in outputs]
    model.buffers, model.metadata, model.metadataBuffer, model.signatureDefs = buffers, None, None, None
    return written(model)


def face_parts(data: bytes) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """The mesh, each crop's network, and which points of the mesh each crop is about."""
    model = read(data)
    graph = model.subgraphs[0]
    by_kind: dict[bytes, list[schema.OperatorT]] = {}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if code.customCode:
            by_kind.setdefault(code.customCode, []).append(operator)
    matrices, crops = by_kind[b"Landmarks2TransformMatrix"], by_kind[b"TransformTensorBilinear"]
    moved = {int(o.outputs[0]): int(o.inputs[0]) for o in by_kind[b"TransformLandmarks"]}
    before = {int(o.outputs[0]): o for o in graph.operators}
    features = int(crops[0].inputs[0])
    parts = {
        "face_mesh": part(data, list(graph.inputs), [int(graph.outputs[0]), int(graph.outputs[-1]), features])
    }
    points = {}
    for name, matrix, crop in zip(FACE_CROPS, matrices, crops, strict=True):
        ends = {"lips": [1], "right_eye": [2, 4], "left_eye": [3, 5]}[name]
        outputs = [moved[int(before[int(graph.outputs[end])].inputs[0])] for end in ends]
        parts[f"face_{name}"] = part(data, [int(crop.outputs[0])], outputs)
        points[name] = np.array(flexbuffers.Loads(bytes(matrix.customOptions))["subset_idxs"], np.int16)
    return parts, points


def with_builtin_transposed_convolution(data: bytes) -> bytes:
    model = read(data)
    graph = model.subgraphs[0]
    (code,) = [c for c in model.operatorCodes if c.customCode]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.TRANSPOSE_CONV
    code.customCode, code.version = None, 3  # from 3 on with a bias
    index = model.operatorCodes.index(code)
    (operator,) = [o for o in graph.operators if o.opcodeIndex == index]
    padding, stride_w, stride_h = np.frombuffer(bytes(operator.customOptions), np.int32)
    image, kernel, bias = operator.inputs
    shape = schema.TensorT()
    shape.name, shape.type, shape.shape = b"output_shape", schema.TensorType.INT32, [4]
    values = schema.BufferT()
    values.data = np.frombuffer(
        np.array(graph.tensors[operator.outputs[0]].shape, np.int32).tobytes(), np.uint8
    )
    model.buffers.append(values)
    shape.buffer = len(model.buffers) - 1
    graph.tensors.append(shape)
    options = schema.TransposeConvOptionsT()
    options.padding = schema.Padding.SAME if padding == 1 else schema.Padding.VALID
    options.strideW, options.strideH = int(stride_w), int(stride_h)
    operator.builtinOptions, operator.customOptions = options, None
    operator.builtinOptionsType = schema.BuiltinOptions.TransposeConvOptions
    operator.inputs = [len(graph.tensors) - 1, kernel, image, bias]
    return written(model)


def main() -> None:
    with zipfile.ZipFile(sys.argv[1]) as wheel:

        def model(name: str) -> bytes:
            return wheel.read(f"mediapipe/modules/{name}.tflite")

        files = {name: model(source) for name, source in AS_THEY_ARE.items()}
        for name, (source, outputs) in REDUCED.items():
            graph = read(model(source)).subgraphs[0]
            files[name] = part(model(source), list(graph.inputs), [int(graph.outputs[i]) for i in outputs])
        face, points = face_parts(model("face_landmark/face_landmark_with_attention"))
        files |= face
        files["person"] = with_builtin_transposed_convolution(
            model("selfie_segmentation/selfie_segmentation")
        )
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (TARGET / f"{name}.tflite").write_bytes(data)
    table = io.BytesIO()
    np.savez(table, **points)
    (TARGET / "face_crops.npz").write_bytes(table.getvalue())


if __name__ == "__main__":
    main()
