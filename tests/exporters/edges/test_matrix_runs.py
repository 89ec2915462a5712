"""The runs of matrices and the edges in rows are together all edges."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gradtrace.exporters.edges.blocks import row_blocks
from gradtrace.exporters.edges.matrix_runs import edge_matrices, source_runs
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.values import Value
from gradtrace.queries.walk.edge_matrices import Derivatives, Ends, Runs, edges_of, fit

from ..taped import all_edges, finish, leaf, weighted_sum
from .test_vertex_edges import mixed, rows

Ints = NDArray[np.int64]


def normal(tape: Tape, name: str, *shape: int) -> Value:
    return leaf(tape, name, np.random.default_rng(len(name)).normal(size=shape))


def joined_sources() -> Recording:
    """Rows of two tensors and of a constant beside each other: their elements are not evenly spaced."""
    tape = Tape(torch.float64)
    a, b, left = normal(tape, "a", 3, 4), normal(tape, "bb", 3, 2), normal(tape, "ccc", 2, 3)
    weight = normal(tape, "weight", 8, 5)
    joined = tape("Concat", a, b, tape.constant(torch.from_numpy(np.ones((3, 2)))), axis=1)
    return finish(tape, weighted_sum(tape, tape("MatMul", tape("MatMul", left, joined), weight)))


def picked_rows() -> Recording:
    """Words that the sample chooses, none twice: their rows are no neighbours."""
    tape = Tape(torch.float64)
    table, weight = normal(tape, "table", 6, 4), normal(tape, "weight", 4, 2)
    picked = tape("Gather", table, tape.integers([5, 0, 3]), axis=0)
    return finish(tape, weighted_sum(tape, tape("MatMul", picked, weight)))


def expanded(recording: Recording) -> list[tuple[Any, ...]]:
    matrices = edge_matrices(recording)
    r, lists = matrices.runs, dict(matrices.derivatives(recording))
    assert list(zip(r.src, r.dst, r.slot, strict=True)) == sorted(zip(r.src, r.dst, r.slot, strict=True))
    runs = Runs(Ends(r.src, r.src_step, r.n_src), Ends(r.dst, r.dst_step, r.n_dst), r.slot, r.matrix, r.first)
    derivatives = Derivatives(
        np.concatenate([np.full(len(m), number) for number, m in lists.items()]),
        np.concatenate([np.arange(len(m)) for m in lists.values()]),
        np.concatenate([np.full(len(m), m.shape[1]) for m in lists.values()]),
        np.concatenate([m.reshape(-1) for m in lists.values()]),
    )
    assert fit(runs, derivatives, recording.n_vertices)
    found = [edges_of(runs, derivatives, np.ones(recording.n_vertices, bool))]
    blocks = row_blocks(recording, matrices.irregular, 7)
    return [row for part in (*found, *blocks) for row in rows(part.src, part.dst, part.slot, part.derivative)]


@pytest.mark.parametrize("make", [mixed, joined_sources, picked_rows])
def test_matrices_and_rows_are_all_edges(make: Any) -> None:
    recording = make()
    every = all_edges(recording)
    assert sorted(expanded(recording)) == rows(every.src, every.dst, every.slot, every.derivative)
    assert len(edge_matrices(recording).runs.src) > 0


@given(st.lists(st.lists(st.integers(-1, 30), min_size=5, max_size=5), min_size=1, max_size=4))
def test_runs_are_the_elements_that_are_no_constants(vertices: list[list[int]]) -> None:
    vertex, starts = np.array(vertices), np.array([0, 4, 11, 12])
    runs = source_runs(vertex, starts)
    found = []
    for row, first, src, step, n in zip(*runs, strict=True):
        sources = src + step * np.arange(n)
        assert step != 0 or n > 1
        assert len(set(np.searchsorted(starts, sources, "right"))) == 1
        found += [(row, first + i, source) for i, source in enumerate(sources.tolist())]
    assert found == [(x, y, v) for x, line in enumerate(vertices) for y, v in enumerate(line) if v >= 0]


def test_a_whole_row_is_one_run() -> None:
    runs = source_runs(np.arange(12).reshape(3, 4).T, np.array([0]))
    assert [column.tolist() for column in runs] == [[0, 1, 2, 3], [0] * 4, [0, 1, 2, 3], [4] * 4, [3] * 4]
    assert all(a < b for a, b in pairwise(runs.row.tolist()))
