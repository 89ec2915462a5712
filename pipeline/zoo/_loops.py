"""Language models whose recurrence is a Python loop over time. An export unrolls it, once for every length."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ._cells import State
from ._language_model import LanguageModel
from ._recurrent import RecurrentHyperparameters


def over_time(cell: nn.Module, inputs: Tensor, state: State) -> Tensor:
    """B x T x H: the first tensor of the state that `cell(x_t, state)` returns at each of the steps of B x T x I."""
    outputs = []
    for t in range(inputs.shape[1]):
        state = cell(inputs[:, t], state)
        outputs.append(state[0])
    return torch.stack(outputs, dim=1)


class LoopedLanguageModel(LanguageModel):
    """Embedding, layers of cells over time, decoder to the vocabulary."""

    def __init__(
        self,
        vocabulary_size: int,
        sizes: RecurrentHyperparameters,
        cell: Callable[[int, int], nn.Module],
        n_states: int,
    ) -> None:
        """cell: (input size, hidden size) -> a cell whose state is `n_states` tensors of B x H, zero at the start."""
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, sizes.embedding_size)
        widths = [sizes.embedding_size, *[sizes.hidden_size] * sizes.layers]
        self.layers = nn.ModuleList([cell(width, sizes.hidden_size) for width in widths[:-1]])
        self.decoder = nn.Linear(sizes.hidden_size, vocabulary_size)
        self.dropout = nn.Dropout(sizes.dropout)
        self._hidden_size, self._n_states = sizes.hidden_size, n_states

    def logits(self, input_ids: Tensor) -> Tensor:
        """See LanguageModel."""
        hidden: Tensor = self.embedding(input_ids)
        for cell in self.layers:
            start = hidden.new_zeros(hidden.shape[0], self._hidden_size)
            hidden = over_time(cell, self.dropout(hidden), (start,) * self._n_states)
        scores: Tensor = self.decoder(self.dropout(hidden))
        return scores
