"""All edges of a recording, in blocks of bounded size, sorted by (source, operator, slot, target).

A source's edges come from many operators. For each slot the operand's elements are sorted by vertex once; then a block
of vertices collects its edges slot by slot, each written behind the ones before. Edges are sorted only
where an operand repeats a vertex.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import edges as kernels
from ..recording.recorder import Recording
from .slots import Contracted, Direct, EdgeOrder, contracted_slots, direct_slots, first_vertex, reduced_slot

Floats = NDArray[Any]
Ints = NDArray[np.int64]

BLOCK = 1 << 20  # edges in memory at a time; one vertex with more is a block of its own


@dataclass
class EdgeBlock:
    """E edges: source, target, slot, derivative and contribution, each of length E."""

    src: Ints
    dst: Ints
    slot: NDArray[np.int16]
    derivative: Floats
    contribution: Floats


@dataclass
class _Slot:
    """One slot ready to be written: its elements sorted by vertex, and where each one's row of targets begins."""

    slot: int
    vertex: Ints
    first_target: Ints
    stride: int
    other: Floats
    batch: Ints
    row: Ints
    interleaves: bool


def count_edges(recording: Recording) -> Ints:
    """The number of edges that leave each vertex: V."""
    return _count(_slots(recording), recording.n_vertices)


def _count(slots: list[_Slot], n_vertices: int) -> Ints:
    counts = np.zeros(n_vertices, dtype=np.int64)
    for slot in slots:
        kernels.add_at(counts, slot.vertex, np.broadcast_to(slot.other.shape[2], slot.vertex.shape))
    return counts


def edge_blocks(recording: Recording, block: int = BLOCK) -> Iterator[EdgeBlock]:
    """All edges, in blocks of at most `block` edges."""
    slots = _slots(recording)
    first, last = (np.array([slot.vertex[end] for slot in slots], dtype=np.int64) for end in (0, -1))
    counts = _count(slots, recording.n_vertices)
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
    total = 0
    for call in recording.tape.calls:
        if call.primitive.kind == "elementwise":
            for x in call.inputs:
                if x is not None and x.vertices is not None:
                    repeated = call.output.data.numel() // max(x.data.numel(), 1)
                    total += repeated * recording.kept.count(x.vertices)
        elif call.primitive.kind == "reduces":
            total += int((reduced_slot(recording.tape, call).vertex >= 0).sum())
    return total + sum(recording.kept.count(c.vertex) * c.other.shape[2] for c in contracted_slots(recording.tape))


def _slots(recording: Recording) -> list[_Slot]:
    found: list[tuple[tuple[int, int], _Slot]] = []
    for direct in direct_slots(recording.tape):
        found.append(((direct.call.order, direct.slot), _from_direct(recording, direct)))
    for contracted in contracted_slots(recording.tape):
        found.append(((contracted.call.order, contracted.slot), _from_contracted(recording, contracted)))
    return [slot for _, slot in sorted(found, key=lambda item: item[0]) if len(slot.vertex)]


def _from_direct(recording: Recording, direct: Direct) -> _Slot:
    order, vertex = _sorted_vertices(direct.vertex)
    target = first_vertex(recording.tape, direct.call) + direct.target[order]
    derivative = direct.derivative.reshape(1, -1, 1)
    return _Slot(direct.slot, vertex, target, 0, derivative, np.zeros_like(order), order, interleaves=False)


def _from_contracted(recording: Recording, contracted: Contracted) -> _Slot:
    _, n_x, n_y = contracted.vertex.shape
    order, vertex = _sorted_vertices(contracted.vertex.reshape(-1).numpy())
    batch, x, y = order // (n_x * n_y), order // n_y % n_x, order % n_y
    first = first_vertex(recording.tape, contracted.call) + contracted.offset
    target = first + batch * contracted.stride_b + x * contracted.stride_x
    other = contracted.other.numpy()
    return _Slot(contracted.slot, vertex, target, contracted.stride_z, other, batch, y, contracted.interleaves)


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
        kernels.place_edges(
            src,
            dst,
            derivative,
            number,
            cursor,
            low,
            slot.slot,
            slot.vertex[chosen],
            slot.first_target[chosen],
            slot.stride,
            slot.other,
            slot.batch[chosen],
            slot.row[chosen],
        )
    if interleaved:
        operator = np.searchsorted(EdgeOrder(recording.tape).first_vertex, dst, side="right")
        order = np.lexsort((dst, number, operator, src))
        src, dst, number, derivative = src[order], dst[order], number[order], derivative[order]
    return EdgeBlock(src, dst, number, derivative, recording.gradients[dst] * derivative)
