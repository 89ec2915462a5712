"""Sums over all alternatives of a vertex: its contributions, and its paths to the loss. No edge is made for them.

Both are the same sweep. The weight of an edge is |score of its target| * |derivative|, where the target's score is its
gradient (contributions) or the sum of its own paths' |products| (paths). Over a contraction that is a matrix product of
absolute values, with the targets of one row scaled by their largest so that nothing overflows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..edges.slots import Contracted, Direct, first_vertex, slots_in_reverse
from ..kernels import path_sums as kernels
from ..kernels.threads import torch_threads_kept
from ..recording.recorder import Recording

Floats = NDArray[Any]

_TRUSTED = 2.0**-400  # a smaller sum of scaled products may have lost terms to underflow


@dataclass
class Spread:
    """log2 of the sum of the alternatives' weights (-inf: none but zeros) and the entropy of their shares, bits: V."""

    log2_sum: Floats
    entropy: Floats


@dataclass
class PathStatistics:
    """Of all paths from each vertex to the loss: V, float64.

    log2_paths: log2 of their number, those of product 0 included
    products: the spread of |product of derivatives|
    log2_positive, log2_negative: log2 of the largest positive and largest negative |product|; -inf: there is none
    """

    log2_paths: Floats
    products: Spread
    log2_positive: Floats
    log2_negative: Floats


@torch_threads_kept()
def contribution_spread(recording: Recording) -> Spread:
    """The sum of |contributions| of every vertex and the entropy of their shares, which says how sure greedy is."""
    with np.errstate(divide="ignore"):
        score = np.log2(np.abs(recording.gradients, dtype=np.float64))
    found = _nothing(recording)
    none = np.zeros(recording.n_vertices)
    for call, slots in slots_in_reverse(recording.tape):
        span = _span(recording, call)
        for slot in slots:
            _combine_slot(found, slot, score[span], none[span], _weights)
    return found


@torch_threads_kept()
def path_statistics(recording: Recording) -> PathStatistics:
    """Number, sum, entropy and extremes of the products of all paths from every vertex to the loss."""
    paths, products = _nothing(recording), _nothing(recording)
    positive, negative = np.full((2, recording.n_vertices), -np.inf)
    for array in (paths.log2_sum, products.log2_sum, positive):  # the loss has one path, of length and logarithm 0
        array[recording.loss_vertex] = 0.0
    for call, slots in slots_in_reverse(recording.tape):
        span = _span(recording, call)
        for slot in slots:
            _combine_slot(products, slot, products.log2_sum[span], products.entropy[span], _weights)
            _combine_slot(paths, slot, paths.log2_sum[span], np.zeros(span.stop - span.start), _ones)
            _raise_slot(positive, negative, slot, positive[span].copy(), negative[span].copy())
    return PathStatistics(paths.log2_sum, products, positive, negative)


def _nothing(recording: Recording) -> Spread:
    return Spread(np.full(recording.n_vertices, -np.inf), np.zeros(recording.n_vertices))


def _span(recording: Recording, call: Any) -> slice:
    first = first_vertex(recording.tape, call)
    return slice(first, first + call.output.data.numel())


def _weights(derivative: Floats) -> Floats:
    return np.abs(derivative, dtype=np.float64)


def _ones(derivative: Floats) -> Floats:
    return np.ones(derivative.shape)


def _combine_slot(
    found: Spread, slot: Direct | Contracted, score: Floats, entropy: Floats, weigh: Callable[[Floats], Floats]
) -> None:
    """Add one slot's edges to the spreads of its vertices. score, entropy: the spreads of the operator's outputs."""
    if isinstance(slot, Direct):
        with np.errstate(divide="ignore"):
            weight = score[slot.target] + np.log2(weigh(slot.derivative))
        kernels.combine_at(found.log2_sum, found.entropy, slot.vertex, weight, entropy[slot.target])
        return
    for b in range(slot.vertex.shape[0]):
        left, left_entropy = matrix_of_targets(slot, b, score), matrix_of_targets(slot, b, entropy)
        log2_sum, spread = contracted_spread(left, left_entropy, weigh(slot.other[b].numpy()).T)
        kernels.combine_at(
            found.log2_sum, found.entropy, slot.vertex[b].reshape(-1).numpy(), log2_sum.reshape(-1), spread.reshape(-1)
        )


def matrix_of_targets(slot: Contracted, b: int, score: Floats) -> Floats:
    """What belongs to the targets of the b-th matrix, by (z, x). score: of the operator's outputs."""
    (n_x, _), n_z = slot.vertex.shape[1:], slot.other.shape[2]
    start = slot.offset + b * slot.stride_b
    picked: Tensor = torch.from_numpy(score).as_strided((n_z, n_x), (slot.stride_z, slot.stride_x), start)
    return picked.contiguous().numpy()


def contracted_spread(left: Floats, left_entropy: Floats, right: Floats) -> tuple[Floats, Floats]:
    """The spreads, over z, of the alternatives weighted 2^left[z, x] * right[z, y]: two X x Y.

    left, left_entropy : Z x X spreads; right : Z x Y, not negative
    """
    top = left.max(axis=0)
    top = np.where(np.isneginf(top), 0.0, top)
    relative = left - top
    scaled = np.exp2(relative)
    surplus = scaled * np.where(scaled > 0, left_entropy - relative, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = np.where(right > 0, right * np.log2(right), 0.0)
        total = scaled.T @ right
        log2_total = np.log2(total)
        entropy = np.where(total > 0, log2_total + (surplus.T @ right - scaled.T @ surprise) / total, 0.0)
    log2_sum = log2_total + top[:, None]
    largest = right.max(axis=0)
    doubted = (total < _TRUSTED * np.maximum(largest, 1.0)) & (largest > 0)
    if doubted.any():
        kernels.spread_of_products(left, left_entropy, right, log2_sum, entropy, doubted)
    return log2_sum, np.maximum(entropy, 0.0)


def _raise_slot(positive: Floats, negative: Floats, slot: Direct | Contracted, up: Floats, down: Floats) -> None:
    """Raise the vertices' largest products by one slot's edges. up, down: those of the operator's outputs."""
    if isinstance(slot, Direct):
        kernels.raise_signed(positive, negative, slot.vertex, slot.derivative, up[slot.target], down[slot.target])
        return
    for b in range(slot.vertex.shape[0]):
        derivative = slot.other[b].numpy().T
        with np.errstate(divide="ignore"):
            size = np.log2(np.abs(derivative, dtype=np.float64))
        rising, falling = np.where(derivative > 0, size, -np.inf), np.where(derivative < 0, size, -np.inf)
        found = kernels.signed_products(
            matrix_of_targets(slot, b, up), matrix_of_targets(slot, b, down), rising, falling
        )
        vertex = slot.vertex[b].numpy()
        inside = vertex >= 0
        for array, best in zip((positive, negative), found, strict=True):
            np.maximum.at(array, vertex[inside], best[inside])
