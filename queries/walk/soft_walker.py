"""Soft traces over arrays: what `exporters.paths.soft` finds by matrix products, here along every single edge.

Edges lead from a smaller vertex to a larger one, so one pass in the order of their sources pushes mass to the loss, and
one in the reverse order pulls back the probability of meeting each component.

Sizes:  E  edges, in the order of their sources     A  activation vertices     G  groups     C  components
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .path_counts import Links, Spans
from .walker import Entries

P = ParamSpec("P")
R = TypeVar("R")
Floats = NDArray[np.float64]

_WIDTH = 16  # groups or components that one pass carries


class SoftWalk(NamedTuple):
    """Every edge of one sample with its share of its source's |contributions|."""

    first: int  # number of parameter vertices, which is the id of the first activation
    src: NDArray[np.int64]  # E
    dst: NDArray[np.int64]  # E
    share: Floats  # E
    node: NDArray[np.int32]  # A: operator that computes the vertex, -1 for inputs


def shares(src: NDArray[np.int64], contribution: NDArray[np.floating]) -> Floats:
    """|contribution| of each edge as a share of its source's; 0 where all of them are 0. Edges in order of src: E."""
    size = np.abs(contribution, dtype=np.float64)
    _, edge_of = np.unique(src, return_inverse=True)
    total = np.bincount(edge_of, size)[edge_of] if src.size else size
    found: Floats = np.divide(size, total, out=np.zeros_like(size), where=total > 0)
    return found


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    return cast("Callable[P, R]", njit(cache=True)(function))


@_compiled
def _push_mass(first: int, src: NDArray[np.int64], dst: NDArray[np.int64], share: Floats, mass: Floats) -> None:
    # mass : A x R, completed in place
    for e in range(src.size):
        if src[e] >= first:
            for r in range(mass.shape[1]):
                mass[dst[e] - first, r] += mass[src[e] - first, r] * share[e]


@_compiled
def _pull_meeting(
    first: int,
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    share: Floats,
    inside: NDArray[np.bool_],
    meets: Floats,
) -> None:
    # inside, meets : A x R, meets completed in place
    for e in range(src.size - 1, -1, -1):
        if src[e] >= first:
            for r in range(meets.shape[1]):
                reached = 1.0 if inside[dst[e] - first, r] else meets[dst[e] - first, r]
                meets[src[e] - first, r] += reached * share[e]


