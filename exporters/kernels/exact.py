"""Products over whole paths compared without rounding: which of two edges leads to the larger one, or none.

The product behind a vertex is kept in two ways: as mantissa * 2^exponent with a mantissa of two floats (106 bits),
and as its residue modulo the prime 2^61 - 1, a number that equal products share however their factors are split. Far
apart, logarithms decide. Near each other, the two mantissas do; where they differ by no more than their own rounding,
equal residues are a tie (others collide once in 2^61), and different ones are multiplied out in whole numbers.

Kernels that are called from Python take the arrays of Suffixes behind their other arguments: as one tuple they would
cost more than small operators do.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .compiled import allocating, inlined, kernel
from .edges import operator_of
from .interface import NO_EDGE, Suffixes

_PRIME = np.uint64((1 << 61) - 1)
_SPLIT = 134217729.0  # 2^27 + 1: cuts a float in two of 26 bits, whose products are exact
_CERTAIN = 2.0**-80  # mantissas this far apart differ truly, for paths of up to a million edges
_NEAR = 2.0**-34  # logarithms this near, over 1 + their size, may be in the wrong order
_LIMB = 27  # bits of a digit of whole numbers


@inlined()
def near(a: float, b: float) -> bool:
    """Whether two logarithms are so near each other that rounding may have swapped them."""
    return abs(a - b) <= _NEAR * (1.0 + abs(a) + abs(b))


@kernel()
def precedes(
    suffixes: Any, derivative: Any, key: Any, s: float, d: float, k: int, t: float, e: float, other: int
) -> bool:
    """Whether edge (s, d, k) stands before edge (t, e, other): rank, derivative and key of each.

    derivative, key : T x K, the table of best edges, whose first column is final for all that the edges lead to
    """
    if not s > -np.inf:
        return not t > -np.inf and k < other
    if not t > -np.inf:
        return True
    if not near(s, t):
        return s > t
    order = compare(suffixes, derivative, key, d, k, e, other)
    return order > 0 or (order == 0 and k < other)


@inlined()
def insert(suffixes: Any, rank: Any, derivative: Any, key: Any, v: int, s: float, d: float, k: int) -> None:
    """Put one edge into row v of the table, in the order of products, then of keys."""
    place = rank.shape[1]
    while place > 0:
        t, other = rank[v, place - 1], key[v, place - 1]
        if not s > -np.inf:
            before = not t > -np.inf and k < other
        elif t == -np.inf or not near(s, t):
            before = s > t
        else:
            before = precedes(suffixes, derivative, key, s, d, k, t, derivative[v, place - 1], other)
        if not before:
            break
        place -= 1
    for r in range(rank.shape[1] - 1, place, -1):
        rank[v, r], derivative[v, r], key[v, r] = rank[v, r - 1], derivative[v, r - 1], key[v, r - 1]
    if place < rank.shape[1]:
        rank[v, place], derivative[v, place], key[v, place] = s, d, k


@kernel()
def insert_edges(
    rank: Any,
    derivative: Any,
    key: Any,
    row: Any,
    score: Any,
    target: Any,
    of_edge: Any,
    first_key: int,
    *arrays: Any,
) -> None:
    """See Kernels.insert_pairs_exactly."""
    suffixes = Suffixes(*arrays)
    for e in range(row.shape[0]):
        if row[e] >= 0:
            d = of_edge[e]
            s = score[target[e]] + np.log2(np.float64(abs(d)))
            insert(suffixes, rank, derivative, key, row[e], s, d, first_key + target[e])


@kernel()
def target_of(suffixes: Any, key: int) -> int:
    """The number, among the activations, of the vertex that an edge leads to."""
    base, size, first_vertex = suffixes.operators
    o = operator_of(base, key)
    found: int = first_vertex[o] + (key - base[o]) % size[o] - suffixes.first_activation
    return found


@kernel()
def compare(suffixes: Any, derivative: Any, key: Any, d: float, k: int, e: float, other: int) -> int:
    """1, 0 or -1: whether the product over edge (d, k) is larger than that over (e, other), equal, or smaller."""
    a_exponent, a_high, a_low, a_residue = extended(suffixes, d, k)
    b_exponent, b_high, b_low, b_residue = extended(suffixes, e, other)
    if a_exponent != b_exponent:
        if abs(a_exponent - b_exponent) > 1:
            return 1 if a_exponent > b_exponent else -1
        if a_exponent > b_exponent:
            a_high, a_low = 2 * a_high, 2 * a_low
        else:
            b_high, b_low = 2 * b_high, 2 * b_low
    difference = (a_high - b_high) + (a_low - b_low)
    if abs(difference) > _CERTAIN * a_high:
        return 1 if difference > 0 else -1
    if a_residue == b_residue:
        return 0
    return _compare_whole(suffixes, derivative, key, d, k, e, other)


@kernel()
def extended(suffixes: Any, d: float, key: int) -> tuple[int, float, float, Any]:
    """Exponent, mantissa (0.5 to 1) and residue of |d| times the product behind the vertex that an edge leads to."""
    at = target_of(suffixes, key)
    mantissa, exponent = math.frexp(abs(np.float64(d)))
    high, low = suffixes.mantissas[at, 0], suffixes.mantissas[at, 1]
    return _times(suffixes.wholes[at, 0], high, low, np.uint64(suffixes.wholes[at, 1]), mantissa, exponent)


@kernel()
def _times(
    exponent: int, high: float, low: float, residue: Any, mantissa: float, more: int
) -> tuple[int, float, float, Any]:
    # (high + low) * mantissa, in two floats again (Dekker 1971)
    product = high * mantissa
    a = _SPLIT * high
    a = a - (a - high)
    b = _SPLIT * mantissa
    b = b - (b - mantissa)
    rest = ((a * b - product) + a * (mantissa - b) + (high - a) * b) + (high - a) * (mantissa - b)
    rest += low * mantissa
    high = product + rest
    low = rest - (high - product)
    exponent += more
    if high < 0.5:
        high, low, exponent = 2 * high, 2 * low, exponent - 1
    return exponent, high, low, _residue_times(residue, mantissa, more)


@kernel()
def _residue_times(residue: Any, mantissa: float, exponent: int) -> Any:
    # mantissa * 2^exponent is a whole number times 2^(exponent - 53), and 2^61 is 1 modulo the prime
    whole = np.uint64(mantissa * 9007199254740992.0)
    return _rotated(_product(residue, whole), (exponent - 53) % 61)


@kernel()
def _product(a: Any, b: Any) -> Any:
    # a * b modulo 2^61 - 1, both below it, in halves of 31 bits
    a_high, a_low = a >> np.uint64(31), a & np.uint64(0x7FFFFFFF)
    b_high, b_low = b >> np.uint64(31), b & np.uint64(0x7FFFFFFF)
    middle = a_low * b_high + a_high * b_low
    middle_high, middle_low = middle >> np.uint64(30), middle & np.uint64(0x3FFFFFFF)
    return _reduced(a_high * b_high * np.uint64(2) + middle_high + (middle_low << np.uint64(31)) + a_low * b_low)


@kernel()
def _reduced(number: Any) -> Any:
    number = (number >> np.uint64(61)) + (number & _PRIME)
    return number - _PRIME if number >= _PRIME else number


@kernel()
def _rotated(number: Any, bits: int) -> Any:
    # number * 2^bits modulo 2^61 - 1
    if bits == 0:
        return number
    left = np.uint64(bits)
    return _reduced(((number << left) & _PRIME) | (number >> (np.uint64(61) - left)))


@kernel()
def settle(rank: Any, derivative: Any, key: Any, low: int, high: int, loss: int, *arrays: Any) -> None:
    """Fill in the products behind activations low .. high, whose best edges are known, and the ranks of these edges.

    rank, derivative, key : T x K, the table of best edges     loss: the loss's number among the activations
    """
    suffixes = Suffixes(*arrays)
    for at in range(low, high):
        row = at + suffixes.first_row
        if at == loss:
            exponent, mantissa, rest, residue = 1, 0.5, 0.0, np.uint64(1)
        elif rank[row, 0] > -np.inf:
            exponent, mantissa, rest, residue = extended(suffixes, derivative[row, 0], key[row, 0])
            rank[row, 0] = exponent + np.log2(mantissa)
        else:
            continue
        factor, more = suffixes.mantissas[at, 2], suffixes.wholes[at, 2]
        if factor != 0.5 or more != 1:
            exponent, mantissa, rest, residue = _times(exponent, mantissa, rest, residue, factor, more)
        suffixes.mantissas[at, 0], suffixes.mantissas[at, 1] = mantissa, rest
        suffixes.wholes[at, 0], suffixes.wholes[at, 1] = exponent, np.int64(residue)


@kernel()
def rank_exactly(low: int, high: int, rank: Any, derivative: Any, key: Any, *arrays: Any) -> None:
    """Where ranks of one row are so near that rounding shows, make them those of equal products, or in order."""
    suffixes = Suffixes(*arrays)
    for row in range(low, high):
        for r in range(1, rank.shape[1]):
            above, below = rank[row, r - 1], rank[row, r]
            if not below > -np.inf:
                break
            if above == below or not near(above, below):
                continue
            d, k = derivative[row, r - 1], key[row, r - 1]
            tie = compare(suffixes, derivative, key, d, k, derivative[row, r], key[row, r]) == 0
            rank[row, r] = above if tie else min(above, below)


# Whole numbers, in limbs of 27 bits, the lowest first


@allocating()
def _compare_whole(suffixes: Any, derivative: Any, key: Any, d: float, k: int, e: float, other: int) -> int:
    a, n_a, a_exponent = _multiplied_out(suffixes, derivative, key, d, k)
    b, n_b, b_exponent = _multiplied_out(suffixes, derivative, key, e, other)
    lowest = min(a_exponent, b_exponent)
    a, n_a = _shifted(a, n_a, a_exponent - lowest)
    b, n_b = _shifted(b, n_b, b_exponent - lowest)
    if n_a != n_b:
        return 1 if n_a > n_b else -1
    for i in range(n_a - 1, -1, -1):
        if a[i] != b[i]:
            return 1 if a[i] > b[i] else -1
    return 0


@allocating()
def _multiplied_out(suffixes: Any, derivative: Any, key: Any, d: float, k: int) -> tuple[Any, int, int]:
    # limbs, their number and the exponent of the product along the best path behind an edge
    number = np.zeros(64, dtype=np.uint64)
    number[0] = np.uint64(1)
    n: Any = np.int64(1)  # a literal would be compiled for itself
    exponent = 0
    while True:
        at = target_of(suffixes, k)
        row = at + suffixes.first_row
        for factor, more in ((abs(np.float64(d)), 0), (suffixes.mantissas[at, 2], suffixes.wholes[at, 2])):
            mantissa, own = math.frexp(factor)
            exponent += own + more - 53
            if n + 3 > number.shape[0]:
                longer = np.zeros(2 * number.shape[0], dtype=np.uint64)
                for i in range(n):
                    longer[i] = number[i]
                number = longer
            n = _times_whole(number, n, np.uint64(mantissa * 9007199254740992.0))
        if key[row, 0] == NO_EDGE:  # the loss
            return number, n, exponent
        d, k = derivative[row, 0], key[row, 0]


@allocating()
def _times_whole(number: Any, n: int, factor: Any) -> int:
    # number * factor in place; factor below 2^53
    mask = np.uint64((1 << _LIMB) - 1)
    low, high = factor & mask, factor >> np.uint64(_LIMB)
    carry, before = np.uint64(0), np.uint64(0)
    for i in range(n + 2):
        limb = number[i] if i < n else np.uint64(0)
        total = limb * low + before * high + carry
        before = limb
        number[i] = total & mask
        carry = total >> np.uint64(_LIMB)
    n += 2
    number[n] = carry
    n += 1
    while n > 1 and number[n - 1] == 0:
        n -= 1
    return n


@allocating()
def _shifted(number: Any, n: int, bits: int) -> tuple[Any, int]:
    # number * 2^bits
    limbs, left = bits // _LIMB, np.uint64(bits % _LIMB)
    found = np.zeros(n + limbs + 1, dtype=np.uint64)
    mask = np.uint64((1 << _LIMB) - 1)
    carry = np.uint64(0)
    for i in range(n):
        total = (number[i] << left) | carry
        found[limbs + i] = total & mask
        carry = total >> np.uint64(_LIMB)
    found[limbs + n] = carry
    size = n + limbs + 1
    while size > 1 and found[size - 1] == 0:
        size -= 1
    return found, size
