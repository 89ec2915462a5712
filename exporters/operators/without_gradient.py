"""Operators without gradient: run, and never recorded, for nothing is differentiable through them.

They are those on integers, booleans and shapes, and *stop_gradient*, whose outputs are constants like theirs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .registry import DOMAIN, STOP_GRADIENT, without_gradient


def _shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, step = start.item(), delta.item()
    last = max(first, limit.item()) if step > 0 else min(first, limit.item())  # empty where the limit lies behind
    return torch.arange(first, last, step, dtype=start.dtype)


def _constant_of_shape(shape: Tensor, *, value: Tensor | None = None) -> Tensor:
    fill = torch.zeros(1) if value is None else value
    return fill.reshape(()).expand(tuple(shape.tolist()))


def _eye_like(x: Tensor, *, dtype: torch.dtype | None = None, k: int = 0) -> Tensor:
    ones = torch.ones(x.shape, dtype=x.dtype if dtype is None else dtype)
    return ones.tril(k).triu(k)


def _arg(best: Callable[[Tensor, int, bool], Tensor]) -> Callable[..., Tensor]:
    def compute(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
        if select_last_index:
            return x.shape[axis] - 1 - best(x.flip(axis), axis, bool(keepdims))
        return best(x, axis, bool(keepdims))

    return compute


without_gradient("And", torch.logical_and, tokens="agreed")
without_gradient("ArgMax", _arg(torch.argmax))
without_gradient("ArgMin", _arg(torch.argmin))
without_gradient("ConstantOfShape", _constant_of_shape)
without_gradient("Equal", torch.eq, tokens="agreed")
without_gradient("EyeLike", _eye_like)
without_gradient("Greater", torch.gt, tokens="agreed")
without_gradient("GreaterOrEqual", torch.ge, tokens="agreed")
without_gradient("IsInf", torch.isinf, tokens="agreed")
without_gradient("IsNaN", torch.isnan, tokens="agreed")
without_gradient("Less", torch.lt, tokens="agreed")
without_gradient("LessOrEqual", torch.le, tokens="agreed")
without_gradient("NonZero", lambda x: x.nonzero().T)
without_gradient("Not", torch.logical_not, tokens="agreed")
without_gradient("Or", torch.logical_or, tokens="agreed")
without_gradient("Range", _range)
without_gradient("Shape", _shape)
without_gradient("Size", lambda x: torch.tensor(x.numel()))
without_gradient("Xor", torch.logical_xor, tokens="agreed")
without_gradient(f"{DOMAIN}.{STOP_GRADIENT}", lambda x: x.detach(), tokens="agreed")
