"""The best edges of every vertex, those of parameters as rows, block by block: no array holds a place for each of them.

For methods that rank by contributions. All edges of the elements of a weight that is used as one matrix are products of
few scores and derivatives, so that its rows follow from the best of these, in the order of its elements. Every other
parameter (a bias, an embedding row, a weight in several matrices) has a row in a table, as usual. The plain route,
`best_edges` over all vertices, gives the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...queries.methods import GREEDY
from ..edges.sorted import SortedEdges, sorted_edges
from ..recording.recorder import Recording
from .best_table import BestEdges, Table
from .counted import Counted, joined
from .source_rows import SourceRows, insert_diagonal, source_products
from .visited import InTable, visited_edges
from .weights import Stack, Weights, derivatives_of, stack_targets, weights_of

Floats = NDArray[Any]
Ints = NDArray[np.int64]

BLOCK = 1 << 20  # rows made at a time: row groups of a store are a quarter of that
SMALL = 1 << 12  # elements of a matrix up to which it is not worth blocks of its own


class EdgeRows(NamedTuple):
    """E edges sorted by source and rank, as rows of `best_edges`; rank 1 is the best one of its source."""

    src: Ints
    dst: Ints
    rank: NDArray[np.int16]
    slot: NDArray[np.int16]
    derivative: Floats


class EdgesInBlocks:
    """The best edges of the activations, and rows of those of the parameters."""

    def __init__(
        self, recording: Recording, keep: int, group_of: NDArray[np.signedinteger[Any]], method: str = GREEDY
    ) -> None:
        """group_of: of each parameter vertex"""
        self._recording, self._keep, self._group_of = recording, keep, group_of
        direct, weights = sorted_edges(recording), _in_order(recording, weights_of(recording, group_of))
        weights, rows = _sources(recording, weights, direct)
        table = Table(recording, rows, keep, logarithms=False)
        for product in source_products(recording, weights, rows, table):
            table.insert_product(product)
        insert_diagonal(recording, direct, rows, table, np.zeros(rows.n_parameters))
        every = np.arange(recording.n_parameters, recording.n_vertices)
        in_table = InTable(rows.activations, table.behind(rows.n_parameters))
        self.activations: BestEdges = visited_edges(recording, every, direct, in_table, method)
        self._in_table = replace(table.best(method, rows.n_parameters), vertex=rows.parameters)
        self._streamed = list(zip(weights.counted, rows.of_stack, strict=True))
        self._counts = [self._count_table()]

    def of_parameters(self) -> Iterator[EdgeRows]:
        """The rows of all parameters that have an edge, in blocks of about BLOCK."""
        waiting: list[EdgeRows] = []
        for rows in self._pieces():
            waiting.append(rows)
            if sum(len(of.src) for of in waiting) >= BLOCK // 2:
                yield _joined(waiting)
                waiting = []
        if waiting:
            yield _joined(waiting)

    def counted(self) -> Counted:
        """Where the traced edges of the parameters lead whose rows were taken. The recording has their gradients."""
        return joined(self._counts)

    def _pieces(self) -> Iterator[EdgeRows]:
        """Those of a table and of weights in turn: none of the former lies within a run of the latter's rows."""
        behind = 0
        for stack, in_table in self._streamed:
            weight = _Weight(self._recording, stack, self._keep)
            for begin, end in _runs(~in_table):
                yield from self._rows_of_table(behind, weight.first(begin))
                yield from weight.rows(begin, end)
                behind = weight.first(end)
            self._counts.append(weight.counted())
        yield from self._rows_of_table(behind, self._recording.n_parameters)

    def _rows_of_table(self, first: int, behind: int) -> Iterator[EdgeRows]:
        """Those of the parameters from `first` to one before `behind`."""
        best = self._in_table
        assert best.vertex is not None
        begin, end = np.searchsorted(best.vertex, [first, behind]).tolist()
        n = max(BLOCK // self._keep, 1)
        for start in range(begin, end, n):
            row = np.arange(start, min(start + n, end))
            found = self._recording.kernels.edge_rows(best.vertex[row], row, best.target, best.slot, best.derivative)
            yield EdgeRows(*found)

    def _count_table(self) -> Counted:
        vertices, target = self._in_table.vertex, self._in_table.traced()
        assert vertices is not None
        weight = np.abs(self._recording.gradients[vertices], dtype=np.float64)
        return Counted(self._group_of[vertices], target, np.ones(len(vertices), np.int64), weight, [])


class _Weight:
    """A stack whose vertices follow each other, X x Y, row by row or column by column: that is its *outer* axis."""

    def __init__(self, recording: Recording, stack: Stack, keep: int) -> None:
        self._recording, self._stack = recording, stack
        self._turned = not stack.vertex.flags.c_contiguous
        self._inner: int = stack.vertex.shape[0 if self._turned else 1]
        self._right = derivatives_of(recording.tape, stack.used)
        self._largest = recording.kernels.largest_of_rows(self._right)
        self._keep = min(keep, len(self._right))
        self._slot = np.concatenate([np.full(use.n_z, use.slot, np.int16) for use in stack.used])
        size = stack.vertex.shape[0], len(self._right)
        self._paths, self._weight, self._n = np.zeros(size, np.int64), np.zeros(size), 0

    def first(self, outer: int) -> int:
        """The first vertex of a row of the outer axis."""
        return self._stack.low + outer * self._inner

    def rows(self, begin: int, end: int) -> Iterator[EdgeRows]:
        """Those of rows of the outer axis."""
        sources = max(BLOCK // self._keep, 1)
        n_outer, n_inner = max(sources // self._inner, 1), min(sources, self._inner)
        for outer in range(begin, end, n_outer):
            for inner in range(0, self._inner, n_inner):
                yield self._block(
                    slice(outer, min(outer + n_outer, end)), slice(inner, min(inner + n_inner, self._inner))
                )

    def _block(self, outer: slice, inner: slice) -> EdgeRows:
        """Of one row, or of whole rows."""
        x, y = (inner, outer) if self._turned else (outer, inner)
        kernels, gradients = self._recording.kernels, self._recording.gradients
        targets = np.ascontiguousarray(stack_targets(self._recording.tape, self._stack)[:, x])
        left, right = gradients[targets], np.ascontiguousarray(self._right[:, y])
        best_z = kernels.best_products(left, right, self._largest, self._keep)
        first = self.first(outer.start) + inner.start
        n = (outer.stop - outer.start) * (inner.stop - inner.start)
        self._n += n
        tallies = self._paths[x], self._weight[x]
        kernels.tally_products(left, right, best_z, gradients[first : first + n], self._turned, *tallies)
        return EdgeRows(*kernels.product_rows(first, targets, self._slot, right, best_z, self._turned))

    def counted(self) -> Counted:
        """Of the rows that were made."""
        x, z = np.nonzero(self._paths)
        paths = self._paths[x, z]
        return Counted(
            np.full(len(paths) + 1, self._stack.group, np.int32),
            np.append(stack_targets(self._recording.tape, self._stack)[z, x], -1),
            np.append(paths, self._n - paths.sum()),
            np.append(self._weight[x, z], 0.0),
            [],
        )


def _in_order(recording: Recording, weights: Weights) -> Weights:
    """Only large stacks whose vertices follow each other stay apart from the table."""
    apart = [s.vertex.size > SMALL and _is_in_order(recording, s) for s in weights.counted]
    return _moved(weights, [not one for one in apart])


def _sources(recording: Recording, weights: Weights, direct: SortedEdges) -> tuple[Weights, SourceRows]:
    """Stacks laid out by columns lose their order where some of their rows are in the table: all of them are then."""
    rows = SourceRows(recording, weights, direct)
    mixed = [
        bool(of.any()) and not stack.vertex.flags.c_contiguous
        for stack, of in zip(weights.counted, rows.of_stack, strict=True)
    ]
    if not any(mixed):
        return weights, rows
    weights = _moved(weights, mixed)
    return weights, SourceRows(recording, weights, direct)


def _moved(weights: Weights, away: list[bool]) -> Weights:
    """With some of the counted stacks among the loose ones."""
    stacks = list(zip(weights.counted, away, strict=True))
    loose = [*weights.loose, *(stack for stack, moves in stacks if moves)]
    return replace(weights, counted=[stack for stack, moves in stacks if not moves], loose=loose)


def _is_in_order(recording: Recording, stack: Stack) -> bool:
    """Whether its vertices are one after the other in memory and in number."""
    vertex = stack.vertex if stack.vertex.flags.c_contiguous else stack.vertex.T
    if not vertex.flags.c_contiguous or stack.high - stack.low + 1 != vertex.size:
        return False

    def found() -> bool:
        return bool((vertex.reshape(-1) == np.arange(stack.low, stack.high + 1)).all())

    return bool(recording.parameter_vertices.fact("in order", torch.from_numpy(stack.vertex), found))


def _runs(wanted: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where those wanted begin and end."""
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _joined(blocks: list[EdgeRows]) -> EdgeRows:
    if len(blocks) == 1:
        return blocks[0]
    return EdgeRows(*(np.concatenate(columns) for columns in zip(*blocks, strict=True)))
