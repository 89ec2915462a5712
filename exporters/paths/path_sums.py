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
from numpy.typing import NDArray

from ..edges.derive import slots_in_reverse
from ..edges.slots import DiagonalEdges, Matrix
from ..kernels.blas import matmul
from ..kernels.interface import Kernels
from ..recording.recorder import Recording
from ..tape.tape import Call
from .sweep import sweep

Floats = NDArray[Any]
Ints = NDArray[np.int64]

_FANS = 40  # log2 of more edges than a vertex has
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


def contribution_spread(recording: Recording) -> Spread:
    """The sum of |contributions| of every vertex and the entropy of their shares, which says how sure greedy is."""
    with np.errstate(divide="ignore"):
        score = np.log2(np.abs(recording.gradients, dtype=np.float64))
    found = _nothing(recording)
    sweep(slots_in_reverse(recording.tape), _Combine(recording, found, score, np.zeros(recording.n_vertices)))
    _leave_out_dead(recording, found)
    return found


def _leave_out_dead(recording: Recording, found: Spread) -> None:
    """A vertex whose contributions are all 0 in the recording's dtype is dead, as every method and the store see it.

    Logarithms know of sums that are smaller than any number of the dtype.
    """
    least = float(np.log2(np.finfo(recording.gradients.dtype).smallest_subnormal, dtype=np.float64))
    doubtful = np.isfinite(found.log2_sum) & (found.log2_sum < least + _FANS)
    if doubtful.any():
        visitor = _Alive(recording, doubtful)
        sweep(slots_in_reverse(recording.tape), visitor)
        dead = doubtful & ~visitor.alive
        found.log2_sum[dead], found.entropy[dead] = -np.inf, 0.0


def path_statistics(recording: Recording) -> PathStatistics:
    """Number, sum, entropy and extremes of the products of all paths from every vertex to the loss."""
    paths, products = _nothing(recording), _nothing(recording)
    positive, negative = np.full((2, recording.n_vertices), -np.inf)
    for array in (paths.log2_sum, products.log2_sum, positive):  # the loss has one path, of length and logarithm 0
        array[recording.loss_vertex] = 0.0
    sweep(
        slots_in_reverse(recording.tape),
        _Combine(recording, products, products.log2_sum, products.entropy),
        _Combine(recording, paths, paths.log2_sum, np.zeros(recording.n_vertices), _ones),
        _Extremes(recording, positive, negative),
    )
    return PathStatistics(paths.log2_sum, products, positive, negative)


def _nothing(recording: Recording) -> Spread:
    return Spread(np.full(recording.n_vertices, -np.inf), np.zeros(recording.n_vertices))


def _weights(derivative: Floats) -> Floats:
    return np.abs(derivative, dtype=np.float64)


def _ones(derivative: Floats) -> Floats:
    return np.ones(derivative.shape)


class _Combine:
    """Adds the edges to the spreads `found` of their vertices. score, entropy: V, the spreads of the targets."""

    def __init__(
        self,
        recording: Recording,
        found: Spread,
        score: Floats,
        entropy: Floats,
        weigh: Callable[[Floats], Floats] = _weights,
    ) -> None:
        self._kernels, self._found, self._weigh = recording.kernels, found, weigh
        self._all_scores, self._all_entropies = score, entropy

    def begin(self, call: Call) -> None:
        self._score, self._entropy = self._all_scores[call.outputs], self._all_entropies[call.outputs]

    def pairs(self, edges: DiagonalEdges) -> None:
        with np.errstate(divide="ignore"):
            weight = self._score[edges.target] + np.log2(self._weigh(edges.derivative))
        self._combine(edges.vertex, weight, self._entropy[edges.target])

    def matrix(self, matrix: Matrix) -> None:
        left, entropy = matrix.scores(self._score), matrix.scores(self._entropy)
        right = self._weigh(matrix.edges.other[matrix.b].numpy()).T
        found = contracted_spread(self._kernels, left, entropy, right)
        self._combine(matrix.vertex.reshape(-1), *(array.reshape(-1) for array in found))

    def _combine(self, vertex: Ints, log2_sum: Floats, entropy: Floats) -> None:
        self._kernels.combine_at(self._found.log2_sum, self._found.entropy, vertex, log2_sum, entropy)


class _Alive:
    """Which of the doubtful vertices have a contribution other than 0: V."""

    def __init__(self, recording: Recording, doubtful: NDArray[np.bool_]) -> None:
        self._gradients, self._doubtful = recording.gradients, np.append(doubtful, False)  # the last: constants
        self.alive = np.zeros(recording.n_vertices, np.bool_)

    def begin(self, call: Call) -> None:
        self._gradient = self._gradients[call.outputs]

    def pairs(self, edges: DiagonalEdges) -> None:
        carries = (self._gradient[edges.target] * edges.derivative != 0) & self._doubtful[edges.vertex]
        self.alive[edges.vertex[carries]] = True

    def matrix(self, matrix: Matrix) -> None:
        rows = self._doubtful[matrix.vertex]
        gradient, derivative = matrix.scores(self._gradient), matrix.derivatives()  # Z x X, Z x Y
        for x in np.flatnonzero(rows.any(axis=1)):
            carries = (gradient[:, x, None] * derivative != 0).any(axis=0) & rows[x]
            self.alive[matrix.vertex[x][carries]] = True


class _Extremes:
    """Raises the vertices' largest positive and negative products, V each, by what their edges lead to."""

    def __init__(self, recording: Recording, positive: Floats, negative: Floats) -> None:
        self._kernels, self._largest = recording.kernels, (positive, negative)

    def begin(self, call: Call) -> None:
        self._up, self._down = (array[call.outputs].copy() for array in self._largest)

    def pairs(self, edges: DiagonalEdges) -> None:
        up, down = self._up[edges.target], self._down[edges.target]
        self._kernels.raise_signed(*self._largest, edges.vertex, edges.derivative, up, down)

    def matrix(self, matrix: Matrix) -> None:
        derivative = matrix.edges.other[matrix.b].numpy().T
        with np.errstate(divide="ignore"):
            size = np.log2(np.abs(derivative, dtype=np.float64))
        rising, falling = np.where(derivative > 0, size, -np.inf), np.where(derivative < 0, size, -np.inf)
        found = self._kernels.signed_products(matrix.scores(self._up), matrix.scores(self._down), rising, falling)
        inside = matrix.vertex >= 0
        for array, best in zip(self._largest, found, strict=True):
            np.maximum.at(array, matrix.vertex[inside], best[inside])


def contracted_spread(kernels: Kernels, left: Floats, left_entropy: Floats, right: Floats) -> tuple[Floats, Floats]:
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
        total = matmul(scaled.T, right)
        log2_total = np.log2(total)
        entropy = np.where(total > 0, log2_total + (matmul(surplus.T, right) - matmul(scaled.T, surprise)) / total, 0.0)
    log2_sum = log2_total + top[:, None]
    largest = right.max(axis=0)
    doubted = (total < _TRUSTED * np.maximum(largest, 1.0)) & (largest > 0)
    if doubted.any():
        kernels.spread_of_products(left, left_entropy, right, log2_sum, entropy, doubted)
    return log2_sum, np.maximum(entropy, 0.0)
