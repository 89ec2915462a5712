"""The score of every method (`queries/methods.py`): what the derivatives of edges are multiplied by to rank them.

An edge's rank is |score of its target| * |derivative|, whatever the method:

    greedy    the target's score is its gradient, and the product is the contribution
    product   the largest |product of derivatives| over the paths from the target to the loss
    soft      the gradient times the probability of the most probable path from the target to the loss

The last two multiply over a whole path, so they are kept as base-2 logarithms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..recording.recorder import Recording
from .path_sums import Spread, contribution_spread

Floats = NDArray[Any]


class Scores(Protocol):
    """The scores of one sample's vertices under a method.

    log2_factor: V, where scores are logarithms: what beside its derivatives a path is multiplied by at each vertex
    """

    log2_factor: Floats | None

    def of_outputs(self, outputs: slice, rank: Floats) -> Floats:
        """The scores of these vertices. rank: V, the best rank of every vertex, found already for those behind them."""
        ...

    def finish(self, rank: Floats) -> Floats:
        """What the method calls the score of an edge, given the ranks of the edges of each vertex: V x K."""
        ...


@dataclass
class Gradients:
    """The target's own gradient."""

    gradients: Floats
    log2_factor: Floats | None = None

    def of_outputs(self, outputs: slice, rank: Floats) -> Floats:
        del rank
        return self.gradients[outputs]

    def finish(self, rank: Floats) -> Floats:
        return rank


@dataclass
class Suffixes:
    """The best rank of the target itself: the largest product of derivatives on its way to the loss."""

    loss_vertex: int
    log2_factor: Floats | None = None

    def of_outputs(self, outputs: slice, rank: Floats) -> Floats:
        scores: Floats = rank[outputs].astype(np.float64)
        if outputs.start <= self.loss_vertex < outputs.stop:
            scores[self.loss_vertex - outputs.start] = 0.0
        return scores

    def finish(self, rank: Floats) -> Floats:
        return rank


class Probabilities:
    """The best rank of the target, times its gradient over the sum of its |contributions|."""

    def __init__(self, recording: Recording, spread: Spread) -> None:
        self._suffixes = Suffixes(recording.loss_vertex)
        self._log2_sum = spread.log2_sum
        with np.errstate(divide="ignore", invalid="ignore"):
            gradient = np.log2(np.abs(recording.gradients, dtype=np.float64))
            factor = np.where(np.isfinite(spread.log2_sum), gradient - spread.log2_sum, -np.inf)
        factor[recording.loss_vertex] = 0.0
        self._factor: Floats = factor
        self.log2_factor: Floats | None = factor

    def of_outputs(self, outputs: slice, rank: Floats) -> Floats:
        found: Floats = self._suffixes.of_outputs(outputs, rank) + self._factor[outputs]
        return found

    def finish(self, rank: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return np.where(np.isneginf(rank), rank, rank - self._log2_sum[:, None])


def _greedy(recording: Recording, spread: Spread | None) -> Scores:
    del spread
    return Gradients(recording.gradients)


def _product(recording: Recording, spread: Spread | None) -> Scores:
    del spread
    return Suffixes(recording.loss_vertex)


def _soft(recording: Recording, spread: Spread | None) -> Scores:
    return Probabilities(recording, spread or contribution_spread(recording))


# spread: that of the contributions, found where it is needed and not given
SCORES: dict[str, Callable[[Recording, Spread | None], Scores]] = {
    "greedy": _greedy,
    "product": _product,
    "soft": _soft,
}
