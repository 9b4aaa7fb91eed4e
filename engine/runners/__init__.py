"""What the network runs on: ONNX Runtime, torch or TensorRT, and the choice between them."""
