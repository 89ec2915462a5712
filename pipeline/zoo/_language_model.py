"""The task of a language model: predict every word of a sentence, and its end, from the words before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from exporters.models import Encoded, SampleError
from pipeline.corpora import tokenize
from pipeline.vocabulary import END, Vocabulary
from pipeline.zoo import Task

IGNORED = -100  # the target of padding, which is no prediction


def encode_sentence(text: str, vocabulary: Vocabulary) -> Encoded:
    """The inputs for a sentence of n words: T = n + 1 steps.

    input_ids: 1 x T, int64, `<eos>` w_1 ... w_n
    targets:   1 x T, int64, w_1 ... w_n `<eos>`
    tokens:    the T input words; a word outside the vocabulary is `<unk>`
    Raises SampleError for a line without words.
    """
    words = tokenize(text, vocabulary.lowercase)
    if not words:
        raise SampleError("the line is empty; a sample is one sentence. Leave empty lines out of the samples file.")
    numbers = vocabulary.encode([END, *words, END])
    inputs = {"input_ids": torch.tensor([numbers[:-1]]), "targets": torch.tensor([numbers[1:]])}
    return Encoded(inputs, vocabulary.decode(numbers[:-1]))


def collate_sentences(samples: Sequence[Encoded]) -> dict[str, Tensor]:
    """`input_ids` and `targets`, B x T, of B sentences padded on the right to the longest of T steps."""
    input_ids = [sample.inputs["input_ids"][0] for sample in samples]
    targets = [sample.inputs["targets"][0] for sample in samples]
    return {
        "input_ids": pad_sequence(input_ids, batch_first=True),
        "targets": pad_sequence(targets, batch_first=True, padding_value=IGNORED),
    }


def scored_words(inputs: Mapping[str, Tensor]) -> int:
    """The number of targets that are no padding."""
    return int((inputs["targets"] != IGNORED).sum())


def next_word_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of `logits` (B x T x V) at `targets` (B x T), padding left out: a scalar."""
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


LANGUAGE_MODEL = Task(encode_sentence, collate_sentences, scored_words)
