"""The network: what it takes and gives wherever it runs, its layers, its weights in ONNX."""
