"""Best-first search: the paths from one vertex to another in the order of their products, one by one.

The bounds of `suffixes` are exact for the edges that are given, so every state that is taken from the heap is
one more path, finished by following the best edge at each vertex. Where edges are missing, a path may end in an
*opening*: no path over a missing edge is better than that. Sizes: V vertices, E edges, M sets of requirements.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cmp_to_key
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .exact import ONE, Exact
from .suffixes import Edges, Floats, Ints, Vertices, product_with, suffixes

_NEAR = 1e-6  # logarithms closer than this are compared exactly
_TO_LOSS, _MISSING = -1, -2  # beside the sets of requirements: what a vertex reaches at the loss, over a missing edge


class Question(NamedTuple):
    """Paths from `start` to `goal` that meet each of `n_required` requirements.

    met : V; bit r: an edge into this vertex meets requirement r
    """

    start: int
    goal: int
    met: Ints
    n_required: int


class Found(NamedTuple):
    """A path as the rows of its edges, first to last; `opening`: it breaks off at this vertex, for want of edges."""

    rows: list[int]
    product: Exact | None
    opening: int | None


class _Option(NamedTuple):
    """A way on from a vertex: an edge (or -1, the missing ones), what the path reaches at most, and where it leads."""

    bound: float
    row: int
    head: int
    still: int  # requirements open behind it


class _Options(NamedTuple):
    """The ways on from a vertex, the largest bound first; those that were needed so far, in exact order."""

    rows: Ints
    bounds: list[float]
    then: Ints
    options: list[_Option]


class _Prefix:
    """The edges of a path so far, the last of them here, the others in `before`."""

    __slots__ = ("before", "depth", "exact", "log2", "row")

    def __init__(self, before: _Prefix | None, row: int, log2: float) -> None:
        self.before: _Prefix = before or self  # the empty prefix stands before itself
        self.row = row
        self.log2: float = log2 + (before.log2 if before else 0.0)
        self.depth: int = before.depth + 1 if before else 0
        self.exact: Exact | None = None if before else ONE

    def rows(self) -> list[int]:
        """The rows of its edges, first to last."""
        found, at = [], self
        while at.depth:
            found.append(at.row)
            at = at.before
        return found[::-1]


@dataclass(frozen=True)
class Bounds:
    """What paths can still reach. best, missing : M x V, at all and over missing edges; to_loss : V."""

    best: Floats
    missing: Floats
    to_loss: Floats


def find_bounds(vertices: Vertices, edges: Edges, truncated: NDArray[np.bool_], question: Question) -> Bounds:
    """The bounds of a question.

    truncated : V, the vertices that may have more edges than are given, none with a larger product up to the loss than
        the least of those given
    """
    nowhere = np.full((1, vertices.size), -np.inf)
    nowhere[0, vertices.loss] = 0.0
    free = np.zeros(vertices.size, np.int64)
    (to_loss,) = suffixes(vertices, edges, vertices.loss, nowhere, free, 0)
    missing = np.full((1 << question.n_required, vertices.size), -np.inf)
    missing[:] = _over_missing_edges(edges, truncated, to_loss, question.goal)
    numbers = np.arange(vertices.size)
    missing[:, question.goal :] = -np.inf
    for r in range(question.n_required):
        last = int(np.max(numbers[(question.met >> r & 1 == 1) & (numbers <= question.goal)], initial=-1))
        open_sets = np.flatnonzero(np.arange(len(missing)) >> r & 1)
        missing[open_sets, max(last, 0) :] = -np.inf
    floor = missing.copy()
    floor[0, question.goal] = _at_goal(to_loss, question.goal)
    if question.goal == vertices.loss and question.n_required == 0:
        return Bounds(to_loss[None], missing, to_loss)
    best = suffixes(vertices, edges, question.goal, floor, question.met, question.n_required)
    return Bounds(best, missing, to_loss)


def _at_goal(to_loss: Floats, goal: int) -> float:
    # Paths to another vertex than the loss are compared with the goal's own best way behind them: the same order, and
    # what is known of missing edges is known up to the loss.
    return float(to_loss[goal]) if to_loss[goal] > -np.inf else 0.0


def _over_missing_edges(edges: Edges, truncated: NDArray[np.bool_], to_loss: Floats, goal: int) -> Floats:
    bound = np.where(truncated, np.inf, -np.inf)
    if to_loss[goal] > -np.inf:  # else the ranking says nothing of ways to the goal
        np.minimum.at(bound, edges.src, edges.log2_weight + to_loss[edges.dst])
    return bound


class Search:
    """One search over given edges; see `best_paths`."""

    def __init__(self, vertices: Vertices, edges: Edges, bounds: Bounds, question: Question) -> None:
        self._vertices, self._edges, self._bounds, self._question = vertices, edges, bounds, question
        self._offsets = np.searchsorted(edges.src, np.arange(vertices.size + 1))
        self._options: dict[tuple[int, int], _Options] = {}
        self._exact: dict[tuple[int, int], Exact] = {}

    def best_paths(self) -> Iterator[Found]:
        """Paths and openings, the largest bound first; ties in the order of the first edge that differs."""
        question = self._question
        heap: list[_State] = []
        self._push(heap, _Prefix(None, -1, 0.0), question.start, (1 << question.n_required) - 1, 0)
        while heap:
            state = heapq.heappop(heap)
            prefix, option, vertex = state.prefix, state.option, state.vertex
            self._push(heap, prefix, vertex, state.still, state.number + 1)
            while option.row >= 0:
                prefix = _Prefix(prefix, option.row, float(self._edges.log2_weight[option.row]))
                vertex, still = option.head, option.still
                if vertex == question.goal:
                    break
                following = self._option(vertex, still, 0)
                assert following is not None, "a bound promised a way on"
                option = following
                self._push(heap, prefix, vertex, still, 1)
            reached = option.row >= 0
            yield Found(prefix.rows(), self.product(prefix) if reached else None, None if reached else vertex)

    def _push(self, heap: list[_State], prefix: _Prefix, vertex: int, still: int, number: int) -> None:
        option = self._option(vertex, still, number)
        if option is not None:
            heapq.heappush(heap, _State(self, prefix, vertex, still, number, option))

    def _option(self, vertex: int, still: int, number: int) -> _Option | None:
        """The way on of this rank (from 0) that carries something, None where there are not so many."""
        at = vertex, still
        if at not in self._options:
            self._options[at] = self._ranked(vertex, still)
        ranked = self._options[at]
        while len(ranked.options) <= number < len(ranked.bounds):
            self._rank_more(vertex, ranked)
        return ranked.options[number] if number < len(ranked.options) else None

    def _ranked(self, vertex: int, still: int) -> _Options:
        rows, bound, then = self._ways(vertex, still)
        row = np.arange(rows.start, rows.stop)
        if (missing := self._bounds.missing[still, vertex]) > -np.inf:
            row, bound, then = np.append(row, -1), np.append(bound, missing), np.append(then, still)
        order = np.argsort(-bound, kind="stable")
        order = order[bound[order] > -np.inf]
        return _Options(row[order], bound[order].tolist(), then[order], [])

    def _rank_more(self, vertex: int, ranked: _Options) -> None:
        """Add the next best option, with all that are so near to it that only exact products tell."""
        first = end = len(ranked.options)
        while end < len(ranked.bounds) and (end == first or _is_near(ranked.bounds[end - 1], ranked.bounds[end])):
            end += 1
        run = [self._as_option(vertex, ranked, i) for i in range(first, end)]
        ranked.options.extend(sorted(run, key=cmp_to_key(self._compare)))

    def _as_option(self, vertex: int, ranked: _Options, i: int) -> _Option:
        row = int(ranked.rows[i])
        head = vertex if row < 0 else int(self._edges.dst[row])
        return _Option(ranked.bounds[i], row, head, int(ranked.then[i]))

    def _ways(self, vertex: int, still: int) -> tuple[slice, Floats, Ints]:
        """The edges of a vertex, what each reaches at most, and the requirements open behind it."""
        edges, rows = self._edges, slice(self._offsets[vertex], self._offsets[vertex + 1])
        dst = edges.dst[rows]
        then = still & ~self._question.met[dst]
        return rows, product_with(edges.log2_weight[rows], self._bounds.best[then, dst]), then

    def _compare(self, a: _Option, b: _Option) -> int:
        for missing, sign in ((a, 1), (b, -1)):
            if missing.row < 0 and missing.still == 0 and self._question.goal == self._vertices.loss:
                return sign  # of free paths, the missing edges rank behind those that are given
        if a.bound < np.inf:
            left, right = self.reached(a), self.reached(b)
            if left != right:
                return -1 if left.exceeds(right) else 1
        return -1 if self.key(a.row, a.head) < self.key(b.row, b.head) else 1

    def key(self, row: int, vertex: int) -> tuple[int, ...]:
        """What decides a tie: operator order, slot and target of an edge, or (row -1) of the missing ones of a vertex.

        Missing edges come right behind the last of the given ones that ties with them.
        """
        if row >= 0:
            dst = int(self._edges.dst[row])
            return int(self._vertices.operator[dst]), int(self._edges.slot[row]), dst
        if np.isinf(self._bounds.missing[:, vertex].max()):
            return ()
        least = self._suffix((_MISSING, vertex))
        terms = self._terms((_MISSING, vertex))
        tied = (r for r, then in terms if self._weight(r).times(self._suffix(then)) == least)
        return *max(self.key(r, vertex) for r in tied), 1

    # Exact products, for what the logarithms leave open

    def product(self, prefix: _Prefix) -> Exact:
        """The product of a prefix's weights."""
        chain, at = [], prefix
        while at.exact is None:
            chain.append(at)
            at = at.before
        product = at.exact
        for link in reversed(chain):
            product = link.exact = product.times(self._weight(link.row))
        return product

    def reached(self, option: _Option) -> Exact:
        """What an option's bound stands for. Bounds of infinity stand for nothing."""
        if option.row < 0:
            return self._suffix((_MISSING, option.head))
        return self._weight(option.row).times(self._suffix((option.still, option.head)))

    def _weight(self, row: int) -> Exact:
        return Exact.of(float(self._edges.weight[row]))

    def _suffix(self, wanted: tuple[int, int]) -> Exact:
        """The exact product behind a bound; the vertices it needs are done first, without recursion."""
        waiting = [wanted]
        while waiting:
            at = waiting[-1]
            terms = self._terms(at)
            needed = [then for _, then in terms if then not in self._exact]
            if needed and at not in self._exact:
                waiting += needed
                continue
            if at not in self._exact:
                products = [self._exact[then].times(ONE if row < 0 else self._weight(row)) for row, then in terms]
                choose = min if at[0] == _MISSING else max
                self._exact[at] = choose(products, key=cmp_to_key(_by_size), default=ONE)
            waiting.pop()
        return self._exact[wanted]

    def _terms(self, at: tuple[int, int]) -> list[tuple[int, tuple[int, int]]]:
        """The edges (or -1) over which a bound may come about, and the bounds behind them; none: it is 1."""
        layer, vertex = at
        goal, edges, bounds = self._question.goal, self._edges, self._bounds
        if layer == 0 and vertex == goal:
            return [(-1, (_TO_LOSS, goal))] if bounds.to_loss[goal] > -np.inf else []
        if layer == _TO_LOSS and vertex == self._vertices.loss:
            return []
        if layer >= 0:
            rows, reached, then = self._ways(vertex, layer)
            near = np.flatnonzero(reached >= bounds.best[layer, vertex] - _NEAR)
            found = [(int(rows.start + i), (int(then[i]), int(edges.dst[rows.start + i]))) for i in near]
            if bounds.missing[layer, vertex] >= bounds.best[layer, vertex] - _NEAR:
                found.append((-1, (_MISSING, vertex)))
            return found
        rows = slice(self._offsets[vertex], self._offsets[vertex + 1])
        reached = edges.log2_weight[rows] + bounds.to_loss[edges.dst[rows]]
        near = np.flatnonzero(
            reached <= reached.min() + _NEAR if layer == _MISSING else reached >= bounds.to_loss[vertex] - _NEAR
        )
        return [(int(rows.start + i), (_TO_LOSS, int(edges.dst[rows.start + i]))) for i in near]


