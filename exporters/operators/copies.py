"""Copies: every output element is one input element, or a constant. They make no edges.

One rule for all: run on element numbers, a copy shows whom each of its output elements repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from .arguments import Integers, integers
from .registry import Facts, PassesOn, Primitive, TokenRule, primitive


def _copies(
    name: str,
    compute: Callable[..., Tensor],
    repeats: Callable[..., Tensor] | None = None,
    *,
    tokens: TokenRule = "numbers",
    passes_on: PassesOn | None = None,
    filled: int | None = None,
) -> None:
    primitive(Primitive(name, "copies", compute, repeats, tokens, filled, Facts(passes_on=passes_on)))


def _identity(x: Tensor) -> Tensor:
    return x.view_as(x)


def _dropout(x: Tensor, ratio: Tensor | None = None, training_mode: Tensor | None = None, *, seed: int = 0) -> Tensor:
    del ratio, seed  # without effect at inference
    if training_mode is not None and bool(training_mode):
        raise NotImplementedError("Dropout in training mode: call model.eval() before the export")
    return x.view_as(x)


def _cast(x: Tensor, *, to: torch.dtype, saturate: int = 1) -> Tensor:
    del saturate  # only concerns float8, which has no gradients
    return x.to(to)


def _cast_repeats(x: Tensor, **_: object) -> Tensor:
    return x.view_as(x)


def _cast_like(x: Tensor, like: Tensor, *, saturate: int = 1) -> Tensor:
    return _cast(x, to=like.dtype, saturate=saturate)


def _cast_like_repeats(x: Tensor, like: Tensor, **_: object) -> Tensor:
    del like
    return x.view_as(x)


def _reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    sizes = integers(shape)
    if not allowzero:
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    axis = axis if axis >= 0 else axis + x.dim()
    return x.reshape(prod(x.shape[:axis]), -1)


def _transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    return x.permute(tuple(perm) if perm is not None else tuple(reversed(range(x.dim()))))


def _squeeze(x: Tensor, axes: Integers | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(integers(axes)))


def _unsqueeze(x: Tensor, axes: Integers) -> Tensor:
    which = integers(axes)
    for axis in sorted(a % (x.dim() + len(which)) for a in which):
        x = x.unsqueeze(axis)
    return x


def _slice(
    x: Tensor, starts: Integers, ends: Integers, axes: Integers | None = None, steps: Integers | None = None
) -> Tensor:
    first_of, last_of = integers(starts), integers(ends)
    axis_of = range(len(first_of)) if axes is None else integers(axes)
    step_of = [1] * len(first_of) if steps is None else integers(steps)
    for start, end, axis, step in zip(first_of, last_of, axis_of, step_of, strict=True):
        size = x.shape[axis]
        first, last, step = slice(start, end, step).indices(size)
        if step > 0:
            x = x[(slice(None),) * (axis % x.dim()) + (slice(first, max(first, last), step),)]
        else:
            x = x.index_select(axis, torch.arange(first, min(first, last), step))
    return x


def _concat(*inputs: Tensor, axis: int) -> Tensor:
    return torch.cat(inputs, axis)


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(np.broadcast_shapes(x.shape, tuple(shape.tolist())))


def _tile(x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(repeats.tolist())


def _wrapped(index: Tensor, size: int) -> Tensor:
    """Negative indices count from the end; one out of range is an error here and not a read of other memory."""
    if index.numel() and (int(index.min()) < -size or int(index.max()) >= size):
        worst = int(index.max()) if int(index.max()) >= size else int(index.min())
        raise IndexError(f"index {worst} is out of range for an axis of size {size}")
    return torch.where(index < 0, index + size, index)


def _gather(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    axis %= x.dim()
    picked = x.index_select(axis, _wrapped(index, x.shape[axis]).reshape(-1))
    return picked.reshape(x.shape[:axis] + index.shape + x.shape[axis + 1 :])


def _gather_elements(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    return x.gather(axis, _wrapped(index, x.shape[axis]))


def _gather_nd(x: Tensor, index: Tensor, *, batch_dims: int = 0) -> Tensor:
    batch = [
        torch.arange(size).reshape([-1 if i == b else 1 for i in range(index.dim() - 1)])
        for b, size in enumerate(x.shape[:batch_dims])
    ]
    parts = [_wrapped(index[..., i], x.shape[batch_dims + i]) for i in range(index.shape[-1])]
    return x[tuple(batch + parts)]


def places_of_elements(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """Where in the flattened `x` ScatterElements puts each update: int64, of the index's shape."""
    numbers = torch.arange(x.numel()).reshape(x.shape)
    index = _wrapped(index, x.shape[axis]).to(torch.int64)
    inside = tuple(slice(None) if a == axis % x.dim() else slice(n) for a, n in enumerate(index.shape))
    return numbers[inside].gather(axis, index)


def places_of_slices(x: Tensor, index: Tensor) -> Tensor:
    """Where in the flattened `x` ScatterND puts each element of its updates: int64, of the updates' shape."""
    parts = tuple(_wrapped(index[..., i], x.shape[i]) for i in range(index.shape[-1]))
    return torch.arange(x.numel()).reshape(x.shape)[parts]


