"""Product, soft and the statistics of paths against plain Python: random graphs full of ties, and their corners."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.paths.path_sums import path_statistics
from gradtrace.exporters.paths.soft import soft_traces
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.values import Value

from ..taped import finish, leaf
from .enumerated import Enumerated
from .method_checks import (
    CLOSE,
    FEW,
    KEEP,
    check_methods,
    check_same_statistics,
    check_soft_traces,
    close,
    partitions,
    places,
)
from .random_graphs import STEPS, Program, build, programs

SOME = [[1, -1, 2, 0, 1, 1, -2, 2, 0, 0, 1, -1, 2, 1, 1, -1], [0, 1, -1, 2, 2, 1, 0, 1, -1, 1, 2, -2, 1, 0, 1, 1]]


@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize("before", [[], [("mul", 0, 1)], [("rows", 0, 0)]], ids=["first", "after mul", "after rows"])
def test_every_step(name: str, before: list[tuple[str, int, int]]) -> None:
    check_methods(build([*before, (name, 0, 1), ("mul", 0, 1)], SOME))


@settings(max_examples=20, deadline=None)
@given(programs(max_steps=3))
def test_random_graphs(program: Program) -> None:
    check_methods(build(*program))


# Corners, each small enough to check with a pencil


def _vector(tape: Tape, name: str, *numbers: float) -> Value:
    return leaf(tape, name, np.array(numbers, dtype=np.float64))


def _total(tape: Tape, *values: Value) -> Recording:
    """The loss is the sum of all elements."""
    total = tape("ReduceSum", tape("Concat", *values, axis=0), keepdims=0)
    return finish(tape, total)


def test_recursion_and_enumeration_agree() -> None:
    """The two routes of these tests themselves."""
    graph = Enumerated.of(build([("square", 0, 1), ("row sums", 0, 1), ("relu", 0, 0)], SOME))
    statistics = graph.all_statistics()
    few = [v for v, n in enumerate(graph.n_paths) if 1 < n <= FEW]
    assert len(few) > 30
    for vertex in few:
        check_same_statistics(statistics[vertex], graph.statistics(vertex))
        for method in ("product", "soft"):
            recursive, listed = graph.all_ranked(method)[vertex], graph.ranked(vertex, method)
            assert all(close(a.score, b.score) for a, b in zip(recursive, listed, strict=True))


def test_a_vertex_whose_derivatives_are_all_zero() -> None:
    tape = Tape(torch.float64)
    x = _vector(tape, "x", -1.0, 2.0)
    recording = _total(tape, tape("Relu", tape("Mul", x, tape.number(3.0))))
    check_methods(recording)
    statistics = path_statistics(recording)
    assert statistics.log2_paths[:2].tolist() == [0.0, 0.0]
    assert statistics.products.log2_sum[:2].tolist() == [-np.inf, np.log2(3.0)]
    for method in ("greedy", "product", "soft"):
        best = best_edges(recording, 1, method)
        assert best.target[:2, 0].tolist() == [2, 3]
        assert best.dead(slice(4)).tolist() == [True, False, True, False]


def test_a_path_through_a_zero_weight() -> None:
    """x reaches the loss through the weights 0 and 3; the zero's own derivative is x."""
    tape = Tape(torch.float64)
    x, w = leaf(tape, "x", np.array([[2.0]])), leaf(tape, "w", np.array([[0.0, 3.0]]))
    recording = finish(tape, tape("ReduceSum", tape("MatMul", x, w), keepdims=0))
    check_methods(recording)
    best = best_edges(recording, 2, "product")
    assert best.target[:3].tolist() == [[4, 3], [3, -1], [4, -1]]
    assert best.score[:3].tolist() == [[np.log2(3.0), -np.inf], [1.0, -np.inf], [1.0, -np.inf]]
    statistics = path_statistics(recording)
    assert statistics.log2_paths[0] == 1.0
    assert statistics.products.entropy[0] == 0.0


