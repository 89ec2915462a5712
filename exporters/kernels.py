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
def _insert(rank: Any, derivative: Any, key: Any, v: int, s: float, d: float, k: int) -> None:
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
    table_rank: Any, table_derivative: Any, table_key: Any, vertex: Any, rank: Any, derivative: Any, key: Any
) -> None:
    """Insert E edges given as arrays; those of vertex -1, a constant, are none."""
    for e in range(vertex.shape[0]):
        if vertex[e] >= 0:
            _insert(table_rank, table_derivative, table_key, vertex[e], rank[e], derivative[e], key[e])


@njit(cache=True)
def add_at(total: Any, vertex: Any, amount: Any) -> None:
    """total[vertex[e]] += amount[e]; vertex -1, a constant, counts nothing."""
    for e in range(vertex.shape[0]):
        if vertex[e] >= 0:
            total[vertex[e]] += amount[e]


@njit(cache=True, parallel=True)
def best_products(left: Any, right: Any, keep: int) -> Any:
    """For every x and y the `keep` best z by |left[z, x] right[z, y]|, the smallest z first among equals.

    left : Z x X, right : Z x Y -> X x keep x Y, int32 (-1 where Z < keep)
    """
    n_z, n_x = left.shape
    n_y = right.shape[1]
    best_z = np.full((n_x, keep, n_y), -1, dtype=np.int32)
    for x in prange(n_x):
        best = np.full((keep, n_y), -1, dtype=left.dtype)
        candidate = np.empty(n_y, dtype=left.dtype)
        candidate_z = np.empty(n_y, dtype=np.int32)
        for z in range(n_z):
            factor = left[z, x]
            for y in range(n_y):
                candidate[y] = abs(factor * right[z, y])
                candidate_z[y] = z
            for r in range(keep):
                row, row_z = best[r], best_z[x, r]
                for y in range(n_y):
                    # a displaced candidate has a smaller z than what it meets below
                    wins = candidate[y] > row[y] or (candidate[y] == row[y] and candidate_z[y] < row_z[y])
                    a, b = candidate[y], row[y]
                    row[y] = a if wins else b
                    candidate[y] = b if wins else a
                    i, j = candidate_z[y], row_z[y]
                    row_z[y] = i if wins else j
                    candidate_z[y] = j if wins else i
    return best_z


@njit(cache=True, parallel=True)
def mend_underflow(left: Any, scaled: Any, right: Any, best_z: Any, tiny: float) -> None:
    """Choose again, by left[z, x] + log2 |right[z, y]|, where `best_products` compared numbers below tiny.

    left : Z x X logarithms; scaled: what was compared, their powers relative to the largest of each column
    """
    n_x, keep, n_y = best_z.shape
    n_z = left.shape[0]
    last = min(keep, n_z) - 1
    is_zero = np.ones(n_y, dtype=np.bool_)
    for z in range(n_z):
        for y in range(n_y):
            is_zero[y] &= right[z, y] == 0
    for x in prange(n_x):
        if np.max(left[:, x]) == -np.inf:
            continue
        best = np.empty(keep)
        for y in range(n_y):
            z = best_z[x, last, y]
            if is_zero[y] or abs(scaled[z, x] * right[z, y]) >= tiny:
                continue
            best[:] = -np.inf
            best_z[x, :, y] = -1
            for z in range(n_z):
                s = left[z, x] + np.log2(abs(right[z, y]))
                place = keep
                while place > 0 and (best_z[x, place - 1, y] < 0 or s > best[place - 1]):
                    place -= 1
                for r in range(keep - 1, place, -1):
                    best[r] = best[r - 1]
                    best_z[x, r, y] = best_z[x, r - 1, y]
                if place < keep:
                    best[place] = s
                    best_z[x, place, y] = z


@njit(cache=True)
def insert_products(
    table_rank: Any,
    table_derivative: Any,
    table_key: Any,
    vertex: Any,
    left: Any,
    right: Any,
    best_z: Any,
    key_z: Any,
    stride_x: int,
    logarithms: bool,
) -> None:
    """Insert what `best_products` found, ranked by |left * right|, or left + log2 |right| where left is `logarithms`.

    left holds scores, right derivatives; vertex : X x Y; key_z : Z.
    """
    n_x, keep, n_y = best_z.shape
    for x in range(n_x):
        for y in range(n_y):
            v = vertex[x, y]
            if v < 0:
                continue
            for r in range(keep):
                z = best_z[x, r, y]
                if z < 0:
                    break
                d = right[z, y]
                s = left[z, x] + np.log2(abs(d)) if logarithms else abs(left[z, x] * d)
                _insert(table_rank, table_derivative, table_key, v, s, d, key_z[z] + x * stride_x)


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
