"""Weights that are in several matrices, whole or in part, are counted once each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from gradtrace.exporters.recording.traced_model import TorchModel

from .counted_checks import assert_counted_is_plain


def whole(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x @ w)


def turned(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(torch.tanh(x @ w) @ w.T)


def rows_twice(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(torch.tanh(x @ w)[:, :3] @ w[1:4])


def columns_and_whole(x: Tensor, w: Tensor) -> Tensor:
    return torch.cat([torch.tanh(x @ w[:, :2]), torch.tanh(x @ w)], dim=1)


def overlapping_rows(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x[:, :3] @ w[:3]) + torch.tanh(x[:, :3] @ w[2:])


def also_elementwise(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x @ w) * w[0]


class Model(nn.Module):
    def __init__(self, compute: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.compute = compute
        self.weight = nn.Parameter(torch.randn(5, 5, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.compute(x, self.weight) ** 2).sum()


class WordByWord(nn.Module):
    """A recurrence that looks its words up one by one, so that each is a matrix of one row."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(6, 8)
        self.read = nn.Linear(8, 8)
        self.keep = nn.Linear(8, 8)

    def forward(self, ids: Tensor) -> Tensor:
        h = torch.zeros(1, 8, dtype=torch.float64)
        for t in range(ids.shape[1]):
            h = torch.tanh(self.read(self.words(ids[:, t])) + self.keep(h))
        return F.cross_entropy(h, ids[:, 0])


def test_words_alike_in_the_first_sample_differ_in_the_next() -> None:
    torch.manual_seed(2)
    model = TorchModel(WordByWord().double(), torch.float64)
    for words in ([1, 2, 2, 3], [4, 5, 1, 0], [3, 3, 3, 3], [0, 1, 0, 5]):
        inputs = {"ids": torch.tensor([words])}
        assert_counted_is_plain(model.record(inputs), model.record(inputs, parameter_gradients=False))


def test_what_samples_choose_is_not_kept() -> None:
    torch.manual_seed(2)
    model = TorchModel(WordByWord().double(), torch.float64)
    kept = []
    for words in ([1, 2, 2, 3], [4, 5, 1, 0], [0, 1, 0, 5]):
        recording = model.record({"ids": torch.tensor([words])})
        kept.append(len(recording.parameter_vertices._copies))
    assert len(set(kept)) == 1


class Cell(nn.Module):
    """A recurrence that reads the embedding of a word beside its few units, and ties both weights of the words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(6, 3)
        self.cell = nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        h = torch.zeros(1, 3, dtype=torch.float64)
        for t in range(ids.shape[1]):
            h = torch.tanh(self.cell(torch.cat([self.words(ids[:, t]), h], 1)))
        return F.cross_entropy(h @ self.words.weight.T, ids[:, 0])


@pytest.mark.parametrize("ids", [[1, 2, 2, 3], [4, 4, 4, 4], [0, 1, 0, 5]])
def test_words_beside_a_state(ids: list[int]) -> None:
    torch.manual_seed(2)
    model = TorchModel(Cell().double(), torch.float64)
    for words in ([2, 3, 1, 0], ids):  # the second one is replayed
        inputs = {"ids": torch.tensor([words])}
        assert_counted_is_plain(model.record(inputs), model.record(inputs, parameter_gradients=False))


@pytest.mark.parametrize(
    "compute",
    [whole, turned, rows_twice, columns_and_whole, overlapping_rows, also_elementwise],
    ids=lambda f: f.__name__,
)
def test_the_same_as_the_plain_sweep(compute: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(2)
    model = TorchModel(Model(compute), torch.float64)
    inputs = {"x": torch.randn(3, 5, dtype=torch.float64)}
    assert_counted_is_plain(model.record(inputs), model.record(inputs, parameter_gradients=False))
