"""Compiled kernels for sums and maxima over all paths, in base-2 logarithms so that long products stay in range.

A *spread* (log2_sum, entropy) of a vertex stands for a set of weighted alternatives: the logarithm of the sum of their
weights, and the entropy in bits of weight / sum. Spreads of disjoint sets combine without looking at the sets again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import kernel


@kernel()
def combine(sum_a: float, entropy_a: float, sum_b: float, entropy_b: float) -> tuple[float, float]:
    """The spread of two disjoint sets of alternatives."""
    if sum_b == -np.inf:
        return sum_a, entropy_a
    if sum_a == -np.inf:
        return sum_b, entropy_b
    high, low = max(sum_a, sum_b), min(sum_a, sum_b)
    more = np.log1p(np.exp2(low - high)) / np.log(2.0)
    log_a, log_b = sum_a - high - more, sum_b - high - more
    a, b = np.exp2(log_a), np.exp2(log_b)
    return high + more, a * (entropy_a - log_a) + b * (entropy_b - log_b)


@kernel()
def combine_at(log2_sum: Any, entropy: Any, vertex: Any, more_sum: Any, more_entropy: Any) -> None:
    """See Kernels."""
    for e in range(vertex.shape[0]):
        v = vertex[e]
        if v >= 0:
            log2_sum[v], entropy[v] = combine(log2_sum[v], entropy[v], more_sum[e], more_entropy[e])


@kernel()
def spread_of_products(
    low: int, high: int, left: Any, left_entropy: Any, right: Any, log2_sum: Any, entropy: Any, chosen: Any
) -> None:
    """See Kernels."""
    for x in range(low, high):
        for y in range(right.shape[1]):
            if not chosen[x, y]:
                continue
            total, spread = -np.inf, 0.0
            for z in range(left.shape[0]):
                weight = left[z, x] + np.log2(abs(right[z, y]))
                total, spread = combine(total, spread, weight, left_entropy[z, x])
            log2_sum[x, y], entropy[x, y] = total, spread


@kernel()
def raise_signed(positive: Any, negative: Any, vertex: Any, derivative: Any, up: Any, down: Any) -> None:
    """See Kernels."""
    for e in range(vertex.shape[0]):
        v, d = vertex[e], derivative[e]
        if v < 0 or d == 0:
            continue
        size = np.log2(np.float64(abs(d)))
        positive[v] = max(positive[v], size + (up[e] if d > 0 else down[e]))
        negative[v] = max(negative[v], size + (down[e] if d > 0 else up[e]))


@kernel()
def signed_products(
    low: int, high: int, up: Any, down: Any, rising: Any, falling: Any, positive: Any, negative: Any
) -> None:
    """See Kernels."""
    for x in range(low, high):
        for z in range(up.shape[0]):
            u, d = up[z, x], down[z, x]
            for y in range(rising.shape[1]):
                positive[x, y] = max(positive[x, y], max(u + rising[z, y], d + falling[z, y]))
                negative[x, y] = max(negative[x, y], max(d + rising[z, y], u + falling[z, y]))
