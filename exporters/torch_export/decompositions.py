"""Functions of torch, written out in others before the translation to ONNX, where torch's own translation errs.

Torch's translations hold float32 constants (log2, norm(p=3)), want arguments that torch does not (amax), or are missing.
What stands here is what torch computes, in either precision. Elementwise functions that ONNX has no operator for are
kept whole, as operators of the domain `gradtrace`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.onnx._internal.exporter import _decomp

from ..operators.special import DOMAIN, KEPT

aten: Any = torch.ops.aten
Decomposition = Callable[..., Tensor]


def _kept(name: str) -> Decomposition:
    """The function as one operator, of the shape and type of its tensors broadcast."""

    def whole(*arguments: Any) -> Tensor:
        tensors = [x for x in arguments if isinstance(x, Tensor)]
        attributes = {f"argument_{i}": x for i, x in enumerate(arguments) if not isinstance(x, Tensor)}
        tensors = list(torch.broadcast_tensors(*tensors))
        like = tensors[0]
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::{name}", tensors, attributes, dtype=like.dtype, shape=like.shape, version=1
        )

    return whole


def _every_axis(reduce: Any) -> Decomposition:
    """amax and amin of all axes, which torch's translation wants named."""

    def reduced(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
        found: Tensor = torch.onnx.ops.symbolic(
            reduce,
            [x, torch.tensor(list(dim) or list(range(x.dim())), dtype=torch.int64)],
            {"keepdims": int(keepdim)},
            dtype=x.dtype,
            shape=x.amax(list(dim), keepdim).shape,
        )
        return found

    return reduced


_WRITTEN: dict[Any, Decomposition] = {
    aten.deg2rad.default: lambda x: x * (math.pi / 180),
    aten.rad2deg.default: lambda x: x * (180 / math.pi),
    aten.log2.default: lambda x: x.log() * (1 / math.log(2)),
    aten.log10.default: lambda x: x.log() * (1 / math.log(10)),
}


@contextmanager
def own_decompositions() -> Iterator[None]:
    """While active, torch.onnx.export takes these before its own translations."""
    original = _decomp.create_onnx_friendly_decomposition_table
    kept = {operator: _kept(name) for name, (operator, _) in KEPT.items()}

    def table(registered: Any) -> dict[Any, Any]:
        return {**original(registered), **kept, **_WRITTEN}

    _decomp.create_onnx_friendly_decomposition_table = table
    try:
        yield
    finally:
        _decomp.create_onnx_friendly_decomposition_table = original
