"""The k best paths of random graphs, against every path enumerated and multiplied in whole fractions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtrace.queries.walk.exact import ONE, Exact
from gradtrace.queries.walk.k_best import Answer, k_best
from gradtrace.queries.walk.path_search import Question
from gradtrace.queries.walk.suffixes import Edges, Ints, Vertices


class Arc(NamedTuple):
    """An edge; arcs of one source compare by (operator, slot, dst) of what they lead to."""

    src: int
    operator: int
    slot: int
    dst: int
    weight: float

    @property
    def key(self) -> tuple[int, int, int]:
        return self.operator, self.slot, self.dst


Walk = tuple[Arc, ...]


@dataclass
class Dag:
    """A graph whose operators compute `width` vertices each; vertex 0 is of none and the last is the loss."""

    n_operators: int
    width: int
    arcs: list[Arc]

    @property
    def loss(self) -> int:
        return self.n_operators * self.width

    @property
    def vertices(self) -> Vertices:
        blocks = np.array([0, *range(1, self.loss, self.width), self.loss, self.loss + 1], np.int64)
        operator = np.array([-1, *(self.operator_of(v) for v in range(1, self.loss + 1))], np.int32)
        return Vertices(blocks, operator, self.loss)

    def operator_of(self, vertex: int) -> int:
        return (vertex - 1) // self.width if vertex < self.loss else self.n_operators

    def walks(self, start: int, goal: int) -> list[Walk]:
        """Every path."""
        if start == goal:
            return [()]
        return [
            (arc, *rest)
            for arc in self.arcs
            if arc.src == start and arc.dst <= goal
            for rest in self.walks(arc.dst, goal)
        ]

    def best(self, start: int, goal: int) -> list[Walk]:
        """The paths whose product is not 0, the best first."""
        found = [walk for walk in self.walks(start, goal) if product(walk) > 0]
        return sorted(found, key=lambda walk: (-product(walk), [arc.key for arc in walk]))

    def suffix(self, vertex: int) -> Fraction:
        return max(map(product, self.walks(vertex, self.loss)), default=Fraction(0))

    def kept(self, keep: int) -> list[Arc]:
        """The arcs that a store keeps: of every vertex those with the best way to the loss behind them."""
        of: dict[int, list[Arc]] = defaultdict(list)
        for arc in self.arcs:
            of[arc.src].append(arc)
        ranked = (
            sorted(arcs, key=lambda arc: (-Fraction(arc.weight) * self.suffix(arc.dst), arc.key))
            for arcs in of.values()
        )
        return [arc for arcs in ranked for arc in arcs[:keep]]


def product(walk: Walk) -> Fraction:
    found = Fraction(1)
    for arc in walk:
        found *= Fraction(arc.weight)
    return found


def edges_of(arcs: list[Arc]) -> Edges:
    arcs = sorted(arcs, key=lambda arc: arc.src)
    src, dst = np.array([a.src for a in arcs], np.int64), np.array([a.dst for a in arcs], np.int64)
    weight = np.array([a.weight for a in arcs], np.float64)
    return Edges(src, dst, np.array([a.slot for a in arcs], np.int16), weight, weight)


def as_walks(answer: Answer) -> list[list[tuple[int, int, int]]]:
    e = answer.edges
    return [[(int(e.src[r]), int(e.slot[r]), int(e.dst[r])) for r in rows] for rows in answer.paths]


def plain(walks: list[Walk]) -> list[list[tuple[int, int, int]]]:
    return [[(arc.src, arc.slot, arc.dst) for arc in walk] for walk in walks]


def met_by(dag: Dag, requirements: list[set[int]]) -> Ints:
    met = np.zeros(dag.loss + 1, np.int64)
    for r, wanted in enumerate(requirements):
        met[list(wanted)] |= 1 << r
    return met


class Asked:
    """A source of more edges that remembers what it was asked for."""

    def __init__(self, dag: Dag) -> None:
        self.dag = dag
        self.vertices: list[int] = []

    def __call__(self, vertices: Ints) -> Edges:
        assert not set(self.vertices) & set(vertices.tolist()), "asked twice"
        self.vertices += vertices.tolist()
        return edges_of([arc for arc in self.dag.arcs if arc.src in set(vertices.tolist())])


def search(
    dag: Dag,
    k: int,
    *,
    start: int = 0,
    goal: int | None = None,
    keep: int | None = None,
    requirements: list[set[int]] | None = None,
    more: Asked | None = None,
) -> Answer:
    arcs = dag.arcs if keep is None else dag.kept(keep)
    truncated = np.zeros(dag.loss + 1, bool)
    if keep is not None:
        truncated = np.bincount([arc.src for arc in arcs], minlength=dag.loss + 1) == keep
    wanted = requirements or []
    question = Question(start, dag.loss if goal is None else goal, met_by(dag, wanted), len(wanted))
    return k_best(dag.vertices, edges_of(arcs), truncated, question, k, more)


# 3 * 3 = 9 and 0.5 * 6 = 3 tie although their factors differ; 1e-30 squared is no float32
WEIGHTS = [0.0, 0.5, 1.0, 1.0, 2.0, 3.0, 6.0, 9.0, 0.1, 1 / 3, 1e-30, 1e30]


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    dag = Dag(draw(st.integers(1, 3)), draw(st.integers(1, 3)), [])
    for src in range(dag.loss):
        later = [v for v in range(src + 1, dag.loss + 1) if dag.operator_of(v) > (dag.operator_of(src) if src else -1)]
        targets = draw(st.lists(st.tuples(st.sampled_from(later), st.integers(0, 1)), unique=True, max_size=5))
        for dst, slot in sorted(targets):
            dag.arcs.append(Arc(src, dag.operator_of(dst), slot, dst, draw(st.sampled_from(WEIGHTS))))
    return dag


KS = st.integers(1, 30)
KEEPS = st.integers(1, 3)


@given(dags(), KS)
def test_all_edges_at_hand(dag: Dag, k: int) -> None:
    wanted = dag.best(0, dag.loss)
    answer = search(dag, k)
    assert as_walks(answer) == plain(wanted[:k])
    assert answer.certain
    assert answer.exhausted or len(wanted) >= k
    for exact, walk in zip(answer.products, wanted, strict=False):
        assert Fraction(exact.mantissa) * Fraction(2) ** exact.exponent == product(walk)


@given(dags(), KS, KEEPS)
def test_the_best_edges_of_each_vertex_and_a_source_of_more(dag: Dag, k: int, keep: int) -> None:
    more = Asked(dag)
    answer = search(dag, k, keep=keep, more=more)
    assert as_walks(answer) == plain(dag.best(0, dag.loss)[:k])
    assert answer.certain
    if k <= keep:
        assert not more.vertices, "the k best paths never need more than the k best edges of a vertex"


@given(dags(), KS, KEEPS)
def test_without_a_source_of_more_only_what_is_certain(dag: Dag, k: int, keep: int) -> None:
    wanted = dag.best(0, dag.loss)
    answer = search(dag, k, keep=keep)
    assert as_walks(answer) == plain(wanted[: len(answer.paths)])
    assert len(answer.paths) >= min(k, keep, len(wanted))
    if answer.certain:
        assert len(answer.paths) == min(k, len(wanted))


@st.composite
def restricted(draw: st.DrawFn) -> tuple[Dag, list[set[int]], int, int]:
    dag = draw(dags())
    vertices = st.sets(st.integers(1, dag.loss), min_size=1, max_size=3)
    goal = draw(st.integers(1, dag.loss))
    return dag, draw(st.lists(vertices, max_size=3)), draw(st.integers(0, goal - 1)), goal


@given(restricted(), KS, KEEPS, st.booleans())
def test_paths_that_pass_and_paths_between(
    asked: tuple[Dag, list[set[int]], int, int], k: int, keep: int, has_source: bool
) -> None:
    dag, requirements, start, goal = asked
    wanted = [walk for walk in dag.best(start, goal) if all(any(arc.dst in r for arc in walk) for r in requirements)]
    complete = search(dag, k, start=start, goal=goal, requirements=requirements)
    assert as_walks(complete) == plain(wanted[:k])
    more = Asked(dag) if has_source else None
    answer = search(dag, k, start=start, goal=goal, keep=keep, requirements=requirements, more=more)
    assert as_walks(answer) == plain(wanted[: len(answer.paths)])
    assert answer.certain or not has_source
    if answer.certain:
        assert len(answer.paths) == min(k, len(wanted))


def ladder(steps: int, weight: float) -> Dag:
    """Two equal edges through two slots at every step: 2^steps paths that tie."""
    arcs = [Arc(v, v, slot, v + 1, weight) for v in range(steps) for slot in (0, 1)]
    return Dag(steps, 1, arcs)


def test_ties_are_broken_by_the_first_edge_that_differs_without_looking_at_all_of_them() -> None:
    dag = ladder(400, 1 / 3)
    dag.arcs = [arc._replace(operator=arc.dst - 1) for arc in dag.arcs]
    answer = search(dag, 1000)
    slots = [[slot for _, slot, _ in walk] for walk in as_walks(answer)]
    assert slots == [[int(bit) for bit in f"{i:0400b}"] for i in range(1000)]
    assert all(p == answer.products[0] for p in answer.products)
    assert answer.products[0].log2() == pytest.approx(-400 * np.log2(3))


def test_a_thousand_paths_in_order() -> None:
    generator = np.random.default_rng(0)
    dag = ladder(10, 1.0)
    dag.arcs = [arc._replace(weight=float(w)) for arc, w in zip(dag.arcs, generator.random(20), strict=True)]
    assert as_walks(search(dag, 1000)) == plain(dag.best(0, dag.loss)[:1000])


def test_exact_numbers() -> None:
    third = Exact.of(1 / 3)
    assert third.to_float() == 1 / 3
    assert Exact.of(3.0).times(Exact.of(3.0)) == Exact.of(9.0)
    assert Exact.of(0.5) == Exact(1, -1)
    assert Exact.of(5e-324).to_float() == 5e-324
    tiny, huge = ONE, ONE
    for _ in range(2000):
        tiny, huge = tiny.times(third), huge.times(Exact.of(3.0))
    assert (tiny.to_float(), huge.to_float()) == (0.0, np.inf)
    assert huge.log2() == pytest.approx(2000 * np.log2(3), rel=1e-14)
    assert huge.exceeds(tiny)
    assert not tiny.exceeds(huge)
    assert not tiny.exceeds(tiny)
    assert third.times(third).to_float() == float(Fraction(1 / 3) ** 2)
