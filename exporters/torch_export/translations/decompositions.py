"""Functions of torch, written out in others before the translation to ONNX, where torch's own translation errs.

Torch's translations say something else at borders, want arguments that torch does not, or are missing. What stands here
is what torch computes, in either precision. Elementwise functions that ONNX has no operator for are kept
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

from ...operators.registry import DOMAIN
from ...operators.special import SPECIAL
from ..replaced import replaced
from .losses import DECOMPOSITIONS as LOSSES
from .matrices import DECOMPOSITIONS as MATRICES

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


def _grid_sampler(x: Tensor, grid: Tensor, *options: Any) -> Any:
    return aten.grid_sampler_2d.default(x, grid, *options) if x.dim() == 4 else NotImplemented


def _masked_select(x: Tensor, mask: Tensor) -> Tensor:
    x, mask = torch.broadcast_tensors(x, mask)  # type: ignore[no-untyped-call]
    return x[mask]


def _searchsorted(
    ordered: Tensor,
    values: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """How many of those in order lie below each value."""
    if sorter is not None:
        ordered = ordered.gather(-1, sorter)
    each, others = values.unsqueeze(-1), ordered.unsqueeze(-2) if ordered.dim() > 1 else ordered
    below = others <= each if right or side == "right" else others < each
    return below.sum(-1).to(torch.int32 if out_int32 else torch.int64)


def _vstack(tensors: Any) -> Tensor:
    return torch.cat([aten.atleast_2d(x) for x in tensors], 0)


def _rrelu(
    x: Tensor, noise: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: Any = None
) -> Any:
    del generator
    return NotImplemented if training else (torch.nn.functional.leaky_relu(x, (lower + upper) / 2), noise)


# written out by torch itself, where ONNX has operators that say something else at borders, or say it in float32
_OF_TORCH = ("upsample_", "_upsample_", "grid_sampler_2d", "affine_grid", "col2im", "im2col", "pixel_")


def _of_torch() -> dict[Any, Decomposition]:
    from torch._decomp import decomposition_table

    return {
        operator: function
        for operator, function in decomposition_table.items()
        if isinstance(operator, torch._ops.OpOverload) and operator.__name__.startswith(_OF_TORCH)
    }


def _distances(x: Tensor, y: Tensor, p: float, mode: int | None) -> Tensor:
    del mode  # how torch computes them
    distances: Tensor = torch.linalg.vector_norm(x.unsqueeze(-2) - y.unsqueeze(-3), p, -1)
    return distances


_DECOMPOSITIONS: dict[Any, Decomposition] = {
    **LOSSES,
    **MATRICES,
    aten._cdist_forward.default: _distances,
    aten.column_stack.default: lambda xs: torch.cat([x if x.dim() > 1 else x.reshape(-1, 1) for x in xs], 1),
    aten.copysign.Scalar: lambda x, other: x.abs() * math.copysign(1.0, other),
    aten.copysign.Tensor: lambda x, other: x.abs() * torch.where(torch.signbit(other), -1.0, 1.0).to(x.dtype),
    aten.cumprod.default: _cumprod,
    aten.dstack.default: lambda xs: torch.cat([aten.atleast_3d(x) for x in xs], 2),
    aten.grid_sampler.default: _grid_sampler,
    aten.hstack.default: lambda xs: torch.cat([aten.atleast_1d(x) for x in xs], 0 if xs[0].dim() <= 1 else 1),
    aten.hypot.default: lambda x, y: (x * x + y * y).sqrt(),
    aten.masked_select.default: _masked_select,
    aten.rrelu_with_noise_functional.default: _rrelu,
    aten.row_stack.default: _vstack,
    aten.searchsorted.Tensor: _searchsorted,
    aten.vstack.default: _vstack,
    **{getattr(aten, name).default: _whole(name) for name in SPECIAL},
}


@contextmanager
def own_decompositions() -> Iterator[None]:
    """While active, torch.onnx.export takes these before its own translations."""
    original: Any = _decomp.create_onnx_friendly_decomposition_table

    def table(registered: Any) -> dict[Any, Decomposition]:
        return {**original(registered), **_of_torch(), **_DECOMPOSITIONS}

    with replaced(_decomp, create_onnx_friendly_decomposition_table=table):
        yield