class _State:
    """Paths that begin with `prefix` and go on from `vertex` over option `number` or a later one."""

    __slots__ = ("_exact", "_search", "bound", "number", "option", "prefix", "still", "vertex")

    def __init__(self, search: Search, prefix: _Prefix, vertex: int, still: int, number: int, option: _Option) -> None:
        self._search, self.prefix, self.vertex, self.still = search, prefix, vertex, still
        self.number, self.option, self.bound = number, option, prefix.log2 + option.bound
        self._exact: Exact | None = None

    def __lt__(self, other: _State) -> bool:
        if abs(self.bound - other.bound) > _NEAR:
            return self.bound > other.bound
        if np.isfinite(self.bound):
            left, right = self.exact(), other.exact()
            if left != right:
                return left.exceeds(right)
        return self._parts_first(other)

    def exact(self) -> Exact:
        """The product its bound stands for."""
        if self._exact is None:
            self._exact = self._search.product(self.prefix).times(self._search.reached(self.option))
        return self._exact

    def _parts_first(self, other: _State) -> bool:
        """Whether the first edge in which the two differ has the smaller key here."""
        a, b, left, right = self.prefix, other.prefix, self.option.row, other.option.row
        while a is not b:
            if (difference := a.depth - b.depth) >= 0:
                left, a = a.row, a.before
            if difference <= 0:
                right, b = b.row, b.before
        return self._search.key(left, self.vertex) < self._search.key(right, other.vertex)


def _by_size(a: Exact, b: Exact) -> int:
    return (a != b) * (1 if a.exceeds(b) else -1)


def _is_near(a: float, b: float) -> bool:
    return a == b or a - b <= _NEAR
