"""An ONNX graph read once: its tensors and attributes as torch sees them, how its nodes hang together, and which of
them are attention, norms or steps of a loop; and run on the tape, sample after sample.
"""
