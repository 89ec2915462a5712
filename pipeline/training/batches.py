"""The batches of a training: which samples go together, and in which order."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from torch import Tensor

from ...exporters.models import Encoded
from ..zoo import Task

Batch = dict[str, Tensor]


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch, as indices: sentences of like length together, ties and batches in random order."""
    shuffle = random.Random(f"{seed} {epoch}")
    order = list(range(len(lengths)))
    shuffle.shuffle(order)
    order.sort(key=lambda i: lengths[i])
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    shuffle.shuffle(batches)
    return batches


def steps_left(
    samples: Sequence[Encoded], batch_size: int, epochs: int, seed: int, first: int
) -> Iterator[tuple[int, list[Encoded]]]:
    """(number of the update, its batch) for every update from `first` on, numbered from 0."""
    lengths = [len(sample.tokens) for sample in samples]
    per_epoch = math.ceil(len(samples) / batch_size)
    for epoch in range(first // per_epoch, epochs):
        for i, batch in enumerate(epoch_batches(lengths, batch_size, seed, epoch)):
            step = epoch * per_epoch + i
            if step >= first:
                yield step, [samples[j] for j in batch]


def batches_by_length(task: Task, samples: Sequence[Encoded], batch_size: int) -> list[Batch]:
    """All samples, the shortest first, in batches."""
    ordered = sorted(samples, key=lambda sample: len(sample.tokens))
    return [task.collate(ordered[start : start + batch_size]) for start in range(0, len(ordered), batch_size)]
