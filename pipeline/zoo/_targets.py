"""Targets, the predictions that every task of the zoo is scored on, and the padding among them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

PADDING = -100  # the target of padding, which is no prediction; in source sentences, a position that is none


def scored_targets(inputs: Mapping[str, Tensor]) -> int:
    """The number of targets that are no padding."""
    return int((inputs["targets"] != PADDING).sum())


def prediction_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of `logits` (B x T x V) at `targets` (B x T), padding left out: a scalar."""
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING)


def words_or_first(ids: Tensor) -> tuple[Tensor, Tensor]:
    """`ids` with padding replaced by word 0, which an embedding can look up, and which of them are words."""
    are_words = ids != PADDING
    return torch.where(are_words, ids, 0), are_words
