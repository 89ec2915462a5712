"""The walker against following every single path, on random forests and random drawn graphs."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradtrace.queries.walk.walker import (
    Entries,
    Walk,
    components_met,
    count_entries,
    count_paths,
    follow,
    n_words,
    path_lengths,
    push,
    reaches_loss,
    trace_all,
)


class Forest(NamedTuple):
    """A walk and parameters that start on it."""

    walk: Walk
    start_next: np.ndarray
    start_group: np.ndarray
    start_weight: np.ndarray
    n_groups: int
    n_nodes: int


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    first = draw(st.integers(0, 5))
    n = draw(st.integers(1, 150))
    loss = first + draw(st.integers(0, n - 1)) if draw(st.booleans()) else first + n - 1
    following = [
        -1
        if first + i == loss or i == n - 1 or draw(st.integers(0, 9)) == 0
        else first + draw(st.integers(i + 1, n - 1))
        for i in range(n)
    ]
    n_nodes = draw(st.integers(1, 8))
    node = draw(st.lists(st.integers(-1, n_nodes - 1), min_size=n, max_size=n))
    n_groups = draw(st.integers(1, 4))
    starts = draw(
        st.lists(
            st.tuples(st.integers(-1, n - 1), st.integers(0, n_groups - 1), st.integers(0, 7)), min_size=0, max_size=60
        )
    )
    walk = Walk(first, np.array(following, np.int64), np.array(node, np.int32), loss)
    return Forest(
        walk,
        np.array([-1 if s < 0 else first + s for s, _, _ in starts], np.int64),
        np.array([g for _, g, _ in starts], np.int32),
        np.array([w for _, _, w in starts], np.float64),
        n_groups,
        n_nodes,
    )


def chase(walk: Walk, start: int) -> list[int]:
    """A plain pointer chase: the vertices of a path that reaches the loss, [] for one that does not."""
    path = []
    while start >= 0:
        path.append(start)
        start = int(walk.next[start - walk.first])
    return path if path and path[-1] == walk.loss else []


def paths_of(forest: Forest) -> list[tuple[int, float, list[int]]]:
    """(group, weight, path) of every start that reaches the loss."""
    starts = zip(forest.start_group, forest.start_weight, forest.start_next, strict=True)
    traced = [(int(group), float(weight), chase(forest.walk, int(start))) for group, weight, start in starts]
    return [t for t in traced if t[2]]


def entries_of(forest: Forest) -> Entries:
    return count_entries(forest.walk, forest.start_next, forest.start_group, forest.start_weight, forest.n_groups)


@given(forests())
@settings(deadline=None)
def test_entries_and_lengths_equal_following_every_path(forest: Forest) -> None:
    walk = forest.walk
    entries = entries_of(forest)
    wanted: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0, 0])
    for group, weight, path in paths_of(forest):
        wanted[group, path[0]][0] += 1
        wanted[group, path[0]][1] += weight
    got = {(g, v): [p, w] for g, v, p, w in zip(*(column.tolist() for column in entries), strict=True)}
    assert got == wanted
    assert list(got) == sorted(got)

    vertices = range(walk.first, walk.first + walk.next.size)
    assert reaches_loss(walk).tolist() == [bool(chase(walk, v)) for v in vertices]
    assert path_lengths(walk).tolist() == [len(chase(walk, v)) - 1 for v in vertices]
    assert trace_all(walk, forest.start_next).tolist() == [len(chase(walk, int(s))) for s in forest.start_next]
    for v in vertices:
        path = follow(walk, v).tolist()
        assert path[0] == v
        assert (path == chase(walk, v)) == (path[-1] == walk.loss)


@given(forests())
@settings(deadline=None)
def test_push_equals_following_every_path(forest: Forest) -> None:
    walk, shape = forest.walk, (forest.n_groups, forest.n_nodes)
    edges, weighted = push(walk, entries_of(forest), *shape)
    wanted, wanted_weighted = np.zeros(shape), np.zeros(shape)
    for group, weight, path in paths_of(forest):
        for vertex in path:
            node = walk.node[vertex - walk.first]
            if node >= 0:
                wanted[group, node] += 1
                wanted_weighted[group, node] += weight
    assert (edges == wanted).all()
    assert (weighted == wanted_weighted).all()


@given(forests(), st.sampled_from([1, 3, 64, 65, 130]), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_path_counts_equal_following_every_path(forest: Forest, n_components: int, random: object) -> None:
    walk = forest.walk
    generator = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    component = generator.integers(-1, n_components, forest.n_nodes).astype(np.int32)
    members = np.zeros((walk.next.size, n_words(n_components)), np.uint64)
    for i, c in enumerate(np.where(walk.node < 0, -1, component[walk.node])):
        if c >= 0:
            members[i, c // 64] = 1 << int(c % 64)
    entries, sizes = entries_of(forest), (forest.n_groups, n_components)
    counts, weighted = count_paths(components_met(walk, members), entries, walk.first, *sizes)
    wanted, wanted_weighted = np.zeros(counts.shape), np.zeros(counts.shape)
    for group, weight, path in paths_of(forest):
        nodes = walk.node[np.array(path) - walk.first]
        for c in set(component[nodes[nodes >= 0]].tolist()) - {-1}:
            wanted[group, c] += 1
            wanted_weighted[group, c] += weight
    assert (counts == wanted).all()
    assert (weighted == wanted_weighted).all()


def test_starts_need_not_be_sorted_by_group() -> None:
    walk = Walk(0, np.array([1, 2, -1], np.int64), np.array([0, 0, 1], np.int32), 2)
    group = np.array([1, 0, 1, 0], np.int32)
    entries = count_entries(walk, np.array([0, 1, 1, 1], np.int64), group, np.array([1.0, 2.0, 3.0, 4.0]), 2)
    assert [column.tolist() for column in entries] == [[0, 1, 1], [1, 0, 1], [2.0, 1.0, 1.0], [6.0, 1.0, 3.0]]


@pytest.mark.parametrize("n", [0, 1])
def test_no_starts_make_no_entries(n: int) -> None:
    walk = Walk(0, np.full(n, -1, np.int64), np.full(n, 0, np.int32), n - 1)
    none = np.empty(0)
    entries = count_entries(walk, none.astype(np.int64), none.astype(np.int32), none, 3)
    assert entries.vertex.size == 0
    assert push(walk, entries, 3, 2)[0].sum() == 0
