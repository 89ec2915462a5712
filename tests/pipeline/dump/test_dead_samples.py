"""Samples without any gradient, and gradients too small for the dtype: every method counts them alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gradtrace as gt

WORDS = ["a", "b", "c", "d"]
METHODS = ["greedy", "product", "soft"]


class Hinge(nn.Module):
    """Words of the second half are beyond their margin."""

    def __init__(self) -> None:
        super().__init__()
        self.E = nn.Parameter(torch.tensor([[0.5, 0.2], [0.3, -1.0], [5.0, 5.0], [7.0, 7.0]]))

    def forward(self, ids: Tensor) -> Tensor:
        return torch.relu(1 - self.E[ids]).sum()


def _dump(model: nn.Module, path: Path, detail: str, *sentences: str) -> gt.Store:
    def encode(text: str) -> gt.Encoded:
        return gt.Encoded({"ids": torch.tensor([[WORDS.index(word) for word in text.split()]])}, text.split())

    dumped = gt.dump(model, list(sentences), path / "s", encode=encode, detail=detail, method=METHODS)  # type: ignore[arg-type]
    assert dumped.failed == ()
    return dumped.open()


@pytest.mark.parametrize("detail", ["all", "parameters", "study"])
def test_a_sample_whose_parameters_are_all_dead(tmp_path: Path, detail: str) -> None:
    with _dump(Hinge(), tmp_path, detail, "a b", "c d", "a c") as store:
        rows = "select method, sample, traced, dead, absent from path_totals order by method, sample"
        found = store.sql(rows).fetchall()
        assert [row[2:] for row in found] == [(4, 0, 4), (0, 4, 4), (2, 2, 4)] * len(METHODS)
        assert [check for check in store.verify() if not check.ok] == []
        for method in METHODS:
            shares = store.importance(method=method).to_arrow_table().column("edge_share").to_pylist()
            assert shares == [1.0]


class Vanishing(nn.Module):
    """Some gradients of E are 1e-60 at most, which float32 does not have; all paths carry something all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.E = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 1.0], [2.0, 2.0]]))
        self.small = nn.Parameter(torch.tensor([1e-30, 1.0]))
        self.mixed = nn.Parameter(torch.tensor([[1e-30, 0.0], [1e-30, 1.0]]))

    def forward(self, ids: Tensor) -> Tensor:
        return ((self.E[ids] * self.small) @ self.mixed).sum() * 1e-8 + self.small.sum()


@pytest.mark.parametrize("detail", ["all", "parameters"])
def test_gradients_below_the_dtype_are_dead_for_every_method_of_contributions(tmp_path: Path, detail: str) -> None:
    with _dump(Vanishing(), tmp_path, detail, "a b", "c d") as store:
        rows = "select method, sample, parameter_group, traced, dead from path_totals where parameter_group = 'E'"
        found = {row[:2]: row[3:] for row in store.sql(rows).fetchall()}
        # the first column's 1e-30 * 1e-30 * 1e-8 is 0 in float32, the second's 1e-8 is not
        assert found == {(m, s): (4, 0) if m == "product" else (2, 2) for m in METHODS for s in (0, 1)}
        assert [check for check in store.verify() if not check.ok] == []
        soft = "select count(*) from best_edges where method = 'soft' and rank = 1 and score is null and src < 8"
        greedy = soft.replace("'soft'", "'greedy'").replace("score is null", "contribution = 0")
        assert store.sql(soft).fetchall() == store.sql(greedy).fetchall() == [(4,)]
