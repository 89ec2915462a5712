"""Compiled kernels over matrix products: which of many targets is best for every source, without seeing them all.

A product is seen from one operand: source (x, y) reaches target (x, z), of score left[z, x], by derivative right[z, y].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import exact
from .compiled import inlined, kernel
from .edges import insert
from .exact import precedes
from .interface import Suffixes

BLOCK = 256  # sources of one row looked at together: they stay in the nearest cache
POWERS = 2200  # of two that a float's size may have, and one more for 0
_LOOKS = 8  # targets between two looks at whether the rest can still matter


@inlined()
def _by_power_of_two(bound: Any, start: Any, order: Any) -> None:
    """An order of `bound` in which what is at least twice as large comes first; one pass, where sorting takes many.

    start: POWERS + 1, written over
    """
    start[:] = 0
    for z in range(bound.shape[0]):
        start[_power_of_two(bound[z]) + 1] += 1
    for i in range(POWERS):
        start[i + 1] += start[i]
    for z in range(bound.shape[0]):
        at = _power_of_two(bound[z])
        order[start[at]] = z
        start[at] += 1


@inlined()
def _power_of_two(bound: float) -> int:
    # from 0, the largest, to POWERS - 1 for nothing
    return 1100 - math.frexp(bound)[1] if bound > 0 else POWERS - 1


@inlined(fastmath={"nnan", "nsz"})  # or it would look at one after the other
def _least(numbers: Any) -> Any:
    least = numbers[0]
    for i in range(numbers.shape[0]):
        least = numbers[i] if numbers[i] < least else least
    return least


@kernel()
def likely_products(
    low: int,
    high: int,
    left: Any,
    right: Any,
    largest: Any,
    doubt: float,
    best_z: Any,
    doubtful: Any,
    bound: Any,
    start: Any,
    order: Any,
    best: Any,
    of_best: Any,
) -> None:
    """See Kernels.likely_products, of which this finds blocks low .. high, counted row by row.

    Targets are taken in falling order of |left| * largest, which bounds their products; the rest is left unseen once
    the bound is below the worst product kept.

    bound, order : Z, start : POWERS + 1: room for this range, as are
    best, of_best : keep + 2 x BLOCK: the products kept of a block, then one more, and the largest left out
    """
    keep, n_z, n_y = best_z.shape[1], left.shape[0], right.shape[1]
    n_blocks = (n_y + BLOCK - 1) // BLOCK
    last, candidate, left_out, of_candidate = best[keep - 1], best[keep], best[keep + 1], of_best[keep]
    ordered = -1
    for task in range(low, high):
        x, begin = task // n_blocks, task % n_blocks * BLOCK
        if x != ordered:
            for z in range(n_z):
                bound[z] = abs(left[z, x]) * largest[z]
            _by_power_of_two(bound, start, order)
            ordered = x
        n = min(n_y - begin, BLOCK)
        best[:] = -1
        of_best[:] = -1
        worst = best[0, 0]
        looked = 0
        for place in range(n_z):
            z = order[place]
            if 2 * bound[z] < worst:
                break
            if bound[z] < worst * (1 - doubt):
                continue
            factor, number, row = left[z, x], np.int32(z), right[z, begin : begin + n]
            for y in range(n):
                candidate[y] = abs(factor * row[y])
                of_candidate[y] = number
            for r in range(keep):
                kept, of_kept = best[r], of_best[r]
                for y in range(n):
                    a, b = candidate[y], kept[y]
                    i, j = of_candidate[y], of_kept[y]
                    wins = (a > b) | ((a == b) & (i < j))
                    kept[y] = a if wins else b
                    candidate[y] = b if wins else a
                    of_kept[y] = i if wins else j
                    of_candidate[y] = j if wins else i
            if doubt > 0:
                for y in range(n):
                    left_out[y] = max(left_out[y], candidate[y])
            looked += 1
            if looked % _LOOKS == 0:
                worst = _least(last[:n])
        for r in range(keep):
            found, of_kept = best_z[x, r, begin : begin + n], of_best[r]
            for y in range(n):
                found[y] = of_kept[y]
        if doubt > 0:
            for y in range(n):
                doubtful[x, begin + y] = left_out[y] > 0 and left_out[y] >= last[y] * (1 - doubt)


@kernel()
def choose_exactly(
    low: int,
    high: int,
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
    top: Any,
    largest: Any,
    rank: Any,
    *arrays: Any,
) -> None:
    """See Kernels.

    top : X, largest of left over z     largest : Y, of |right| over z     rank : keep, room for this range
    """
    suffixes = Suffixes(*arrays)
    keep, n_z = best_z.shape[1], left.shape[0]
    last = min(keep, n_z) - 1
    for x in range(low, high):
        if top[x] == -np.inf:
            continue
        for y in range(right.shape[1]):
            # a target whose scaled score is 0 may still win by a derivative above 1
            worst = abs(scaled[best_z[x, last, y], x] * right[best_z[x, last, y], y])
            if not doubtful[x, y] and (largest[y] == 0 or worst >= tiny * max(largest[y], 1.0)):
                continue
            for r in range(keep):
                rank[r], best_z[x, r, y] = -np.inf, -1
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


@kernel()
def insert_products(
    low: int,
    high: int,
    table_rank: Any,
    table_derivative: Any,
    table_key: Any,
    vertex: Any,
    left: Any,
    right: Any,
    best_z: Any,
    key_x: Any,
    key_z: Any,
) -> None:
    """See Kernels."""
    for x in range(low, high):
        for y in range(vertex.shape[1]):
            v = vertex[x, y]
            for r in range(best_z.shape[1] if v >= 0 else 0):
                z = best_z[x, r, y]
                if z < 0:
                    break
                d = right[z, y]
                insert(table_rank, table_derivative, table_key, v, abs(left[z, x] * d), d, key_x[x] + key_z[z])


@kernel()
def insert_products_exactly(
    low: int,
    high: int,
    rank: Any,
    derivative: Any,
    key: Any,
    vertex: Any,
    left: Any,
    right: Any,
    best_z: Any,
    key_x: Any,
    key_z: Any,
    *arrays: Any,
) -> None:
    """See Kernels."""
    suffixes = Suffixes(*arrays)
    for x in range(low, high):
        for y in range(vertex.shape[1]):
            v = vertex[x, y]
            for r in range(best_z.shape[1] if v >= 0 else 0):
                z = best_z[x, r, y]
                if z < 0:
                    break
                d = right[z, y]
                s = left[z, x] + np.log2(np.float64(abs(d)))
                exact.insert(suffixes, rank, derivative, key, v, s, d, key_x[x] + key_z[z])


@kernel()
def count_best(
    low: int,
    high: int,
    left: Any,
    right: Any,
    paths: Any,
    weight: Any,
    norms: Any,
    best: Any,
    best_z: Any,
    gradient: Any,
) -> None:
    """See Kernels. best, best_z, gradient : BLOCK, room for this range"""
    n_z, n_y = left.shape[0], right.shape[1]
    fours = n_z - n_z % 4
    for x in range(low, high):
        for begin in range(0, n_y, BLOCK):
            n = min(n_y - begin, BLOCK)
            for y in range(n):
                best[y], best_z[y], gradient[y] = 0, -1, 0
            for z in range(0, fours, 4):  # four at a time: what is known of a source stays in registers
                f0, f1, f2, f3 = left[z, x], left[z + 1, x], left[z + 2, x], left[z + 3, x]
                z0, z1, z2, z3 = np.int32(z), np.int32(z + 1), np.int32(z + 2), np.int32(z + 3)
                row0, row1 = right[z, begin : begin + n], right[z + 1, begin : begin + n]
                row2, row3 = right[z + 2, begin : begin + n], right[z + 3, begin : begin + n]
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
                factor, number, row = left[z, x], np.int32(z), right[z, begin : begin + n]
                for y in range(n):
                    product = factor * row[y]
                    gradient[y] += product
                    best_z[y] = number if abs(product) > best[y] else best_z[y]
                    best[y] = max(abs(product), best[y])
            _tally(best_z, gradient, n, paths[x], weight[x], norms[x])


@kernel()
def _tally(best_z: Any, gradient: Any, n: int, paths: Any, weight: Any, norms: Any) -> None:
    """Count sources, given the best target of each of n (-1: none) and its gradient, into one row of `count_best`."""
    l1, squares, largest, zeros = 0.0, 0.0, 0.0, 0
    for y in range(n):
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


@kernel()
def tally_products(
    low: int,
    high: int,
    left: Any,
    right: Any,
    best_z: Any,
    gradient: Any,
    step_x: int,
    step_y: int,
    paths: Any,
    weight: Any,
) -> None:
    """See Kernels. The gradient of source (x, y) is number x * step_x + y * step_y."""
    for x in range(low, high):
        for y in range(right.shape[1]):
            z = best_z[x, 0, y]
            if left[z, x] * right[z, y] != 0:
                paths[x, z] += 1
                weight[x, z] += np.float64(abs(gradient[x * step_x + y * step_y]))


@kernel()
def product_rows(
    low: int,
    high: int,
    first: int,
    turned: bool,
    target: Any,
    slot: Any,
    right: Any,
    best_z: Any,
    src: Any,
    dst: Any,
    rank: Any,
    slots: Any,
    derivative: Any,
) -> None:
    """See Kernels, of which this makes those of rows low .. high of the outer axis."""
    keep, n_inner = best_z.shape[1], best_z.shape[0] if turned else best_z.shape[2]
    at = low * n_inner * keep
    for outer in range(low, high):
        for inner in range(n_inner):
            x, y = (inner, outer) if turned else (outer, inner)
            for r in range(keep):
                z = best_z[x, r, y]
                src[at], dst[at], rank[at] = first + outer * n_inner + inner, target[z, x], r + 1
                slots[at], derivative[at] = slot[z], right[z, y]
                at += 1
