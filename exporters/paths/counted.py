"""The sweep of detail `study`: parameters are counted where their traced edges lead, without a row for each.

For methods that rank by contributions. The elements of a weight that is used as one matrix are counted by one kernel,
which also finds their gradients. Every other parameter (a bias, an embedding row, a weight in several matrices) has a
row beside the activations, as usual. The plain route, `best_edges` over all vertices, gives the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...queries.methods import GREEDY
from ..edges.derive import slots_in_reverse
from ..edges.order import EdgeOrder
from ..edges.slots import DiagonalEdges, Matrix
from ..recording.recorder import Recording
from ..tape.tape import Call
from .best_table import BestEdges, Rows, Table
from .products import MatrixProduct, WaitingMatrices, product_of, stack_targets
from .sweep import sweep

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


class _Stack(NamedTuple):
    """A matrix of parameters of one group: the smallest and the largest of its vertices, and where it is used."""

    low: int
    high: int
    group: int
    used: list[Matrix]

    @property
    def vertex(self) -> Ints:
        return self.used[0].vertex


class _Parts(NamedTuple):
    """All slots of a sample: weights that can be counted as one matrix, other matrices, and pairs."""

    stacks: list[_Stack]
    matrices: list[Matrix]
    pairs: list[DiagonalEdges]


def study_edges(
    recording: Recording, keep: int, group_of: NDArray[np.signedinteger[Any]], method: str = GREEDY
) -> tuple[BestEdges, Counted]:
    """The best edges of the activations, and the traced edges of the parameters, counted.

    group_of: of each parameter vertex. No gradient of a parameter is read.
    """
    parts = _parts(recording, group_of)
    in_rows = _Loose(recording, parts)
    table = Table(recording, Rows(recording, in_rows.vertices), keep, logarithms=False)
    gradient = np.zeros(len(in_rows.vertices))
    for product in _products(recording, parts, in_rows, table):
        table.insert_product(product)
        row = table.rows.of(product.vertex)
        if (row < len(gradient)).any():
            _add(recording, gradient, row.reshape(-1), (product.left.T @ product.right).reshape(-1))
    for edges in parts.pairs:
        of_outputs = _scores(recording, edges.call)
        table.insert_pairs(edges, of_outputs)
        _add(recording, gradient, table.rows.of(edges.vertex), edges.sums(of_outputs))
    counts = [_count(recording, family, table) for family in _families(parts.stacks, in_rows, table.order)]
    best = table.best(method)
    counts.append(_count_rows(recording, best, in_rows.vertices, gradient, group_of))
    return best.behind(len(gradient), recording.n_parameters), _joined(counts)


class _Collected:
    """Visits all slots, and keeps what may be a whole weight apart: under its vertices, the matrices they are in."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.whole: dict[Hashable, list[Matrix]] = defaultdict(list)
        self.parts = _Parts([], [], [])

    def begin(self, call: Call) -> None:
        pass

    def pairs(self, edges: DiagonalEdges) -> None:
        self.parts.pairs.append(edges)

    def matrix(self, matrix: Matrix) -> None:
        edges = matrix.edges
        if not edges.interleaves and self._recording.are_parameters(edges.vertex[matrix.b]):
            self.whole[matrix.same_vertices].append(matrix)
        else:
            self.parts.matrices.append(matrix)


def _parts(recording: Recording, group_of: NDArray[np.signedinteger[Any]]) -> _Parts:
    collected = _Collected(recording)
    sweep(slots_in_reverse(recording.tape), collected)
    parts = collected.parts
    stacks = [_Stack(*_span(recording, used[0], group_of), used) for used in collected.whole.values()]
    stacks.sort(key=_low)
    behind = -1
    for i, stack in enumerate(stacks):
        next_low = stacks[i + 1].low if i + 1 < len(stacks) else stack.high + 1
        if stack.group >= 0 and behind < stack.low and stack.high < next_low:
            parts.stacks.append(stack)
        else:  # of several groups, or not the only matrix that these parameters are in
            parts.matrices.extend(stack.used)
        behind = max(behind, stack.high)
    return parts


def _low(stack: _Stack) -> int:
    return stack.low


def _span(recording: Recording, matrix: Matrix, group_of: NDArray[np.signedinteger[Any]]) -> tuple[int, int, int]:
    """The smallest and the largest vertex of a matrix of parameters, and their group; -1 for several."""
    vertex = matrix.edges.vertex[matrix.b]

    def find() -> tuple[int, int, int]:
        groups = group_of[vertex.numpy()]
        group = int(groups.flat[0]) if bool((groups == groups.flat[0]).all()) else -1
        return int(vertex.min()), int(vertex.max()), group

    low, high, group = recording.parameter_vertices.fact("group", vertex, find)
    return low, high, group


class _Loose:
    """The parameters that have rows of their own.

    vertices: ascending     of_stack: for each stack, which rows of its matrix hold one: X booleans
    """

    def __init__(self, recording: Recording, parts: _Parts) -> None:
        n = recording.n_parameters
        arrays = [edges.vertex for edges in parts.pairs] + [matrix.vertex for matrix in parts.matrices]
        found = np.unique(np.concatenate([a[(a >= 0) & (a < n)] for a in arrays] or [np.empty(0, np.int64)]))
        self.of_stack: list[NDArray[np.bool_]] = []
        more = [found]
        for stack in parts.stacks:
            inside = found[np.searchsorted(found, stack.low) : np.searchsorted(found, stack.high, "right")]
            rows: NDArray[np.bool_] = np.zeros(stack.vertex.shape[0], dtype=bool)
            if len(inside):
                rows |= np.isin(stack.vertex, inside).any(axis=1)
                more.append(stack.vertex[rows].reshape(-1))
            self.of_stack.append(rows)
        self.vertices: Ints = np.unique(np.concatenate(more))


