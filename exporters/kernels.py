"""Compiled kernels: the best K edges of every vertex, and the edges themselves.

The table of best edges has, for each of V vertices, K places: rank (what the method ranks by, largest first),
derivative and key. A *key* numbers the edges of a graph in the order in which ties are broken, (operator, slot,
target), so that one comparison of integers decides a tie and the result does not depend on the order of insertion.
NO_EDGE, the largest key, marks an empty place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

NO_EDGE = np.iinfo(np.int64).max

Floats = NDArray[Any]
Ints = NDArray[np.int64]


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
    logarithms: bool,
) -> None:
    """Insert E edges, ranked as by `insert_products`; those of row -1, a constant, are none.

    score: of the operator's output elements, of which target[e] is one     key: of an edge to element 0
    """
    for e in range(row.shape[0]):
        if row[e] >= 0:
            d = derivative[e]
            s = score[target[e]]
            rank = s + np.log2(np.float64(abs(d))) if logarithms else abs(s * d)
            insert(table_rank, table_derivative, table_key, row[e], rank, d, key + target[e])


@njit(cache=True)
def add_at(total: Any, vertex: Any, amount: Any) -> None:
    """total[vertex[e]] += amount[e]; vertex -1, a constant, counts nothing."""
    for e in range(vertex.shape[0]):
        if vertex[e] >= 0:
            total[vertex[e]] += amount[e]


@njit(cache=True, parallel=True, fastmath={"reassoc"})
def norms(numbers: Any, first: Any, size: Any) -> Any:
    """Sum of |.|, sum of squares, largest |.| and zeros of numbers[first[i] : first[i] + size[i]]: N x 4."""
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
    """Key -> target vertex and slot. base, size, first_vertex: of each operator, base ascending."""
    target = np.full(key.shape[0], -1, dtype=np.int64)
    slot = np.zeros(key.shape[0], dtype=np.int16)
    for e in prange(key.shape[0]):
        if key[e] != NO_EDGE:
            o = np.searchsorted(base, key[e], side="right") - 1
            offset = key[e] - base[o]
            slot[e] = offset // size[o]
            target[e] = first_vertex[o] + offset % size[o]
    return target, slot


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
    """Write all edges of N operand elements behind those already written for the same vertices.

    vertex: N, ascending; first_target: N, the target of fan 0; other[batch, row, fan]: derivative
    cursor: place of the next edge of vertex low + i in src, dst, derivative and slot
    """
    fan_out = other.shape[2]
    for i in range(vertex.shape[0]):
        at = cursor[vertex[i] - low]
        for f in range(fan_out):
            src[at + f] = vertex[i]
            dst[at + f] = first_target[i] + f * stride
            derivative[at + f] = other[batch[i], row[i], f]
            slot[at + f] = slot_number
        cursor[vertex[i] - low] = at + fan_out
