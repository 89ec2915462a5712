"""The task of classification: one label for a text. One line is `label TAB text`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...exporters.models import Encoded, SampleError
from ..corpora.corpora import LABELLED, OPINIONS
from ..corpora.tokens import tokenize
from ..corpora.vocabulary import Vocabulary
from . import Task
from ._targets import PADDING, scored_targets


def encode_labelled(text: str, labels: Vocabulary, words: Vocabulary) -> Encoded:
    """The inputs for a text of T words.

    input_ids: 1 x T, int64
    targets:   1, int64, the number of the label
    tokens:    the T words; a word outside the vocabulary is `<unk>`
    Raises SampleError for a line that is not `label TAB text`, a text without words, and a label the model lacks.
    """
    label, separator, rest = text.rstrip("\r\n").partition("\t")
    if not separator:
        raise SampleError(f"the line has no TAB; label TAB text is wanted. It is {text[:60]!r}.")
    numbers = words.encode(tokenize(rest, words.lowercase))
    if not numbers:
        raise SampleError("the text is empty; a sample is a label, a TAB, and a text.")
    inputs = {"input_ids": torch.tensor([numbers]), "targets": torch.tensor(labels.encode([label.strip()]))}
    return Encoded(inputs, words.decode(numbers))


def collate_labelled(samples: Sequence[Encoded]) -> dict[str, Tensor]:
    """`input_ids`, B x T, padded on the right with -100, and `targets`, B."""
    input_ids = [sample.inputs["input_ids"][0] for sample in samples]
    return {
        "input_ids": pad_sequence(input_ids, batch_first=True, padding_value=PADDING),
        "targets": torch.cat([sample.inputs["targets"] for sample in samples]),
    }


CLASSIFICATION = Task(
    "classification", LABELLED, OPINIONS, encode_labelled, collate_labelled, scored_targets, predicted=0
)
