"""The matrix products of a sample, sorted by what is to be done with their sources in a sweep that counts parameters.

A *stack* is a matrix of parameters of one group with all its uses. Where no other edge leaves these parameters they are
counted, without a row for each; all other sources have rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..edges.derive import operand_slots
from ..edges.matrix_uses import MatrixUse, matrix_uses
from ..edges.slots import Matrix
from ..recording.recorder import Recording
from ..tape.tape import Tape
from ..tape.values import Value
from .products import MatrixProduct

Floats = NDArray[Any]
Ints = NDArray[np.int64]
Groups = NDArray[np.signedinteger[Any]]


class Stack(NamedTuple):
    """A matrix of parameters, X x Y: the smallest and the largest of its vertices, their group (-1: several), its uses
    in the order in which ties are broken.
    """

    vertex: Ints
    low: int
    high: int
    group: int
    used: list[MatrixUse]

    def product(self, tape: Tape, gradients: Floats, rows: Ints | slice) -> MatrixProduct:
        """The edges of some of its rows: all targets of a vertex one after the other."""
        key_x = self.used[0].keys()[0][rows]
        key_z = np.concatenate([use.keys()[1] for use in self.used])
        left = gradients[stack_targets(tape, self)[:, rows]]
        return MatrixProduct(self.vertex[rows], left, derivatives_of(tape, self.used), key_x, key_z, distinct=True)


class Rows(NamedTuple):
    """Matrices with the same derivatives whose sources have rows of their own: their rows one after the other."""

    used: list[MatrixUse]

    def vertex(self, tape: Tape) -> Ints:
        """X x Y"""
        return np.concatenate([use.vertex(tape.log.values) for use in self.used])

    def product(self, recording: Recording, vertex: Ints) -> MatrixProduct:
        """vertex: X x Y, see above"""
        tape, gradients, first = recording.tape, recording.gradients, self.used[0]
        targets = tape.of_graph(
            ("targets of rows", *(use.key for use in self.used)),
            lambda: np.concatenate([use.targets() for use in self.used], axis=1),
        )
        key_x = np.concatenate([use.keys()[0] + use.key for use in self.used])
        key_z = first.keys()[1] - first.key
        right = derivatives_of(tape, [first])
        largest: Floats | None = None
        other = tape.log.values[first.other]
        if tape.is_parameter(other) and not other.picked:  # no sample changes it
            largest = tape.of_graph(("largest", first.key), lambda: recording.kernels.largest_of_rows(right))
        return MatrixProduct(vertex, gradients[targets], right, key_x, key_z, len(self.used) == 1, largest)


@dataclass(frozen=True)
class Weights:
    """counted: stacks whose parameters are in nothing else but `rows` and pairs     loose: other stacks
    rows: matrices of other sources     irregular: those in which a vertex repeats
    """

    counted: list[Stack]
    loose: list[Stack]
    rows: list[Rows]
    irregular: list[Matrix]

    def loose_alike(self) -> list[list[Stack]]:
        """The loose stacks, together those whose derivatives and distances between keys are the same."""
        together: dict[Hashable, list[Stack]] = defaultdict(list)
        for stack in self.loose:
            first = stack.used[0].key
            together[tuple((use.same_derivatives, use.key - first) for use in stack.used)].append(stack)
        return list(together.values())


class _Fixed(NamedTuple):
    """What no sample chooses: stacks, and other matrices; uses by the vertices that a sample chooses."""

    group_of: Groups
    stacks: list[Stack]
    others: list[MatrixUse]
    chosen: list[list[MatrixUse]]


def weights_of(recording: Recording, group_of: Groups) -> Weights:
    """The matrix products of a recording. group_of: of each parameter vertex"""
    tape = recording.tape
    fixed = tape.of_graph(("weights", id(group_of)), lambda: _fixed(recording, group_of))
    stacks, others = list(fixed.stacks), list(fixed.others)
    irregular = list(matrix_uses(tape).irregular)
    for used in fixed.chosen:
        operand = tape.log.values[used[0].operand]
        if tape.repeats_one(operand):
            irregular += [(use.call, use.slot) for use in used if use.b == 0]
        elif recording.are_parameters(_vertices(operand)):
            stacks.append(_stack(recording, used, group_of))
        else:
            others += used
    counted, loose = _apart(stacks)
    by_derivatives: dict[Hashable, list[MatrixUse]] = defaultdict(list)
    for use in others:
        by_derivatives[use.same_derivatives].append(use)
    matrices = [matrix for edges in operand_slots(tape, irregular) for matrix in edges.matrices()]
    return Weights(counted, loose, list(map(Rows, by_derivatives.values())), matrices)


def _fixed(recording: Recording, group_of: Groups) -> _Fixed:
    tape = recording.tape
    fixed = _Fixed(group_of, [], [], [])
    by_vertices: dict[Hashable, list[MatrixUse]] = defaultdict(list)
    for use in matrix_uses(tape).uses:
        by_vertices[use.same_vertices].append(use)
    for used in by_vertices.values():
        operand = tape.log.values[used[0].operand]
        if operand.picked:
            fixed.chosen.append(used)
        elif recording.are_parameters(_vertices(operand)):
            fixed.stacks.append(_stack(recording, used, group_of))
        else:
            fixed.others.extend(used)
    return fixed


def _vertices(operand: Value) -> torch.Tensor:
    assert operand.vertices is not None
    return operand.vertices


def _stack(recording: Recording, used: list[MatrixUse], group_of: Groups) -> Stack:
    vertex = used[0].vertex(recording.tape.log.values)
    low, high = recording.parameter_vertices.fact(
        "span", torch.from_numpy(vertex), lambda: (int(vertex.min()), int(vertex.max()))
    )
    groups = group_of[low : high + 1] if high - low < vertex.size else group_of[vertex]
    group = int(groups.flat[0]) if bool((groups == groups.flat[0]).all()) else -1
    return Stack(vertex, low, high, group, sorted(used, key=_key))


def _key(use: MatrixUse) -> int:
    return use.key


def _low(stack: Stack) -> int:
    return stack.low


def _apart(stacks: list[Stack]) -> tuple[list[Stack], list[Stack]]:
    """Stacks of one group that lie apart from all others, and those that do not."""
    stacks = sorted(stacks, key=_low)
    counted: list[Stack] = []
    loose: list[Stack] = []
    behind = -1
    for i, stack in enumerate(stacks):
        next_low = stacks[i + 1].low if i + 1 < len(stacks) else stack.high + 1
        alone = stack.group >= 0 and behind < stack.low and stack.high < next_low
        (counted if alone else loose).append(stack)
        behind = max(behind, stack.high)
    return counted, loose


def rows_of(recording: Recording, stack: Stack, vertices: Ints) -> Ints:
    """The rows of a stack's matrix that hold some of these vertices, which lie between its smallest and largest."""
    n_x, n_y = stack.vertex.shape
    is_range = recording.parameter_vertices.is_range(torch.from_numpy(stack.vertex))
    if is_range and stack.high - stack.low + 1 == n_x * n_y:
        place = vertices - stack.low
        rows: Ints = place // n_y if stack.vertex.flags.c_contiguous else place % n_x
        return rows
    return np.flatnonzero(np.isin(stack.vertex, vertices).any(axis=1))


