"""What makes two samples' graphs the same, and two models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import onnx
from torch import Tensor

from ..tape.tape import Tape


def fingerprint(tape: Tape) -> str:
    """What makes two samples' graphs the same: operators, attributes, dataflow, shapes and labels; no data."""
    return tape.of_graph("fingerprint", lambda: _fingerprint(tape))


def _fingerprint(tape: Tape) -> str:
    digest = hashlib.sha256()
    for call in tape.calls:
        wires = tuple(None if x is None else (x.tensor, tuple(x.shape)) for x in call.inputs)
        digest.update(
            repr(
                (call.primitive.name, sorted(call.attributes.items()), wires, tuple(call.output.shape), call.label)
            ).encode()
        )
    for tensor in tape.tensors:
        labels = (tensor.name, tensor.kind, tensor.first_vertex, tensor.axis_names, tensor.first_step)
        digest.update(repr(labels).encode())
    return digest.hexdigest()[:32]


def model_fingerprint(model: onnx.ModelProto, tensors: Mapping[str, Tensor]) -> str:
    """What makes two models the same: operators, attributes, dataflow, and every number of their tensors."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(np.ascontiguousarray(tensor.detach().numpy()).tobytes())
    for node in model.graph.node:
        digest.update(f"{node.op_type} {list(node.input)} {list(node.output)}".encode())
        for attribute in node.attribute:
            digest.update(attribute.SerializeToString(deterministic=True))
    return digest.hexdigest()[:32]
