"""The task of a language model: predict every word of a sentence, and its end, from the words before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ...exporters.models import Encoded, SampleError
from ..corpora.corpora import PYTHON_DOCS, TEXT
from ..corpora.tokens import tokenize
from ..corpora.vocabulary import END, Vocabulary
from . import Task
from ._targets import PADDING, prediction_loss, scored_targets


class LanguageModel(nn.Module):
    """What language models of the zoo have in common: `logits`, and the objectives made of them."""

    def logits(self, input_ids: Tensor) -> Tensor:
        """B x T x V: the score of every word after each prefix of `input_ids` (B x T, int64)."""
        raise NotImplementedError

    def forward(
        self, input_ids: Tensor, targets: Tensor | None = None, right: Tensor | None = None, wrong: Tensor | None = None
    ) -> Tensor:
        """A scalar, by what is given beside `input_ids` (B x T, int64).

        targets:      B x T, int64, padding -100: the mean cross-entropy of the next word, in nats
        right, wrong: B, int64: the logit of `right` minus that of `wrong` after the last word, mean over the batch
        Raises TypeError for anything else.
        """
        if targets is not None and right is None and wrong is None:
            return prediction_loss(self.logits(input_ids), targets)
        if targets is None and right is not None and wrong is not None:
            last = self.logits(input_ids)[:, -1]
            return (last.gather(1, right[:, None]) - last.gather(1, wrong[:, None])).mean()
        raise TypeError("a language model takes targets, or right and wrong, beside input_ids.")


def _words(text: str, vocabulary: Vocabulary) -> list[str]:
    words = tokenize(text, vocabulary.lowercase)
    if not words:
        raise SampleError("the line is empty; a sample is one sentence. Leave empty lines out of the samples file.")
    return words


def encode_sentence(text: str, vocabulary: Vocabulary) -> Encoded:
    """The inputs for a sentence of n words: T = n + 1 steps.

    input_ids: 1 x T, int64, `<eos>` w_1 ... w_n
    targets:   1 x T, int64, w_1 ... w_n `<eos>`
    tokens:    the T input words; a word outside the vocabulary is `<unk>`
    Raises SampleError for a line without words.
    """
    numbers = vocabulary.encode([END, *_words(text, vocabulary), END])
    inputs = {"input_ids": torch.tensor([numbers[:-1]]), "targets": torch.tensor([numbers[1:]])}
    return Encoded(inputs, vocabulary.decode(numbers[:-1]))


def encode_agreement(text: str, vocabulary: Vocabulary) -> Encoded:
    """The inputs for a line `prefix TAB right TAB wrong`, whose objective is the logit of right minus that of wrong.

    input_ids:    1 x T, int64, `<eos>` and the words of the prefix
    right, wrong: 1, int64
    Further fields (number, attractors, distance, ...) are not read. Raises SampleError for a line with fewer fields,
    and for a verb that is not one word of the vocabulary.
    """
    fields = text.rstrip("\r\n").split("\t")
    if len(fields) < 3:
        raise SampleError(f"the line has {len(fields)} of the fields prefix TAB right TAB wrong; it is {text[:60]!r}.")
    numbers = vocabulary.encode([END, *_words(fields[0], vocabulary)])
    right, wrong = (_verb(field, vocabulary) for field in fields[1:3])
    if right == wrong:
        raise SampleError(f"right and wrong are the same word, {fields[1]!r}: the objective would always be 0.")
    inputs = {
        "input_ids": torch.tensor([numbers]),
        "right": torch.tensor([right]),
        "wrong": torch.tensor([wrong]),
    }
    return Encoded(inputs, vocabulary.decode(numbers))


def _verb(field: str, vocabulary: Vocabulary) -> int:
    words = tokenize(field, vocabulary.lowercase)
    if len(words) != 1 or words[0] not in vocabulary:
        raise SampleError(f"{field!r} is not one word of the model's vocabulary, so it has no logit.")
    return vocabulary.encode(words)[0]


def collate_sentences(samples: Sequence[Encoded]) -> dict[str, Tensor]:
    """`input_ids` and `targets`, B x T, of B sentences padded on the right to the longest of T steps."""
    input_ids = [sample.inputs["input_ids"][0] for sample in samples]
    targets = [sample.inputs["targets"][0] for sample in samples]
    return {
        "input_ids": pad_sequence(input_ids, batch_first=True),
        "targets": pad_sequence(targets, batch_first=True, padding_value=PADDING),
    }


LANGUAGE_MODEL = Task(
    "language modelling",
    TEXT,
    PYTHON_DOCS,
    encode_sentence,
    collate_sentences,
    scored_targets,
    predicted=0,
    objectives={"agreement": encode_agreement},
)
