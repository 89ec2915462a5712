"""Cases of the composites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..operators.operator_cases import Array, Case, case, ints, normal, positive, scalar
from .recurrent_formulas import gru, lstm, rnn

CUBE = normal(2, 3, 4)


def _log_softmax(x: Tensor, axis: int) -> Tensor:
    return x - torch.log(torch.exp(x).sum(axis, keepdim=True))


SOFTMAX: list[Case] = [
    case("Softmax", [CUBE], lambda x: torch.exp(_log_softmax(x, 2))),
    case("Softmax", [CUBE], lambda x: torch.exp(_log_softmax(x, 1)), axis=1),
    case("Softmax", [CUBE], lambda x: torch.exp(_log_softmax(x, 0)), axis=-3),
    case("Softmax", [np.array([[1.0, 1.0, 800.0], [2.0, 2.0, 2.0]])], lambda x: torch.softmax(x, -1)),
    case("LogSoftmax", [CUBE], lambda x: _log_softmax(x, 2)),
    case("LogSoftmax", [CUBE], lambda x: _log_softmax(x, 1), axis=-2),
]

POSITIVE = positive(2, 3, 4)
REDUCTIONS = (
    ("ReduceSumSquare", CUBE, lambda x, dims, keep: (x**2).sum(dims, keepdim=keep)),
    ("ReduceL1", CUBE, lambda x, dims, keep: x.abs().sum(dims, keepdim=keep)),
    ("ReduceL2", CUBE, lambda x, dims, keep: (x**2).sum(dims, keepdim=keep) ** 0.5),
    ("ReduceLogSum", POSITIVE, lambda x, dims, keep: torch.log(x.sum(dims, keepdim=keep))),
    ("ReduceLogSumExp", CUBE, lambda x, dims, keep: torch.log(torch.exp(x).sum(dims, keepdim=keep))),
)
REDUCES: list[Case] = [
    each
    for op, x, over in REDUCTIONS
    for each in (
        case(op, [x], lambda x, over=over: over(x, (0, 1, 2), True)),
        case(op, [x], lambda x, over=over: over(x, (0, 1, 2), False), keepdims=0),
        case(op, [x, ints(-2)], lambda x, _, over=over: over(x, (1,), True)),
        case(op, [x, ints(2, 0)], lambda x, _, over=over: over(x, (0, 2), False), keepdims=0),
        case(op, [x], lambda x, over=over: over(x, (1, 2), True), axes=[1, -1], opset=13),
    )
]

A, B = normal(2, 3), normal(3, 4, seed=1)
LINEAR: list[Case] = [
    case("Gemm", [A, B], lambda a, b: torch.einsum("mk,kn->mn", a, b)),
    case("Gemm", [A, B, normal(4, seed=2)], lambda a, b, c: a @ b + c),
    case("Gemm", [A, B, normal(2, 1, seed=2)], lambda a, b, c: 0.5 * (a @ b) - 2 * c, alpha=0.5, beta=-2.0),
    case("Gemm", [A.T.copy(), B, scalar(1.0)], lambda a, b, c: a.T @ b + c, transA=1),
    case("Gemm", [A, B.T.copy()], lambda a, b: a @ b.T, transB=1),
]


def _nll(log_p: Tensor, labels: Tensor, weights: Tensor | None, reduction: str, ignore: int | None) -> Tensor:
    """Position by position, in plain loops."""
    columns = log_p.movedim(1, -1).reshape(-1, log_p.shape[1])
    losses, sizes = [], []
    for column, label in zip(columns, labels.reshape(-1).tolist(), strict=True):
        size = 0.0 if label == ignore else 1.0 if weights is None else float(weights[label])
        losses.append(-size * column[0 if label == ignore else label])
        sizes.append(size)
    stacked = torch.stack(losses)
    if reduction == "none":
        return stacked.reshape(labels.shape)
    return stacked.sum() / sum(sizes) if reduction == "mean" else stacked.sum()


LABELS = np.array([2, 0, 2, 1])
POSITIONS = np.array([[0, 2, 1, 1], [2, 2, 0, 1]])
WEIGHTS = positive(3, seed=1)
LOSS_SETTINGS: tuple[tuple[Array, Array, Array | None, dict[str, Any]], ...] = (
    (normal(4, 3), LABELS, None, {}),
    (normal(4, 3), LABELS, None, {"reduction": "sum"}),
    (normal(4, 3), LABELS, None, {"reduction": "none"}),
    (normal(4, 3), LABELS, WEIGHTS, {}),
    (normal(4, 3), LABELS, WEIGHTS, {"ignore_index": 2}),
    (normal(4, 3), np.array([2, 0, -100, 1]), None, {"ignore_index": -100}),
    (normal(2, 3, 4), POSITIONS, None, {}),
    (normal(2, 3, 4), POSITIONS, WEIGHTS, {"reduction": "none", "ignore_index": 0}),
    (normal(2, 3, 2, 2), POSITIONS.reshape(2, 2, 2), WEIGHTS, {"reduction": "sum", "ignore_index": 0}),
)


def _losses() -> list[Case]:
    found = []
    for scores, labels, weights, setting in LOSS_SETTINGS:
        inputs = [scores, labels] if weights is None else [scores, labels, weights]
        reduction, ignore = setting.get("reduction", "mean"), setting.get("ignore_index")

        def nll(x: Tensor, y: Tensor, w: Tensor | None = None, r: str = reduction, i: int | None = ignore) -> Tensor:
            return _nll(x, y, w, r, i)

        def crossed(x: Tensor, y: Tensor, w: Tensor | None = None, r: str = reduction, i: int | None = ignore) -> Any:
            log_p = _log_softmax(x, 1)
            return [_nll(log_p, y, w, r, i), log_p]

        found.append(case("NegativeLogLikelihoodLoss", inputs, nll, fixed=(2,), **setting))
        for n_outputs in (1, 2):
            found.append(case("SoftmaxCrossEntropyLoss", inputs, crossed, fixed=(2,), n_outputs=n_outputs, **setting))
    return found


def _chain(op_type: str, x: Array, *steps: tuple[str, list[str], list[str], dict[str, Any]], **inputs: Any) -> Case:
    return case(op_type, [x, *inputs.get("more", [])], n_outputs=inputs.get("n_outputs", 1), nodes=steps)


LONG = normal(2, 7)
SEQUENCES: list[Case] = [
    case("Split", [LONG, ints(2, 0, 5)], n_outputs=3, axis=1),
    case("Split", [LONG], n_outputs=3, axis=-1, num_outputs=3),
    case("Split", [LONG], n_outputs=2, num_outputs=2),
    _chain(
        "SplitToSequence",
        LONG,
        ("SplitToSequence", ["x0"], ["s"], {"axis": 1}),
        ("ConcatFromSequence", ["s"], ["y0"], {"axis": 0}),
    ),
    *[
        _chain(
            "SplitToSequence",
            LONG,
            ("SplitToSequence", ["x0", "x1"], ["s"], {"axis": 1}),
            ("SequenceAt", ["s", "x2"], ["y0"], {}),
            more=[sizes, np.array(position)],
        )
        for sizes, position in ((ints(2, 5), 1), (np.array(3), 2), (np.array(3), -2))
    ],
    _chain(
        "SplitToSequence",
        LONG,
        ("SplitToSequence", ["x0"], ["s"], {"axis": 1, "keepdims": 0}),
        ("SequenceAt", ["s", "x1"], ["y0"], {}),
        more=[np.array(3)],
    ),
    _chain(
        "SequenceAt",
        normal(3),
        ("SequenceConstruct", ["x0", "x1"], ["s"], {}),
        ("SequenceAt", ["s", "x2"], ["y0"], {}),
        more=[normal(2, 2), np.array(1)],
    ),
    *[
        _chain(
            op,
            normal(2, 3),
            ("SequenceConstruct", ["x0", "x1"], ["s"], {}),
            ("ConcatFromSequence", ["s"], ["y0"], {"axis": axis, "new_axis": new}),
            more=[normal(2, 3, seed=1)],
        )
        for op, axis, new in (("SequenceConstruct", 1, 0), ("ConcatFromSequence", 0, 1), ("ConcatFromSequence", -1, 1))
    ],
]


def _windows(x: Tensor, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[list[Tensor]]:
    """The elements of each window of a 1-d signal N x C x L, already padded."""
    starts = range(0, x.shape[2] - dilation[0] * (size[0] - 1), stride[0])
    return [[x[:, :, s + dilation[0] * i] for i in range(size[0])] for s in starts]


def _largest(x: Tensor, size: int, stride: int, dilation: int, pads: tuple[int, int]) -> Tensor:
    padded = torch.nn.functional.pad(x, pads, value=-torch.inf)
    return torch.stack([torch.stack(w).max(0).values for w in _windows(padded, [size], [stride], [dilation])], 2)


def _average(x: Tensor, size: int, stride: int, pads: tuple[int, int], *, include: bool) -> Tensor:
    padded = torch.nn.functional.pad(x, pads)
    ones = torch.ones_like(padded) if include else torch.nn.functional.pad(torch.ones_like(x), pads)
    sums = torch.stack([torch.stack(w).sum(0) for w in _windows(padded, [size], [stride], [1])], 2)
    return sums / torch.stack([torch.stack(w).sum(0) for w in _windows(ones, [size], [stride], [1])], 2)


SIGNAL, IMAGE = normal(2, 2, 7), normal(1, 2, 5, 4)
POOLS: list[Case] = [
    case("MaxPool", [SIGNAL], lambda x: _largest(x, 3, 1, 1, (0, 0)), kernel_shape=[3]),
    case("MaxPool", [SIGNAL], lambda x: _largest(x, 3, 2, 1, (1, 1)), kernel_shape=[3], strides=[2], pads=[1, 1]),
    case("MaxPool", [SIGNAL], lambda x: _largest(x, 2, 1, 3, (0, 0)), kernel_shape=[2], dilations=[3]),
    case("MaxPool", [SIGNAL], lambda x: _largest(x, 2, 2, 1, (0, 1)), kernel_shape=[2], strides=[2], ceil_mode=1),
    case("MaxPool", [SIGNAL], lambda x: _largest(x, 1, 4, 1, (0, 0)), kernel_shape=[1], strides=[4], ceil_mode=1),
    case("MaxPool", [IMAGE], lambda x: torch.max_pool2d(x, (3, 2), (2, 1)), kernel_shape=[3, 2], strides=[2, 1]),
    case("AveragePool", [SIGNAL], lambda x: _average(x, 3, 2, (0, 0), include=True), kernel_shape=[3], strides=[2]),
    case(
        "AveragePool",
        [SIGNAL],
        lambda x: _average(x, 3, 2, (1, 1), include=False),
        kernel_shape=[3],
        strides=[2],
        pads=[1, 1],
    ),
    case(
        "AveragePool",
        [SIGNAL],
        lambda x: _average(x, 3, 1, (2, 1), include=True),
        kernel_shape=[3],
        pads=[2, 1],
        count_include_pad=1,
    ),
    case(
        "AveragePool", [IMAGE], lambda x: torch.nn.functional.avg_pool2d(x, (2, 3)), kernel_shape=[2, 3], strides=[2, 3]
    ),
    case("GlobalMaxPool", [IMAGE], lambda x: x.amax((2, 3), keepdim=True)),
    case("GlobalAveragePool", [IMAGE], lambda x: x.mean((2, 3), keepdim=True)),
    *[
        case("CumSum", [CUBE, np.array(axis)], exclusive=exclusive, reverse=reverse)
        for axis, exclusive, reverse in ((0, 0, 0), (1, 1, 0), (-1, 0, 1), (2, 1, 1))
    ],
]


def _stacked(gates: int, batch: int = 2) -> list[Array]:
    """T = 3, I = 2, H = 2: X, W, R, bias, no lengths, initial h."""
    shapes = ((3, batch, 2), (1, 2 * gates, 2), (1, 2 * gates, 2), (1, 4 * gates), (1, batch, 2))
    return [normal(*shape, seed=i) for i, shape in enumerate(shapes)]


def _recurrent(op_type: str, formula: Any, gates: int, n_outputs: int, *extra: Array) -> Case:
    x, w, r, bias, h = _stacked(gates)

    def without_lengths(*tensors: Tensor | None) -> Any:
        return formula(*tensors[:4], *tensors[5:])

    return case(op_type, [x, w, r, bias, None, h, *extra], without_lengths, n_outputs=n_outputs, hidden_size=2)


RECURRENT = [
    _recurrent("RNN", rnn, 1, 2),
    _recurrent("LSTM", lstm, 4, 3, normal(1, 2, 2, seed=9)),
    _recurrent("GRU", gru, 3, 2),
]

CASES = [*SOFTMAX, *REDUCES, *LINEAR, *_losses(), *SEQUENCES, *POOLS, *RECURRENT]
