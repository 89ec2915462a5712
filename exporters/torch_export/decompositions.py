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


def _cumprod(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Each product over the elements up to its own, the others taken for 1."""
    x = x if dtype is None else x.to(dtype)
    if x.dim() == 0:
        return x.clone()
    along = x.movedim(dim, -1)
    n = along.shape[-1]
    up_to = torch.ones(n, n, dtype=torch.bool).tril()
    return torch.where(up_to, along.unsqueeze(-2), torch.ones((), dtype=x.dtype)).prod(-1).movedim(-1, dim)


def _rrelu(
    x: Tensor, noise: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: Any = None
) -> Any:
    del generator
    return NotImplemented if training else (torch.nn.functional.leaky_relu(x, (lower + upper) / 2), noise)


_DECOMPOSITIONS: dict[Any, Decomposition] = {
    **LOSSES,
    aten.copysign.Scalar: lambda x, other: x.abs() * math.copysign(1.0, other),
    aten.copysign.Tensor: lambda x, other: x.abs() * torch.where(torch.signbit(other), -1.0, 1.0).to(x.dtype),
    aten.cumprod.default: _cumprod,
    aten.deg2rad.default: lambda x: x * (math.pi / 180),
    aten.hypot.default: lambda x, y: (x * x + y * y).sqrt(),
    aten.log10.default: lambda x: x.log() * (1 / math.log(10)),
    aten.log2.default: lambda x: x.log() * (1 / math.log(2)),
    aten.rad2deg.default: lambda x: x * (180 / math.pi),
    aten.rrelu_with_noise_functional.default: _rrelu,
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
