"""The derivatives of all diagonal edges of a graph, found group by group: what of it is the same for every sample.

Calls of one operator on operands of one shape are differentiated together. A *part* is the edges of one slot; all parts
of a graph follow each other in one array of derivatives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..operators import elementwise, reduces
from ..tape.tape import Call, Tape
from ..tape.values import Value
from .order import edge_order

Floats = NDArray[Any]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """The edges of one slot, E of them, in the order of the elements of the output, or of a reduction's input.

    call, slot: whose they are
    operand: the number of the value whose elements they leave     of_output: whether it is expanded to the output first
    target: the output's element that each leads to; None: element e for edge e
    key: that of an edge to element 0 of the output     first_target: its vertex
    """

    call: int
    slot: int
    operand: int
    of_output: torch.Size | None
    target: Ints | None
    size: int
    key: int
    first_target: int

    def vertices(self, values: Sequence[Value]) -> Ints:
        """The vertex that each edge leaves, -1 for a constant: E."""
        found = values[self.operand].vertices
        assert found is not None
        found = found if self.of_output is None else found.expand(self.of_output)
        return found.reshape(-1).to(torch.int64).numpy()

    def last_vertex(self, values: Sequence[Value]) -> int:
        """The largest; -1 where all are constants."""
        found = values[self.operand].vertices
        return -1 if found is None or found.numel() == 0 else int(found.max())

    def first_vertex(self, values: Sequence[Value]) -> int:
        """The smallest; -1 where some are constants."""
        found = values[self.operand].vertices
        return -1 if found is None or found.numel() == 0 else int(found.min())

    def targets(self) -> Ints:
        """The output's element that each leads to: E."""
        return np.arange(self.size) if self.target is None else self.target


@dataclass(frozen=True)
class _Group:
    """Calls alike. operands: of each slot the values of all calls, None where it is left out"""

    primitive_compute: Any
    attributes: dict[str, Any]
    operands: list[list[int] | None]
    wanted: list[int]
    shape: torch.Size
    linear: bool

    def derivatives(self, values: Sequence[Value]) -> list[Tensor]:
        """Of each wanted slot: calls x output's shape."""
        raise NotImplementedError


class _Elementwise(_Group):
    def derivatives(self, values: Sequence[Value]) -> list[Tensor]:
        operands = [
            None if numbers is None else torch.stack([values[n].data.detach().expand(self.shape) for n in numbers])
            for numbers in self.operands
        ]
        compute, attributes = self.primitive_compute, self.attributes
        return elementwise.derivatives(lambda *xs: compute(*xs, **attributes), operands, self.wanted)


class _Reduction(_Group):
    def derivatives(self, values: Sequence[Value]) -> list[Tensor]:
        x, *others = (None if numbers is None else values[numbers[0]].data.detach() for numbers in self.operands)
        assert x is not None
        return [reduces.derivative(self.primitive_compute, x, others, self.attributes)]


class DiagonalParts:
    """All parts of a graph, by group, slot and call, and how their derivatives are found."""

    def __init__(self, tape: Tape) -> None:
        self.parts: list[Part] = []
        self._groups: list[_Group] = []
        self._linear: dict[int, list[Tensor]] = {}
        self._order, self._dtype = edge_order(tape), tape.dtype
        alike: dict[tuple[Any, ...], list[Call]] = defaultdict(list)
        for call in tape.calls:
            if call.primitive.kind == "elementwise":
                alike[likeness(call)].append(call)
            elif call.primitive.kind == "reduces":
                alike[(call.order,)].append(call)
        for calls in alike.values():
            self._add(calls)

    def derivatives(self, values: Sequence[Value]) -> Floats:
        """Those of all parts, one after the other. values: all of a sample's tape"""
        found = torch.empty(sum(part.size for part in self.parts), dtype=self._dtype)
        start = 0
        for of_group in self._of_groups(values):
            found[start : start + of_group.numel()] = of_group.reshape(-1)
            start += of_group.numel()
        return found.numpy()

    def _of_groups(self, values: Sequence[Value]) -> Iterator[Tensor]:
        for i, group in enumerate(self._groups):
            if not group.linear:
                yield from group.derivatives(values)
                continue
            if i not in self._linear:
                self._linear[i] = group.derivatives(values)
            yield from self._linear[i]

    def _add(self, calls: list[Call]) -> None:
        example, is_reduction = calls[0], calls[0].primitive.kind == "reduces"
        shape = example.output.shape
        operands = [
            None if x is None else [call.inputs[slot].number for call in calls]  # type: ignore[union-attr]
            for slot, x in enumerate(example.inputs)
        ]
        wanted = edge_slots(example)
        kind = _Reduction if is_reduction else _Elementwise
        self._groups.append(
            kind(
                example.primitive.compute,
                example.attributes,
                operands,
                wanted,
                shape,
                example.primitive.facts.linear,
            )
        )
        for slot in wanted:
            for call in calls:
                self.parts.append(self._part(call, slot, is_reduction))

    def _part(self, call: Call, slot: int, is_reduction: bool) -> Part:
        x = call.inputs[slot]
        assert x is not None
        target, size = None, call.output.data.numel()
        if is_reduction:
            others = [None if o is None else o.data for o in call.inputs[1:]]
            target, size = reduces.targets(x.data, *others, **call.attributes).reshape(-1).numpy(), x.data.numel()
        key = self._order.key(call, slot)
        return Part(
            call.order,
            slot,
            x.number,
            None if is_reduction else call.output.shape,
            target,
            size,
            key,
            call.outputs.start,
        )


def diagonal_parts(tape: Tape) -> DiagonalParts:
    """Those of a tape's graph."""
    return tape.of_graph("diagonal parts", lambda: DiagonalParts(tape))


def likeness(call: Call) -> tuple[Any, ...]:
    """Calls alike in this run the same function on operands of one shape."""
    present = tuple(x is not None for x in call.inputs)
    dtypes = tuple(None if x is None else x.data.dtype for x in call.inputs)
    attributes = tuple(sorted((name, repr(value)) for name, value in call.attributes.items()))
    return call.primitive.name, attributes, present, dtypes, tuple(call.output.shape), tuple(edge_slots(call))


def edge_slots(call: Call) -> list[int]:
    """The slots through which a call has edges; a copy has none."""
    if call.primitive.kind == "copies":
        return []
    return [slot for slot, x in enumerate(call.inputs) if x is not None and x.vertices is not None]
