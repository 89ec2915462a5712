"""Ties between products are those of exact products, whatever order their factors come in, and no others."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import gradtrace as gt
from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.values import Value

from ..taped import finish, leaf
from .enumerated import Enumerated
from .method_checks import check_best_edges

TINY = 2.0**-52
FACTORS = [0.1, 0.3, 0.7, 1 / 3, 3.0, 0.5, 2.0, 10.0, 1 + TINY, 1 - TINY, 1 - TINY / 2, 0.0, -0.3, -0.1]


def _chain(tape: Tape, x: Value, factors: list[float]) -> Value:
    for factor in factors:
        x = tape("Mul", x, tape.number(factor))
    return x


def branches(*chains: list[float], dtype: torch.dtype = torch.float64) -> Recording:
    """One parameter that reaches the loss by several chains of factors."""
    tape = Tape(dtype)
    x = leaf(tape, "x", np.array([1.5]))
    return finish(tape, tape("ReduceSum", tape("Sum", *(_chain(tape, x, chain) for chain in chains)), keepdims=0))


def order_of(recording: Recording, keep: int) -> tuple[list[int], list[float]]:
    """The branches in the order in which the parameter's edges are ranked, and their scores."""
    best = best_edges(recording, keep, "product")
    targets = sorted(best.target[0].tolist())
    return [targets.index(target) for target in best.target[0].tolist()], best.score[0].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_factors_in_another_order_tie(dtype: torch.dtype) -> None:
    factors = [0.1, 0.3, 0.7, 1 / 3, 0.9, 1.1]
    orders = [random.Random(seed).sample(factors, len(factors)) for seed in range(12)]
    assert len({float(np.prod(order)) for order in orders}) > 1  # rounded products differ
    assert len({float(np.sum(np.log2(order))) for order in orders}) > 1  # and so do rounded logarithms
    found, scores = order_of(branches(*orders, dtype=dtype), len(orders))
    assert found == list(range(len(orders)))
    assert len(set(scores)) == 1


def test_products_split_in_other_ways_tie() -> None:
    found, scores = order_of(branches([0.5, 6.0], [1.5, 2.0], [0.75, 4.0], [3.0, 1.0], [0.375, 8.0]), 5)
    assert found == [0, 1, 2, 3, 4]
    assert len(set(scores)) == 1


def test_a_third_times_three_is_not_one() -> None:
    """3 * (1 / 3) is 1 when rounded; the third is a little too small."""
    assert 3 * (1 / 3) == 1
    assert order_of(branches([3.0, 1 / 3], [1.0, 1.0]), 2)[0] == [1, 0]
    assert order_of(branches([0.1, 10.0], [1.0, 1.0]), 2)[0] == [0, 1]  # 0.1 is a little too large


@pytest.mark.parametrize("common", [0, 1, 8, 40, 300])
def test_products_that_differ_in_the_last_of_all_bits(common: int) -> None:
    """(2^52 + 1) (2^52 - 1) = 2^104 - 1, beside factors that both branches have."""
    generator = random.Random(common)
    factors = [generator.uniform(0.5, 1.9) for _ in range(common)]
    a = [*generator.sample(factors, common), 1 + TINY, 1 - TINY]
    b = [1.0, 1.0, *generator.sample(factors, common)]
    assert order_of(branches(a, b), 2)[0] == [1, 0]
    assert order_of(branches(b, a), 2)[0] == [0, 1]
    assert order_of(branches(a, generator.sample(a, len(a))), 2)[0] == [0, 1]
    assert order_of(branches(generator.sample(a, len(a)), a), 2)[0] == [0, 1]


Layer = list[list[float]]


