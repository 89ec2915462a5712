"""Follow traced edges: every path of one sample at once, over arrays, without knowledge of stores or models.

The traced edges of a sample are a forest whose edges lead from a smaller vertex to a larger one, so one pass in the
order of the vertices answers a question about all paths. All functions run in time linear in their arrays.

Sizes:  A  activation vertices of the sample        S  parameter vertices that have a traced edge
        N  entries                                  W  64-bit words that hold one bit per component
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

_BLOCK = 64  # vertices that share one flag, so that a pass skips the parts of the graph no path touches
_ONE = np.uint64(1)
_NONE = np.uint64(0)


class Walk(NamedTuple):
    """The traced edge of every activation vertex of one sample; vertex `first + i` is row i."""

    first: int  # number of parameter vertices, which is the id of the first activation
    next: NDArray[np.int64]  # A: vertex the traced edge leads to, -1 where there is no edge or it carries nothing
    node: NDArray[np.int32]  # A: operator that computes the vertex, -1 for inputs
    loss: int  # the loss's vertex


class Entries(NamedTuple):
    """How many traced parameters of a group enter the graph at a vertex; unique and sorted by (group, vertex)."""

    group: NDArray[np.int32]  # N
    vertex: NDArray[np.int64]  # N
    paths: NDArray[np.float64]  # N: number of parameters
    weight: NDArray[np.float64]  # N: sum of their weights


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    return cast("Callable[P, R]", njit(cache=True)(function))


@_compiled
def _lengths(first: int, following: NDArray[np.int64], loss: int) -> NDArray[np.int64]:
    # A: edges from each vertex to the loss, -1 for a vertex whose path does not reach it
    lengths = np.full(following.size, -1, np.int64)
    if 0 <= loss - first < following.size:
        lengths[loss - first] = 0
    for i in range(following.size - 1, -1, -1):
        if following[i] >= 0 and lengths[following[i] - first] >= 0:
            lengths[i] = lengths[following[i] - first] + 1
    return lengths


def path_lengths(walk: Walk) -> NDArray[np.int64]:
    """The edges on the path from every activation vertex to the loss: A, -1 where the path does not reach it."""
    return _lengths(walk.first, walk.next, walk.loss)


def reaches_loss(walk: Walk) -> NDArray[np.bool_]:
    """Whether the path from every activation vertex ends in the loss: A."""
    return path_lengths(walk) >= 0


@_compiled
def order_by_group(group: NDArray[np.signedinteger[Any]], n_groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the rows of each group begin (n_groups + 1), in the order of groups (S; empty: they are in that order)."""
    offsets = np.zeros(n_groups + 1, np.int64)
    is_sorted = True
    for s in range(group.size):
        offsets[group[s] + 1] += 1
        if s > 0 and group[s] < group[s - 1]:
            is_sorted = False
    for g in range(n_groups):
        offsets[g + 1] += offsets[g]
    if is_sorted:
        return offsets, np.empty(0, np.int64)
    filled = np.empty(n_groups, np.int64)
    for g in range(n_groups):  # a slice's copy takes longer to compile
        filled[g] = offsets[g]
    order = np.empty(group.size, np.int64)
    for s in range(group.size):
        order[filled[group[s]]] = s
        filled[group[s]] += 1
    return offsets, order


