"""Small language models with random weights, as files that a dump opens: `small_models.py:lstm_lm`."""

from __future__ import annotations

import torch

import gradtrace as gt
from gradtrace.pipeline.zoo import family, make_hyperparameters

WORDS = 2_000
SIZES: dict[str, dict[str, object]] = {
    "lstm_lm": {"embedding_size": 200, "hidden_size": 200},
    "transformer_lm": {},
}


def lstm_lm() -> gt.Traceable:
    """An LSTM of 200 units."""
    return _traceable("lstm_lm")


def transformer_lm() -> gt.Traceable:
    """The transformer of the zoo at its default size."""
    return _traceable("transformer_lm")


def encode(line: str) -> gt.Encoded:
    """Numbers of words, each to be predicted from those before it."""
    words = torch.tensor([[int(word) for word in line.split()]])
    return gt.Encoded({"input_ids": words[:, :-1], "targets": words[:, 1:]}, line.split()[:-1])


def _traceable(name: str) -> gt.Traceable:
    torch.manual_seed(0)
    return gt.Traceable(family(name).build(WORDS, make_hyperparameters(name, SIZES[name])), encode)
