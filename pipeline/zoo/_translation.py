"""The task of translation: predict every word of the target, and its end, from the source and the words before.

One line is `source TAB target`. Source sentences end with `<eos>`; in a batch they are padded with -100, and models
neither attend to padding nor read it backwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...exporters.models import Encoded, SampleError
from ..corpora.corpora import PAIRS, TRANSLATION
from ..corpora.tokens import tokenize_side
from ..corpora.vocabulary import END, Vocabulary
from . import Task
from ._targets import PADDING, scored_targets


def encode_pair(text: str, source: Vocabulary, target: Vocabulary) -> Encoded:
    """The inputs for a source of m words (S = m + 1 positions) and a target of n words (T = n + 1 steps).

    source_ids: 1 x S, int64, s_1 ... s_m `<eos>`
    input_ids:  1 x T, int64, `<eos>` t_1 ... t_n
    targets:    1 x T, int64, t_1 ... t_n `<eos>`
    tokens:     S source words, then T input words: position i of the source is i, step t of the decoder S + t
    Raises SampleError for a line that has not two fields, or one without words.
    """
    fields = text.rstrip("\r\n").split("\t")
    if len(fields) != 2:
        raise SampleError(f"the line has {len(fields)} fields; source TAB target is wanted. It is {text[:60]!r}.")
    for name, field in zip(("source", "target"), fields, strict=True):
        if not field.strip():
            raise SampleError(f"the {name} is empty; a sample is a sentence, a TAB, and its translation.")
    source_numbers = source.encode([*tokenize_side(fields[0], source.lowercase), END])
    numbers = target.encode([END, *tokenize_side(fields[1], target.lowercase), END])
    inputs = {
        "source_ids": torch.tensor([source_numbers]),
        "input_ids": torch.tensor([numbers[:-1]]),
        "targets": torch.tensor([numbers[1:]]),
    }
    tokens = [*source.decode(source_numbers), *target.decode(numbers[:-1])]
    return Encoded(inputs, tokens, {"source_ids": 0, "input_ids": len(source_numbers)})


def collate_pairs(samples: Sequence[Encoded]) -> dict[str, Tensor]:
    """`source_ids` B x S, `input_ids` and `targets` B x T, padded on the right to the longest of each."""
    padding = {"source_ids": PADDING, "input_ids": 0, "targets": PADDING}
    return {
        name: pad_sequence([sample.inputs[name][0] for sample in samples], batch_first=True, padding_value=value)
        for name, value in padding.items()
    }


TRANSLATION_TASK = Task("translation", PAIRS, TRANSLATION, encode_pair, collate_pairs, scored_targets, predicted=1)
