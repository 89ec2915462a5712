"""Soft traces over arrays: what `exporters.paths.soft` finds by matrix products, here along every single edge.

Edges lead from a smaller vertex to a larger one, so one pass in the order of their sources pushes mass to the loss, and
one in the reverse order pulls back the probability of meeting each component.

Sizes:  E  edges, in the order of their sources     A  activation vertices     G  groups     C  components
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

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


def soft_push(walk: SoftWalk, entries: Entries, n_groups: int, n_nodes: int) -> tuple[Floats, Floats]:
    """The expected path edges of each group into each operator, and weighted: two G x N."""
    found = np.zeros((2 * n_groups, n_nodes))
    known = walk.node >= 0
    for start in range(0, 2 * n_groups, _WIDTH):
        rows = range(start, min(start + _WIDTH, 2 * n_groups))
        mass = np.zeros((len(walk.node), len(rows)))
        for i, row in enumerate(rows):
            of = entries.group == row % n_groups
            entering = (entries.paths if row < n_groups else entries.weight)[of]
            np.add.at(mass, (entries.vertex[of] - walk.first, i), entering)
        _push_mass(walk.first, walk.src, walk.dst, walk.share, mass)
        for i, row in enumerate(rows):
            found[row] = np.bincount(walk.node[known], mass[known, i], n_nodes)
    return found[:n_groups], found[n_groups:]


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
