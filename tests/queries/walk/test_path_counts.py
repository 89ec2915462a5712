"""All counts of a sample's paths against following every single path, on random forests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradtrace.queries.walk.path_counts import (
    Entering,
    PathCounts,
    Places,
    count_all,
)
from gradtrace.queries.walk.steps import element_steps
from gradtrace.queries.walk.visits import Visited, reached, visit, visited
from gradtrace.queries.walk.walker import Walk

from .test_walker import Forest, chase, forests

Sums = dict[tuple[Hashable, ...], list[float]]


class Placed(NamedTuple):
    """A forest whose vertices belong somewhere, and how many parameters each start stands for."""

    forest: Forest
    places: Places
    starts: Entering

    @property
    def part(self) -> Visited:
        walk = self.forest.walk
        return visit(walk.first, walk.next, self.forest.start_next, walk.loss)


def visited_from(walk: Walk, starts: np.ndarray) -> set[int]:
    """The vertices on the paths from these, whether they reach the loss or not."""
    found = set()
    for start in starts.tolist():
        while start >= 0:
            found.add(start)
            start = int(walk.next[start - walk.first])
    return found


@st.composite
def placed(draw: st.DrawFn) -> Placed:
    forest = draw(forests())
    walk, n = forest.walk, forest.walk.next.size
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_components = draw(st.sampled_from([1, 3, 64, 65, 130]))
    n_steps = draw(st.integers(0, 4))
    node = np.sort(walk.node) if draw(st.booleans()) else walk.node.copy()  # those of an operator beside each other
    component = random.integers(-1, n_components, forest.n_nodes).astype(np.int32)
    on_paths = np.array(sorted(visited_from(walk, forest.start_next)), np.int64) - walk.first
    node[on_paths] = np.maximum(node[on_paths], 0)  # no edge leads to an input
    places = Places(node, random.integers(-1, n_steps, n).astype(np.int32), component, n_components, n_steps)
    counted = random.integers(1, 5, forest.start_next.size) if draw(st.booleans()) else np.empty(0)
    return Placed(forest, places, Entering(forest.start_group, counted.astype(float), forest.start_weight))


def paths_of(of: Placed) -> list[tuple[int, float, float, list[int]]]:
    """(group, how many, weight, path) of every row of starts that reaches the loss."""
    many = of.starts.paths if of.starts.paths.size else np.ones(len(of.starts.group))
    rows = zip(of.starts.group.tolist(), many.tolist(), of.starts.weight.tolist(), of.forest.start_next, strict=True)
    traced = [(group, n, weight, chase(of.forest.walk, int(start))) for group, n, weight, start in rows]
    return [t for t in traced if t[3]]


def summed(rows: Iterable[tuple[tuple[Hashable, ...], float, float]]) -> Sums:
    found: Sums = defaultdict(lambda: [0.0, 0.0])
    for key, n, weight in rows:
        found[key][0] += n
        found[key][1] += weight
    return found


def one_by_one(of: Placed) -> dict[str, Sums]:
    """Every count by following the paths."""
    first, (node, step, component, _, _) = of.forest.walk.first, of.places
    found: dict[str, list[tuple[tuple[Hashable, ...], float, float]]] = defaultdict(list)
    for group, n, weight, path in paths_of(of):
        nodes, steps = ([int(column[v - first]) for v in path] for column in (node, step))
        known = [s for s in steps if s >= 0]
        keys = {
            "entries": [(path[0],)],
            "edges": [(o,) for o in nodes if o >= 0],
            "links": [pair for pair in pairwise(nodes) if min(pair) >= 0],
            "paths": [(c,) for c in {int(component[o]) for o in nodes if o >= 0} - {-1}],
            "spans": [(steps[0], known[-1] if known else -1)],
        }
        for name, under in keys.items():
            found[name] += [((group, *key), n, weight) for key in under]
    return {name: summed(rows) for name, rows in found.items()}


def cells(plain: np.ndarray, weighted: np.ndarray) -> Sums:
    """Those of G x N counts that are not 0."""
    return {(int(g), int(i)): [plain[g, i], weighted[g, i]] for g, i in np.argwhere(plain)}


def as_sums(counts: PathCounts) -> dict[str, Sums]:
    entries, spans, links = counts.entries, counts.spans, counts.links
    entry_keys = zip(entries.group.tolist(), entries.vertex.tolist(), strict=True)
    span_keys = list(zip(spans.group.tolist(), spans.entry_step.tolist(), spans.end_step.tolist(), strict=True))
    pairs = list(zip(links.from_node.tolist(), links.to_node.tolist(), strict=True))
    assert span_keys == sorted(set(span_keys))
    assert pairs == sorted(set(pairs))
    return {
        "entries": {k: [p, w] for k, p, w in zip(entry_keys, entries.paths, entries.weight, strict=True)},
        "edges": cells(*counts.edges),
        "links": {(g, *pairs[i]): v for (g, i), v in cells(links.edges, links.weighted_edges).items()},
        "paths": cells(*counts.paths),
        "spans": {k: [p, w] for k, p, w in zip(span_keys, spans.paths, spans.weighted_paths, strict=True)},
    }


@given(placed())
@settings(deadline=None)
def test_everything_equals_following_every_path(of: Placed) -> None:
    counts = count_all(of.part, of.places, of.starts, of.forest.n_groups + 1)
    found, wanted = as_sums(counts), one_by_one(of)
    for name, sums in found.items():
        assert sums == wanted.get(name, {}), name
    assert list(found["entries"]) == sorted(found["entries"])
    on_paths = {vertex for *_, path in paths_of(of) for vertex in path}
    assert (np.flatnonzero(counts.reached) + of.forest.walk.first).tolist() == sorted(on_paths)


@given(forests())
@settings(deadline=None)
def test_visited_vertices_include_those_of_paths_that_stop(forest: Forest) -> None:
    walk, starts = forest.walk, forest.start_next
    on_paths = sorted(visited_from(walk, starts))
    assert (np.flatnonzero(reached(walk.first, walk.next, starts)) + walk.first).tolist() == on_paths
    part = visit(walk.first, walk.next, starts, walk.loss)
    vertex = np.append(walk.first + part.row, -1)  # a place of -1 finds the last
    assert vertex[:-1].tolist() == on_paths
    assert vertex[part.next].tolist() == [walk.next[v - walk.first] for v in on_paths]
    assert vertex[part.start].tolist() == starts.tolist()
    assert vertex[part.loss] == (walk.loss if walk.loss in on_paths else -1)


@given(forests())
@settings(deadline=None)
def test_visited_vertices_that_are_known_already(forest: Forest) -> None:
    (first, following, _, loss), starts = forest.walk, forest.start_next
    whole = visit(first, following, starts, loss)
    alone = visited(first, following.size, first + whole.row.astype(np.int64), following[whole.row], starts, loss)
    for one, other in zip(whole, alone, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("n", [0, 1])
def test_no_starts_make_no_counts(n: int) -> None:
    none, whole = np.empty(0), np.empty(0, np.int64)
    part = visit(0, np.full(n, -1), whole, n - 1)
    places = Places(np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(2, np.int32), 1, 1)
    counts = count_all(part, places, Entering(whole.astype(np.int32), none, none), 3)
    assert all(sums == {} for sums in as_sums(counts).values())
    assert counts.edges[0].shape == (3, 2)


@pytest.mark.parametrize(
    ("shape", "axis", "wanted"),
    [
        ((2, 3), 0, [5, 5, 5, 6, 6, 6]),
        ((2, 3), 1, [5, 6, 7, 5, 6, 7]),
        ((2, 2, 2), 1, [5, 5, 6, 6, 5, 5, 6, 6]),
        ((0, 3), 0, []),
    ],
)
def test_steps_along_an_axis(shape: tuple[int, ...], axis: int, wanted: list[int]) -> None:
    names = ["step" if a == axis else None for a in range(len(shape))]
    assert element_steps(shape, names, 5, None).tolist() == wanted
    assert element_steps(shape, names, 5, 2).tolist() == [2] * len(wanted)
    assert element_steps(shape, [None] * len(shape), None, None).tolist() == [-1] * len(wanted)
