"""Every family of the zoo, small, in all its kinds; and what its task needs to try it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gradtrace.exporters.models import Encoded
from gradtrace.pipeline.corpora.corpora import load_corpus
from gradtrace.pipeline.corpora.vocabulary import Vocabulary, build_vocabularies
from gradtrace.pipeline.zoo import family, make_hyperparameters

RECURRENT = {"embedding_size": 6, "hidden_size": 5}
TRANSFORMER = {"hidden_size": 8, "heads": 2, "feed_forward_size": 12}
ATTENTION = {**RECURRENT, "attention_size": 4}

# (family, hyperparameters): each family at least once, every choice at least once
CASES: list[tuple[str, dict[str, Any]]] = [
    ("rnn_lm", {**RECURRENT, "layers": 2, "dropout": 0.5}),
    ("lstm_lm", {**RECURRENT, "layers": 2, "dropout": 0.5}),
    ("gru_lm", {**RECURRENT, "layers": 2, "dropout": 0.5}),
    ("lstm_cell_lm", {**RECURRENT, "layers": 2, "dropout": 0.5}),
    ("lstm_cell_lm", {**RECURRENT, "cell": "torch"}),
    ("lstm_variants", RECURRENT),
    ("lstm_variants", {**RECURRENT, "variant": "no_simple_rnn"}),
    ("lstm_variants", {**RECURRENT, "variant": "no_output_gate"}),
    ("lstm_variants", {**RECURRENT, "variant": "memory_cell_only"}),
    ("lstm_variants", {**RECURRENT, "variant": "no_gates"}),
    ("rational_lm", RECURRENT),
    ("rational_lm", {**RECURRENT, "states": 3, "layers": 2}),
    ("isan_lm", {"hidden_size": 5}),
    ("transformer_lm", {**TRANSFORMER, "dropout": 0.2}),
    ("transformer_lm", {**TRANSFORMER, "norm": "post", "positions": "learned", "tied": True}),
    ("transformer_nmt", {**TRANSFORMER, "dropout": 0.2}),
    ("transformer_nmt", {**TRANSFORMER, "norm": "post", "positions": "learned", "tied": True}),
    ("attention_nmt", {**ATTENTION, "dropout": 0.2}),
    ("attention_nmt", {**ATTENTION, "cell": "lstm"}),
    ("attention_nmt", {**ATTENTION, "bidirectional": False}),
    ("text_cnn", {"embedding_size": 6, "filters": 4, "dropout": 0.2}),
    ("text_cnn", {"embedding_size": 6, "filters": 4, "narrowest": 1, "widest": 2}),
]
IDS = [
    "-".join([name, *(f"{k}={v}" for k, v in values.items() if isinstance(v, str | bool))]) for name, values in CASES
]
CORPORA = {"language modelling": "agreement", "translation": "translation", "classification": "opinions"}


@dataclass(frozen=True)
class Trial:
    """A model of a family, in eval mode and float64, with lines it can encode."""

    name: str
    model: nn.Module
    vocabularies: list[Vocabulary]
    lines: list[str]

    def encode(self, line: str) -> Encoded:
        return family(self.name).task.encode(line, *self.vocabularies)


BATCH = 3


def alike(tried: Trial) -> list[str]:
    """Lines of BATCH samples whose inputs have the same shapes, the shortest such; all tests of a case begin there."""
    by_shape: dict[tuple[tuple[int, ...], ...], dict[tuple[str, ...], str]] = defaultdict(dict)
    for line in tried.lines:
        encoded = tried.encode(line)
        shape = tuple(tuple(x.shape) for x in encoded.inputs.values())
        by_shape[shape].setdefault(tuple(encoded.tokens), line)
    enough = [shape for shape, samples in by_shape.items() if len(samples) >= BATCH]
    assert enough, f"{tried.name}: no {BATCH} samples of one length among {len(tried.lines)}"
    shortest = min(enough, key=lambda shape: (sum(map(sum, shape)), shape))
    return list(by_shape[shortest].values())[:BATCH]


def of_lengths(tried: Trial, n: int) -> list[str]:
    """Lines of n different lengths, not in order of length: first one of those alike, then the shortest others."""
    first = alike(tried)[0]
    by_length = {len(tried.encode(line).tokens): line for line in tried.lines}
    others = sorted(length for length in by_length if length != len(tried.encode(first).tokens))[: n - 1]
    assert len(others) == n - 1
    return [first, *(by_length[length] for length in reversed(others))]


def corpus_name(name: str, n: int) -> str:
    """A built-in corpus of n samples for the family's task."""
    return f"{CORPORA[family(name).task.name]}:{n}"


def trial(name: str, hyperparameters: dict[str, Any]) -> Trial:
    task = family(name).task
    lines = load_corpus(corpus_name(name, 60), task.layout).train
    vocabularies = build_vocabularies(task.layout, lines, 200)
    torch.manual_seed(0)
    model = family(name).build(*map(len, vocabularies), make_hyperparameters(name, hyperparameters))
    return Trial(name, model.double().eval(), vocabularies, lines)
