"""TopK and Compress: copies of elements that the numbers themselves, or a condition, choose."""

from __future__ import annotations

import torch

from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value


@composite("TopK")
def top_k(
    tape: Tape,
    x: Value,
    k: Value,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,  # noqa: A002  ONNX's name
) -> list[Value]:
    """Copies of the k largest (or smallest) elements along `axis`, and their indices; among equals the lowest first."""
    del sorted  # sorted is one of the orders allowed when it is 0
    order = torch.sort(x.data.detach(), dim=axis, descending=bool(largest), stable=True).indices
    index = tape.constant(order.narrow(axis, 0, int(k.data)))
    return [tape("GatherElements", x, index, axis=axis), index]


@composite("Compress")
def compress(tape: Tape, x: Value, condition: Value, *, axis: int | None = None) -> Value:
    """The slices along `axis`, or the elements of the flattened tensor, where `condition` is true."""
    chosen = tape.constant(condition.data.nonzero().reshape(-1))
    if axis is None:
        return tape("Gather", tape("Reshape", x, tape.integers([-1])), chosen, axis=0)
    return tape("Gather", x, chosen, axis=axis)
