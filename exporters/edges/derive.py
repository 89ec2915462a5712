"""The edges of the operators of a tape: one rule for each kind, with derivatives from autograd."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..operators import contracts, elementwise, reduces
from ..tape.tape import Call, Tape
from ..tape.values import Value
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
    """Those of elementwise operators and reductions; calls of one operator and shape are differentiated together."""
    groups: dict[tuple[Any, ...], list[Call]] = defaultdict(list)
    for call in tape.calls:
        if call.primitive.kind == "elementwise":
            groups[_likeness(call)].append(call)
        elif call.primitive.kind == "reduces":
            yield reduced_slot(tape, call)
    for calls in groups.values():
        yield from _elementwise(calls)


def contraction_slots(tape: Tape) -> Iterator[ContractionEdges]:
    """Those of matrix products, in tape order."""
    for call in tape.calls:
        if call.primitive.kind == "contracts":
            for slot, operand in enumerate(call.inputs):
                if operand is not None and operand.vertices is not None:
                    yield from _contraction(tape, call, slot, operand)


def _likeness(call: Call) -> tuple[Any, ...]:
    """Calls alike in this run the same function on operands of one shape."""
    present = tuple(x is not None for x in call.inputs)
    dtypes = tuple(None if x is None else x.data.dtype for x in call.inputs)
    attributes = tuple(sorted((name, repr(value)) for name, value in call.attributes.items()))
    return call.primitive.name, attributes, present, dtypes, tuple(call.output.shape), _wanted(call)


def _wanted(call: Call) -> tuple[int, ...]:
    return tuple(slot for slot, x in enumerate(call.inputs) if x is not None and x.vertices is not None)


def _elementwise(calls: list[Call]) -> Iterator[DiagonalEdges]:
    example = calls[0]
    shape = example.output.shape
    operands: list[Tensor | None] = []
    for slot, x in enumerate(example.inputs):
        stacked = None if x is None else torch.stack([call.inputs[slot].data.detach().expand(shape) for call in calls])  # type: ignore[union-attr]
        operands.append(stacked)
    wanted = list(_wanted(example))
    compute = example.primitive.compute
    found = elementwise.derivatives(lambda *xs: compute(*xs, **example.attributes), operands, wanted)
    target = np.arange(example.output.data.numel())
    for slot, derivative in zip(wanted, found, strict=True):
        for i, call in enumerate(calls):
            vertices = call.inputs[slot].vertices  # type: ignore[union-attr]
            assert vertices is not None
            vertex = vertices.expand(shape).reshape(-1).numpy()
            yield DiagonalEdges(call, slot, vertex, target, derivative[i].reshape(-1).numpy())


def reduced_slot(tape: Tape, call: Call) -> DiagonalEdges:
    """The edges of a reduction."""
    x = call.inputs[0]
    assert x is not None
    assert x.vertices is not None
    others = [None if o is None else o.data for o in call.inputs[1:]]
    leaf = x.data.detach().clone().requires_grad_()
    with torch.enable_grad():
        y = call.primitive.compute(leaf, *others, **call.attributes)
    (found,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
    vertex, derivative = x.vertices.reshape(-1).numpy(), found.reshape(-1).numpy()
    target = reduces.targets(leaf, *others, **call.attributes).reshape(-1).numpy()
    if tape.parameter_vertices.repeats_one(x.vertices):
        vertex, target, derivative = merge_pairs(vertex, target, derivative)
    return DiagonalEdges(call, 0, vertex, target, derivative)


def _contraction(tape: Tape, call: Call, slot: int, operand: Value) -> Iterator[ContractionEdges]:
    a, b = call.inputs
    assert a is not None
    assert b is not None
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
    repeats = tape.parameter_vertices.repeats_one(operand.vertices)
    if repeats:
        parts = merge_matrices(vertices, other, stride_b, c.stride_x)
    for part in parts:
        strides = (stride_b, c.stride_x, c.stride_z)
        yield ContractionEdges(call, slot, part.vertex, part.other, part.offset, *strides, repeats)