def stack_targets(tape: Tape, stack: Stack) -> Ints:
    """The vertices that those of a row of a stack lead to: Z x X, in the order of ties."""
    return tape.of_graph(
        ("targets of stack", *(use.key for use in stack.used)),
        lambda: np.concatenate([use.targets() for use in stack.used]),
    )


def product_of_stacks(tape: Tape, stacks: list[Stack], gradients: Floats) -> MatrixProduct:
    """The edges of stacks with the same derivatives, their rows one after the other. A vertex may stand in several."""
    if len(stacks) == 1:
        return stacks[0].product(tape, gradients, slice(None))
    used = stacks[0].used
    targets = np.concatenate([stack_targets(tape, stack) for stack in stacks], axis=1)
    return MatrixProduct(
        np.concatenate([stack.vertex for stack in stacks]),
        gradients[targets],
        derivatives_of(tape, used),
        np.concatenate([stack.used[0].keys()[0] + stack.used[0].key for stack in stacks]),
        np.concatenate([use.keys()[1] for use in used]) - used[0].key,
        distinct=False,
    )


def derivatives_of(tape: Tape, used: list[MatrixUse]) -> Floats:
    """Those of all targets of uses of the same vertices: Z x Y."""
    found = [use.derivatives(tape.log.values) for use in used]
    matrix: Floats = (found[0].contiguous() if len(found) == 1 else torch.cat(found)).numpy()
    return matrix
