"""Composite operators, each a short function that computes itself by calling primitives on the tape.

Importing this package registers them. Within a composite, operators inherit the module of the ONNX node; a role says
which part they are (a gate, a softmax, a loss).
"""

from . import (
    activations,
    attention,
    control_flow,
    convolution,
    einsum,
    linear,
    losses,
    normalization,
    recurrent,
    scatter,
    selection,
    sequences,
    softmax,
    windows,
)

__all__ = [
    "activations",
    "attention",
    "control_flow",
    "convolution",
    "einsum",
    "linear",
    "losses",
    "normalization",
    "recurrent",
    "scatter",
    "selection",
    "sequences",
    "softmax",
    "windows",
]