def test_cancellation_leaves_products_but_no_gradient() -> None:
    """p -> x -> (2x, -2x) -> loss: the gradient of x and of p is 0, two products of size 2 remain."""
    tape = Tape(torch.float64)
    p = _vector(tape, "p", 1.0)
    x = tape("Mul", p, tape.number(1.5))
    recording = _total(tape, tape("Mul", x, tape.number(2.0)), tape("Mul", x, tape.number(-2.0)))
    check_methods(recording)
    assert recording.gradients[:2].tolist() == [0.0, 0.0]
    dead = {m: best_edges(recording, 1, m).dead(slice(2)).tolist() for m in ("greedy", "product", "soft")}
    assert dead == {"greedy": [True, False], "product": [False, False], "soft": [True, False]}
    product = best_edges(recording, 2, "product")
    assert product.score[0, 0] == np.log2(3.0)
    assert product.target[1].tolist() == [2, 3]
    statistics = path_statistics(recording)
    assert statistics.log2_positive[0] == statistics.log2_negative[0] == np.log2(3.0)
    assert statistics.products.entropy[0] == 1.0
    nowhere = places(recording, [0] * len(recording.tape.calls), [-1] * recording.n_vertices)
    traces = soft_traces(recording, np.zeros(1, np.int32), 1, nowhere)
    assert traces.traced.tolist() == traces.traced_weight.tolist() == [0]
    assert not traces.entries
    assert not traces.edges.any()
    assert not traces.links.edges.any()
    assert not traces.paths.any()
    assert not traces.spans.paths.size


