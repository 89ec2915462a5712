"""Compiled kernels over lists of edges: the best K edges of every vertex, and the edges themselves.

`interface.py` says what each computes; those that begin with `low, high` do it for a range of rows, see `threads.py`.
Inner loops run over slices from 0 on: an index that may be below 0 keeps LLVM from vectorising them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import inlined, kernel
from .interface import NO_EDGE


@inlined()
def insert(rank: Any, derivative: Any, key: Any, v: int, s: float, d: float, k: int) -> None:
    """Put one edge into vertex v's places, sorted by rank downwards, then key upwards."""
    place = rank.shape[1] - 1
    if s < rank[v, place] or (s == rank[v, place] and k > key[v, place]):
        return
    while place > 0 and (s > rank[v, place - 1] or (s == rank[v, place - 1] and k < key[v, place - 1])):
        rank[v, place] = rank[v, place - 1]
        derivative[v, place] = derivative[v, place - 1]
        key[v, place] = key[v, place - 1]
        place -= 1
    rank[v, place] = s
    derivative[v, place] = d
    key[v, place] = k


@kernel()
def insert_edges(
    table_rank: Any,
    table_derivative: Any,
    table_key: Any,
    row: Any,
    score: Any,
    target: Any,
    derivative: Any,
    key: int,
) -> None:
    """See Kernels.insert_pairs."""
    for e in range(row.shape[0]):
        if row[e] >= 0:
            d = derivative[e]
            rank = abs(score[target[e]] * d)
            insert(table_rank, table_derivative, table_key, row[e], rank, d, key + target[e])


@kernel()
def add_at(total: Any, vertex: Any, amount: Any) -> None:
    """See Kernels."""
    for e in range(vertex.shape[0]):
        if vertex[e] >= 0:
            total[vertex[e]] += amount[e]


@kernel(fastmath={"reassoc"})
def norms(low: int, high: int, numbers: Any, first: Any, size: Any, found: Any) -> None:
    """See Kernels."""
    for i in range(low, high):
        span = numbers[first[i] : first[i] + size[i]]
        l1, squares, largest, zeros = 0.0, 0.0, 0.0, 0
        for j in range(span.shape[0]):
            number = np.float64(abs(span[j]))
            l1 += number
            squares += number * number
            zeros += number == 0
        for j in range(span.shape[0]):
            largest = max(largest, np.float64(abs(span[j])))
        found[i, 0], found[i, 1], found[i, 2], found[i, 3] = l1, squares, largest, zeros


@inlined()
def operator_of(base: Any, key: int) -> int:
    """The operator that an edge leads to: the last whose keys begin at `key` or before."""
    low, high = 0, base.shape[0]
    while high - low > 1:
        middle = (low + high) // 2
        if base[middle] <= key:
            low = middle
        else:
            high = middle
    return low


@kernel()
def decode_keys(low: int, high: int, key: Any, base: Any, size: Any, first_vertex: Any, slot: Any) -> None:
    """See Kernels."""
    o, begin, end = 0, 0, 0
    for e in range(low, high):
        slot[e] = 0
        if key[e] == NO_EDGE:
            key[e] = -1
            continue
        if key[e] < begin or key[e] >= end:  # neighbours mostly share their operator
            o = operator_of(base, key[e])
            begin, end = base[o], base[o + 1] if o + 1 < base.shape[0] else NO_EDGE
        offset, number = key[e] - begin, 0
        while offset >= size[o]:
            offset -= size[o]
            number += 1
        slot[e] = number
        key[e] = first_vertex[o] + offset


@kernel()
def contributions(low: int, high: int, target: Any, derivative: Any, gradient: Any, found: Any) -> None:
    """See Kernels."""
    target, derivative, found = target[low:high], derivative[low:high], found[low:high]
    for e in range(high - low):
        found[e] = gradient[target[e]] * derivative[e] if target[e] >= 0 else 0


@kernel()
def count_places(low: int, high: int, row: Any, target: Any, start: Any) -> None:
    """start[i + 1] = the number of edges in row[i] of a table of best edges."""
    for i in range(low, high):
        n = 0
        for r in range(target.shape[1]):
            n += target[row[i], r] >= 0
        start[i + 1] = n


@kernel()
def edge_rows(
    low: int,
    high: int,
    vertex: Any,
    row: Any,
    target: Any,
    slot: Any,
    derivative: Any,
    start: Any,
    src: Any,
    dst: Any,
    rank: Any,
    slots: Any,
    derivatives: Any,
) -> None:
    """See Kernels."""
    for i in range(low, high):
        at = start[i]
        for r in range(start[i + 1] - start[i]):
            src[at], dst[at], rank[at] = vertex[i], target[row[i], r], r + 1
            slots[at], derivatives[at] = slot[row[i], r], derivative[row[i], r]
            at += 1


@kernel()
def place_edges(
    src: Any,
    dst: Any,
    derivative: Any,
    slot: Any,
    cursor: Any,
    low: int,
    slot_number: int,
    vertex: Any,
    first_target: Any,
    stride: int,
    other: Any,
    batch: Any,
    row: Any,
) -> None:
    """See Kernels."""
    fan_out = other.shape[2]
    for i in range(vertex.shape[0]):
        at = cursor[vertex[i] - low]
        for f in range(fan_out):
            src[at + f] = vertex[i]
            dst[at + f] = first_target[i] + f * stride
            derivative[at + f] = other[batch[i], row[i], f]
            slot[at + f] = slot_number
        cursor[vertex[i] - low] = at + fan_out
