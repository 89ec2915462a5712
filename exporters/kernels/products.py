"""Compiled kernels over matrix products: which of many targets is best for every source, without seeing them all.

A product is seen from one operand: source (x, y) reaches target (x, z), of score left[z, x], by derivative right[z, y].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from . import exact
from .edges import insert
from .exact import precedes
from .interface import Suffixes

_BLOCK = 256  # sources of one row looked at together: they stay in the nearest cache
_LOOKS = 8  # targets between two looks at whether the rest can still matter

Floats = NDArray[Any]


@njit(cache=True, parallel=True)
def largest_of_rows(right: Any) -> Any:
    """See Kernels."""
    largest = np.zeros(right.shape[0], dtype=right.dtype)
    for z in prange(right.shape[0]):
        most = largest[z]
        for y in range(right.shape[1]):
            most = max(most, abs(right[z, y]))
        largest[z] = most
    return largest


@njit(cache=True)
def _by_power_of_two(bound: Any) -> Any:
    """An order of `bound` in which what is at least twice as large comes first; one pass, where sorting takes many."""
    n = bound.shape[0]
    bucket = np.empty(n, dtype=np.int32)
    for z in range(n):
        bucket[z] = 1100 - math.frexp(bound[z])[1] if bound[z] > 0 else 2199
    start = np.zeros(2201, dtype=np.int64)
    for z in range(n):
        start[bucket[z] + 1] += 1
    for i in range(2200):
        start[i + 1] += start[i]
    order = np.empty(n, dtype=np.int32)
    for z in range(n):
        order[start[bucket[z]]] = z
        start[bucket[z]] += 1
    return order


@njit(cache=True, parallel=True)
def likely_products(left: Any, right: Any, largest: Any, keep: int, doubt: float) -> Any:
    """See Kernels.likely_products.

    Targets are taken in falling order of |left| * largest, which bounds their products; the rest is left unseen once
    the bound is below the worst product kept.
    """
    n_z, n_x = left.shape
    n_y = right.shape[1]
    n_blocks = (n_y + _BLOCK - 1) // _BLOCK
    best_z = np.full((n_x, keep, n_y), -1, dtype=np.int32)
    doubtful = np.zeros((n_x, n_y if doubt > 0 else 0), dtype=np.bool_)
    bound = np.empty((n_x, n_z), dtype=left.dtype)
    order = np.empty((n_x, n_z), dtype=np.int32)
    for x in prange(n_x):
        for z in range(n_z):
            bound[x, z] = abs(left[z, x]) * largest[z]
        order[x] = _by_power_of_two(bound[x])
    for task in prange(n_x * n_blocks):
        x = task // n_blocks
        low = (task % n_blocks) * _BLOCK
        n = min(n_y - low, _BLOCK)
        best = np.full((keep, n), -1, dtype=left.dtype)
        of_best = np.full((keep, n), -1, dtype=np.int32)
        candidate = np.empty(n, dtype=left.dtype)
        candidate_z = np.empty(n, dtype=np.int32)
        left_out = np.full(n, -1, dtype=left.dtype)
        worst = best[keep - 1].min()
        looked = 0
        for place in range(n_z):
            z = order[x, place]
            if 2 * bound[x, z] < worst:
                break
            if bound[x, z] < worst * (1 - doubt):
                continue
            factor, number, row = left[z, x], np.int32(z), right[z, low : low + n]
            for y in range(n):
                candidate[y] = abs(factor * row[y])
                candidate_z[y] = number
            for r in range(keep):
                kept, kept_z = best[r], of_best[r]
                for y in range(n):
                    a, b = candidate[y], kept[y]
                    i, j = candidate_z[y], kept_z[y]
                    wins = (a > b) | ((a == b) & (i < j))
                    kept[y] = a if wins else b
                    candidate[y] = b if wins else a
                    kept_z[y] = i if wins else j
                    candidate_z[y] = j if wins else i
            if doubt > 0:
                for y in range(n):
                    left_out[y] = max(left_out[y], candidate[y])
            looked += 1
            if looked % _LOOKS == 0:
                worst = best[keep - 1].min()
        best_z[x, :, low : low + n] = of_best
        if doubt > 0:
            for y in range(n):
                doubtful[x, low + y] = left_out[y] > 0 and left_out[y] >= best[keep - 1, y] * (1 - doubt)
    return best_z, doubtful


@njit(cache=True, parallel=True)
def choose_exactly(
    table_derivative: Any,
    table_key: Any,
    left: Any,
    scaled: Any,
    right: Any,
    best_z: Any,
    doubtful: Any,
    key_x: Any,
    key_z: Any,
    tiny: float,
    *arrays: Any,
) -> None:
    """See Kernels."""
    suffixes = Suffixes(*arrays)
    n_x, keep, n_y = best_z.shape
    n_z = left.shape[0]
    last = min(keep, n_z) - 1
    largest = np.zeros(n_y)
    for z in range(n_z):
        for y in range(n_y):
            largest[y] = max(largest[y], abs(right[z, y]))
    for x in prange(n_x):
        if np.max(left[:, x]) == -np.inf:
            continue
        rank = np.empty(keep)
        for y in range(n_y):
            # a target whose scaled score is 0 may still win by a derivative above 1
            worst = abs(scaled[best_z[x, last, y], x] * right[best_z[x, last, y], y])
            if not doubtful[x, y] and (largest[y] == 0 or worst >= tiny * max(largest[y], 1.0)):
                continue
            rank[:] = -np.inf
            best_z[x, :, y] = -1
            for z in range(n_z):
                d, k = right[z, y], key_x[x] + key_z[z]
                s = left[z, x] + np.log2(np.float64(abs(d)))
                place = keep
                while place > 0:
                    other = best_z[x, place - 1, y]
                    if other >= 0 and not precedes(
                        suffixes,
                        table_derivative,
                        table_key,
                        s,
                        d,
                        k,
                        rank[place - 1],
                        right[other, y],
                        key_x[x] + key_z[other],
                    ):
                        break
                    place -= 1
                for r in range(keep - 1, place, -1):
                    rank[r] = rank[r - 1]
                    best_z[x, r, y] = best_z[x, r - 1, y]
                if place < keep:
                    rank[place] = s
                    best_z[x, place, y] = z


@njit(cache=True)
def _insert_row(
    table_rank: Any,
    table_derivative: Any,
    table_key: Any,
    vertex: Any,
    left: Any,
    right: Any,
    best_z: Any,
    key_x: Any,
    key_z: Any,
    x: int,
) -> None:
    for y in range(vertex.shape[1]):
        v = vertex[x, y]
        if v < 0:
            continue
        for r in range(best_z.shape[1]):
            z = best_z[x, r, y]
            if z < 0:
                break
            d = right[z, y]
            insert(table_rank, table_derivative, table_key, v, abs(left[z, x] * d), d, key_x[x] + key_z[z])


@njit(cache=True, parallel=True)
def insert_products(
    table_rank: Any,
    table_derivative: Any,
    table_key: Any,
    vertex: Any,
    left: Any,
    right: Any,
    best_z: Any,
    key_x: Any,
    key_z: Any,
    distinct: bool,
) -> None:
    """See Kernels."""
    arguments = (vertex, left, right, best_z, key_x, key_z)
    if distinct:
        for x in prange(vertex.shape[0]):
            _insert_row(table_rank, table_derivative, table_key, *arguments, x)
    else:
        for x in range(vertex.shape[0]):
            _insert_row(table_rank, table_derivative, table_key, *arguments, x)


@njit(cache=True)
def _insert_row_exactly(
    suffixes: Any,
    rank: Any,
    derivative: Any,
    key: Any,
    vertex: Any,
    left: Any,
    right: Any,
    best_z: Any,
    key_x: Any,
    key_z: Any,
    x: int,
) -> None:
    for y in range(vertex.shape[1]):
        v = vertex[x, y]
        for r in range(best_z.shape[1] if v >= 0 else 0):
            z = best_z[x, r, y]
            if z < 0:
                break
            d = right[z, y]
            s = left[z, x] + np.log2(np.float64(abs(d)))
            exact.insert(suffixes, rank, derivative, key, v, s, d, key_x[x] + key_z[z])


@njit(cache=True, parallel=True)
def insert_products_exactly(
    rank: Any,
    derivative: Any,
    key: Any,
    vertex: Any,
    left: Any,
    right: Any,
    best_z: Any,
    key_x: Any,
    key_z: Any,
    distinct: bool,
    *arrays: Any,
) -> None:
    """See Kernels."""
    suffixes = Suffixes(*arrays)
    arguments = (vertex, left, right, best_z, key_x, key_z)
    if distinct:
        for x in prange(vertex.shape[0]):
            _insert_row_exactly(suffixes, rank, derivative, key, *arguments, x)
    else:
        for x in range(vertex.shape[0]):
            _insert_row_exactly(suffixes, rank, derivative, key, *arguments, x)


@njit(cache=True, parallel=True)
def count_best(left: Any, right: Any) -> Any:
    """See Kernels."""
    n_z, n_x = left.shape
    n_y = right.shape[1]
    paths = np.zeros((n_x, n_z), dtype=np.int64)
    weight = np.zeros((n_x, n_z))
    norms = np.zeros((n_x, 4))
    fours = n_z - n_z % 4
    for x in prange(n_x):
        best = np.empty(_BLOCK, dtype=left.dtype)
        best_z = np.empty(_BLOCK, dtype=np.int32)
        gradient = np.empty(_BLOCK, dtype=left.dtype)
        for low in range(0, n_y, _BLOCK):
            n = min(n_y - low, _BLOCK)
            best[:] = 0
            best_z[:] = -1
            gradient[:] = 0
            for z in range(0, fours, 4):  # four at a time: what is known of a source stays in registers
                f0, f1, f2, f3 = left[z, x], left[z + 1, x], left[z + 2, x], left[z + 3, x]
                z0, z1, z2, z3 = np.int32(z), np.int32(z + 1), np.int32(z + 2), np.int32(z + 3)
                row0, row1 = right[z, low : low + n], right[z + 1, low : low + n]
                row2, row3 = right[z + 2, low : low + n], right[z + 3, low : low + n]
                for y in range(n):
                    p0, p1, p2, p3 = f0 * row0[y], f1 * row1[y], f2 * row2[y], f3 * row3[y]
                    gradient[y] += p0 + p1 + p2 + p3
                    size, chosen = best[y], best_z[y]
                    chosen = z0 if abs(p0) > size else chosen
                    size = max(abs(p0), size)
                    chosen = z1 if abs(p1) > size else chosen
                    size = max(abs(p1), size)
                    chosen = z2 if abs(p2) > size else chosen
                    size = max(abs(p2), size)
                    best_z[y] = z3 if abs(p3) > size else chosen
                    best[y] = max(abs(p3), size)
            for z in range(fours, n_z):
                factor, number, row = left[z, x], np.int32(z), right[z, low : low + n]
                for y in range(n):
                    product = factor * row[y]
                    gradient[y] += product
                    best_z[y] = number if abs(product) > best[y] else best_z[y]
                    best[y] = max(abs(product), best[y])
            _tally(best_z[:n], gradient[:n], paths[x], weight[x], norms[x])
    return paths, weight, norms


@njit(cache=True)
def _tally(best_z: Any, gradient: Any, paths: Any, weight: Any, norms: Any) -> None:
    """Count sources, given the best target of each (-1: none) and its gradient, into one row of `count_best`."""
    l1, squares, largest, zeros = 0.0, 0.0, 0.0, 0
    for y in range(best_z.shape[0]):
        size = np.float64(abs(gradient[y]))
        l1 += size
        squares += size * size
        largest = max(largest, size)
        zeros += size == 0
        if best_z[y] >= 0:
            paths[best_z[y]] += 1
            weight[best_z[y]] += size
    norms[0] += l1
    norms[1] += squares
    norms[2] = max(norms[2], largest)
    norms[3] += zeros
