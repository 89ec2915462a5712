"""Convolutions: windows copied out of the signal, then one matrix product per group of channels.

N samples, G groups, C input and M output channels per group, K elements of a kernel, O positions of the output:
windows : N x G x O x CK     weight : G x CK x M     product : N x G x O x M
"""

from __future__ import annotations

from math import prod

import torch

from ..models import ModelError
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value
from .windows import padded, same_pads, windows


@composite("Conv")
def conv(
    tape: Tape,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    *,
    kernel_shape: list[int] | None = None,
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    group: int = 1,
    auto_pad: str = "NOTSET",
) -> Value:
    """x : N x GC x D1 x ..., weight : GM x C x K1 x ..., bias : GM -> N x GM x O1 x ..."""
    del kernel_shape  # the weight's own shape says it
    kernel = list(weight.shape[2:])
    strides, dilations = strides or [1] * len(kernel), dilations or [1] * len(kernel)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        pads = same_pads(list(x.shape[2:]), kernel, strides, dilations, upper=auto_pad == "SAME_UPPER")
    cut = windows(tape, padded(tape, x, pads, 0.0), kernel, strides, dilations)
    # N x GC x O1 x ... x K -> N x G x C x O x K -> N x G x O x CK
    n, sizes = x.shape[0], list(cut.shape[2:-1])
    split = tape("Reshape", cut, tape.integers([n, group, weight.shape[1], prod(sizes), prod(kernel)]))
    rows = tape("Reshape", tape("Transpose", split, perm=[0, 1, 3, 2, 4]), tape.integers([n, group, prod(sizes), -1]))
    return _product(tape, rows, weight, bias, group, sizes)


def _product(tape: Tape, rows: Value, weight: Value, bias: Value | None, group: int, sizes: list[int]) -> Value:
    """rows : N x G x O x CK, weight : GM x C x K1 x ... -> N x GM x O1 x ..."""
    outputs = weight.shape[0]
    stacked = tape("Reshape", weight, tape.integers([group, outputs // group, -1]))
    product = tape("MatMul", rows, tape("Transpose", stacked, perm=[0, 2, 1]))
    turned = tape("Transpose", product, perm=[0, 1, 3, 2])
    y: Value = tape("Reshape", turned, tape.integers([rows.shape[0], outputs, *sizes]))
    if bias is None:
        return y
    return tape("Add", y, tape("Reshape", bias, tape.integers([1, -1] + [1] * len(sizes))))


@composite("ConvTranspose")
def conv_transpose(
    tape: Tape,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    *,
    kernel_shape: list[int] | None = None,
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
    group: int = 1,
    auto_pad: str = "NOTSET",
) -> Value:
    """x : N x GC x D1 x ..., weight : GC x M x K1 x ... -> N x GM x O1 x ...

    A convolution of the input, spread out with `strides` - 1 zeros in between, with the kernel turned round.
    """
    del kernel_shape
    if auto_pad not in ("NOTSET", "VALID") or output_shape is not None:
        raise ModelError("operator ConvTranspose with auto_pad or output_shape is not supported; give it pads")
    kernel, rank = list(weight.shape[2:]), weight.data.dim() - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pads, extra = pads or [0] * 2 * rank, output_padding or [0] * rank
    for i in range(rank):
        x = _spread(tape, x, 2 + i, strides[i])
    spans = [dilation * (width - 1) for dilation, width in zip(dilations, kernel, strict=True)]
    starts = [span - pad for span, pad in zip(spans, pads[:rank], strict=True)]
    ends = [span - pad + more for span, pad, more in zip(spans, pads[rank:], extra, strict=True)]
    return conv(tape, x, _turned(tape, weight, group), bias, pads=starts + ends, dilations=dilations, group=group)


def _spread(tape: Tape, x: Value, axis: int, stride: int) -> Value:
    """x with `stride` - 1 zeros between its elements along `axis`."""
    if stride == 1:
        return x
    size = x.shape[axis]
    shape = [*x.shape[:axis], (size - 1) * stride + 1, *x.shape[axis + 1 :]]
    index = stride * torch.arange(size).reshape([-1 if a == axis else 1 for a in range(x.data.dim())])
    empty = tape.constant(torch.zeros(shape, dtype=tape.dtype))
    return tape("ScatterElements", empty, tape.constant(index.expand(x.shape)), x, axis=axis)


def _turned(tape: Tape, weight: Value, group: int) -> Value:
    """GC x M x K1 x ... -> GM x C x K1 x ..., every kernel backwards along all its axes."""
    rank, (inputs, outputs) = weight.data.dim() - 2, weight.shape[:2]
    last = tape.integers([-1] * rank)
    ends = tape.integers([-(1 << 31)] * rank)
    back = tape("Slice", weight, last, ends, tape.integers(range(2, 2 + rank)), last)
    split = tape("Reshape", back, tape.integers([group, inputs // group, outputs, *weight.shape[2:]]))
    swapped = tape("Transpose", split, perm=[0, 2, 1, *range(3, 3 + rank)])
    return tape("Reshape", swapped, tape.integers([group * outputs, inputs // group, *weight.shape[2:]]))
