"""SoftmaxCrossEntropyLoss and NegativeLogLikelihoodLoss.

Only the target's score leaves the softmax: it is picked first (a copy) and subtracted from the log-sum-exp, so that the
classes that nobody asked for have one path to the loss, through the normaliser, and no operators of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..models import ModelError
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value
from .softmax import log_softmax, log_sum_exp, shifted


@composite("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(
    tape: Tape,
    scores: Value,
    labels: Value,
    weights: Value | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int | None = None,
) -> list[Value]:
    """Scores N x C x D1 x ..., labels N x D1 x ...: the loss and, for models that read it, the log-probabilities."""
    with tape.labelled(role="loss"):
        low, _ = shifted(tape, scores, [1])
        normaliser = tape("Squeeze", log_sum_exp(tape, low, [1]), tape.integers([1]))
        losses = tape("Sub", normaliser, _pick(tape, low, labels, ignore_index))
        loss = _reduced(tape, losses, labels, weights, reduction, ignore_index, scores.shape[1])
        return [loss, log_softmax(tape, scores, axis=1)] if tape.n_outputs > 1 else [loss]


@composite("NegativeLogLikelihoodLoss")
def negative_log_likelihood(
    tape: Tape,
    log_probabilities: Value,
    labels: Value,
    weights: Value | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int | None = None,
) -> Value:
    """Log-probabilities N x C x D1 x ..., labels N x D1 x ...: minus the labels' log-probabilities, reduced."""
    with tape.labelled(role="loss"):
        losses = tape("Neg", _pick(tape, log_probabilities, labels, ignore_index))
        return _reduced(tape, losses, labels, weights, reduction, ignore_index, log_probabilities.shape[1])


def _pick(tape: Tape, scores: Value, labels: Value, ignore_index: int | None) -> Value:
    """The labels' scores, N x D1 x ...; an ignored position repeats class 0 and is weighted with 0 later.

    Raises ModelError for labels that are probabilities: ONNX's losses have none, though torch exports them so.
    """
    if labels.data.is_floating_point():
        raise ModelError(
            "cross_entropy with probabilities as targets cannot be exported: ONNX's loss wants the numbers of classes. "
            "Write -(targets * scores.log_softmax(1)).sum(1).mean()"
        )
    index = tape.compute(lambda data: torch.where(_kept(data, ignore_index), data, 0).unsqueeze(1), labels)
    return tape("Squeeze", tape("GatherElements", scores, index, axis=1), tape.integers([1]))


def _reduced(
    tape: Tape,
    losses: Value,
    labels: Value,
    weights: Value | None,
    reduction: str,
    ignore_index: int | None,
    n_classes: int,
) -> Value:
    if weights is None and tape.decide(lambda data: bool(_kept(data, ignore_index).all()), labels):
        if reduction == "none":
            return losses
        return tape("ReduceMean" if reduction == "mean" else "ReduceSum", losses, keepdims=0)
    each = _weights(tape, labels, ignore_index, weights, n_classes)
    weighted = tape("Mul", losses, each)
    if reduction == "none":
        return weighted
    total = tape("ReduceSum", weighted, keepdims=0)
    return total if reduction == "sum" else tape("Div", total, tape.compute(torch.sum, each))


def _weights(tape: Tape, labels: Value, ignore_index: int | None, weights: Value | None, n_classes: int) -> Value:
    """What each loss is weighted with: its class's weight, 0 for an ignored position."""
    per_class = tape.constant(torch.ones(n_classes, dtype=tape.dtype)) if weights is None else weights

    def weigh(labels: Tensor, per_class: Tensor) -> Tensor:
        kept = _kept(labels, ignore_index)
        return torch.where(kept, per_class[torch.where(kept, labels, 0)], 0.0)

    return tape.compute(weigh, labels, per_class)


def _kept(labels: Tensor, ignore_index: int | None) -> Tensor:
    return torch.ones_like(labels, dtype=torch.bool) if ignore_index is None else labels != ignore_index
