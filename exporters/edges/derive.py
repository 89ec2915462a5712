"""The edges of the operators of a tape: one rule for each kind, with derivatives from autograd."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from math import prod

import numpy as np

from ..operators import contracts, reduces
from ..tape.tape import Call, Tape
from .diagonal import diagonal_parts, edge_slots
from .duplicates import MergedRows, merge_matrices, merge_pairs
from .slots import ContractionEdges, DiagonalEdges, SlotEdges

Operators = Iterable[tuple[Call, list[SlotEdges]]]


def all_slots(tape: Tape) -> Iterator[SlotEdges]:
    """The slots of all operators that have edges."""
    return chain[SlotEdges](diagonal_slots(tape), contraction_slots(tape))


def slots_in_reverse(tape: Tape) -> Iterator[tuple[Call, list[SlotEdges]]]:
    """The slots of every operator that has edges, the operator nearest to the loss first."""
    of_call: dict[int, list[SlotEdges]] = defaultdict(list)
    for slot in all_slots(tape):
        of_call[slot.call.order].append(slot)
    for order in sorted(of_call, reverse=True):
        yield tape.calls[order], of_call[order]


def diagonal_slots(tape: Tape) -> Iterator[DiagonalEdges]:
    """Those of elementwise operators and reductions."""
    diagonal = diagonal_parts(tape)
    derivatives, values, start = diagonal.derivatives(tape.log.values), tape.log.values, 0
    for part in diagonal.parts:
        found = derivatives[start : start + part.size]
        start += part.size
        call = tape.calls[part.call]
        vertex, target = part.vertices(values), part.targets()
        if part.of_output is None and tape.repeats_one(values[part.operand]):
            vertex, target, found = merge_pairs(vertex, target, found)
        yield DiagonalEdges(call, part.slot, vertex, target, found)


def contraction_slots(tape: Tape) -> Iterator[ContractionEdges]:
    """Those of matrix products, in tape order."""
    contracts = (call for call in tape.calls if call.primitive.kind == "contracts")
    return operand_slots(tape, ((call.order, slot) for call in contracts for slot in edge_slots(call)))


def operand_slots(tape: Tape, operands: Iterable[tuple[int, int]]) -> Iterator[ContractionEdges]:
    """Those of the given operands, (call, slot), of matrix products."""
    for order, slot in operands:
        yield from _contraction(tape, tape.calls[order], slot)


def row_slots(tape: Tape, irregular: Iterable[tuple[int, int]]) -> Iterator[SlotEdges]:
    """Diagonal ones, and those of the given operands, (call, slot), of matrix products."""
    return chain[SlotEdges](diagonal_slots(tape), operand_slots(tape, irregular))


def count_slot(tape: Tape, call: Call, slot: int) -> int:
    """The number of edges through one slot."""
    x = call.inputs[slot]
    assert x is not None
    assert x.vertices is not None
    if call.primitive.kind == "elementwise" or not tape.repeats_one(x):
        fan_out = tape.of_graph(("fan-out", call.order, slot), lambda: _fan_out(call, slot))
        return tape.count(x) * fan_out
    if call.primitive.kind == "reduces":
        others = [None if o is None else o.data for o in call.inputs[1:]]
        target = reduces.targets(x.data, *others, **call.attributes).reshape(-1).numpy()
        return len(merge_pairs(x.vertices.reshape(-1).numpy(), target, np.zeros(len(target)))[0])
    return sum(int((c.vertex >= 0).sum()) * c.fan_out() for c in _contraction(tape, call, slot))


def _fan_out(call: Call, slot: int) -> int:
    """The number of targets of one element of an operand."""
    x = call.inputs[slot]
    assert x is not None
    size = max(x.data.numel(), 1)
    if call.primitive.kind == "elementwise":
        return call.output.data.numel() // size
    if call.primitive.kind == "reduces":
        return 1
    a, b = call.inputs
    assert a is not None
    assert b is not None
    c = contracts.contraction(a.data.detach(), b.data.detach(), slot)
    return c.z * (prod(c.batch) * c.x * c.y // size)


def _contraction(tape: Tape, call: Call, slot: int) -> Iterator[ContractionEdges]:
    a, b = call.inputs
    assert a is not None
    assert b is not None
    operand = b if slot else a
    assert operand.vertices is not None
    c = contracts.contraction(a.data.detach(), b.data.detach(), slot)
    if c.z == 0:  # no targets
        return
    vertices = contracts.as_matrix(operand.vertices, slot)
    vertices = vertices.transpose(-1, -2) if c.transposed else vertices
    vertices = vertices.expand(*c.batch, c.x, c.y).flatten(0, -3) if c.batch else vertices.unsqueeze(0)
    other = c.other.flatten(0, -3) if c.batch else c.other.unsqueeze(0)
    stride_b = c.x * c.z
    parts: Iterable[MergedRows] = [MergedRows(vertices, other, 0)]
    repeats = tape.repeats_one(operand)
    if repeats:
        parts = merge_matrices(vertices, other, stride_b, c.stride_x)
    for part in parts:
        strides = (stride_b, c.stride_x, c.stride_z)
        yield ContractionEdges(call, slot, part.vertex, part.other, part.offset, *strides, repeats)
