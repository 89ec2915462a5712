"""The same function written with other bookkeeping operators has the same vertices, edges and traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.values import Value

from ..taped import all_edges, finish, leaf, operator_of

T, UNITS, H = 3, 4, 2  # steps, input units, hidden units

Writing = Callable[[Tape, Value, Value, Value], Value]  # embedding, weight, bias -> loss


def record(writing: Writing, seed: int = 0) -> Recording:
    tape, generator = Tape(torch.float64), np.random.default_rng(seed)
    shapes = {"embedding": (5, UNITS), "weight": (2 * H, UNITS), "bias": (2 * H,)}
    values = [leaf(tape, name, generator.normal(size=shape)) for name, shape in shapes.items()]
    return finish(tape, writing(tape, *values))


def described(recording: Recording) -> Counter[tuple[int, int, int, int, float, float]]:
    """Every edge by source, target, slot, the rank of its operator, derivative and contribution."""
    edges, operator = all_edges(recording), operator_of(recording)
    rank = {int(order): number for number, order in enumerate(np.unique(operator[edges.dst]))}
    contributions = edges.contributions(recording.gradients)
    rows = zip(edges.src, edges.dst, edges.slot, operator[edges.dst], edges.derivative, contributions, strict=True)
    return Counter(
        (int(s), int(d), int(n), rank[int(o)], round(float(x), 12), round(float(w), 12)) for s, d, n, o, x, w in rows
    )


def traces(recording: Recording) -> list[list[int]]:
    """The greedy trace of every parameter element."""
    best = best_edges(recording, 1)
    following = np.where(best.score[:, 0] == 0, -1, best.target[:, 0])
    found = []
    for start in range(recording.n_parameters):
        path = [start]
        while path[-1] != recording.loss_vertex and following[path[-1]] >= 0:
            path.append(int(following[path[-1]]))
        found.append(path)
    return found


def _loss(tape: Tape, gates: Value) -> Value:
    """T x 2H or another arrangement of the same elements, in the same order."""
    return tape("ReduceMean", tape("Tanh", gates), keepdims=0)


def _plain(tape: Tape, embedding: Value, weight: Value, bias: Value) -> Value:
    rows = tape("Gather", embedding, tape.integers([1, 4, 1]))
    product = tape("MatMul", rows, tape("Transpose", weight, perm=[1, 0]))
    return _loss(tape, tape("Add", product, bias))


def _with_a_batch_axis(tape: Tape, embedding: Value, weight: Value, bias: Value) -> Value:
    rows = tape("Gather", embedding, tape.constant(torch.tensor([[1, 4, 1]])))
    product = tape("MatMul", rows, tape("Transpose", tape("Identity", weight)))
    wide = tape("Expand", bias, tape.integers([1, T, 2 * H]))
    return _loss(tape, tape("Squeeze", tape("Add", product, wide), tape.integers([0])))


def _step_by_step_embedding(tape: Tape, embedding: Value, weight: Value, bias: Value) -> Value:
    """Rows sliced one at a time and concatenated; the weight split in two and put together again."""
    rows = [tape("Slice", embedding, tape.integers([i]), tape.integers([i + 1])) for i in (1, 4, 1)]
    halves = tape.run("Split", weight, axis=0, num_outputs=2)
    whole = tape("Concat", *[tape("Transpose", half, perm=[1, 0]) for half in halves], axis=1)
    product = tape("MatMul", tape("Concat", *rows, axis=0), whole)
    return _loss(
        tape, tape("Add", tape("Cast", product, to=torch.float64), tape("Unsqueeze", bias, tape.integers([0])))
    )


def _masked_and_padded(tape: Tape, embedding: Value, weight: Value, bias: Value) -> Value:
    """Padding added and cut off; a Where whose mask chooses the same tensor everywhere."""
    index = tape.constant(torch.tensor([1, 4, 1])[:, None].expand(T, UNITS).contiguous())
    rows = tape("GatherElements", embedding, index, axis=0)
    padded = tape("Pad", rows, tape.integers([0, 0, 2, 0]), tape.number(9.0))
    rows = tape("Slice", padded, tape.integers([0]), tape.integers([T]), tape.integers([0]))
    flat = tape("Reshape", weight, tape.integers([-1]))
    turned = tape("Transpose", tape("Reshape", flat, tape.integers([2 * H, UNITS])), perm=[1, 0])
    product = tape("MatMul", rows, turned)
    everywhere = tape.constant(torch.ones(1, 2 * H, dtype=torch.bool))
    return _loss(tape, tape("Add", product, tape("Where", everywhere, bias, tape.number(5.0))))


def _scattered(tape: Tape, embedding: Value, weight: Value, bias: Value) -> Value:
    """Rows written into a constant; the transpose as two gathers of reversed order."""
    empty = tape.constant(torch.zeros(T, UNITS, dtype=tape.dtype))
    picked = tape("GatherND", embedding, tape.constant(torch.tensor([[4], [1], [1]])))
    rows = tape("ScatterND", empty, tape.constant(torch.tensor([[1], [0], [2]])), picked)
    backwards = tape.integers(range(2 * H - 1, -1, -1))
    twice = tape("Gather", tape("Gather", weight, backwards, axis=0), backwards, axis=0)
    product = tape("MatMul", rows, tape("Transpose", twice, perm=[1, 0]))
    added = tape("Add", product, tape("Tile", bias, tape.integers([1])))
    return _loss(tape, tape("Flatten", added, axis=0))


WRITINGS = [_with_a_batch_axis, _step_by_step_embedding, _masked_and_padded, _scattered]


@pytest.mark.parametrize("writing", WRITINGS)
def test_same_graph(writing: Writing) -> None:
    plain, other = record(_plain), record(writing)
    assert [t.kind for t in other.tape.tensors].count("copy") > [t.kind for t in plain.tape.tensors].count("copy")
    assert other.n_vertices == plain.n_vertices
    np.testing.assert_allclose(other.values, plain.values, rtol=1e-13)
    np.testing.assert_allclose(other.gradients, plain.gradients, rtol=1e-12, atol=1e-15)
    assert described(other) == described(plain)
    assert traces(other) == traces(plain)


def test_another_function_is_told_apart() -> None:
    """What `described` compares can differ: another row, another order of the operands of one operator."""

    def swapped(tape: Tape, embedding: Value, weight: Value, bias: Value) -> Value:
        rows = tape("Gather", embedding, tape.integers([1, 4, 1]))
        product = tape("MatMul", rows, tape("Transpose", weight, perm=[1, 0]))
        return _loss(tape, tape("Add", bias, product))

    def other_row(tape: Tape, embedding: Value, weight: Value, bias: Value) -> Value:
        rows = tape("Gather", embedding, tape.integers([1, 4, 4]))
        return _loss(tape, tape("Add", tape("MatMul", rows, tape("Transpose", weight, perm=[1, 0])), bias))

    plain = record(_plain)
    assert described(record(swapped)) != described(plain)
    assert described(record(other_row)) != described(plain)


def test_vertices_of_copies_are_those_they_repeat() -> None:
    tape = Tape(torch.float64)
    x = leaf(tape, "x", np.arange(6.0).reshape(2, 3))
    y = tape("Pad", tape("Transpose", x, perm=[1, 0]), tape.integers([1, 0, 0, 0]))
    assert y.vertices is not None
    assert y.vertices.tolist() == [[-1, -1], [0, 3], [1, 4], [2, 5]]
    assert tape.n_vertices == 6


def test_unused_embedding_rows_are_absent() -> None:
    recording = record(_plain)
    used = set(all_edges(recording).src.tolist())
    rows = {vertex // UNITS for vertex in used if vertex < 5 * UNITS}
    assert rows == {1, 4}
    assert (best_edges(recording, 1).target[0 * UNITS : 1 * UNITS] == -1).all()
