"""The sweep: for every vertex the K best edges under a method.

Operators are visited in reverse. An edge's rank is |score of its target| * |derivative|, whatever the method:

    greedy    the target's score is its gradient, and the product is the contribution
    product   the largest |product of derivatives| over the paths from the target to the loss
    soft      the gradient times the probability of the most probable path from the target to the loss

The last two multiply over a whole path, so they are kept as base-2 logarithms. Parameters are never targets, so the
uses of one (a recurrent weight at every step) wait to become one kernel call; under greedy those of activations do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..edges.slots import Contracted, Direct, first_vertex, slots_in_reverse
from ..kernels.threads import torch_threads_kept
from ..recording.recorder import Recording
from ..tape.tape import Call
from .best_table import BestEdges, Rows, Table
from .path_sums import Spread, contribution_spread
from .products import Use, matrix, one_below_the_other, operand, side_by_side, use_of

Floats = NDArray[Any]
Ints = NDArray[np.int64]


class _Scores(Protocol):
    """What a method multiplies derivatives by."""

    logarithms: bool

    def of_targets(self, span: slice, rank: Floats) -> Floats:
        """The scores of vertices `span`, given the best rank of every vertex behind them."""
        ...


@dataclass
class _Gradients:
    """Scores of greedy."""

    gradients: Floats
    logarithms = False

    def of_targets(self, span: slice, rank: Floats) -> Floats:
        del rank
        return self.gradients[span]


@dataclass
class _Suffixes:
    """Scores of product and soft: the best rank of the target itself, plus `added` to it (V)."""

    loss_vertex: int
    added: Floats | None = None
    logarithms = True

    def of_targets(self, span: slice, rank: Floats) -> Floats:
        scores: Floats = rank[span].astype(np.float64)
        if span.start <= self.loss_vertex < span.stop:
            scores[self.loss_vertex - span.start] = 0.0
        return scores if self.added is None else scores + self.added[span]


def best_edges(recording: Recording, keep: int, method: str = "greedy", spread: Spread | None = None) -> BestEdges:
    """The `keep` best edges of every vertex under `method`; ties as DESIGN section 1 orders them.

    spread: that of the contributions, which soft needs; found when not given
    """
    if method == "greedy":
        return _sweep(recording, keep, method, _Gradients(recording.gradients))
    if method == "product":
        return _sweep(recording, keep, method, _Suffixes(recording.loss_vertex))
    found = spread or contribution_spread(recording)
    with np.errstate(divide="ignore", invalid="ignore"):
        gradient = np.log2(np.abs(recording.gradients, dtype=np.float64))
        added = np.where(np.isfinite(found.log2_sum), gradient - found.log2_sum, -np.inf)
    added[recording.loss_vertex] = 0.0
    best = _sweep(recording, keep, method, _Suffixes(recording.loss_vertex, added))
    with np.errstate(invalid="ignore"):
        best.score = np.where(np.isneginf(best.score), best.score, best.score - found.log2_sum[:, None])
    return best


def _sweep(recording: Recording, keep: int, method: str, scores: _Scores) -> BestEdges:
    table = Table(recording, Rows(recording), keep, scores.logarithms)
    together: dict[tuple[str, Hashable], list[tuple[Contracted, int]]] = defaultdict(list)

    def uses(used: list[tuple[Contracted, int]]) -> list[Use]:
        """By now, the ranks of all targets are known."""
        scored = [(slot, b, scores.of_targets(_targets(recording, slot.call), table.rank[:, 0])) for slot, b in used]
        return [use_of(slot, b, score, table.order) for slot, b, score in scored]

    with torch_threads_kept():
        for call, slots in slots_in_reverse(recording.tape):
            score = scores.of_targets(_targets(recording, call), table.rank[:, 0])
            for slot in slots:
                if isinstance(slot, Direct):
                    table.insert_direct(slot, score)
                    continue
                for b in range(slot.vertex.shape[0]):
                    if recording.are_parameters(slot.vertex[b]):
                        together["of", operand(slot, b)].append((slot, b))
                    elif scores.logarithms:  # the operators before it need its ranks
                        table.insert_use(use_of(slot, b, score, table.order), matrix(slot, b))
                    else:
                        together["by", matrix(slot, b)].append((slot, b))
        for (how, _), used in together.items():
            table.insert_use(one_below_the_other(uses(used)) if how == "of" else side_by_side(uses(used)))
        return table.best(recording, method)


def _targets(recording: Recording, call: Call) -> slice:
    first = first_vertex(recording.tape, call)
    return slice(first, first + call.output.data.numel())