@st.composite
def networks(draw: st.DrawFn) -> list[tuple[str, Layer]]:
    """Layers of 3 units, matrices of FACTORS or factors of single units."""
    factor = st.sampled_from(FACTORS)
    row = st.lists(factor, min_size=3, max_size=3)
    matrix = st.tuples(st.just("MatMul"), st.lists(row, min_size=3, max_size=3))
    single = st.tuples(st.just("Mul"), st.lists(row, min_size=1, max_size=1))
    return draw(st.lists(st.one_of(matrix, single), min_size=2, max_size=5))


def _network(layers: list[tuple[str, Layer]], dtype: torch.dtype) -> Recording:
    tape = Tape(dtype)
    x = leaf(tape, "x", np.ones((2, 3)))
    w = leaf(tape, "w", np.array([[0.1, 0.3, 0.7], [0.7, 0.1, 0.3], [0.3, 0.7, 0.1]]))
    y = tape("MatMul", x, w)
    for op_type, numbers in layers:
        z = tape(op_type, y, tape.constant(torch.tensor(numbers, dtype=dtype)))
        y = tape("Add", z, y) if op_type == "Mul" else z
    return finish(tape, tape("ReduceSum", y, keepdims=0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=60, deadline=None)
@given(layers=networks())
def test_random_networks(dtype: torch.dtype, layers: list[tuple[str, Layer]]) -> None:
    recording = _network(layers, dtype)
    graph = Enumerated.of(recording)
    check_best_edges(recording, graph, "product")
    best = best_edges(recording, 3, "product")
    suffix = [Fraction(0)] * len(graph.leaving)
    for vertex in graph.backwards:
        sizes = {e: abs(Fraction(e.derivative)) * suffix[e.dst] for e in graph.leaving[vertex]}
        suffix[vertex] = Fraction(1) if vertex == graph.loss else max(sizes.values(), default=Fraction(0))
        ranked = sorted(sizes.values(), reverse=True)[:3]
        for (a, b), (s, t) in zip(pairwise(ranked), pairwise(best.score[vertex].tolist()), strict=False):
            assert s >= t
            assert s == t or a != b  # equal products have equal scores


class Ties(nn.Module):
    """Two chains of the same weights in another order, and one that only rounding makes equal."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([1.0]))

    def forward(self, one: Tensor) -> Tensor:
        weights = [0.1 * one, 0.3 * one, 0.7 * one, one / 3, 3.0 * one]
        total = 0 * one
        for order in ([4, 3, 2, 1, 0], [0, 1, 2, 3, 4], [2, 0, 1]):
            y = self.x
            for number in order:
                y = y * weights[number]
            total = total + y
        return total.sum()


def test_a_store_agrees_with_itself(tmp_path: Path) -> None:
    """The best edges, SQL's margin, the trace and the k best paths decide ties alike."""
    dumped = gt.dump(
        Ties(), [{"one": torch.ones(1)}], tmp_path / "s", detail="all", dtype="float64", method=["product"], keep=3
    )
    with dumped.open() as store:
        best = store.k_best("x[0]", sample=0, k=3, by="product")
        products = best.summary["product"].to_pylist()
        first = [hop["vertex"] for hop in store.trace("x[0]", 0, "product").hops]
        margin = store.trace("x[0]", 0, "product").hops[1]["margin"]
        paths = [[hop["vertex"] for hop in path.hops] for path in best]
        assert [check for check in store.verify() if not check.ok] == []
        rows = store.sql("select rank, dst, score from best_edges where src = 0 order by rank").fetchall()
    # 3 * (1 / 3) is below 1: the last chain has the largest product; the two others tie, the earlier one first
    assert [len(path) - 1 for path in paths] == [3 + 1 + 1, 5 + 3 + 1, 5 + 2 + 1]  # factors, sums and the last one
    assert paths[0] == first
    assert products[1] == products[2]
    assert rows[1][2] == rows[2][2] <= rows[0][2]
    assert rows[1][1] < rows[2][1]
    assert [path[1] for path in paths] == [dst for _, dst, _ in rows]
    assert margin == 1 - 2 ** (rows[1][2] - rows[0][2])
