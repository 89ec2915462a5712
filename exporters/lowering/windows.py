"""CumSum and pooling: reductions whose windows overlap. Each window is copied out first, then reduced."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..models import ModelError
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value


@composite("CumSum")
def cum_sum(tape: Tape, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """Sums of the elements up to each position along `axis`.

    ... x n x ... -> ... x n x n, where row i repeats the elements that enter sum i, summed over the last axis
    """
    along = tape.decide(int, axis) % x.data.dim()
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
    """The largest element of each window, of equal ones the first; padding is never the largest.

    A second output is where it was found: its number among all elements of `x`.
    """
    frame = _frame(x, kernel_shape, strides, pads, dilations, ceil_mode, auto_pad)
    cut = windows(tape, padded(tape, x, frame.pads, -math.inf), kernel_shape, frame.strides, frame.dilations)
    largest = tape("ReduceMax", cut, tape.integers([-1]), keepdims=0, subgradient="first")
    if tape.n_outputs == 1:
        return [largest]
    if storage_order:
        raise ModelError("MaxPool with storage_order=1 numbers its indices by column; by row is wanted (0)")
    numbers = tape.constant(torch.arange(x.data.numel(), dtype=tape.dtype).reshape(x.shape))
    of_window = windows(tape, padded(tape, numbers, frame.pads, -1.0), kernel_shape, frame.strides, frame.dilations)
    return [largest, tape.compute(_found_at, cut, of_window)]


def _found_at(cut: Tensor, of_window: Tensor) -> Tensor:
    """The number of the largest element of each window. of_window: the numbers of the elements of all."""
    return of_window.gather(-1, cut.argmax(-1, keepdim=True)).squeeze(-1).to(torch.int64)


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
    """The mean of each window, with or without its padding; what lies behind the padding is never counted."""
    frame = _frame(x, kernel_shape, strides, pads, dilations, ceil_mode, auto_pad)
    cut = windows(tape, padded(tape, x, frame.pads, 0.0), kernel_shape, frame.strides, frame.dilations)
    counts = _counts(frame, x, kernel_shape, 1.0 if count_include_pad else 0.0)
    if bool((counts == cut.shape[-1]).all()):
        return tape("ReduceMean", cut, tape.integers([-1]), keepdims=0)
    share = tape.constant((1.0 / counts).to(tape.dtype))
    return tape("Mul", tape("ReduceSum", cut, tape.integers([-1]), keepdims=0), share)


def _counts(frame: Frame, x: Value, kernel_shape: list[int], padding: float) -> Tensor:
    """How many elements each window has, 1 x 1 x O1 x ...; an element of the declared padding counts as `padding`."""
    scratch, n = Tape(torch.float64), len(kernel_shape)
    inside = scratch.constant(torch.ones(1, 1, *x.shape[2:], dtype=torch.float64))
    declared = padded(
        scratch, inside, [pad - more for pad, more in zip(frame.pads, frame.behind, strict=True)], padding
    )
    whole = padded(scratch, declared, frame.behind, 0.0)
    cut = windows(scratch, whole, kernel_shape, frame.strides, frame.dilations)
    assert cut.data.dim() == n + 3
    return scratch.decide_tensor(lambda elements: elements.sum(-1), cut)


@composite("GlobalMaxPool")
def global_max_pool(tape: Tape, x: Value) -> Value:
    """N x C x D1 x ... -> the largest element of each channel, N x C x 1 x ..."""
    return tape("ReduceMax", x, tape.integers(range(2, x.data.dim())), subgradient="first")


@composite("GlobalAveragePool")
def global_average_pool(tape: Tape, x: Value) -> Value:
    """N x C x D1 x ... -> the mean of each channel, N x C x 1 x ..."""
    return tape("ReduceMean", x, tape.integers(range(2, x.data.dim())))


class Frame(NamedTuple):
    """How windows lie over a signal of n axes.

    pads: elements before, then after, each axis; negative where the last of them are in no window
    behind: those of `pads` that only `ceil_mode` adds or takes away
    """

    strides: list[int]
    dilations: list[int]
    pads: list[int]
    behind: list[int]


def _frame(
    x: Value,
    kernel_shape: list[int],
    strides: list[int] | None,
    pads: list[int] | None,
    dilations: list[int] | None,
    ceil_mode: int,
    auto_pad: str,
) -> Frame:
    """The frame that a pooling's attributes describe over x : N x C x D1 x ..."""
    n, sizes = len(kernel_shape), list(x.shape[2:])
    strides, dilations, pads = strides or [1] * n, dilations or [1] * n, list(pads or [0] * 2 * n)
    behind = [0] * 2 * n
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        pads = same_pads(sizes, kernel_shape, strides, dilations, upper=auto_pad == "SAME_UPPER")
    elif ceil_mode:
        for i in range(n):
            span, inside = dilations[i] * (kernel_shape[i] - 1) + 1, sizes[i] + pads[i]
            free = inside + pads[n + i] - span
            steps = min(-(-free // strides[i]), (inside - 1) // strides[i])  # none starts behind the input
            behind[n + i] = steps * strides[i] - free
            pads[n + i] += behind[n + i]
    return Frame(strides, dilations, pads, behind)


def same_pads(
    sizes: list[int], kernel: list[int], strides: list[int], dilations: list[int], *, upper: bool
) -> list[int]:
    """The padding at the starts and at the ends after which stride s leaves ceil(size / s) positions."""
    starts, ends = [], []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + dilation * (width - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        starts.append(small if upper else large)
        ends.append(large if upper else small)
    return starts + ends


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
