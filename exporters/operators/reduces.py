"""Reductions: every input element enters one output element.

One rule for all: running the reduction's shape on element numbers shows which output an input enters, and autograd
gives the derivative. Reductions with overlapping windows (CumSum, pooling) are copies followed by one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from .arguments import Integers, axes_of
from .registry import Primitive, primitive

Reduction = Callable[[Tensor], Tensor]


def _reduces(name: str, over_last: Reduction) -> None:
    """Register a reduction given what it does along the last axis."""

    def compute(x: Tensor, axes: Integers | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        if noop_with_empty_axes and (axes is None or len(axes) == 0):
            return x.view_as(x)
        reduced = axes_of(axes, x.dim())
        kept = [axis for axis in range(x.dim()) if axis not in reduced]
        y = over_last(x.permute(kept + reduced).flatten(len(kept)) if reduced else x.unsqueeze(-1))
        return y.reshape([1 if a in reduced else x.shape[a] for a in range(x.dim())]) if keepdims else y

    primitive(Primitive(name, "reduces", compute, tokens="reduced"))


def targets(x: Tensor, axes: Integers | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    """For each element of `x`, the flat index of the output element it enters: int64 of x's shape."""
    del keepdims  # changes the output's shape, not the order of its elements
    reduced = axes_of(axes, x.dim())
    if noop_with_empty_axes and (axes is None or len(axes) == 0):
        reduced = []
    sizes = [1 if a in reduced else n for a, n in enumerate(x.shape)]
    return torch.arange(prod(sizes)).reshape(sizes).expand(x.shape)


# max and min along one axis pick one winner, so that ties have one path and not several halves
_reduces("ReduceMax", lambda x: x.max(-1).values)
_reduces("ReduceMean", lambda x: x.mean(-1))
_reduces("ReduceMin", lambda x: x.min(-1).values)
_reduces("ReduceProd", lambda x: x.prod(-1))
_reduces("ReduceSum", lambda x: x.sum(-1))
