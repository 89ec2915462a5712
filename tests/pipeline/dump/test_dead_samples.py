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
