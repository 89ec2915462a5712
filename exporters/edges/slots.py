"""Every edge of a recording, described slot by slot: which operand's elements lead to which targets, with what
derivative.

Two shapes cover the four kinds. *Direct* edges (elementwise, reduces): each operand element has one target.
*Contracted* edges (contracts): each has a row of targets. Copies have none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..operators import contracts, elementwise, reduces
from ..tape.tape import Call, Tape, Value
from .duplicates import Part, merge_contracted, merge_direct

Floats = NDArray[Any]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Direct:
    """N edges of one slot: vertex[i] -> first_target + target[i] with derivative[i]."""

    call: Call
    slot: int
    vertex: Ints
    target: Ints
    derivative: Floats


@dataclass(frozen=True)
class Contracted:
    """The edges of one operand of a matrix product, over flattened batch axes.

    vertex : batch x X x Y     other : batch x Y x Z, the derivatives
    The target of (b, x, y) and z is element offset + b * stride_b + x * stride_x + z * stride_z of the output.
    No vertex stands twice in a row (b, x). interleaves: whether one stands in several, so that its targets alternate.
    """

    call: Call
    slot: int
    vertex: Tensor
    other: Tensor
    offset: int
    stride_b: int
    stride_x: int
    stride_z: int
    interleaves: bool


class EdgeOrder:
    """The keys of edges: (operator, slot, target) as one integer, in the order in which ties are broken."""

    def __init__(self, tape: Tape) -> None:
        calls = [call for call in tape.calls if call.primitive.kind != "copies"]
        self.size = np.array([call.output.data.numel() for call in calls], dtype=np.int64)
        slots = np.array([len(call.inputs) for call in calls], dtype=np.int64)
        self.base = np.concatenate([[0], np.cumsum(self.size * slots)[:-1]]).astype(np.int64)
        self.first_vertex = np.array([first_vertex(tape, call) for call in calls], dtype=np.int64)
        self._row = {call.order: row for row, call in enumerate(calls)}

    def key(self, call: Call, slot: int) -> int:
        """The key of the edge through `slot` to element 0 of the call's output; further elements follow."""
        row = self._row[call.order]
        return int(self.base[row] + slot * self.size[row])

    def targets(self, key: Ints) -> Ints:
        """The target vertices of edges, given their keys."""
        row = np.searchsorted(self.base, key, side="right") - 1
        found: Ints = self.first_vertex[row] + (key - self.base[row]) % self.size[row]
        return found


def first_vertex(tape: Tape, call: Call) -> int:
    """The vertex of element 0 of a call's output."""
    assert call.output.tensor is not None
    first = tape.tensors[call.output.tensor].first_vertex
    assert first is not None
    return first


def slots_in_reverse(tape: Tape) -> Iterator[tuple[Call, list[Direct | Contracted]]]:
    """The slots of every operator that has edges, the operator nearest to the loss first."""
    of_call: dict[int, list[Direct | Contracted]] = defaultdict(list)
    for slot in chain[Direct | Contracted](direct_slots(tape), contracted_slots(tape)):
        of_call[slot.call.order].append(slot)
    for order in sorted(of_call, reverse=True):
        yield tape.calls[order], of_call[order]


def direct_slots(tape: Tape) -> Iterator[Direct]:
    """All direct edges; calls of one operator and shape are differentiated together."""
    groups: dict[tuple[Any, ...], list[Call]] = defaultdict(list)
    for call in tape.calls:
        if call.primitive.kind == "elementwise":
            groups[_likeness(call)].append(call)
        elif call.primitive.kind == "reduces":
            yield reduced_slot(tape, call)
    for calls in groups.values():
        yield from _elementwise(calls)


def contracted_slots(tape: Tape) -> Iterator[Contracted]:
    """All contracted edges, in tape order."""
    for call in tape.calls:
        if call.primitive.kind == "contracts":
            for slot, operand in enumerate(call.inputs):
                if operand is not None and operand.vertices is not None:
                    yield from _contracted(tape, call, slot, operand)


def _likeness(call: Call) -> tuple[Any, ...]:
    """Calls alike in this run the same function on operands of one shape."""
    present = tuple(x is not None for x in call.inputs)
    dtypes = tuple(None if x is None else x.data.dtype for x in call.inputs)
    attributes = tuple(sorted((name, repr(value)) for name, value in call.attributes.items()))
    return call.primitive.name, attributes, present, dtypes, tuple(call.output.shape), _wanted(call)


def _wanted(call: Call) -> tuple[int, ...]:
    return tuple(slot for slot, x in enumerate(call.inputs) if x is not None and x.vertices is not None)


def _elementwise(calls: list[Call]) -> Iterator[Direct]:
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
            yield Direct(call, slot, vertex, target, derivative[i].reshape(-1).numpy())


def reduced_slot(tape: Tape, call: Call) -> Direct:
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
    if tape.kept.repeats_one(x.vertices):
        vertex, target, derivative = merge_direct(vertex, target, derivative)
    return Direct(call, 0, vertex, target, derivative)


def _contracted(tape: Tape, call: Call, slot: int, operand: Value) -> Iterator[Contracted]:
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
    parts: Iterable[Part] = [Part(vertices, other, 0)]
    repeats = tape.kept.repeats_one(operand.vertices)
    if repeats:
        parts = merge_contracted(vertices, other, stride_b, c.stride_x)
    for part in parts:
        strides = (stride_b, c.stride_x, c.stride_z)
        yield Contracted(call, slot, part.vertex, part.other, part.offset, *strides, repeats)
