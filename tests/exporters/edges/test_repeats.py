"""A vertex that stands several times in one operand has one edge to each target, with the summed derivative."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradtrace.exporters.edges.conservation import conservation_error
from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.values import Value

from ..taped import all_edges, finish, leaf, weighted_sum

ROWS = [0, 2, 0, 3, 0]


def table(tape: Tape) -> Value:
    return leaf(tape, "table", np.random.default_rng(1).normal(size=(4, 3)))


def pick(tape: Tape, x: Value, rows: list[int]) -> Value:
    return tape("Gather", x, tape.integers(rows), axis=0)


def test_a_mean_over_a_row_picked_twice_has_one_edge_of_two_thirds() -> None:
    tape = Tape(torch.float64)
    x = leaf(tape, "x", np.array([1.0, 2.0]))
    recording = finish(tape, tape("ReduceMean", pick(tape, x, [0, 0, 1]), keepdims=0))
    edges = all_edges(recording)
    assert list(zip(edges.src, edges.dst, strict=True)) == [(0, 2), (1, 2)]
    assert edges.derivative.tolist() == pytest.approx([2 / 3, 1 / 3])


def test_rows_gathered_alike_are_merged_in_a_product() -> None:
    tape = Tape(torch.float64)
    x, weights = table(tape), leaf(tape, "weights", np.random.default_rng(2).normal(size=(2, len(ROWS))))
    recording = finish(tape, weighted_sum(tape, tape("MatMul", weights, pick(tape, x, ROWS))))
    edges = all_edges(recording)
    from_table = edges.src < 12
    assert from_table.sum() == 3 * 3 * 2  # three rows used, three columns, one target for each row of the weights
    first = edges.derivative[edges.src == 0]
    np.testing.assert_allclose(first, weights.data.detach().numpy()[:, [0, 2, 4]].sum(1))
    assert conservation_error(recording) < 1e-12


def test_rows_that_repeat_differently_are_merged_one_by_one() -> None:
    tape = Tape(torch.float64)
    x = leaf(tape, "x", np.random.default_rng(3).normal(size=4))
    index = torch.tensor([[0, 0, 1], [2, 1, 2], [3, 3, 3], [0, 1, 2]])
    a = tape("Gather", x, tape.constant(index), axis=0)
    b = leaf(tape, "b", np.random.default_rng(4).normal(size=(3, 2)))
    recording = finish(tape, weighted_sum(tape, tape("MatMul", a, b)))
    factors = b.data.detach().numpy()
    edges = all_edges(recording)
    product = recording.tape.calls[1].output.vertices
    assert product is not None
    for row, targets in enumerate(product.numpy()):
        for vertex in range(4):
            wanted = factors[(index[row] == vertex).numpy()].sum(0)
            for column, target in enumerate(targets):
                found = edges.derivative[(edges.src == vertex) & (edges.dst == target)]
                assert len(found) == int((index[row] == vertex).any())
                assert found == pytest.approx(wanted[column : column + len(found)])
    assert conservation_error(recording) < 1e-12


def test_a_trace_follows_the_summed_edge() -> None:
    """0.4 + 0.4 through one operator beats 0.6 through another."""
    tape = Tape(torch.float64)
    x = leaf(tape, "x", np.array([1.0]))
    twice = tape("ReduceSum", tape("Mul", pick(tape, x, [0, 0]), tape.number(1.0)), keepdims=0)
    pair = tape("ReduceSum", pick(tape, x, [0, 0]), keepdims=0)
    loss = tape("Add", tape("Mul", pair, tape.number(0.4)), tape("Mul", twice, tape.number(0.6)))
    recording = finish(tape, loss)
    assert pair.vertices is not None
    assert best_edges(recording, 1).target[0, 0] == int(pair.vertices)
    assert best_edges(recording, 1).score[0, 0] == pytest.approx(0.8)