def _products(recording: Recording, parts: _Parts, loose: _Loose, table: Table) -> Iterator[MatrixProduct]:
    """The matrices whose elements have rows, few and large."""
    waiting = WaitingMatrices()
    for matrix in parts.matrices:
        waiting.add(matrix, of_parameters=recording.are_parameters(matrix.edges.vertex[matrix.b]))

    def product(matrix: Matrix) -> MatrixProduct:
        return product_of(matrix, _scores(recording, matrix.edges.call), table.order)

    yield from waiting.products(product)
    for stack, rows in zip(parts.stacks, loose.of_stack, strict=True):
        if rows.any():
            yield stack_targets([product(matrix) for matrix in stack.used]).of_rows(np.flatnonzero(rows))


class _Member(NamedTuple):
    """A stack, the rows of its matrix to be counted, and its uses in the order in which ties are broken."""

    stack: _Stack
    rows: Ints
    used: list[Matrix]


def _families(stacks: list[_Stack], loose: _Loose, order: EdgeOrder) -> list[list[_Member]]:
    """Stacks of one group whose derivatives are the same matrices, such as all embedding rows read by one layer."""
    together: dict[Hashable, list[_Member]] = defaultdict(list)
    for stack, in_rows in zip(stacks, loose.of_stack, strict=True):
        used = sorted(stack.used, key=lambda matrix: matrix.first_key(order))
        alike = stack.group, *(matrix.same_derivatives for matrix in used)
        together[alike].append(_Member(stack, np.flatnonzero(~in_rows), used))
    return list(together.values())


def _count(recording: Recording, family: list[_Member], table: Table) -> Counted:
    """Count the sources of a family: X rows of all its members, Y sources in a row, Z targets of a source."""
    left = np.concatenate([_scores_of_member(recording, member) for member in family], axis=1)
    right = np.concatenate([matrix.derivatives() for matrix in family[0].used])
    paths, weight, norms = recording.kernels.count_best(left, right)
    x, z = np.nonzero(paths)
    n_rows = [len(member.rows) for member in family]
    of_members = [[matrix.keys(table.order) for matrix in member.used] for member in family]
    key_x = np.concatenate([keys[0][0][member.rows] for keys, member in zip(of_members, family, strict=True)])
    key_z = np.stack([np.concatenate([key_z for _, key_z in keys]) for keys in of_members])
    keys = key_x[x] + key_z[np.repeat(np.arange(len(family)), n_rows)[x], z]
    found = paths[x, z]
    n_sources = right.shape[1] * sum(n_rows)
    return Counted(
        np.full(len(found) + 1, family[0].stack.group, np.int32),
        np.append(table.order.targets(keys), -1),
        np.append(found, n_sources - found.sum()),
        np.append(weight[x, z], 0.0),
        [
            _norms(member.stack.low, rows, right.shape[1])
            for member, rows in zip(family, np.split(norms, np.cumsum(n_rows)[:-1]), strict=True)
        ],
    )


def _scores_of_member(recording: Recording, member: _Member) -> Floats:
    found: Floats = np.concatenate([m.scores(_scores(recording, m.edges.call)) for m in member.used])
    return found if len(member.rows) == found.shape[1] else found[:, member.rows]


def _norms(vertex: int, rows: Floats, n_y: int) -> Norms:
    l1, squares, _, zeros = rows.sum(axis=0)
    return Norms(vertex, len(rows) * n_y, l1, squares, rows[:, 2].max(initial=0), int(zeros))


def _count_rows(
    recording: Recording, best: BestEdges, vertices: Ints, gradient: Floats, group_of: NDArray[np.signedinteger[Any]]
) -> Counted:
    """Count the parameters that have rows. gradient: of each."""
    n = len(vertices)
    parameters = [t for _, t in recording.vertex_tensors() if t.kind == "parameter"]
    first = np.array([t.first_vertex for t in parameters], dtype=np.int64)
    start = np.searchsorted(vertices, first)
    size = np.searchsorted(vertices, first + [t.size for t in parameters]) - start
    found = zip(first, recording.kernels.norms(gradient, start, size), size, strict=True)
    norms = [_norms(int(vertex), row[None], int(n_rows)) for vertex, row, n_rows in found if n_rows]
    return Counted(group_of[vertices], best.traced(slice(n)), np.ones(n, np.int64), np.abs(gradient), norms)


def _add(recording: Recording, gradient: Floats, row: Ints, contribution: Floats) -> None:
    """Add contributions to the gradients of the parameters that have rows; other rows are activations."""
    inside = (row >= 0) & (row < len(gradient))
    recording.kernels.add_at(gradient, row[inside], contribution[inside])


def _scores(recording: Recording, call: Call) -> Floats:
    """The gradients of the elements of the operator's output."""
    return recording.gradients[call.outputs]


def _joined(counts: list[Counted]) -> Counted:
    return Counted(
        np.concatenate([c.group for c in counts]),
        np.concatenate([c.target for c in counts]),
        np.concatenate([c.paths for c in counts]),
        np.concatenate([c.weight for c in counts]),
        [norm for c in counts for norm in c.norms],
    )
