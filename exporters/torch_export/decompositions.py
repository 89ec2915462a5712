"""Functions of torch, written out in others before the translation to ONNX, where torch's own translation errs.

Torch's translations hold float32 constants (log2), want arguments that torch does not (amax), or are missing. What
stands here is what torch computes, in either precision. Elementwise functions that ONNX has no operator for are kept
whole, as operators of the domain `gradtrace`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.onnx._internal.exporter import _decomp

from ..operators.registry import DOMAIN
from ..operators.special import SPECIAL
from .losses import DECOMPOSITIONS as LOSSES

aten: Any = torch.ops.aten
Decomposition = Callable[..., Any]


def _whole(name: str) -> Decomposition:
    """A function that ONNX does not know as one operator; numbers are attributes."""
    names = [argument.name for argument in getattr(aten, name).default._schema.arguments]

    def call(*arguments: Any) -> Tensor:
        tensors = [x for x in arguments if isinstance(x, Tensor)]
        numbers = {n: x for n, x in zip(names, arguments, strict=False) if not isinstance(x, Tensor)}
        like: Tensor = torch.broadcast_tensors(*tensors)[0]  # type: ignore[no-untyped-call]
        operator = f"{DOMAIN}::{name}"
        return torch.onnx.ops.symbolic(operator, tensors, numbers, dtype=like.dtype, shape=like.shape, version=1)

    return call


def _of_all_axes(reduce: Any) -> Decomposition:
    """amax and amin, whose translations want the axes named."""

    def reduced(x: Tensor, dim: Any = (), keepdim: bool = False) -> Any:
        if len(dim):
            return NotImplemented
        return reduce(x, list(range(x.dim())), keepdim)

    return reduced


_DECOMPOSITIONS: dict[Any, Decomposition] = {
    **LOSSES,
    aten.amax.default: _of_all_axes(aten.amax.default),
    aten.amin.default: _of_all_axes(aten.amin.default),
    aten.deg2rad.default: lambda x: x * (math.pi / 180),
    aten.log10.default: lambda x: x.log() * (1 / math.log(10)),
    aten.log2.default: lambda x: x.log() * (1 / math.log(2)),
    aten.rad2deg.default: lambda x: x * (180 / math.pi),
    **{getattr(aten, name).default: _whole(name) for name in SPECIAL},
}


@contextmanager
def own_decompositions() -> Iterator[None]:
    """While active, torch.onnx.export takes these before its own translations."""
    exporter: Any = _decomp
    original = exporter.create_onnx_friendly_decomposition_table
    exporter.create_onnx_friendly_decomposition_table = lambda registered: original(registered) | _DECOMPOSITIONS
    try:
        yield
    finally:
        exporter.create_onnx_friendly_decomposition_table = original