@_compiled
def _gather_entries(
    first: int,
    lengths: NDArray[np.int64],
    start_next: NDArray[np.int64],
    start_weight: NDArray[np.float64],
    offsets: NDArray[np.int64],
    order: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    paths = np.zeros(lengths.size)
    weights = np.zeros(lengths.size)
    touched = np.zeros(lengths.size // _BLOCK + 1, np.bool_)
    capacity = 1024
    group_of = np.empty(capacity, np.int32)
    vertex_of = np.empty(capacity, np.int64)
    paths_of = np.empty(capacity)
    weight_of = np.empty(capacity)
    n = 0
    for g in range(offsets.size - 1):
        distinct = 0
        for p in range(offsets[g], offsets[g + 1]):
            s = order[p] if order.size else p
            i = start_next[s] - first
            if i < 0 or lengths[i] < 0:
                continue
            if paths[i] == 0.0:
                distinct += 1
                touched[i // _BLOCK] = True
            paths[i] += 1.0
            weights[i] += start_weight[s]
        if n + distinct > capacity:
            capacity = max(2 * capacity, n + distinct)
            larger_group = np.empty(capacity, np.int32)
            larger_vertex = np.empty(capacity, np.int64)
            larger_paths = np.empty(capacity)
            larger_weight = np.empty(capacity)
            for i in range(n):  # assigning a slice takes a second more to compile
                larger_group[i], larger_vertex[i] = group_of[i], vertex_of[i]
                larger_paths[i], larger_weight[i] = paths_of[i], weight_of[i]
            group_of, vertex_of, paths_of, weight_of = larger_group, larger_vertex, larger_paths, larger_weight
        for block in range(touched.size):
            if not touched[block]:
                continue
            touched[block] = False
            for i in range(block * _BLOCK, min((block + 1) * _BLOCK, lengths.size)):
                if paths[i] != 0.0:
                    group_of[n], vertex_of[n], paths_of[n], weight_of[n] = g, first + i, paths[i], weights[i]
                    paths[i] = 0.0
                    weights[i] = 0.0
                    n += 1
    return group_of[:n].copy(), vertex_of[:n].copy(), paths_of[:n].copy(), weight_of[:n].copy()


def count_entries(
    walk: Walk,
    start_next: NDArray[np.int64],
    start_group: NDArray[np.signedinteger[Any]],
    start_weight: NDArray[np.float64],
    n_groups: int,
) -> Entries:
    """Count the parameters of each group that enter the graph at each vertex, over paths that reach the loss.

    `start_next` (S) is the vertex that the traced edge of a parameter leads to, -1 where it is dead; `start_group` (S)
    is in [0, n_groups); `start_weight` (S) is what the weighted counts sum, |g| of the parameter.
    Starts sorted by group are fastest.
    """
    offsets, order = order_by_group(start_group, n_groups)
    return Entries(*_gather_entries(walk.first, path_lengths(walk), start_next, start_weight, offsets, order))


@_compiled
def _push(
    first: int,
    following: NDArray[np.int64],
    node: NDArray[np.int32],
    entries: Entries,
    shape: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    edges = np.zeros(shape)
    weighted_edges = np.zeros(shape)
    paths = np.zeros(following.size)
    weights = np.zeros(following.size)
    touched = np.zeros(following.size // _BLOCK + 1, np.bool_)
    n = 0
    while n < entries.group.size:
        g = entries.group[n]
        while n < entries.group.size and entries.group[n] == g:
            i = entries.vertex[n] - first
            touched[i // _BLOCK] = True
            paths[i] += entries.paths[n]
            weights[i] += entries.weight[n]
            n += 1
        for block in range(touched.size):
            if not touched[block]:
                continue
            touched[block] = False
            for i in range(block * _BLOCK, min((block + 1) * _BLOCK, following.size)):
                if paths[i] == 0.0:
                    continue
                if node[i] >= 0:
                    edges[g, node[i]] += paths[i]
                    weighted_edges[g, node[i]] += weights[i]
                if following[i] >= 0:
                    j = following[i] - first
                    touched[j // _BLOCK] = j // _BLOCK > block or touched[j // _BLOCK]
                    paths[j] += paths[i]
                    weights[j] += weights[i]
                paths[i] = 0.0
                weights[i] = 0.0
    return edges, weighted_edges


def push(walk: Walk, entries: Entries, n_groups: int, n_nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the path edges that each operator computes, and the same weighted: two n_groups x n_nodes.

    An edge belongs to the operator that computes its head, and the edge that enters the graph counts too.
    """
    return _push(walk.first, walk.next, walk.node, entries, (n_groups, n_nodes))


@_compiled
def _components_met(first: int, following: NDArray[np.int64], member: NDArray[np.uint64]) -> NDArray[np.uint64]:
    met = member.copy()
    for i in range(following.size - 1, -1, -1):
        if following[i] >= 0:
            for word in range(member.shape[1]):
                met[i, word] |= met[following[i] - first, word]
    return met


def components_met(walk: Walk, member: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Which components the path through each vertex meets: A x W.

    Bit c of `member[i]` (A x W) says that an edge that ends in vertex first + i is in component c. Bit c of row i of
    the result says that an edge into that vertex, or a later edge of its path, is.
    """
    return _components_met(walk.first, walk.next, member)


def n_words(n_components: int) -> int:
    """W, the 64-bit words that hold one bit for each of `n_components`."""
    return max(1, -(-n_components // 64))


@_compiled
def _count_paths(
    met: NDArray[np.uint64],
    first: int,
    entries: Entries,
    shape: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    paths = np.zeros(shape)
    weights = np.zeros(shape)
    for n in range(entries.group.size):
        for word in range(met.shape[1]):
            bits = met[entries.vertex[n] - first, word]
            c = word * 64
            while bits != _NONE:
                if bits & _ONE:
                    paths[entries.group[n], c] += entries.paths[n]
                    weights[entries.group[n], c] += entries.weight[n]
                bits >>= _ONE
                c += 1
    return paths, weights


def count_paths(
    met: NDArray[np.uint64], entries: Entries, first: int, n_groups: int, n_components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the paths that meet each component, and the same weighted: two n_groups x n_components.

    `met` (A x W) is the result of `components_met`.
    """
    return _count_paths(met, first, entries, (n_groups, n_components))


def follow(walk: Walk, vertex: int) -> NDArray[np.int64]:
    """One trace: the vertices from the activation `vertex` to where its path ends, both included."""
    path = [vertex]
    while (following := int(walk.next[path[-1] - walk.first])) >= 0:
        path.append(following)
    return np.array(path, dtype=np.int64)


@_compiled
def _trace_all(first: int, lengths: NDArray[np.int64], start_next: NDArray[np.int64]) -> NDArray[np.int64]:
    hops = np.zeros(start_next.size, np.int64)
    for s in range(start_next.size):
        if start_next[s] >= 0:
            hops[s] = lengths[start_next[s] - first] + 1
    return hops


def trace_all(walk: Walk, start_next: NDArray[np.int64]) -> NDArray[np.int64]:
    """The edges on the path of every start (S), its own first edge included; 0 for a path that does not reach the loss.

    Paths share their tails, so the length of a tail is found once and the path of a start is one step more.
    """
    return _trace_all(walk.first, path_lengths(walk), start_next)
