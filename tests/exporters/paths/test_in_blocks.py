"""Rows made weight by weight are those of the plain sweep, for weights used in every way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gradtrace.exporters.recording.traced_model import TorchModel

from .in_blocks_checks import assert_blocks_are_plain
from .test_counted import Model, also_elementwise, columns_and_whole, overlapping_rows, rows_twice, turned, whole


def transposed(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x @ w.T)


def at_every_step(x: Tensor, w: Tensor) -> Tensor:
    for _ in range(3):
        x = torch.tanh(x @ w.T)
    return x


def one_row_also_elementwise(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x @ w.T) * w[2]


def rounded(x: Tensor, w: Tensor) -> Tensor:
    return torch.relu(x.round() @ w.round())  # ties, and vertices that carry nothing


def all_dead(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x @ w) * 0 + w.sum()


@pytest.mark.parametrize(
    "compute",
    [
        whole,
        turned,
        rows_twice,
        columns_and_whole,
        overlapping_rows,
        also_elementwise,
        transposed,
        at_every_step,
        one_row_also_elementwise,
        rounded,
        all_dead,
    ],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_as_the_plain_sweep(compute: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    model = TorchModel(Model(compute).to(dtype), dtype)
    recording = model.record({"x": 3 * torch.randn(3, 5, dtype=dtype)})
    for keep in (1, 2, 4):
        assert_blocks_are_plain(recording, keep)


class Words(nn.Module):
    """Embedding rows that repeat, a bias, a recurrent weight; tied: the decoder's weight is the embedding's."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.lstm = nn.LSTM(4, 4, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm = nn.LayerNorm(4)
        self.decoder = nn.Linear(4, 7)
        if tied:
            self.decoder.weight = self.embedding.weight

    def forward(self, words: Tensor, targets: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.embedding(words))
        hidden = self.norm(hidden + self.attention(hidden, hidden, hidden)[0])
        return nn.functional.cross_entropy(self.decoder(hidden)[0], targets[0])


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("words", [[1, 2, 5, 3], [1, 2, 1, 1, 6], [4]], ids=str)
def test_words_and_gates(words: list[int], *, tied: bool) -> None:
    torch.manual_seed(3)
    model = TorchModel(Words(tied=tied).eval(), torch.float32)
    ids = torch.tensor([words])
    recording = model.record({"words": ids, "targets": ids.flip(1)}, len(words))
    for keep in (1, 2, 3):
        assert_blocks_are_plain(recording, keep)
