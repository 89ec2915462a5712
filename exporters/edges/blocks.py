"""Edges of a recording, in blocks of bounded size, sorted by (source, operator, slot, target).

A source's edges come from many operators. For each slot the operand's elements are sorted by vertex once; then a block
of vertices collects its edges slot by slot, each written behind the ones before. Edges are sorted only
where an operand repeats a vertex.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..recording.recorder import Recording
from ..tape.tape import Call
from .derive import all_slots, count_slot, row_slots
from .diagonal import edge_slots
from .order import edge_order
from .slots import Fans, SlotEdges

Floats = NDArray[Any]
Ints = NDArray[np.int64]

BLOCK = 1 << 20  # edges in memory at a time; one vertex with more is a block of its own


@dataclass
class EdgeBlock:
    """E edges: source, target, slot and derivative, each of length E."""

    src: Ints
    dst: Ints
    slot: NDArray[np.int16]
    derivative: Floats

    def contributions(self, gradients: Floats) -> Floats:
        """Of each edge, given the gradients of all vertices: E."""
        found: Floats = gradients[self.dst] * self.derivative
        return found


@dataclass
class _Slot:
    """One slot ready to be written: its edges, and the vertices of its elements, ascending."""

    slot: int
    vertex: Ints
    fans: Fans
    interleaves: bool


def count_edges(recording: Recording) -> Ints:
    """The number of edges that leave each vertex: V."""
    return _count(recording, _ready(all_slots(recording.tape)))


def _count(recording: Recording, slots: list[_Slot]) -> Ints:
    counts = np.zeros(recording.n_vertices, dtype=np.int64)
    for slot in slots:
        recording.kernels.add_at(counts, slot.vertex, np.broadcast_to(slot.fans.other.shape[2], slot.vertex.shape))
    return counts


def edge_blocks(recording: Recording, block: int = BLOCK) -> Iterator[EdgeBlock]:
    """All edges, in blocks of at most `block` edges."""
    yield from _blocks(recording, _ready(all_slots(recording.tape)), block)


def row_blocks(recording: Recording, irregular: Iterable[tuple[int, int]], block: int = BLOCK) -> Iterator[EdgeBlock]:
    """Those that no matrix holds, in blocks of at most `block` edges. irregular: see `EdgeMatrices`"""
    yield from _blocks(recording, _ready(row_slots(recording.tape, irregular)), block)


def _blocks(recording: Recording, slots: list[_Slot], block: int) -> Iterator[EdgeBlock]:
    first, last = (np.array([slot.vertex[end] for slot in slots], dtype=np.int64) for end in (0, -1))
    counts = _count(recording, slots)
    total = np.concatenate([[0], np.cumsum(counts)])
    low = 0
    while low < len(counts):
        high = max(low + 1, int(np.searchsorted(total, total[low] + block, side="right")) - 1)
        if total[high] > total[low]:
            inside = np.flatnonzero((last >= low) & (first < high))
            yield _block(recording, [slots[i] for i in inside], low, high, total[low : high + 1] - total[low])
        low = high


def total_edges(recording: Recording) -> int:
    """The number of edges, counted without making them."""
    tape = recording.tape

    def of_slots(picked: bool) -> list[tuple[Call, int]]:
        return [(c, slot) for c in tape.calls for slot in edge_slots(c) if c.inputs[slot].picked == picked]  # type: ignore[union-attr]

    fixed = tape.of_graph("edges of fixed slots", lambda: sum(count_slot(tape, *of) for of in of_slots(False)))
    varying = tape.of_graph("varying slots", lambda: [(call.order, slot) for call, slot in of_slots(True)])
    return fixed + sum(count_slot(tape, tape.calls[order], slot) for order, slot in varying)


def _ready(slots: Iterable[SlotEdges]) -> list[_Slot]:
    """In the order of ties, those without vertices left out."""
    ordered = sorted(slots, key=lambda slot: (slot.call.order, slot.slot))
    return [ready for slot in ordered if len((ready := _one_ready(slot)).vertex)]


def _one_ready(slot: SlotEdges) -> _Slot:
    order, vertex = _sorted_vertices(slot.vertices())
    return _Slot(slot.slot, vertex, slot.fans(order), slot.interleaves)


def _sorted_vertices(vertex: Ints) -> tuple[Ints, Ints]:
    """Where the elements of an operand are in the order of their vertices, and those; constants are left out."""
    order = np.argsort(vertex, kind="stable")
    order = order[np.searchsorted(vertex[order], 0) :]
    return order, vertex[order]


def _block(recording: Recording, slots: list[_Slot], low: int, high: int, offsets: Ints) -> EdgeBlock:
    """The edges of vertices low..high; offsets[i]: where those of vertex low + i begin."""
    n = int(offsets[-1])
    src, dst = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    derivative = np.empty(n, dtype=recording.gradients.dtype)
    number = np.zeros(n, dtype=np.int16)
    cursor = offsets[:-1].copy()
    interleaved = False
    for slot in slots:
        start, stop = np.searchsorted(slot.vertex, (low, high))
        interleaved |= slot.interleaves
        chosen = slice(start, stop)
        recording.kernels.place_edges(
            src,
            dst,
            derivative,
            number,
            cursor,
            low,
            slot.slot,
            slot.vertex[chosen],
            slot.fans.first_target[chosen],
            slot.fans.stride,
            slot.fans.other,
            slot.fans.batch[chosen],
            slot.fans.row[chosen],
        )
    if interleaved:
        order = np.lexsort((edge_order(recording.tape).keys(dst, number), src))
        src, dst, number, derivative = src[order], dst[order], number[order], derivative[order]
    return EdgeBlock(src, dst, number, derivative)
