"""CumSum and pooling: reductions whose windows overlap. Each window is copied out first, then reduced."""

from __future__ import annotations

import math

import torch

from exporters.models import ModelError
from exporters.operators.registry import composite
from exporters.tape import Tape, Value


@composite("CumSum")
def cum_sum(tape: Tape, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """Sums of the elements up to each position along `axis`.

    ... x n x ... -> ... x n x n, where row i repeats the elements that enter sum i, summed over the last axis
    """
    along = int(axis.data) % x.data.dim()
    n = x.shape[along]
    last = [a for a in range(x.data.dim()) if a != along] + [along]
    moved = tape("Unsqueeze", tape("Transpose", x, perm=last), tape.integers([-2]))
    rows = tape("Expand", moved, tape.integers([*moved.shape[:-2], n, n]))
    offset = (1 if exclusive else 0) * (1 if reverse else -1)
    masked = tape("Trilu", rows, tape.constant_integer(offset), upper=1 if reverse else 0)
    sums = tape("ReduceSum", masked, tape.integers([-1]), keepdims=0)
    return tape("Transpose", sums, perm=[last.index(a) for a in range(len(last))])


@composite("MaxPool")
def max_pool(
    tape: Tape,
    x: Value,
    *,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    ceil_mode: int = 0,
    auto_pad: str = "NOTSET",
    storage_order: int = 0,
) -> list[Value]:
    """The largest element of each window; padding is never the largest."""
    del storage_order  # only concerns the output of indices
    windows = _pooled(tape, x, kernel_shape, strides, pads, dilations, ceil_mode, auto_pad, -math.inf)
    return [tape("ReduceMax", windows, tape.integers([-1]), keepdims=0)]


@composite("AveragePool")
def average_pool(
    tape: Tape,
    x: Value,
    *,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    ceil_mode: int = 0,
    auto_pad: str = "NOTSET",
    count_include_pad: int = 0,
) -> Value:
    """The mean of each window, with or without its padding."""
    if ceil_mode:
        raise ModelError("operator AveragePool with ceil_mode=1 is not supported")
    windows = _pooled(tape, x, kernel_shape, strides, pads, dilations, ceil_mode, auto_pad, 0.0)
    if count_include_pad or not any(pads or []):
        return tape("ReduceMean", windows, tape.integers([-1]), keepdims=0)
    ones = tape.constant(torch.ones_like(x.data))
    counted = _pooled(tape, ones, kernel_shape, strides, pads, dilations, ceil_mode, auto_pad, 0.0)
    share = tape.constant(1.0 / counted.data.sum(-1))
    return tape("Mul", tape("ReduceSum", windows, tape.integers([-1]), keepdims=0), share)


@composite("GlobalMaxPool")
def global_max_pool(tape: Tape, x: Value) -> Value:
    """N x C x D1 x ... -> the largest element of each channel, N x C x 1 x ..."""
    return tape("ReduceMax", x, tape.integers(range(2, x.data.dim())))


@composite("GlobalAveragePool")
def global_average_pool(tape: Tape, x: Value) -> Value:
    """N x C x D1 x ... -> the mean of each channel, N x C x 1 x ..."""
    return tape("ReduceMean", x, tape.integers(range(2, x.data.dim())))


def _pooled(
    tape: Tape,
    x: Value,
    kernel_shape: list[int],
    strides: list[int] | None,
    pads: list[int] | None,
    dilations: list[int] | None,
    ceil_mode: int,
    auto_pad: str,
    fill: float,
) -> Value:
    """The windows of a pooling, padded with `fill`: N x C x O1 x ... x (K1 K2 ...)."""
    if auto_pad not in ("NOTSET", "VALID"):
        raise ModelError(f"pooling with auto_pad={auto_pad} is not supported")
    n = len(kernel_shape)
    strides, dilations, pads = strides or [1] * n, dilations or [1] * n, list(pads or [0] * 2 * n)
    for i in range(n):
        span = dilations[i] * (kernel_shape[i] - 1) + 1
        inside = x.shape[2 + i] + pads[i]
        free = inside + pads[n + i] - span
        missing = -free % strides[i]
        if ceil_mode and free + missing < inside:  # a last window that starts behind the input is left out
            pads[n + i] += missing
    return windows(tape, padded(tape, x, pads, fill), kernel_shape, strides, dilations)


def padded(tape: Tape, x: Value, pads: list[int] | None, fill: float) -> Value:
    """x : N x C x D1 x ... with `pads` (all starts, then all ends) elements `fill` around its D axes."""
    if not any(pads or []):
        return x
    assert pads is not None
    n = len(pads) // 2
    return tape("Pad", x, tape.integers([0, 0, *pads[:n], 0, 0, *pads[n:]]), tape.number(fill))


def windows(tape: Tape, x: Value, kernel_shape: list[int], strides: list[int], dilations: list[int]) -> Value:
    """N x C x D1 x ... -> N x C x O1 x ... x (K1 K2 ...): the elements of each window on the last axis."""
    n = len(kernel_shape)
    for i in range(n):
        axis = 2 + 2 * i  # axes before it are already split in two
        span = dilations[i] * (kernel_shape[i] - 1) + 1
        starts = torch.arange(0, x.shape[axis] - span + 1, strides[i])
        index = starts[:, None] + dilations[i] * torch.arange(kernel_shape[i])
        x = tape("Gather", x, tape.constant(index), axis=axis)
    outputs, kernels = [2 + 2 * i for i in range(n)], [3 + 2 * i for i in range(n)]
    x = tape("Transpose", x, perm=[0, 1, *outputs, *kernels])
    return tape("Reshape", x, tape.integers([*x.shape[: 2 + n], -1]))
