"""What every method should find, in plain Python: all paths one by one in fractions, or a recursion in logarithms.

A graph is its edges and its gradients, read from a recording or from the oracle. Of the product's code only the list
of edges is used, whose derivatives other tests compare with Jacobians. Logarithms are to base 2; that of 0 is -inf.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradtrace.exporters.recording.recorder import Recording

from ...oracle import Edge, ScalarGraph
from ..taped import all_edges, operator_of

Floats = NDArray[np.float64]
NOTHING = -math.inf
EXACT = 3000  # edges of a graph whose products are multiplied out


def log2(number: Fraction | float) -> float:
    """Of |number|, of any size."""
    exact = abs(Fraction(number))
    return math.log2(exact.numerator) - math.log2(exact.denominator) if exact else NOTHING


def log2_sum(logarithms: Sequence[float]) -> float:
    """log2 of the sum of the powers."""
    top = max(logarithms, default=NOTHING)
    return top if top == NOTHING else top + math.log2(math.fsum(2.0 ** (x - top) for x in logarithms))


class Ranked(NamedTuple):
    """An edge and the logarithm it is ranked by."""

    score: float
    edge: Edge


class Spread(NamedTuple):
    """log2 of a sum, and the entropy of its terms' shares in bits."""

    log2_sum: float
    entropy: float


class Statistics(NamedTuple):
    """Of all paths from one vertex."""

    log2_paths: float
    products: Spread
    log2_positive: float
    log2_negative: float


@dataclass
class Expected:
    """Expectations of soft traces. G groups, N operators, C components, S tokens."""

    entries: dict[tuple[int, int], tuple[float, float]]  # (group, first vertex after the parameter): plain and weighted
    edges: Floats  # 2 x G x N: plain and weighted
    links: dict[tuple[int, int], Floats]  # (operator of the source, of the target): 2 x G
    spans: Floats  # 2 x G x S + 1 x S + 1: from the token of the first vertex to the last one's; no token is 0
    paths: Floats  # 2 x G x C
    traced: Floats  # 2 x G


def spread_of(terms: Sequence[Fraction]) -> Spread:
    """The spread of exact terms, none of them negative."""
    total = sum(terms, Fraction(0))
    shares = [term / total for term in terms if term]
    return Spread(log2(total), math.fsum(-float(p) * log2(p) for p in shares))


