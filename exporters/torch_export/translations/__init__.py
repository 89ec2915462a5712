"""What becomes of torch's functions in ONNX where torch's own translation is missing, or loses numbers or gradients."""
