"""Matrices of contraction edges as their graph describes them, without the numbers of any sample.

A `MatrixUse` is one matrix of one operand: what the samples of a graph share of it. Its derivatives are looked up in a
sample's values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..operators import contracts
from ..tape.parameter_vertices import place
from ..tape.tape import Call, Tape
from ..tape.values import Value
from .diagonal import edge_slots
from .order import EdgeOrder, edge_order

Floats = NDArray[Any]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class MatrixUse:
    """X x Y vertices, each with a row of Z targets.

    call, slot: whose edges they are     operand, other: the numbers of this operand's value and of the other one's
    b: which of the operator's matrices it is; `batch`: the sizes of its batch axes
    first: the vertex of target (0, 0); (x, z) is x * stride_x + z * stride_z behind it     key: of an edge to it
    same_vertices, same_derivatives: alike for uses of the same, in every sample of the graph
    """

    call: int
    slot: int
    operand: int
    other: int
    b: int
    batch: tuple[int, ...]
    n_x: int
    n_z: int
    stride_x: int
    stride_z: int
    first: int
    key: int
    same_vertices: Hashable
    same_derivatives: Hashable

    def vertex(self, values: Sequence[Value]) -> Ints:
        """X x Y"""
        found = values[self.operand].vertices
        assert found is not None
        matrix: Ints = _matrix(found, self.slot, self.b, self.batch).numpy()
        return matrix if self.slot == 0 else matrix.T

    def derivatives(self, values: Sequence[Value]) -> Tensor:
        """Z x Y"""
        matrix = _matrix(values[self.other].data.detach(), 1 - self.slot, self.b, self.batch)
        return matrix.T if self.slot == 0 else matrix

    def targets(self) -> Ints:
        """The vertices that those of a row lead to: Z x X."""
        return self.first + np.arange(self.n_z)[:, None] * self.stride_z + np.arange(self.n_x) * self.stride_x

    def keys(self) -> tuple[Ints, Ints]:
        """Of X and of Z: the sum of both is the key of an edge."""
        return np.arange(self.n_x) * self.stride_x, self.key + np.arange(self.n_z) * self.stride_z


class Uses(NamedTuple):
    """All matrices of a graph. irregular: (call, slot) of operands in which a vertex stands twice"""

    uses: list[MatrixUse]
    irregular: list[tuple[int, int]]


def matrix_uses(tape: Tape) -> Uses:
    """Those of a tape's graph, operators in order. One may repeat a vertex where a sample chooses its vertices."""
    return tape.of_graph("matrix uses", lambda: _found(tape))


def _found(tape: Tape) -> Uses:
    found, order = Uses([], []), edge_order(tape)

    def shared(value: Value) -> bool:
        return tape.is_parameter(value) and not value.picked

    for call in tape.calls:
        if call.primitive.kind == "contracts":
            for slot in edge_slots(call):
                operand = call.inputs[slot]
                assert operand is not None
                if not operand.picked and tape.repeats_one(operand):
                    found.irregular.append((call.order, slot))
                else:
                    found.uses.extend(_uses(call, slot, operand, order, shared))
    return found


def _uses(call: Call, slot: int, operand: Value, order: EdgeOrder, shared: Callable[[Value], bool]) -> list[MatrixUse]:
    """shared: whether a value's numbers are parameters, the same ones in every sample"""
    a, b = call.inputs
    assert a is not None
    assert b is not None
    assert operand.vertices is not None
    c, other = contracts.contraction(a.data.detach(), b.data.detach(), slot), b if slot == 0 else a
    if 0 in (c.x, c.y, c.z):  # no sources, or no targets
        return []
    uses, size = [], c.x * c.z
    # what lies at one place in this sample does so in every one, unless the sample chooses it
    own = operand.number if operand.picked else None, other.number if other.varies and not shared(other) else None
    for i in range(prod(c.batch)):
        vertices = own[0], place(_matrix(operand.vertices, slot, i, c.batch)), c.stride_x
        derivatives = own[1], place(_matrix(other.data.detach(), 1 - slot, i, c.batch)), c.stride_z
        first, key = call.outputs.start + i * size, order.key(call, slot) + i * size
        strides = c.stride_x, c.stride_z
        of = call.order, slot, operand.number, other.number, i, c.batch, c.x, c.z
        uses.append(MatrixUse(*of, *strides, first, key, vertices, derivatives))
    return uses


def _matrix(operand: Tensor, slot: int, b: int, batch: tuple[int, ...]) -> Tensor:
    """The operand's part in matrix product number b of those that the sizes of the batch axes make."""
    matrix = contracts.as_matrix(operand, slot)
    if not batch:
        return matrix
    sizes = matrix.shape[:-2]
    where = np.unravel_index(b, batch)[len(batch) - len(sizes) :]
    return matrix[tuple(int(i) if n > 1 else 0 for i, n in zip(where, sizes, strict=True))]
