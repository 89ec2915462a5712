"""What makes two samples' graphs the same."""

from __future__ import annotations

import hashlib

from ..tape.tape import Tape


def fingerprint(tape: Tape) -> str:
    """What makes two samples' graphs the same: operators, attributes, dataflow, shapes and labels; no data."""
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