def _scatter_elements(x: Tensor, index: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    return _scattered(x, updates, places_of_elements(x, index, axis), reduction)


def _scatter_nd(x: Tensor, index: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    return _scattered(x, updates, places_of_slices(x, index), reduction)


def _scattered(x: Tensor, updates: Tensor, places: Tensor, reduction: str) -> Tensor:
    if reduction != "none":
        raise NotImplementedError(f"there is no reduction={reduction!r}")
    at = places.reshape(-1)
    if len(torch.unique(at)) < len(at):
        raise ValueError("the same element is written twice, and which value stays is left open")
    return x.reshape(-1).scatter(0, at, updates.reshape(-1)).reshape(x.shape)


def _where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(condition, x, y)


def _trilu(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Tensor:
    return _masked(x, k, upper, x.new_zeros(()))


def _trilu_repeats(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Tensor:
    return _masked(x, k, upper, x.new_full((), -1))


def _masked(x: Tensor, k: Tensor | None, upper: int, fill: Tensor) -> Tensor:
    diagonal = 0 if k is None else int(k)
    ones = torch.ones(x.shape[-2:], dtype=torch.bool)
    return torch.where(ones.triu(diagonal) if upper else ones.tril(diagonal), x, fill)


def _pad(
    x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None, *, mode: str = "constant"
) -> Tensor:
    return _padded(x, pads, x.new_zeros(()) if value is None else value.reshape(()), axes, mode)


def _pad_repeats(
    x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None, *, mode: str = "constant"
) -> Tensor:
    return _padded(x, pads, x.new_full((), -1) if value is None else value.reshape(()), axes, mode)


def _padded(x: Tensor, pads: Tensor, fill: Tensor, axes: Tensor | None, mode: str) -> Tensor:
    """Pad axis by axis through an index of each output position's source (-1: none), so that any dtype works."""
    which = list(range(x.dim())) if axes is None else [a % x.dim() for a in axes.tolist()]
    amounts = pads.tolist()
    for i, axis in enumerate(which):
        size = x.shape[axis]
        position = torch.arange(-amounts[i], size + amounts[i + len(which)])
        source = _pad_source(position, size, mode)
        x = x.index_select(axis, source.clamp(min=0))
        outside = (source < 0).reshape([-1 if a == axis else 1 for a in range(x.dim())])
        x = torch.where(outside, fill, x)
    return x


def _pad_source(position: Tensor, size: int, mode: str) -> Tensor:
    if mode == "constant":
        return torch.where((position < 0) | (position >= size), -1, position)
    if mode == "edge":
        return position.clamp(0, size - 1)
    if mode == "wrap":
        return position % size
    if mode == "reflect":
        period = max(2 * (size - 1), 1)
        folded = position % period
        return torch.where(folded >= size, period - folded, folded)
    raise NotImplementedError(f"Pad with mode={mode!r}")


def _depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """N x B B C x H x W to N x C x H B x W B; `mode` says whether C is the last part of the axis or the first."""
    n, channels, height, width = x.shape
    rest = channels // blocksize**2
    if mode == "DCR":
        parts = x.reshape(n, blocksize, blocksize, rest, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, rest, blocksize, blocksize, height, width).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, rest, height * blocksize, width * blocksize)


def _space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels, height // blocksize, blocksize, width // blocksize, blocksize)
    depth = channels * blocksize**2
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, depth, height // blocksize, width // blocksize)


def _one_hot(indices: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Tensor:
    """Every element repeats the first of `values` (off) or the second (on); an index out of range has all off."""
    if indices.is_floating_point():
        raise NotImplementedError("OneHot of floating-point indices")
    size = int(depth)
    hot = torch.arange(size) == torch.where(indices < 0, indices + size, indices).unsqueeze(-1)
    return torch.where(hot, values[1], values[0]).movedim(-1, axis)


_copies("Cast", _cast, _cast_repeats, tokens="first", passes_on="precision")
_copies("CastLike", _cast_like, _cast_like_repeats, tokens="first", passes_on="precision")
_copies("Concat", _concat, tokens="joined", passes_on="join")
_copies("DepthToSpace", _depth_to_space)
_copies("Dropout", _dropout, tokens="first", passes_on="precision")
_copies("Expand", _expand, tokens="first", passes_on="shape")
_copies("Flatten", _flatten, tokens="in_order", passes_on="shape")
_copies("Gather", _gather, tokens="picked")
_copies("GatherElements", _gather_elements)
_copies("GatherND", _gather_nd)
_copies("Identity", _identity, tokens="first", passes_on="precision")
_copies("OneHot", _one_hot, tokens="one_hot")
_copies("Pad", _pad, _pad_repeats, filled=2)
_copies("Reshape", _reshape, tokens="in_order", passes_on="shape")
_copies("ScatterElements", _scatter_elements, filled=2)
_copies("ScatterND", _scatter_nd, filled=2)
_copies("Slice", _slice, passes_on="part")
_copies("SpaceToDepth", _space_to_depth)
_copies("Squeeze", _squeeze, tokens="in_order", passes_on="shape")
_copies("Tile", _tile)
_copies("Transpose", _transpose, tokens="permuted", passes_on="shape")
_copies("Trilu", _trilu, _trilu_repeats, tokens="first")
_copies("Unsqueeze", _unsqueeze, tokens="unsqueezed", passes_on="shape")
_copies("Where", _where, tokens="choice", passes_on="mask")
