"""cross_entropy with all its arguments: label smoothing, probabilities as targets, a single row.

ONNX's SoftmaxCrossEntropyLoss has none of these, and torch's own translation drops them without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset20
from torch import Tensor

from ...operators.registry import CROSS_ENTROPY, DOMAIN

op: Any = opset20
_REDUCTIONS = ("none", "mean", "sum")  # by torch's number


@torch.library.custom_op(f"{DOMAIN}::{CROSS_ENTROPY}", mutates_args=())
def cross_entropy(
    scores: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int, label_smoothing: float
) -> Tensor:
    """aten's cross_entropy_loss, of which torch forgets in the export that `reduction="none"` keeps the rows."""
    loss: Tensor = torch.ops.aten.cross_entropy_loss(scores, target, weight, reduction, ignore_index, label_smoothing)
    return loss


@cross_entropy.register_fake
def _(scores: Tensor, target: Tensor, weight: Tensor | None, reduction: int, *_: Any) -> Tensor:
    del target, weight
    class_axis = 0 if scores.dim() == 1 else 1
    sizes = [size for axis, size in enumerate(scores.shape) if axis != class_axis]
    return scores.new_empty(sizes if _REDUCTIONS[reduction] == "none" else [])


def _whole(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Any:
    return cross_entropy(scores, target, weight, reduction, ignore_index, label_smoothing)


DECOMPOSITIONS: dict[Any, Any] = {torch.ops.aten.cross_entropy_loss.default: _whole}


def _cross_entropy(
    scores: Any, target: Any, weight: Any, reduction: int, ignore_index: int, label_smoothing: float
) -> Any:
    """The translation: scores C, N x C or N x C x D1 x ..., labels without C or probabilities with it."""
    one_row = len(scores.shape) == 1
    are_probabilities = target.dtype.is_floating_point()
    rows = _Rows(scores.dtype, scores.shape[0 if one_row else 1], max(len(scores.shape), 2))
    scores, target = (op.Unsqueeze(x, [0]) if one_row else x for x in (scores, target))
    if are_probabilities:
        loss = _of_probabilities(rows, scores, target, weight, reduction, label_smoothing)
    elif label_smoothing == 0.0:
        loss, _ = op.SoftmaxCrossEntropyLoss(
            scores, target, weight, reduction=_REDUCTIONS[reduction], ignore_index=ignore_index
        )
    else:
        loss = _smoothed(rows, scores, target, weight, reduction, ignore_index, label_smoothing)
    return op.Squeeze(loss, [0]) if one_row and _REDUCTIONS[reduction] == "none" else loss


@dataclass(frozen=True)
class _Rows:
    """What is known of the scores N x C x D1 x ...: their type, C, and their rank."""

    dtype: Any
    n_classes: Any
    rank: int

    def number(self, value: float) -> Any:
        """A constant of the scores' type."""
        return op.Constant(value=ir.serde.serialize_tensor(ir.tensor(value, dtype=self.dtype)))

    def along_classes(self, weight: Any) -> Any:
        """The weights of C classes as 1 x C x 1 x ..."""
        return op.Unsqueeze(weight, [0, *range(2, self.rank)])

    def summed(self, scores: Any, factor: Any, weight: Any) -> Any:
        """Minus the sum over classes of the log-probabilities, each times its factor and weight: N x D1 x ..."""
        terms = op.LogSoftmax(scores, axis=1)
        if factor is not None:
            terms = op.Mul(terms, factor)
        if weight is not None:
            terms = op.Mul(terms, self.along_classes(weight))
        return op.Neg(op.ReduceSum(terms, [1], keepdims=False))


def _of_probabilities(rows: _Rows, scores: Any, target: Any, weight: Any, reduction: int, smoothing: float) -> Any:
    """Weighted with the probability of each class; the mean is over rows."""
    if smoothing:
        even = rows.number(smoothing / rows.n_classes)
        target = op.Add(op.Mul(target, rows.number(1 - smoothing)), even)
    return _reduced(rows.summed(scores, target, weight), reduction, None)


def _smoothed(
    rows: _Rows, scores: Any, target: Any, weight: Any, reduction: int, ignore_index: int, smoothing: float
) -> Any:
    """A part 1 - smoothing of the loss of the label, and smoothing / C of that of each of the C classes."""
    hard, _ = op.SoftmaxCrossEntropyLoss(scores, target, weight, reduction="none", ignore_index=ignore_index)
    kept = op.Not(op.Equal(target, op.CastLike(op.Constant(value_int=ignore_index), target)))
    soft = op.Where(kept, rows.summed(scores, None, weight), rows.number(0.0))
    parts = op.Mul(hard, rows.number(1 - smoothing)), op.Mul(soft, rows.number(smoothing / rows.n_classes))
    losses = op.Add(*parts)
    if _REDUCTIONS[reduction] != "mean":
        return _reduced(losses, reduction, None)
    if weight is None:
        each = op.Cast(kept, to=int(rows.dtype))
    else:
        label = op.Where(kept, target, op.CastLike(op.Constant(value_int=0), target))
        each = op.Where(kept, op.Gather(weight, label, axis=0), rows.number(0.0))
    return _reduced(losses, reduction, op.ReduceSum(each, keepdims=False))


def _reduced(losses: Any, reduction: int, weights: Any) -> Any:
    """weights: what a mean is divided by instead of the number of losses."""
    if _REDUCTIONS[reduction] == "none":
        return losses
    if _REDUCTIONS[reduction] == "mean" and weights is None:
        return op.ReduceMean(losses, keepdims=False)
    total = op.ReduceSum(losses, keepdims=False)
    return total if weights is None else op.Div(total, weights)


TRANSLATIONS: dict[Any, Any] = {torch.ops.gradtrace.cross_entropy.default: _cross_entropy}
