"""How good a path can still become: for every vertex the best product of weights on its way to a goal.

Sizes:  V  vertices        E  edges        M = 2^R  sets of the R things that a path must still pass
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Edges:
    """Edges sorted by source; `weight` (not negative) is what a path multiplies: |derivative|, or a share."""

    src: Ints
    dst: Ints
    slot: NDArray[np.int16]
    derivative: NDArray[np.floating]
    weight: Floats

    @cached_property
    def log2_weight(self) -> Floats:
        """E; -inf for a weight of 0."""
        with np.errstate(divide="ignore"):
            return np.log2(self.weight)

    def with_all_edges_of(self, vertices: Ints, edges: Edges) -> Edges:
        """The same with `edges` in place of those that leave `vertices`."""
        kept = np.flatnonzero(~np.isin(self.src, vertices))
        src = np.concatenate([self.src[kept], edges.src])
        order = np.argsort(src, kind="stable")
        return Edges(
            src[order],
            np.concatenate([self.dst[kept], edges.dst])[order],
            np.concatenate([self.slot[kept], edges.slot])[order],
            np.concatenate([self.derivative[kept], edges.derivative])[order],
            np.concatenate([self.weight[kept], edges.weight])[order],
        )


@dataclass(frozen=True)
class Vertices:
    """The vertices of a graph in topological order.

    blocks   : B + 1 ascending, from 0 to V; no edge joins two vertices of blocks[b] .. blocks[b + 1]
    operator : V, the place of the operator that computes the vertex in the order that decides ties
    loss     : where every path ends in the end
    """

    blocks: Ints
    operator: NDArray[np.int32]
    loss: int

    @property
    def size(self) -> int:
        """V."""
        return int(self.blocks[-1])


def product_with(log2_weight: Floats, behind: Floats) -> Floats:
    """The logarithms of weights times what lies behind them; 0 times the unknown, inf, is 0."""
    return np.add(log2_weight, behind, out=np.full_like(log2_weight, -np.inf), where=log2_weight > -np.inf)


def suffixes(vertices: Vertices, edges: Edges, goal: int, floor: Floats, met: Ints, n_required: int) -> Floats:
    """log2 of the best product from each vertex to `goal`: M x V, -inf where nothing but zeros leads there.

    Row m is for paths on which the requirements in the bits of m are still open; an edge fulfils those in the bits of
    `met` (V) of the vertex it leads to.
    floor: M x V, what each vertex reaches at least, here and now (0 for the goal itself)
    """
    found = floor.copy()
    starts = np.searchsorted(edges.src, vertices.blocks)
    of_target = met[edges.dst]
    for block in range(len(starts) - 2, -1, -1):
        rows = slice(starts[block], starts[block + 1])
        if rows.start == rows.stop or vertices.blocks[block] >= goal:
            continue
        src, dst, log2_weight = edges.src[rows], edges.dst[rows], edges.log2_weight[rows]
        first = np.flatnonzero(np.diff(src, prepend=-1))
        for still in range(1 << n_required):
            reached = product_with(log2_weight, found[still & ~of_target[rows], dst])
            at = src[first]
            found[still, at] = np.maximum(found[still, at], np.maximum.reduceat(reached, first))
    return found
