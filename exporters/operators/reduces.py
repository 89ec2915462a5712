"""Reductions: every input element enters one output element.

One rule for all: running the reduction's shape on element numbers shows which output an input enters, and autograd
gives the derivative. Reductions with overlapping windows (CumSum, pooling) are copies followed by one of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from .arguments import Integers, axes_of
from .registry import Facts, Primitive, primitive

Reduction = Callable[[Tensor], Tensor]


def _reduces(name: str, over_last: Reduction, *, linear: bool = False, **kinks: Reduction) -> None:
    """Register a reduction given what it does along the last axis; `kinks`: the same with other subgradients."""
    chosen = {"": over_last, **kinks}

    def compute(
        x: Tensor,
        axes: Integers | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
        subgradient: str = "",
    ) -> Tensor:
        if noop_with_empty_axes and (axes is None or len(axes) == 0):
            return x.view_as(x)
        reduced = axes_of(axes, x.dim())
        kept = [axis for axis in range(x.dim()) if axis not in reduced]
        y = chosen[subgradient](x.permute(kept + reduced).flatten(len(kept)) if reduced else x.unsqueeze(-1))
        return y.reshape([1 if a in reduced else x.shape[a] for a in range(x.dim())]) if keepdims else y

    primitive(Primitive(name, "reduces", compute, tokens="reduced", facts=Facts(linear=linear, kinks=tuple(kinks))))


def derivative(
    compute: Callable[..., Tensor], x: Tensor, others: Sequence[Tensor | None], attributes: Mapping[str, Any]
) -> Tensor:
    """For each element of `x` the derivative of the output element it enters: of x's shape."""
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        y = compute(leaf, *others, **attributes)
    (found,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
    return found


def targets(
    x: Tensor,
    axes: Integers | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
    subgradient: str = "",
) -> Tensor:
    """For each element of `x`, the flat index of the output element it enters: int64 of x's shape."""
    del keepdims, subgradient  # one changes the output's shape, not the order of its elements; one the derivatives
    reduced = axes_of(axes, x.dim())
    if noop_with_empty_axes and (axes is None or len(axes) == 0):
        reduced = []
    sizes = [1 if a in reduced else n for a, n in enumerate(x.shape)]
    return torch.arange(prod(sizes)).reshape(sizes).expand(x.shape)


def _last_of_largest(x: Tensor) -> Tensor:
    last = x.shape[-1] - 1 - x.detach().flip(-1).argmax(-1, keepdim=True)
    return x.gather(-1, last).squeeze(-1)


def _last_of_smallest(x: Tensor) -> Tensor:
    last = x.shape[-1] - 1 - x.detach().flip(-1).argmin(-1, keepdim=True)
    return x.gather(-1, last).squeeze(-1)


# of equal elements each has its share, as in torch's amax(); the first has all in max(dim), the last in cummax()
_reduces("ReduceMax", lambda x: x.amax(-1), first=lambda x: x.max(-1).values, last=_last_of_largest)
_reduces("ReduceMean", lambda x: x.mean(-1), linear=True)
_reduces("ReduceMin", lambda x: x.amin(-1), first=lambda x: x.min(-1).values, last=_last_of_smallest)
_reduces("ReduceProd", lambda x: x.prod(-1))
_reduces("ReduceSum", lambda x: x.sum(-1), linear=True)
