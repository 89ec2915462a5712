"""The sweep of detail `study`: parameters are counted where their traced edges lead, without a row for each.

For methods that rank by contributions. The elements of a weight that is used as one matrix are counted by one kernel,
which also finds their gradients. Every other parameter (a bias, an embedding row, a weight in several matrices) has a
row beside the activations, as usual. The plain route, `best_edges` over all vertices, gives the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...queries.methods import GREEDY
from ..edges.sorted import sorted_edges
from ..kernels.blas import matmul
from ..recording.recorder import Recording
from .best_table import BestEdges, Table
from .source_rows import SourceRows, insert_diagonal, source_products
from .visited import InTable, visited_edges
from .weights import Stack, derivatives_of, stack_targets, weights_of

Floats = NDArray[Any]
Ints = NDArray[np.int64]


class Norms(NamedTuple):
    """Of the gradients of n elements of the parameter that has vertex `vertex`."""

    vertex: int
    n: int
    l1: float  # sum of |gradient|
    squares: float
    largest: float
    zeros: int


@dataclass
class Counted:
    """Where the traced edges of parameters lead: E rows of a group and a target, -1 for edges that carry nothing.

    paths: the number of parameters     weight: the sum of their |gradient|
    norms: of the gradients of parts of parameters; what is in none has no edge
    """

    group: NDArray[np.signedinteger[Any]]
    target: Ints
    paths: Ints
    weight: Floats
    norms: list[Norms]


def study_edges(
    recording: Recording, keep: int, group_of: NDArray[np.signedinteger[Any]], method: str = GREEDY
) -> tuple[BestEdges, Counted]:
    """The best edges of the activations that paths visit, and the traced edges of the parameters, counted.

    group_of: of each parameter vertex. No gradient of a parameter is read.
    """
    direct, weights = sorted_edges(recording), weights_of(recording, group_of)
    rows = SourceRows(recording, weights, direct)
    table = Table(recording, rows, keep, logarithms=False)
    gradient = np.zeros(rows.n_parameters)
    for product in source_products(recording, weights, rows, table):
        table.insert_product(product)
        row = rows.of(product.vertex)
        if (row < len(gradient)).any():
            _add(recording, gradient, row.reshape(-1), matmul(product.left.T, product.right).reshape(-1))
    insert_diagonal(recording, direct, rows, table, gradient)
    counts = [_count(recording, family) for family in _families(weights.counted, rows)]
    counts.append(_count_rows(recording, table, rows, gradient, group_of))
    counted = joined(counts)
    in_table = InTable(rows.activations, table.behind(rows.n_parameters))
    del rows, table, weights  # some are as large as the graph
    return visited_edges(recording, counted.target, direct, in_table, method), counted


class _Member(NamedTuple):
    """A stack, and the rows of its matrix to be counted."""

    stack: Stack
    rows: Ints | slice
    n: int


def _families(stacks: list[Stack], rows: SourceRows) -> list[list[_Member]]:
    """Stacks of one group whose derivatives are the same matrices, such as all embedding rows read by one layer."""
    together: dict[Hashable, list[_Member]] = defaultdict(list)
    for stack, in_rows in zip(stacks, rows.of_stack, strict=True):
        alike = stack.group, *(use.same_derivatives for use in stack.used)
        counted = np.flatnonzero(~in_rows)
        whole = len(counted) == len(in_rows)
        together[alike].append(_Member(stack, slice(None) if whole else counted, len(counted)))
    return list(together.values())


def _count(recording: Recording, family: list[_Member]) -> Counted:
    """Count the sources of a family: X rows of all its members, Y sources in a row, Z targets of a source."""
    tape = recording.tape
    target = np.concatenate([stack_targets(tape, member.stack)[:, member.rows] for member in family], axis=1)
    right = derivatives_of(tape, family[0].stack.used)
    paths, weight, norms = recording.kernels.count_best(recording.gradients[target], right)
    x, z = np.nonzero(paths)
    found = paths[x, z]
    n_rows = [member.n for member in family]
    return Counted(
        np.full(len(found) + 1, family[0].stack.group, np.int32),
        np.append(target[z, x], -1),
        np.append(found, right.shape[1] * sum(n_rows) - found.sum()),
        np.append(weight[x, z], 0.0),
        [
            _norms(member.stack.low, rows, right.shape[1])
            for member, rows in zip(family, np.split(norms, np.cumsum(n_rows)[:-1]), strict=True)
        ],
    )


def _norms(vertex: int, rows: Floats, n_y: int) -> Norms:
    l1, squares, _, zeros = rows.sum(axis=0)
    return Norms(vertex, len(rows) * n_y, l1, squares, rows[:, 2].max(initial=0), int(zeros))


def _count_rows(
    recording: Recording, table: Table, rows: SourceRows, gradient: Floats, group_of: NDArray[np.signedinteger[Any]]
) -> Counted:
    """Count the parameters that have rows. gradient: of each"""
    n, vertices = rows.n_parameters, rows.parameters
    parameters = [t for _, t in recording.vertex_tensors() if t.kind == "parameter"]
    first = np.array([t.first_vertex for t in parameters], dtype=np.int64)
    start = np.searchsorted(vertices, first)
    size = np.searchsorted(vertices, first + [t.size for t in parameters]) - start
    found = zip(first, recording.kernels.norms(gradient, start, size), size, strict=True)
    norms = [_norms(int(vertex), row[None], int(n_rows)) for vertex, row, n_rows in found if n_rows]
    return Counted(group_of[vertices], table.traced(n), np.ones(n, np.int64), np.abs(gradient), norms)


def _add(recording: Recording, gradient: Floats, row: Ints, contribution: Floats) -> None:
    """Add contributions to the gradients of the parameters that have rows; other rows are activations."""
    inside = (row >= 0) & (row < len(gradient))
    recording.kernels.add_at(gradient, row[inside], contribution[inside])


def joined(counts: list[Counted]) -> Counted:
    """All of them."""
    return Counted(
        np.concatenate([c.group for c in counts]),
        np.concatenate([c.target for c in counts]),
        np.concatenate([c.paths for c in counts]),
        np.concatenate([c.weight for c in counts]),
        [norm for c in counts for norm in c.norms],
    )