@dataclass
class Enumerated:
    """leaving: the edges of every vertex in tie order; gradient: of every vertex, in a dtype."""

    leaving: list[list[Edge]]
    gradient: list[float]
    loss: int
    dtype: type[np.floating[Any]] = np.float64

    @classmethod
    def of(cls, recording: Recording) -> Enumerated:
        """The graph of a recording, its numbers taken as they are."""
        edges, operator = all_edges(recording), operator_of(recording)
        columns = (edges.src, edges.dst, edges.slot, edges.derivative, operator[edges.dst])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        gradient = recording.gradients.tolist()
        found = cls._sorted((Edge(*row) for row in rows), gradient, recording.loss_vertex)
        found.dtype = recording.gradients.dtype.type
        return found

    @classmethod
    def of_oracle(cls, graph: ScalarGraph) -> Enumerated:
        """The oracle's own graph."""
        return cls._sorted(graph.edges, [v.gradient for v in graph.vertices], graph.n_vertices - 1)

    @classmethod
    def _sorted(cls, edges: Iterable[Edge], gradient: list[float], loss: int) -> Enumerated:
        leaving: list[list[Edge]] = [[] for _ in gradient]
        for edge in edges:
            leaving[edge.src].append(edge)
        for found in leaving:
            found.sort(key=lambda e: (e.operator, e.slot, e.dst))
        return cls(leaving, gradient, loss)

    @property
    def backwards(self) -> range:
        """Every vertex after all that it leads to."""
        return range(len(self.leaving) - 1, -1, -1)

    # One path after another

    def paths(self, start: int) -> Iterator[tuple[Edge, ...]]:
        """Every path to the loss. Exponential: look at n_paths first."""
        if start == self.loss:
            yield ()
            return
        for edge in self.leaving[start]:
            for rest in self.paths(edge.dst):
                yield (edge, *rest)

    def product(self, path: tuple[Edge, ...]) -> Fraction:
        """The exact product of a path's derivatives."""
        return math.prod((Fraction(edge.derivative) for edge in path), start=Fraction(1))

    def share(self, edge: Edge) -> Fraction:
        """The part of the mass on its source that an edge takes; none from a vertex that is dead in the dtype."""
        return abs(self.contribution(edge)) / self.size[edge.src] if self.size[edge.src] else Fraction(0)

    def probability(self, path: tuple[Edge, ...]) -> Fraction:
        """Of a soft trace taking this path."""
        return math.prod((self.share(edge) for edge in path), start=Fraction(1))

    def contribution(self, edge: Edge) -> Fraction:
        """Exact, from the gradient as recorded."""
        return Fraction(self.gradient[edge.dst]) * Fraction(edge.derivative)

    @cached_property
    def size(self) -> list[Fraction]:
        """The sum of every vertex's |contributions|, 0 where the dtype has none but zeros of them."""
        return [
            sum((abs(self.contribution(e)) for e in edges), Fraction(0)) if self._is_alive(edges) else Fraction(0)
            for edges in self.leaving
        ]

    def _is_alive(self, edges: list[Edge]) -> bool:
        return any(self.dtype(self.gradient[e.dst]) * self.dtype(e.derivative) != 0 for e in edges)

    @cached_property
    def n_paths(self) -> list[int]:
        """The number of paths from every vertex to the loss."""
        found = [0] * len(self.leaving)
        for vertex in self.backwards:
            found[vertex] = 1 if vertex == self.loss else sum(found[e.dst] for e in self.leaving[vertex])
        return found

    def ranked(self, vertex: int, method: str) -> list[Ranked]:
        """A vertex's edges, each with its best path, best first: by looking at every path."""
        measure = self.probability if method == "soft" else self.product
        best = dict.fromkeys(self.leaving[vertex], Fraction(0))
        for path in self.paths(vertex):
            if path:
                best[path[0]] = max(best[path[0]], abs(measure(path)))
        order = sorted(best, key=lambda e: -best[e])  # stable, so that ties stay in tie order
        return [Ranked(log2(best[edge]), edge) for edge in order]

    def statistics(self, vertex: int) -> Statistics:
        """By looking at every path."""
        products = [self.product(path) for path in self.paths(vertex)]
        positive, negative = (max((s * p for p in products if s * p > 0), default=Fraction(0)) for s in (1, -1))
        return Statistics(log2(len(products)), spread_of([abs(p) for p in products]), log2(positive), log2(negative))

    def contributions(self, vertex: int) -> Spread:
        """The spread of a vertex's contributions."""
        return spread_of([abs(self.contribution(edge)) for edge in self.leaving[vertex] if self.size[vertex]])

    def expected(self, group_of: Sequence[int], component_of: Sequence[int], step_of: Sequence[int]) -> Expected:
        """Soft traces by looking at every path of every parameter, one per entry of group_of.

        component_of: of each operator; step_of: of each vertex, -1: it belongs to no token
        """
        found = self._nothing_expected(group_of, component_of, step_of)
        for vertex, group in enumerate(group_of):
            for path in self.paths(vertex) if self.size[vertex] else ():
                mass = float(self.probability(path))
                met = {component_of[edge.operator] for edge in path} - {-1}
                steps = [step_of[edge.dst] for edge in path]
                end = next((step for step in reversed(steps) if step >= 0), -1)
                self._enter(found, group, path[0], mass)
                for row, amount in enumerate((mass, mass * abs(self.gradient[vertex]))):
                    for edge in path:
                        found.edges[row, group, edge.operator] += amount
                    for before, edge in pairwise(path):
                        found.links[before.operator, edge.operator][row, group] += amount
                    for component in met:
                        found.paths[row, group, component] += amount
                    found.spans[row, group, steps[0] + 1, end + 1] += amount
        return found

    # By recursion, for graphs with too many paths

    @cached_property
    def is_small(self) -> bool:
        """Whether exact products along all of it take no time."""
        return sum(map(len, self.leaving)) < EXACT

    def _weight(self, edge: Edge, method: str) -> Fraction:
        return abs(Fraction(edge.derivative)) if method == "product" else self.share(edge)

    def all_ranked(self, method: str) -> list[list[Ranked]]:
        """What `ranked` gives, of every vertex; where the graph is not small, by logarithms."""
        if not self.is_small:
            return self._all_ranked_roughly(method)
        suffix = [Fraction(0)] * len(self.leaving)
        found: list[list[Ranked]] = [[] for _ in suffix]
        for vertex in self.backwards:
            best = {e: self._weight(e, method) * suffix[e.dst] for e in self.leaving[vertex]}
            found[vertex] = [Ranked(log2(best[e]), e) for e in sorted(best, key=lambda e: -best[e])]
            suffix[vertex] = Fraction(1) if vertex == self.loss else max(best.values(), default=Fraction(0))
        return found

    def _all_ranked_roughly(self, method: str) -> list[list[Ranked]]:
        suffix = [NOTHING] * len(self.leaving)
        found: list[list[Ranked]] = [[] for _ in suffix]
        for vertex in self.backwards:
            rows = [Ranked(log2(self._weight(e, method)) + suffix[e.dst], e) for e in self.leaving[vertex]]
            found[vertex] = sorted(rows, key=lambda row: -row.score)
            suffix[vertex] = 0.0 if vertex == self.loss else found[vertex][0].score if rows else NOTHING
        return found

    def all_statistics(self) -> list[Statistics]:
        """What `statistics` gives, of every vertex."""
        found = [Statistics(NOTHING, Spread(NOTHING, 0.0), NOTHING, NOTHING)] * len(self.leaving)
        for vertex in self.backwards:
            if vertex == self.loss:
                found[vertex] = Statistics(0.0, Spread(0.0, 0.0), 0.0, NOTHING)
            elif self.leaving[vertex]:
                found[vertex] = self._statistics_from([(e.derivative, found[e.dst]) for e in self.leaving[vertex]])
        return found

    def _statistics_from(self, rows: list[tuple[float, Statistics]]) -> Statistics:
        sums = [log2(d) + rest.products.log2_sum for d, rest in rows]
        total = log2_sum(sums)
        entropy = math.fsum(
            2.0 ** (s - total) * (rest.products.entropy - (s - total))
            for s, (_, rest) in zip(sums, rows, strict=True)
            if s > NOTHING
        )
        kept = [(log2(d), rest.log2_positive, rest.log2_negative) for d, rest in rows if d > 0]
        turned = [(log2(d), rest.log2_negative, rest.log2_positive) for d, rest in rows if d < 0]
        return Statistics(
            log2_sum([rest.log2_paths for _, rest in rows]),
            Spread(total, entropy),
            max((size + up for size, up, _ in kept + turned), default=NOTHING),
            max((size + down for size, _, down in kept + turned), default=NOTHING),
        )

    def all_expected(self, group_of: Sequence[int], component_of: Sequence[int], step_of: Sequence[int]) -> Expected:
        """What `expected` gives: every vertex's own expectations from those of the vertices it leads to."""
        found = self._nothing_expected(group_of, component_of, step_of)
        self._link(found, group_of)
        self._span(found, group_of, step_of)
        n_nodes, n_components = found.edges.shape[2], found.paths.shape[2]
        edges, paths = np.zeros((len(self.leaving), n_nodes)), np.zeros((len(self.leaving), n_components))
        for vertex in self.backwards:
            for edge in self.leaving[vertex] if vertex != self.loss else ():
                share, component = float(self.share(edge)), component_of[edge.operator]
                ahead, meets = edges[edge.dst].copy(), paths[edge.dst].copy()
                ahead[edge.operator] += 1.0
                if component >= 0:
                    meets[component] = 1.0
                edges[vertex] += share * ahead
                paths[vertex] += share * meets
        for vertex, group in enumerate(group_of):
            for edge in self.leaving[vertex] if self.size[vertex] else ():
                self._enter(found, group, edge, float(self.share(edge)))
            for row, weight in enumerate((1.0, abs(self.gradient[vertex]))):
                found.edges[row, group] += weight * edges[vertex]
                found.paths[row, group] += weight * paths[vertex]
        return found

    def _link(self, found: Expected, group_of: Sequence[int]) -> None:
        """The mass that each edge carries, pushed along the edges from the parameters on."""
        mass, operator = np.zeros((2, found.edges.shape[1], len(self.leaving))), [-1] * len(self.leaving)
        for vertex, group in enumerate(group_of):
            if self.size[vertex]:
                mass[:, group, vertex] = 1.0, abs(self.gradient[vertex])
        for vertex, edges in enumerate(self.leaving):
            for edge in edges if vertex != self.loss else ():
                sent = float(self.share(edge)) * mass[..., vertex]
                mass[..., edge.dst] += sent
                operator[edge.dst] = edge.operator
                if operator[vertex] >= 0:
                    found.links[operator[vertex], edge.operator] += sent

    def _span(self, found: Expected, group_of: Sequence[int], step_of: Sequence[int]) -> None:
        """The token that each vertex's path ends in, from those of the vertices it leads to."""
        ends = np.zeros((len(self.leaving), found.spans.shape[3]))
        for vertex in self.backwards:
            if vertex == self.loss:
                ends[vertex, 0] = 1.0
            for edge in self.leaving[vertex] if vertex != self.loss else ():
                ends[vertex] += float(self.share(edge)) * ends[edge.dst]
            if vertex < len(group_of):
                for edge in self.leaving[vertex] if self.size[vertex] else ():
                    mass = float(self.share(edge)) * ends[edge.dst]
                    spans = found.spans[:, group_of[vertex], step_of[edge.dst] + 1]
                    spans += mass, abs(self.gradient[vertex]) * mass
            elif step_of[vertex] >= 0:  # of a path on which no later vertex has a token
                ends[vertex, step_of[vertex] + 1] += ends[vertex, 0]
                ends[vertex, 0] = 0.0

    def _enter(self, found: Expected, group: int, edge: Edge, mass: float) -> None:
        if mass:
            plain, weighted = found.entries.get((group, edge.dst), (0.0, 0.0))
            weight = mass * abs(self.gradient[edge.src])
            found.entries[group, edge.dst] = plain + mass, weighted + weight

    def _nothing_expected(
        self, group_of: Sequence[int], component_of: Sequence[int], step_of: Sequence[int]
    ) -> Expected:
        groups, components, nodes, steps = max(group_of) + 1, max(component_of) + 1, len(component_of), max(step_of) + 2
        traced = np.zeros((2, groups))
        for vertex, group in enumerate(group_of):
            if self.size[vertex]:
                traced[:, group] += 1.0, abs(self.gradient[vertex])
        links: dict[tuple[int, int], Floats] = defaultdict(lambda: np.zeros((2, groups)))
        edges, spans, paths = (np.zeros((2, groups, *shape)) for shape in ((nodes,), (steps, steps), (components,)))
        return Expected({}, edges, links, spans, paths, traced)
