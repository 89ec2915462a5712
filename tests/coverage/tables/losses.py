"""Losses, by function; each with its reductions and options."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from ..trying import Case, Function


def _labels(x: Tensor) -> Tensor:
    """T classes out of 8."""
    return torch.arange(x.shape[1]) * 3 % 8


def _weight(x: Tensor) -> Tensor:
    return torch.linspace(0.4, 1.7, 8, dtype=x.dtype)


def _soft(x: Tensor) -> Tensor:
    """T x 8 probabilities, constant."""
    return torch.linspace(0, 1, 8, dtype=x.dtype).softmax(0).roll(1).expand(x.shape[1], 8)


def _signs(x: Tensor) -> Tensor:
    """T of -1 and 1."""
    return (torch.arange(x.shape[1]) % 2 * 2 - 1).to(x.dtype)


def _target(x: Tensor) -> Tensor:
    return torch.linspace(-1.3, 1.7, 8, dtype=x.dtype)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[0], x[0].flip(1) * 0.7 + 0.2


LOSSES: dict[str, Function] = {
    "F.cross_entropy": lambda x: F.cross_entropy(x[0], _labels(x)),
    "F.cross_entropy(sum)": lambda x: F.cross_entropy(x[0], _labels(x), reduction="sum"),
    "F.cross_entropy(none)": lambda x: F.cross_entropy(x[0], _labels(x), reduction="none"),
    "F.cross_entropy(none).sum()": lambda x: F.cross_entropy(x[0], _labels(x), reduction="none").sum(),
    "F.cross_entropy(weight)": lambda x: F.cross_entropy(x[0], _labels(x), _weight(x)),
    "F.cross_entropy(ignore_index)": lambda x: F.cross_entropy(x[0], _labels(x), ignore_index=3),
    "F.cross_entropy(weight, ignore_index, none)": lambda x: F.cross_entropy(
        x[0], _labels(x), _weight(x), ignore_index=3, reduction="none"
    ),
    "F.cross_entropy(label_smoothing)": lambda x: F.cross_entropy(x[0], _labels(x), label_smoothing=0.1),
    "F.cross_entropy(label_smoothing, sum)": lambda x: F.cross_entropy(
        x[0], _labels(x), label_smoothing=0.1, reduction="sum"
    ),
    "F.cross_entropy(label_smoothing, none)": lambda x: F.cross_entropy(
        x[0], _labels(x), label_smoothing=0.1, reduction="none"
    ),
    "F.cross_entropy(label_smoothing, weight, ignore_index)": lambda x: F.cross_entropy(
        x[0], _labels(x), _weight(x), label_smoothing=0.1, ignore_index=3
    ),
    "F.cross_entropy(label_smoothing, weight, ignore_index, none)": lambda x: F.cross_entropy(
        x[0], _labels(x), _weight(x), label_smoothing=0.1, ignore_index=3, reduction="none"
    ),
    "F.cross_entropy(K axes)": lambda x: F.cross_entropy(x.mT, _labels(x)[None]),
    "F.cross_entropy(K axes, label_smoothing)": lambda x: F.cross_entropy(x.mT, _labels(x)[None], label_smoothing=0.2),
    "F.cross_entropy(one row)": lambda x: F.cross_entropy(x[0, 0], torch.tensor(3)),
    "F.cross_entropy(probabilities)": lambda x: F.cross_entropy(x[0], _soft(x)),
    "F.cross_entropy(probabilities, weight, smoothing)": lambda x: F.cross_entropy(
        x[0], _soft(x), _weight(x), label_smoothing=0.2
    ),
    "F.cross_entropy(probabilities, sum)": lambda x: F.cross_entropy(x[0], _soft(x), reduction="sum"),
    "F.cross_entropy(probabilities, none)": lambda x: F.cross_entropy(x[0], _soft(x), reduction="none"),
    "F.cross_entropy(probabilities, K axes)": lambda x: F.cross_entropy(x.mT, _soft(x).mT[None]),
    "F.cross_entropy(learned probabilities)": lambda x: F.cross_entropy(x[0], x[0].flip(0).softmax(1)),
    "F.nll_loss": lambda x: F.nll_loss(x[0].log_softmax(1), _labels(x)),
    "F.nll_loss(weight, ignore_index)": lambda x: F.nll_loss(
        x[0].log_softmax(1), _labels(x), _weight(x), ignore_index=3
    ),
    "F.nll_loss(sum)": lambda x: F.nll_loss(x[0].log_softmax(1), _labels(x), reduction="sum"),
    "F.nll_loss(none)": lambda x: F.nll_loss(x[0].log_softmax(1), _labels(x), _weight(x), reduction="none"),
    "F.nll_loss(K axes)": lambda x: F.nll_loss(x.mT.log_softmax(1), _labels(x)[None]),
    "F.binary_cross_entropy": lambda x: F.binary_cross_entropy(x[0].sigmoid(), _soft(x)),
    "F.binary_cross_entropy(weight, sum)": lambda x: F.binary_cross_entropy(
        x[0].sigmoid(), _soft(x), _weight(x), reduction="sum"
    ),
    "F.binary_cross_entropy(learned target)": lambda x: F.binary_cross_entropy(
        x[0].sigmoid(), x[0].flip(1).sigmoid(), reduction="none"
    ),
    "F.binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(x[0], _soft(x)),
    "F.binary_cross_entropy_with_logits(pos_weight)": lambda x: F.binary_cross_entropy_with_logits(
        x[0], _soft(x), _weight(x), pos_weight=_weight(x).flip(0), reduction="none"
    ),
    "F.kl_div": lambda x: F.kl_div(x[0].log_softmax(1), _soft(x), reduction="batchmean"),
    "F.kl_div(log_target)": lambda x: F.kl_div(
        x[0].log_softmax(1), x[0].flip(0).log_softmax(1), log_target=True, reduction="sum"
    ),
    "F.kl_div(learned target)": lambda x: F.kl_div(x[0].log_softmax(1), x[0].flip(0).softmax(1), reduction="batchmean"),
    "F.l1_loss": lambda x: F.l1_loss(*_halves(x)),
    "F.l1_loss(sum)": lambda x: F.l1_loss(*_halves(x), reduction="sum"),
    "F.mse_loss": lambda x: F.mse_loss(*_halves(x)),
    "F.mse_loss(none)": lambda x: F.mse_loss(*_halves(x), reduction="none"),
    "F.mse_loss(weight)": lambda x: F.mse_loss(*_halves(x), weight=_weight(x).expand(x.shape[1], 8)),
    "F.huber_loss": lambda x: F.huber_loss(*_halves(x), delta=0.7),
    "F.smooth_l1_loss": lambda x: F.smooth_l1_loss(*_halves(x)),
    "F.smooth_l1_loss(beta)": lambda x: F.smooth_l1_loss(*_halves(x), beta=0.3, reduction="none"),
    "F.gaussian_nll_loss": lambda x: F.gaussian_nll_loss(x[0], _soft(x), x[0].exp()),
    "F.gaussian_nll_loss(full)": lambda x: F.gaussian_nll_loss(x[0], _soft(x), x[0].exp(), full=True, reduction="sum"),
    "F.poisson_nll_loss": lambda x: F.poisson_nll_loss(x[0], 5 * _soft(x)),
    "F.poisson_nll_loss(full)": lambda x: F.poisson_nll_loss(x[0].exp(), 9 * _soft(x), log_input=False, full=True),
    "F.cosine_embedding_loss": lambda x: F.cosine_embedding_loss(*_halves(x), _signs(x), margin=-0.5),
    "F.hinge_embedding_loss": lambda x: F.hinge_embedding_loss(x[0], _signs(x)[:, None], margin=0.77),
    "F.margin_ranking_loss": lambda x: F.margin_ranking_loss(*_halves(x), _signs(x)[:, None], margin=0.31),
    "F.multi_margin_loss": lambda x: F.multi_margin_loss(x[0], _labels(x)),
    "F.multi_margin_loss(p=2, weight)": lambda x: F.multi_margin_loss(x[0], _labels(x), 2, 0.7, _weight(x)),
    "F.multilabel_margin_loss": lambda x: F.multilabel_margin_loss(
        x[0], torch.tensor([3, 0, -1, 1, 1, 1, 1, 1]).expand(x.shape[1], 8)
    ),
    "F.multilabel_soft_margin_loss": lambda x: F.multilabel_soft_margin_loss(x[0], _soft(x).round()),
    "F.soft_margin_loss": lambda x: F.soft_margin_loss(x[0], _signs(x)[:, None].expand(x.shape[1], 8)),
    "F.triplet_margin_loss": lambda x: F.triplet_margin_loss(x[0], x[0].flip(0), x[0].exp()),
    "F.triplet_margin_with_distance_loss": lambda x: F.triplet_margin_with_distance_loss(
        x[0], x[0].flip(0), x[0].exp()
    ),
    "F.ctc_loss": lambda x: F.ctc_loss(
        x[0].log_softmax(1)[:, None], torch.tensor([[1, 2]]), torch.tensor([x.shape[1]]), torch.tensor([2])
    ),
}

CASES = {name: Case(f) for name, f in LOSSES.items()}
