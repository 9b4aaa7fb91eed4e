"""The network: what it takes and gives, its layers, its weights in ONNX, and which ONNX files are taken."""
