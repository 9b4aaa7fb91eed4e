"""From a trained network to what runners load: ONNX, quantised, TensorRT; and the gates they must pass."""