@pytest.mark.parametrize("method", ["greedy", "product", "soft"])
@pytest.mark.parametrize("keep", KEEP)
def test_ties_between_the_uses_of_one_weight(method: str, keep: int) -> None:
    """All edges of w and of x are alike: the first operator's first targets are kept, whatever is stacked."""
    tape = Tape(torch.float64)
    w, x = leaf(tape, "w", np.ones((2, 2))), leaf(tape, "x", np.ones((2, 2)))
    products = [tape("MatMul", x, w) for _ in range(3)]
    recording = _total(tape, *products)
    best = best_edges(recording, keep, method)
    wanted = [sorted(8 + 4 * use + 2 * row + column for use in range(3) for row in range(2)) for column in (0, 1)]
    assert best.target[:4].tolist() == [wanted[vertex % 2][:keep] for vertex in range(4)]
    wanted = [sorted(8 + 4 * use + 2 * row + column for use in range(3) for column in range(2)) for row in (0, 1)]
    assert best.target[4:8].tolist() == [wanted[vertex // 2][:keep] for vertex in range(4)]


@pytest.mark.parametrize("method", ["greedy", "product", "soft"])
def test_ties_between_slots(method: str) -> None:
    """x stands in both slots of Mul, of MatMul, and in an operator after those."""
    tape = Tape(torch.float64)
    x = leaf(tape, "x", np.ones((2, 2)))
    recording = _total(tape, tape("Mul", x, x), tape("MatMul", x, x), tape("Neg", x))
    best = best_edges(recording, 6, method)
    assert list(zip(best.target[1].tolist(), best.slot[1].tolist(), strict=True)) == [
        (5, 0), (5, 1), (8, 0), (9, 0), (9, 1), (11, 1),
    ]  # fmt: skip
    assert best_edges(recording, 1, method).target[:4, 0].tolist() == [4, 5, 6, 7]


def test_certain_paths_tie_exactly() -> None:
    """Both edges of every x are alike and lead on for certain, over one hop or two: rounded logarithms agree."""
    tape = Tape(torch.float64)
    x = _vector(tape, "x", *np.linspace(0.1, 3.0, 24))
    factor = np.random.default_rng(0).uniform(0.1, 3.0, 24)
    whole, half = (tape.constant(torch.from_numpy(numbers)) for numbers in (factor, factor / 2))
    slow = tape("Mul", tape("Mul", tape("Mul", x, tape.number(3.0)), whole), tape.number(0.5))
    recording = _total(tape, slow, tape("Mul", tape("Mul", x, tape.number(3.0)), half))
    graph = Enumerated.of(recording)
    best = best_edges(recording, 2, "soft")
    for vertex in range(24):
        first, second = graph.leaving[vertex]
        assert graph.contribution(first) == graph.contribution(second)
        assert best.target[vertex].tolist() == [first.dst, second.dst]
        assert all(close(score, -1.0) for score in best.score[vertex])


def test_the_loss_is_one_element_of_an_operator() -> None:
    """Its neighbours lead nowhere, and neither does what is computed from it."""
    tape = Tape(torch.float64)
    x = _vector(tape, "x", 2.0, 3.0, 5.0)
    y = tape("Mul", x, x)
    loss = tape("Gather", y, tape.constant_integer(1), axis=0)
    tape("Mul", loss, x)
    recording = finish(tape, loss)
    assert recording.loss_vertex == 4
    check_methods(recording)
    statistics = path_statistics(recording)
    assert statistics.log2_paths[:6].tolist() == [-np.inf, 1.0, -np.inf, -np.inf, 0.0, -np.inf]
    assert statistics.log2_positive[4] == statistics.products.log2_sum[4] == statistics.products.entropy[4] == 0.0
    assert statistics.log2_negative[4] == -np.inf


def test_an_operand_of_constants_and_parameters() -> None:
    """Rows of a product that are no vertices have no places to fill."""
    tape = Tape(torch.float64)
    x, w = leaf(tape, "x", np.array([[1.0, -2.0]])), leaf(tape, "w", np.array([[1.0, 3.0], [0.5, -1.0]]))
    fixed = tape.constant(torch.tensor([[7.0, 11.0]], dtype=torch.float64))
    mixed = tape("Concat", fixed, x, fixed, axis=0)
    wide = tape("Tanh", tape("MatMul", mixed, w))
    recording = finish(tape, tape("ReduceSum", tape("Mul", wide, wide), keepdims=0))
    check_methods(recording)


def test_one_operator_has_masses_from_every_group() -> None:
    """One operand may hold the elements of several groups, and of several rows."""
    recording = build([("matmul", 0, 1), ("batched", 0, 1)], SOME)
    graph = Enumerated.of(recording)
    for seed in range(5):
        check_soft_traces(recording, graph, *partitions(recording, seed))


@pytest.mark.parametrize("width", [1, 3])
def test_soft_traces_in_several_passes(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound on memory changes nothing."""
    recording = build([("matmul", 0, 1), ("relu", 0, 1), ("rows", 0, 0)], SOME)
    monkeypatch.setattr(
        "gradtrace.exporters.paths.soft._BYTES", 8 * width * (recording.n_vertices - recording.n_parameters)
    )
    check_soft_traces(recording, Enumerated.of(recording), *partitions(recording, seed=1))


def test_masses_add_up() -> None:
    """Every alive parameter's mass arrives: at its first vertices, and at the loss."""
    recording = build([("matmul", 0, 1), ("max", 0, 1)], SOME)
    group_of, component_of, step_of = partitions(recording, seed=2)
    traces = soft_traces(recording, np.array(group_of, np.int32), 3, places(recording, component_of, step_of))
    loss_operator = recording.tape.calls[-1].order
    np.testing.assert_allclose(traces.edges[:, loss_operator], traces.traced, rtol=CLOSE)
    np.testing.assert_allclose(traces.weighted_edges[:, loss_operator], traces.traced_weight, rtol=CLOSE)
    for group in range(3):
        entered = sum(e.paths.sum() for (g, _), e in traces.entries.items() if g == group)
        assert entered == pytest.approx(traces.traced[group], rel=CLOSE)


def test_a_matrix_product_without_targets() -> None:
    """x has no rows: nothing is computed from x and w, and that is not an error."""
    tape = Tape(torch.float64)
    w, x, z = (leaf(tape, name, np.ones(shape)) for name, shape in (("w", (3, 2)), ("x", (0, 3)), ("z", (2, 2))))
    rows = tape("Concat", tape("MatMul", x, w), tape("Mul", z, z), axis=0)
    recording = finish(tape, tape("ReduceSum", rows, keepdims=0))
    for method in ("greedy", "product", "soft"):
        best = best_edges(recording, 1, method)
        assert best.dead(slice(10)).tolist() == [True] * 6 + [False] * 4
    assert path_statistics(recording).log2_paths[:10].tolist() == [-np.inf] * 6 + [1.0] * 4
