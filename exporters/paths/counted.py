"""The greedy sweep of detail `study`: parameters are counted where their traced edges lead, without a row for each.

The elements of a weight that is used as one matrix are counted by one kernel, which also finds their gradients. Every
other parameter (a bias, an embedding row, a weight in several matrices) has a row beside the activations, as usual.
The plain route, `best_edges` over all vertices, gives the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..edges.slots import Contracted, Direct, first_vertex, slots_in_reverse
from ..kernels import edges as kernels
from ..kernels import products as product_kernels
from ..kernels.threads import torch_threads_kept
from ..recording.recorder import Recording
from .best_table import BestEdges, Rows, Table
from .products import (
    Use,
    derivatives_of,
    keys_of,
    matrix,
    one_below_the_other,
    operand,
    scores_of,
    side_by_side,
    use_of,
)

Floats = NDArray[Any]
Ints = NDArray[np.int64]

_Matrix = tuple[Contracted, int]  # a contraction and which of its matrices


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
    used: list[_Matrix]

    @property
    def vertex(self) -> Ints:
        slot, b = self.used[0]
        vertex: Ints = slot.vertex[b].numpy()
        return vertex


class _Parts(NamedTuple):
    """All slots of a sample: weights that can be counted as one matrix, other matrices, and direct edges."""

    stacks: list[_Stack]
    matrices: list[_Matrix]
    direct: list[Direct]


def study_edges(recording: Recording, keep: int, group_of: NDArray[np.signedinteger[Any]]) -> tuple[BestEdges, Counted]:
    """The best edges of the activations under greedy, and the traced edges of the parameters, counted.

    group_of: of each parameter vertex. No gradient of a parameter is read.
    """
    parts = _parts(recording, group_of)
    in_rows = _Loose(recording, parts)
    table = Table(recording, Rows(recording, in_rows.vertices), keep, logarithms=False)
    gradient = np.zeros(len(in_rows.vertices))
    with torch_threads_kept():
        for use in _uses(recording, parts, in_rows, table):
            table.insert_use(use)
            row = table.rows.of(use.vertex)
            if (row < len(gradient)).any():
                _add(gradient, row.reshape(-1), (use.left.T @ use.right).reshape(-1))
        for slot in parts.direct:
            score = _scores(recording, slot)
            table.insert_direct(slot, score)
            row = table.rows.of(slot.vertex)
            _add(gradient, row, score[slot.target] * slot.derivative)
        counts = [_count(recording, family, table) for family in _families(parts.stacks, in_rows)]
        best = table.best(recording, "greedy")
        counts.append(_count_rows(recording, best, in_rows.vertices, gradient, group_of))
    return best.behind(len(gradient), recording.n_parameters), _joined(counts)


def _parts(recording: Recording, group_of: NDArray[np.signedinteger[Any]]) -> _Parts:
    whole: dict[Hashable, list[_Matrix]] = defaultdict(list)
    parts = _Parts([], [], [])
    for _, slots in slots_in_reverse(recording.tape):
        for slot in slots:
            if isinstance(slot, Direct):
                parts.direct.append(slot)
                continue
            for b in range(slot.vertex.shape[0]):
                if not slot.interleaves and recording.are_parameters(slot.vertex[b]):
                    whole[operand(slot, b)].append((slot, b))
                else:
                    parts.matrices.append((slot, b))
    stacks = sorted((_Stack(*_span(recording, *used[0], group_of), used) for used in whole.values()), key=_low)
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


def _span(
    recording: Recording, slot: Contracted, b: int, group_of: NDArray[np.signedinteger[Any]]
) -> tuple[int, int, int]:
    """The smallest and the largest vertex of a matrix of parameters, and their group; -1 for several."""
    vertex = slot.vertex[b]

    def find() -> tuple[int, int, int]:
        groups = group_of[vertex.numpy()]
        group = int(groups.flat[0]) if bool((groups == groups.flat[0]).all()) else -1
        return int(vertex.min()), int(vertex.max()), group

    low, high, group = recording.kept.fact("group", vertex, find)
    return low, high, group


class _Loose:
    """The parameters that have rows of their own.

    vertices: ascending     of_stack: for each stack, which rows of its matrix hold one: X booleans
    """

    def __init__(self, recording: Recording, parts: _Parts) -> None:
        n = recording.n_parameters
        arrays = [slot.vertex for slot in parts.direct] + [slot.vertex[b].numpy() for slot, b in parts.matrices]
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


def _uses(recording: Recording, parts: _Parts, loose: _Loose, table: Table) -> Iterator[Use]:
    """The matrices whose elements have rows, few and large."""
    together: dict[tuple[str, Hashable], list[_Matrix]] = defaultdict(list)
    for slot, b in parts.matrices:
        is_weight = recording.are_parameters(slot.vertex[b])
        together[("of", operand(slot, b)) if is_weight else ("by", matrix(slot, b))].append((slot, b))

    def uses(used: list[_Matrix]) -> list[Use]:
        return [use_of(slot, b, _scores(recording, slot), table.order) for slot, b in used]

    for (how, _), used in together.items():
        yield one_below_the_other(uses(used)) if how == "of" else side_by_side(uses(used))
    for stack, rows in zip(parts.stacks, loose.of_stack, strict=True):
        if rows.any():
            yield one_below_the_other(uses(stack.used)).of_rows(np.flatnonzero(rows))


class _Member(NamedTuple):
    """A stack, the rows of its matrix to be counted, and its uses in the order in which ties are broken."""

    stack: _Stack
    rows: Ints
    used: list[_Matrix]


def _families(stacks: list[_Stack], loose: _Loose) -> list[list[_Member]]:
    """Stacks of one group whose derivatives are the same matrices, such as all embedding rows read by one layer."""
    together: dict[Hashable, list[_Member]] = defaultdict(list)
    for stack, in_rows in zip(stacks, loose.of_stack, strict=True):
        used = sorted(stack.used, key=lambda use: (use[0].call.order, use[0].slot, use[0].offset, use[1]))
        alike = stack.group, *(matrix(slot, b) for slot, b in used)
        together[alike].append(_Member(stack, np.flatnonzero(~in_rows), used))
    return list(together.values())


def _count(recording: Recording, family: list[_Member], table: Table) -> Counted:
    """Count the sources of a family: X rows of all its members, Y sources in a row, Z targets of a source."""
    left = np.concatenate([_scores_of_member(recording, member) for member in family], axis=1)
    right = np.concatenate([derivatives_of(slot, b) for slot, b in family[0].used])
    paths, weight, norms = product_kernels.count_best(left, right)
    x, z = np.nonzero(paths)
    n_rows = [len(member.rows) for member in family]
    key_x = np.concatenate([member.rows * member.used[0][0].stride_x for member in family])
    key_z = np.stack([np.concatenate([keys_of(*use, table.order) for use in member.used]) for member in family])
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
    found: Floats = np.concatenate([scores_of(slot, b, _scores(recording, slot)) for slot, b in member.used])
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
    found = zip(first, kernels.norms(gradient, start, size), size, strict=True)
    norms = [_norms(int(vertex), row[None], int(n_rows)) for vertex, row, n_rows in found if n_rows]
    return Counted(group_of[vertices], best.traced(slice(n)), np.ones(n, np.int64), np.abs(gradient), norms)


def _add(gradient: Floats, row: Ints, contribution: Floats) -> None:
    """Add contributions to the gradients of the parameters that have rows; other rows are activations."""
    inside = (row >= 0) & (row < len(gradient))
    kernels.add_at(gradient, row[inside], contribution[inside])


def _scores(recording: Recording, slot: Direct | Contracted) -> Floats:
    """The gradients of the elements of the operator's output."""
    first = first_vertex(recording.tape, slot.call)
    return recording.gradients[first : first + slot.call.output.data.numel()]


def _joined(counts: list[Counted]) -> Counted:
    return Counted(
        np.concatenate([c.group for c in counts]),
        np.concatenate([c.target for c in counts]),
        np.concatenate([c.paths for c in counts]),
        np.concatenate([c.weight for c in counts]),
        [norm for c in counts for norm in c.norms],
    )
