"""Edges that a store keeps as matrices, as arrays: the rows of `edge_matrices` and `matrix_derivatives` expanded."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


class VertexEdges(NamedTuple):
    """Edges by the store's vertex numbers, sorted by source: E each."""

    src: Ints
    dst: Ints
    slot: NDArray[np.int16]
    derivative: NDArray[Any]


class Ends(NamedTuple):
    """The sources, or the targets, of R runs: n evenly spaced vertices each, `step` apart."""

    first: Ints
    step: Ints
    n: Ints

    @property
    def last(self) -> Ints:
        """The last of each."""
        return self.first + (self.n - 1) * self.step


class Runs(NamedTuple):
    """R rows of `edge_matrices`."""

    src: Ends
    dst: Ends
    slot: NDArray[np.int16]
    matrix: Ints
    first: Ints


class Derivatives(NamedTuple):
    """L lists of `matrix_derivatives`, sorted by (matrix, target): the length of each, and all numbers."""

    matrix: Ints
    target: Ints
    length: Ints
    numbers: NDArray[Any]


def fit(runs: Runs, derivatives: Derivatives, n_vertices: int) -> bool:
    """Whether all vertices of the runs are vertices, and all their derivatives are there."""
    for ends in (runs.src, runs.dst):
        if not _within(ends.first, n_vertices) or not _within(ends.last, n_vertices) or (ends.n < 1).any():
            return False
    if (np.diff(derivatives.matrix) < 0).any() or derivatives.length.sum() != len(derivatives.numbers):
        return False
    first = np.searchsorted(derivatives.matrix, derivatives.matrix)
    if (derivatives.target != np.arange(len(first)) - first).any():
        return False
    if (derivatives.length != derivatives.length[first]).any():
        return False
    at = np.searchsorted(derivatives.matrix, runs.matrix)
    behind = np.searchsorted(derivatives.matrix, runs.matrix, "right")
    if (behind - at != runs.dst.n).any() or (runs.first < 0).any():
        return False
    return bool((runs.first + runs.src.n <= derivatives.length[at]).all())


def _within(vertices: Ints, n_vertices: int) -> bool:
    return bool(((vertices >= 0) & (vertices < n_vertices)).all())


def edges_of(runs: Runs, derivatives: Derivatives, wanted: Mask) -> VertexEdges:
    """The edges of fitting runs whose sources are wanted (V booleans), in the order of the runs."""
    possible = _some_within(runs.src, wanted)
    run = np.repeat(possible, runs.src.n[possible])
    source = _counted(runs.src.n[possible])  # its place in the run
    src = runs.src.first[run] + source * runs.src.step[run]
    chosen = np.flatnonzero(wanted[src])
    run, source, src = run[chosen], source[chosen], src[chosen]
    n = runs.dst.n[run]
    target, pair = _counted(n), np.repeat(np.arange(len(run)), n)
    starts = np.concatenate([[0], np.cumsum(derivatives.length)])
    at = np.searchsorted(derivatives.matrix, runs.matrix[run])
    dst = runs.dst.first[run][pair] + target * runs.dst.step[run][pair]
    place = starts[at[pair] + target] + (runs.first[run] + source)[pair]
    return VertexEdges(src[pair], dst, runs.slot[run][pair], derivatives.numbers[place])


def _some_within(ends: Ends, wanted: Mask) -> Ints:
    """The runs with a wanted vertex between their first and last one."""
    before = np.concatenate([[0], np.cumsum(wanted)])
    low, high = np.minimum(ends.first, ends.last), np.maximum(ends.first, ends.last)
    return np.flatnonzero(before[high + 1] > before[low])


def _counted(n: Ints) -> Ints:
    """0, 1, … n[0] - 1, 0, 1, … n[1] - 1, and so on."""
    behind = np.cumsum(n)
    return np.arange(behind[-1] if len(n) else 0) - np.repeat(behind - n, n)
