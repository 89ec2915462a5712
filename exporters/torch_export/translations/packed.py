"""Packed sequences of one sentence, which are the sentence itself, while exporting.

torch packs by the numbers in `lengths`, which an export does not have. A sample is one sentence, so nothing is packed:
the steps stay as they are, and the numbers of sentences in each step are 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from ...models import ModelError
from ..replaced import replaced

_VF: Any = torch._VF


class OneInEachStep:
    """Stands for the tensor `batch_sizes` of a packed sequence, whose numbers are all 1."""

    device = torch.device("cpu")
    is_cuda = False

    def __init__(self, n_steps: int) -> None:
        self._n_steps = n_steps

    def __getitem__(self, step: Any) -> int:
        return 1

    def size(self, axis: int = 0) -> int:
        """The number of steps."""
        del axis
        return self._n_steps

    def to(self, *_: Any, **__: Any) -> OneInEachStep:
        """Itself: it is on every device."""
        return self


def _pack(padded: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, OneInEachStep]:
    del lengths  # that of the one sentence: a sample without padding
    batch_axis = 0 if batch_first else 1
    if padded.shape[batch_axis] != 1:
        raise ModelError(
            f"the model packs {padded.shape[batch_axis]} sentences; one is wanted. Give samples of one sentence each"
        )
    steps = padded.squeeze(batch_axis)
    return steps, OneInEachStep(steps.shape[0])


def _pad(
    steps: Tensor, batch_sizes: OneInEachStep, batch_first: bool, padding_value: float, total_length: int
) -> tuple[Tensor, Tensor]:
    n_steps = batch_sizes.size()
    if total_length is not n_steps and total_length > n_steps:  # what is given without total_length is n_steps itself
        steps = F.pad(steps, (0, 0, 0, total_length - n_steps), value=padding_value)
    return steps.unsqueeze(0 if batch_first else 1), torch.full((1,), n_steps, dtype=torch.int64)


@contextmanager
def one_sentence_unpacked() -> Iterator[None]:
    """While active, packing a sentence leaves it as it is."""
    with replaced(_VF, _pack_padded_sequence=_pack, _pad_packed_sequence=_pad):
        yield
