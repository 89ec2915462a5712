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
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from exporters import kernels, product_kernels
from exporters.recorder import Recording
from exporters.slots import Direct, EdgeOrder, first_vertex, slots_in_reverse
from exporters.spread import Spread, contribution_spread
from exporters.tape import Call
from exporters.uses import Use, matrix, one_below_the_other, operand, side_by_side, use_of

Floats = NDArray[Any]
Ints = NDArray[np.int64]


@dataclass
class BestEdges:
    """The best K edges of each of V vertices, best first: all V x K.

    target: -1 where a vertex has fewer than K edges
    score: greedy: the contribution; else the logarithm (base 2) that the method ranks by, -inf for a product of 0
    """

    method: str
    target: Ints
    slot: NDArray[np.int16]
    derivative: Floats
    score: Floats

    @property
    def carries_nothing(self) -> NDArray[np.bool_]:
        """Where there is no edge, or one that carries nothing: V x K. A vertex whose best edge is one is dead."""
        nothing: NDArray[np.bool_] = self.score == (0 if self.method == "greedy" else -np.inf)
        return nothing


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
    table = _Table(recording, keep, scores.logarithms)
    together: dict[tuple[str, Hashable], list[Use]] = defaultdict(list)
    with torch_threads_kept():
        for call, slots in slots_in_reverse(recording.tape):
            score = scores.of_targets(_targets(recording, call), table.rank[:, 0])
            for slot in slots:
                if isinstance(slot, Direct):
                    table.insert_direct(slot, score)
                    continue
                for b in range(slot.vertex.shape[0]):
                    use = use_of(slot, b, score, table.order)
                    if recording.holds_parameters(slot.vertex[b]):
                        together["of", operand(slot, b)].append(use)
                    elif scores.logarithms:  # the operators before it need its ranks
                        table.insert_use(use, matrix(slot, b))
                    else:
                        together["by", matrix(slot, b)].append(use)
        for (how, _), uses in together.items():
            table.insert_use(one_below_the_other(uses) if how == "of" else side_by_side(uses))
        target, slot_of = table.decoded()
    if scores.logarithms:
        score = np.where(target >= 0, table.rank, -np.inf)
    else:
        score = np.where(target >= 0, recording.gradients[target] * table.derivative, 0)
    return BestEdges(method, target, slot_of, table.derivative, score)


def _targets(recording: Recording, call: Call) -> slice:
    first = first_vertex(recording.tape, call)
    return slice(first, first + call.output.data.numel())


class _Table:
    """The K places of every vertex, filled slot by slot."""

    def __init__(self, recording: Recording, keep: int, logarithms: bool) -> None:
        shape = (recording.n_vertices, keep)
        dtype = np.dtype(np.float64) if logarithms else recording.gradients.dtype
        self.rank: Floats = np.full(shape, -np.inf if logarithms else 0, dtype=dtype)
        self.derivative: Floats = np.zeros(shape, dtype=recording.gradients.dtype)
        self.key = np.full(shape, kernels.NO_EDGE, dtype=np.int64)
        self.order = EdgeOrder(recording.tape)
        self._logarithms = logarithms
        self._largest: dict[Hashable, Floats] = {}

    def insert_direct(self, slot: Direct, score: Floats) -> None:
        """score: of the elements of the operator's output."""
        keys = self.order.key(slot.call, slot.slot) + slot.target
        if self._logarithms:
            with np.errstate(divide="ignore"):
                rank = score[slot.target] + np.log2(np.abs(slot.derivative, dtype=np.float64))
        else:
            rank = np.abs(score[slot.target] * slot.derivative)
        kernels.insert_edges(self.rank, self.derivative, self.key, slot.vertex, rank, slot.derivative, keys)

    def insert_use(self, use: Use, matrix: Hashable = None) -> None:
        """matrix: what other uses with the same derivatives share."""
        largest = self._largest.get(matrix)
        if largest is None:
            largest = product_kernels.largest_of_rows(use.right)
        if matrix is not None:
            self._largest[matrix] = largest
        choose = _best_by_logarithm if self._logarithms else product_kernels.best_products
        product_kernels.insert_products(
            self.rank,
            self.derivative,
            self.key,
            use.vertex,
            use.left,
            use.right,
            choose(use.left, use.right, largest, self.key.shape[1]),
            use.key_x,
            use.key_z,
            use.distinct,
            self._logarithms,
        )

    def decoded(self) -> tuple[Ints, NDArray[np.int16]]:
        """The target and the slot of every place."""
        o = self.order
        target, slot = kernels.decode_keys(self.key.reshape(-1), o.base, o.size, o.first_vertex)
        return target.reshape(self.key.shape), slot.reshape(self.key.shape)


def _best_by_logarithm(left: Floats, right: Floats, largest: Floats, keep: int) -> NDArray[np.int32]:
    """`best_products` for scores given as logarithms: each column is scaled by its largest, so nothing overflows."""
    top = left.max(axis=0)
    scaled = np.exp2(left - np.where(np.isneginf(top), 0, top)).astype(right.dtype)
    best_z: NDArray[np.int32] = product_kernels.best_products(scaled, right, largest, keep)
    product_kernels.mend_underflow(left, scaled, right, best_z, float(np.finfo(right.dtype).tiny) * 2.0**20)
    return best_z


@contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Parallel kernels change torch's number of threads, and with it the last bit of its sums."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