def soft_entries(walk: SoftWalk, group_of: NDArray[np.int32], weight: Floats) -> Entries:
    """Where the mass of every parameter enters the graph. group_of, weight: of each parameter vertex."""
    inside = (walk.src < walk.first) & (walk.share > 0)
    src, dst, share = walk.src[inside], walk.dst[inside], walk.share[inside]
    n = len(walk.node)
    key = group_of[src].astype(np.int64) * n + (dst - walk.first)
    keys, place = np.unique(key, return_inverse=True)
    paths: Floats = np.bincount(place, share, keys.size).astype(np.float64)
    weights: Floats = np.bincount(place, share * weight[src], keys.size).astype(np.float64)
    return Entries((keys // n).astype(np.int32), keys % n + walk.first, paths, weights)


def _masses(walk: SoftWalk, entries: Entries, n_groups: int) -> Iterator[tuple[int, Floats]]:
    # for each group, and again weighted: the mass that arrives at every activation, A
    for start in range(0, 2 * n_groups, _WIDTH):
        rows = range(start, min(start + _WIDTH, 2 * n_groups))
        mass = np.zeros((len(walk.node), len(rows)))
        for i, row in enumerate(rows):
            of = entries.group == row % n_groups
            entering = (entries.paths if row < n_groups else entries.weight)[of]
            np.add.at(mass, (entries.vertex[of] - walk.first, i), entering)
        _push_mass(walk.first, walk.src, walk.dst, walk.share, mass)
        yield from ((row, mass[:, i]) for i, row in enumerate(rows))


def soft_push(walk: SoftWalk, entries: Entries, n_groups: int, n_nodes: int) -> tuple[Floats, Floats]:
    """The expected path edges of each group into each operator, and weighted: two G x N."""
    found = np.zeros((2 * n_groups, n_nodes))
    known = walk.node >= 0
    for row, mass in _masses(walk, entries, n_groups):
        found[row] = np.bincount(walk.node[known], mass[known], n_nodes)
    return found[:n_groups], found[n_groups:]


def soft_links(walk: SoftWalk, entries: Entries, n_groups: int, n_nodes: int) -> Links:
    """The expected path edges of each group from operator to operator."""
    src, dst = walk.src - walk.first, walk.dst - walk.first
    inside = np.flatnonzero(src >= 0)
    inside = inside[walk.node[src[inside]] >= 0]
    src, dst, share = src[inside], dst[inside], walk.share[inside]
    keys, place = np.unique(walk.node[src].astype(np.int64) * n_nodes + walk.node[dst], return_inverse=True)
    found = np.zeros((2 * n_groups, keys.size))
    for row, mass in _masses(walk, entries, n_groups):
        found[row] = np.bincount(place, mass[src] * share, keys.size)
    ends = ((keys // n_nodes).astype(np.int32), (keys % n_nodes).astype(np.int32))
    return Links(*ends, found[:n_groups], found[n_groups:])


@_compiled
def _pull_ends(
    first: int,
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    share: Floats,
    step: NDArray[np.int32],
    ends: Floats,
) -> None:
    # ends : A x S + 1, completed in place: the step of the last vertex behind each one that has one, 0: none has
    for e in range(src.size - 1, -1, -1):
        if src[e] >= first:
            i, j = src[e] - first, dst[e] - first
            for s in range(ends.shape[1]):
                ends[i, step[j] + 1 if s == 0 else s] += ends[j, s] * share[e]


def soft_spans(
    walk: SoftWalk, entries: Entries, step: NDArray[np.int32], loss: int, n_groups: int, n_steps: int
) -> Spans:
    """The expected paths of each group by the tokens they lead from and to. step: A, -1 for none"""
    ends = np.zeros((len(walk.node), n_steps + 1))
    ends[loss - walk.first, 0] = 1.0
    _pull_ends(walk.first, walk.src, walk.dst, walk.share, step, ends)
    at = entries.vertex - walk.first
    known, of = np.flatnonzero(step[at] >= 0), ends[at]
    of[known, step[at][known] + 1] += of[known, 0]
    of[known, 0] = 0.0
    found = np.zeros((2, n_groups, n_steps + 1, n_steps + 1))
    for sums, mass in zip(found, (entries.paths, entries.weight), strict=True):
        np.add.at(sums, (entries.group, step[at] + 1), mass[:, None] * of)
    group, entry, end = (index.astype(np.int32) for index in np.nonzero(found[0]))
    return Spans(group, entry - 1, end - 1, found[0, group, entry, end], found[1, group, entry, end])


def soft_met(walk: SoftWalk, inside: NDArray[np.bool_]) -> Floats:
    """How likely the soft trace that has arrived at each activation meets each component, there or later: A x C.

    inside : A x C, whether the operator that computes the vertex is in the component
    """
    met = np.zeros(inside.shape)
    for start in range(0, inside.shape[1], _WIDTH):
        columns = slice(start, start + _WIDTH)
        meets = np.zeros(inside[:, columns].shape)
        _pull_meeting(walk.first, walk.src, walk.dst, walk.share, np.ascontiguousarray(inside[:, columns]), meets)
        met[:, columns] = np.where(inside[:, columns], 1.0, meets)
    return met


def soft_paths(met: Floats, entries: Entries, first: int, n_groups: int) -> tuple[Floats, Floats]:
    """The expected number of each group's paths that meet each component, and weighted: two G x C."""
    found = np.zeros((2, n_groups, met.shape[1]))
    at = met[entries.vertex - first]
    for group in range(n_groups):
        of = entries.group == group
        found[0, group] = entries.paths[of] @ at[of]
        found[1, group] = entries.weight[of] @ at[of]
    return found[0], found[1]
