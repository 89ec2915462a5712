"""Pooling of any rank against torch: values, gradients, conservation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from gradtrace.exporters.edges.conservation import conservation_error
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.values import Value

from ..operators.operator_cases import normal
from ..taped import finish, leaf, weighted_sum

SHAPES = {1: (2, 2, 11), 2: (1, 2, 7, 6), 3: (1, 2, 5, 4, 6)}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
CONVOLUTION = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

Attributes = dict[str, list[int]]


def check(op_type: str, attributes: dict[str, Any], torchs: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """The operator's values and gradients are torch's."""
    tape = Tape(torch.float64)
    signal = leaf(tape, "x", x)
    found = tape.run(op_type, signal, **attributes)
    y: Value = found[0] if isinstance(found, list) else found
    given = x.clone().requires_grad_()
    wanted = torchs(given)
    assert tuple(y.shape) == tuple(wanted.shape)
    torch.testing.assert_close(y.data, wanted, rtol=1e-12, atol=1e-12)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, tuple(wanted.shape))  # those of weighted_sum
    (wanted * torch.from_numpy(weights)).sum().backward()
    assert given.grad is not None
    recording = finish(tape, weighted_sum(tape, y))
    np.testing.assert_allclose(recording.gradients[: x.numel()], given.grad.reshape(-1).numpy(), rtol=1e-12, atol=1e-14)
    assert conservation_error(recording) < 1e-12


def signal(rank: int) -> Tensor:
    return torch.from_numpy(normal(*SHAPES[rank]))


def onnx(rank: int, kernel: list[int], stride: list[int], pad: list[int], dilation: list[int]) -> Attributes:
    """The same frame in ONNX's attributes."""
    assert len(kernel) == rank
    return {"kernel_shape": kernel, "strides": stride, "pads": [*pad, *pad], "dilations": dilation}


@st.composite
def frames(draw: st.DrawFn, dilated: bool) -> tuple[int, list[list[int]], bool]:
    """Rank, [kernel, stride, padding, dilation] and ceil mode, as torch allows them."""
    rank = draw(st.integers(1, 3))
    each = [
        draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))
        for low, high in ((1, 3), (1, 4), (0, 1), (1, 2 if dilated else 1))
    ]
    kernel, _, pad, dilation = each
    assume(all(p <= k // 2 for p, k in zip(pad, kernel, strict=True)))
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    assume(all(n + 2 * p >= s for n, p, s in zip(SHAPES[rank][2:], pad, spans, strict=True)))
    return rank, each, draw(st.booleans())


@settings(deadline=None, max_examples=60)
@given(frames(dilated=True))
def test_max_pool(frame: tuple[int, list[list[int]], bool]) -> None:
    rank, each, ceil = frame
    attributes = {**onnx(rank, *each), "ceil_mode": int(ceil)}
    check("MaxPool", attributes, lambda x: MAX[rank](x, *each, ceil_mode=ceil), signal(rank))


@settings(deadline=None, max_examples=60)
@given(frames(dilated=False), st.booleans())
def test_average_pool(frame: tuple[int, list[list[int]], bool], include: bool) -> None:
    rank, each, ceil = frame
    attributes = {**onnx(rank, *each), "ceil_mode": int(ceil), "count_include_pad": int(include)}
    check("AveragePool", attributes, lambda x: AVERAGE[rank](x, *each[:3], ceil, include), signal(rank))


@settings(deadline=None, max_examples=60)
@given(frames(dilated=True), st.booleans())
def test_average_pool_with_dilations(frame: tuple[int, list[list[int]], bool], include: bool) -> None:
    """ONNX has them, torch does not: its convolution with a kernel of ones does."""
    rank, (kernel, stride, pad, dilation), _ = frame
    both = [p for axis in reversed(range(rank)) for p in (pad[axis], pad[axis])]
    ones = torch.ones(1, 1, *kernel, dtype=torch.float64)

    def sums(x: Tensor) -> Tensor:
        by_channel = F.pad(x, both).flatten(0, 1).unsqueeze(1)
        return CONVOLUTION[rank](by_channel, ones, stride=stride, dilation=dilation).reshape(*x.shape[:2], *counts)

    size = [n + 2 * p - d * (k - 1) - 1 for n, p, d, k in zip(SHAPES[rank][2:], pad, dilation, kernel, strict=True)]
    counts = [free // s + 1 for free, s in zip(size, stride, strict=True)]
    attributes = {**onnx(rank, kernel, stride, pad, dilation), "count_include_pad": int(include)}
    check(
        "AveragePool",
        attributes,
        lambda x: sums(x) / (float(np.prod(kernel)) if include else sums(torch.ones_like(x))),
        signal(rank),
    )


@pytest.mark.parametrize("upper", [True, False])
def test_as_many_positions_as_the_stride_says(upper: bool) -> None:
    """auto_pad: with kernel 4 and stride 2 over 11 elements 3 are missing, of which upper puts 2 at the end."""
    pads = (1, 2) if upper else (2, 1)
    attributes = {"kernel_shape": [4], "strides": [2], "auto_pad": "SAME_UPPER" if upper else "SAME_LOWER"}
    check("MaxPool", attributes, lambda x: F.max_pool1d(F.pad(x, pads, value=-torch.inf), 4, 2), signal(1))
    check(
        "AveragePool",
        attributes,
        lambda x: F.avg_pool1d(F.pad(x, pads), 4, 2) / F.avg_pool1d(F.pad(torch.ones_like(x), pads), 4, 2),
        signal(1),
    )


@pytest.mark.parametrize("ceil", [False, True])
def test_a_window_that_starts_behind_the_input(ceil: bool) -> None:
    """In ceil mode it is left out, also when the padding has room for it."""
    attributes = {"kernel_shape": [2], "pads": [0, 2], "ceil_mode": int(ceil), "count_include_pad": 1}
    n_outputs = 11 if ceil else 12
    check("AveragePool", attributes, lambda x: F.avg_pool1d(F.pad(x, (0, 2)), 2, 1)[:, :, :n_outputs], signal(1))
    lone = {"kernel_shape": [2], "pads": [0, 1], "strides": [4], "ceil_mode": int(ceil)}
    check("MaxPool", lone, lambda x: F.max_pool1d(x, 2, 4), signal(1))
