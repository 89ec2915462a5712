"""The sources that have a row in a table of best edges, where weights that are used as one matrix have none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..edges.sorted import SortedEdges
from ..recording.recorder import Recording
from .best_table import Table
from .products import MatrixProduct, product_of
from .weights import Weights, product_of_stacks, rows_of

Floats = NDArray[Any]
Ints = NDArray[np.int64]


class SourceRows:
    """The sources that have a row of the table: parameters that are not counted, then activations in matrix products.

    parameters: ascending     activations: ascending, counted from the first one on
    of_stack: for each counted stack, which rows of its matrix hold a parameter that has a row: X booleans
    """

    def __init__(self, recording: Recording, weights: Weights, direct: SortedEdges) -> None:
        self._first = recording.n_parameters
        tape = recording.tape
        self.vertices = [rows.vertex(tape) for rows in weights.rows]  # of each of `weights.rows`
        matrices = [*self.vertices, *(matrix.vertex for matrix in weights.irregular)]
        chosen, _ = direct.chosen.split(self._first)
        of_parameters = [a[(a >= 0) & (a < self._first)] for a in matrices]
        of_parameters += [stack.vertex.reshape(-1) for stack in weights.loose]
        found = _union([direct.parameters, chosen.source, *of_parameters])
        self.of_stack: list[NDArray[np.bool_]] = []
        more = [found]
        for stack in weights.counted:
            inside = found[np.searchsorted(found, stack.low) : np.searchsorted(found, stack.high, "right")]
            rows: NDArray[np.bool_] = np.zeros(stack.vertex.shape[0], dtype=bool)
            if len(inside):
                rows[rows_of(recording, stack, inside)] = True
                more.append(stack.vertex[rows].reshape(-1))
            self.of_stack.append(rows)
        self.parameters: Ints = _union(more)
        self.activations, self._place = _places(matrices, self._first, recording.n_vertices - self._first)
        self.n_parameters = len(self.parameters)
        self.n = self.n_parameters + len(self.activations)

    def of(self, vertex: Ints) -> Ints:
        """The rows of vertices that have one; -1 for constants."""
        is_parameter = vertex < self._first
        if not is_parameter.any():
            return self.n_parameters + self._place[vertex - self._first].astype(np.int64)
        row = self.n_parameters + self._place[np.maximum(vertex - self._first, 0)].astype(np.int64)
        row[is_parameter] = np.searchsorted(self.parameters, vertex[is_parameter])
        row[vertex < 0] = -1
        return row


def _union(vertices: list[Ints]) -> Ints:
    """All vertices of several lists, of which the first is ascending and has none twice: ascending."""
    first, *others = vertices
    more = np.concatenate([first[:0], *others])
    return np.unique(np.concatenate([first, more])) if len(more) else first


def _places(matrices: list[Ints], first: int, n: int) -> tuple[Ints, NDArray[np.int32]]:
    """The activations that are in matrices, ascending, and of all A the place among these."""
    inside = np.zeros(n, dtype=bool)
    for vertex in matrices:
        inside[vertex[vertex >= first] - first] = True
    place = np.cumsum(inside, dtype=np.int32)
    place -= 1
    return np.flatnonzero(inside), place


def source_products(recording: Recording, weights: Weights, rows: SourceRows, table: Table) -> Iterator[MatrixProduct]:
    """The matrices whose sources have rows, few and large."""
    tape, gradients = recording.tape, recording.gradients
    for of, vertex in zip(weights.rows, rows.vertices, strict=True):
        yield of.product(recording, vertex)
    for stacks in weights.loose_alike():
        yield product_of_stacks(tape, stacks, gradients)
    for stack, in_rows in zip(weights.counted, rows.of_stack, strict=True):
        if in_rows.any():
            yield stack.product(tape, gradients, np.flatnonzero(in_rows))
    for matrix in weights.irregular:
        yield product_of(matrix, gradients[matrix.edges.call.outputs], table.order)


def insert_diagonal(
    recording: Recording, direct: SortedEdges, rows: SourceRows, table: Table, gradient: Floats
) -> None:
    """The diagonal edges of parameters; their contributions are added to the gradients."""
    chosen, _ = direct.chosen.split(recording.n_parameters)
    fixed = np.searchsorted(rows.parameters, direct.parameters)[direct.of_parameter]
    table.insert_list(fixed, direct.of_parameters, direct, gradient)
    table.insert_list(np.searchsorted(rows.parameters, chosen.source), chosen, direct, gradient)
