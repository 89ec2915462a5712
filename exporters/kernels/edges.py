"""Compiled kernels over lists of edges: the best K edges of every vertex, and the edges themselves.

`interface.py` says what each computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from .interface import NO_EDGE

_BLOCK = 4096  # keys decoded by one core at a time


@njit(cache=True)
def insert(rank: Any, derivative: Any, key: Any, v: int, s: float, d: float, k: int) -> None:
    """Put one edge into vertex v's places, sorted by rank downwards, then key upwards."""
    keep = rank.shape[1]
    if s < rank[v, keep - 1] or (s == rank[v, keep - 1] and k > key[v, keep - 1]):
        return
    place = keep - 1
    while place > 0 and (s > rank[v, place - 1] or (s == rank[v, place - 1] and k < key[v, place - 1])):
        rank[v, place] = rank[v, place - 1]
        derivative[v, place] = derivative[v, place - 1]
        key[v, place] = key[v, place - 1]
        place -= 1
    rank[v, place] = s
    derivative[v, place] = d
    key[v, place] = k


@njit(cache=True)
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


@njit(cache=True)
def add_at(total: Any, vertex: Any, amount: Any) -> None:
    """See Kernels."""
    for e in range(vertex.shape[0]):
        if vertex[e] >= 0:
            total[vertex[e]] += amount[e]


@njit(cache=True, parallel=True, fastmath={"reassoc"})
def norms(numbers: Any, first: Any, size: Any) -> Any:
    """See Kernels."""
    found = np.zeros((first.shape[0], 4))
    for i in prange(first.shape[0]):
        span = numbers[first[i] : first[i] + size[i]]
        l1, squares, zeros = 0.0, 0.0, 0
        for j in range(span.shape[0]):
            number = np.float64(abs(span[j]))
            l1 += number
            squares += number * number
            zeros += number == 0
        largest = 0.0
        for j in range(span.shape[0]):
            largest = max(largest, np.float64(abs(span[j])))
        found[i, 0], found[i, 1], found[i, 2], found[i, 3] = l1, squares, largest, zeros
    return found


@njit(cache=True, parallel=True)
def decode_keys(key: Any, base: Any, size: Any, first_vertex: Any) -> Any:
    """See Kernels."""
    n = key.shape[0]
    slot = np.zeros(n, dtype=np.int16)
    for block in prange((n + _BLOCK - 1) // _BLOCK):
        o, low, high = 0, 0, 0
        for e in range(block * _BLOCK, min((block + 1) * _BLOCK, n)):
            if key[e] == NO_EDGE:
                key[e] = -1
                continue
            if key[e] < low or key[e] >= high:  # neighbours mostly share their operator
                o = np.searchsorted(base, key[e], side="right") - 1
                low, high = base[o], base[o + 1] if o + 1 < base.shape[0] else NO_EDGE
            offset, number = key[e] - low, 0
            while offset >= size[o]:
                offset -= size[o]
                number += 1
            slot[e] = number
            key[e] = first_vertex[o] + offset
    return slot


@njit(cache=True, parallel=True)
def contributions(target: Any, derivative: Any, gradient: Any, found: Any) -> None:
    """See Kernels."""
    for e in prange(target.shape[0]):
        found[e] = gradient[target[e]] * derivative[e] if target[e] >= 0 else 0


@njit(cache=True, parallel=True)
def edge_rows(vertex: Any, target: Any, start: Any, gradient: Any, derivative: Any) -> Any:
    """See Kernels."""
    n = start[-1]
    src, dst = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    rank, contribution = np.empty(n, dtype=np.int16), np.empty(n, dtype=derivative.dtype)
    for i in prange(vertex.shape[0]):
        for r in range(start[i + 1] - start[i]):
            at, to = start[i] + r, target[i, r]
            src[at], dst[at], rank[at] = vertex[i], to, r + 1
            contribution[at] = gradient[to] * derivative[i, r]
    return src, dst, rank, contribution


@njit(cache=True)
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
