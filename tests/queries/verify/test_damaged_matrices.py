"""Edges that are kept as matrices: every wrong number in them is found, and none leads an array over its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradtrace as gt
from gradtrace.queries import StoreError, open_store
from gradtrace.queries.database.sample_edges import read_sample_edges

from .test_verify_store import failures, rewrite

Change = Callable[[list[dict[str, Any]]], object]


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x))).square().sum()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return gt.dump(TwoLayers(), [{"x": torch.ones(2, 3)}], tmp_path / "s", detail="all", dtype="float64").path


def _set(**values: Any) -> Change:
    return lambda rows: rows[-1].update(values)


def _add(column: str, n: int) -> Change:
    return lambda rows: rows[-1].update({column: rows[-1][column] + n})


def _pop(rows: list[dict[str, Any]]) -> None:
    rows.pop()


def test_a_sound_store(path: Path) -> None:
    assert failures(path) == []
    with open_store(path) as store:
        assert store.fetch("select count(*) > 0 from stored.edge_matrices") == [(True,)]


@pytest.mark.parametrize(
    ("table", "change", "failed"),
    [
        ("edge_matrices", _pop, "edges: as many as samples says"),
        ("edge_matrices", _add("src", 1), "edges: the contributions of every vertex sum"),
        ("edge_matrices", _set(src=-1), "edge_matrices: sources are smaller"),
        ("edge_matrices", _set(src=2**40), "edge_matrices: sources are smaller"),
        ("edge_matrices", _set(src_step=0), "edge_matrices: sources are smaller"),
        ("edge_matrices", _set(n_src=0), "edge_matrices: sources are smaller"),
        ("edge_matrices", _set(dst=2**40), "edge_matrices: sources are smaller"),
        ("edge_matrices", _set(dst_step=2**40), "edge_matrices: sources are smaller"),
        ("edge_matrices", _add("dst", -1), "edges: the contributions of every vertex sum"),
        ("edge_matrices", _add("n_src", 1), "edge_matrices: matrix_derivatives has a list"),
        ("edge_matrices", _add("n_dst", 1), "edge_matrices: matrix_derivatives has a list"),
        ("edge_matrices", _set(matrix=99), "edge_matrices: matrix_derivatives has a list"),
        ("edge_matrices", _set(first=-1), "edge_matrices: matrix_derivatives has a list"),
        ("edge_matrices", lambda rows: rows.append(rows[-1]), "edge_matrices: one row per"),
        ("matrix_derivatives", _pop, "edge_matrices: matrix_derivatives has a list"),
        ("matrix_derivatives", _set(derivatives=[]), "edge_matrices: matrix_derivatives has a list"),
        ("matrix_derivatives", _add("target", 1), "edge_matrices: matrix_derivatives has a list"),
        ("matrix_derivatives", lambda rows: rows[-1]["derivatives"].reverse(), "edges: the contributions of every"),
        ("matrix_derivatives", lambda rows: rows.append(rows[-1]), "matrix_derivatives: one row per"),
    ],
)
def test_wrong_rows_are_found(path: Path, table: str, change: Change, failed: str) -> None:
    rewrite(path, table, change)
    found = failures(path)
    assert any(failure.startswith(failed) for failure in found), found
    with open_store(path) as store, suppress(StoreError):
        every = read_sample_edges(store, 0, np.empty(0, np.int64), 0)
        assert every.dst.max() < store.graph_of(0).n_vertices
