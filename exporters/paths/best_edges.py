"""The K best edges of every vertex under a method.

Parameters are never targets, so the uses of one (a recurrent weight at every step) wait to become one kernel call;
under a method that ranks by contributions those of activations do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

from ...queries.methods import GREEDY, find_method
from ..edges.derive import slots_in_reverse
from ..edges.slots import DiagonalEdges, Matrix
from ..kernels.threads import torch_threads_kept
from ..recording.recorder import Recording
from ..tape.tape import Call
from .best_table import BestEdges, Rows, Table
from .path_sums import Spread
from .products import MatrixProduct, product_of, stack_sources, stack_targets
from .scores import SCORES, Scores
from .sweep import sweep


@torch_threads_kept()
def best_edges(recording: Recording, keep: int, method: str = GREEDY, spread: Spread | None = None) -> BestEdges:
    """The `keep` best edges of every vertex under `method`; ties as DESIGN section 1 orders them.

    spread: that of the contributions, which methods over all paths need; found when not given
    """
    scores = SCORES[method](recording, spread)
    table = Table(recording, Rows(recording), keep, find_method(method).logarithms)
    visitor = _BestEdges(recording, table, scores)
    sweep(slots_in_reverse(recording.tape), visitor)
    visitor.insert_waiting()
    best = table.best(method)
    best.score = scores.finish(best.score)
    return best


class _BestEdges:
    """Fills the table. waiting: matrices that become one product, under what they have in common."""

    def __init__(self, recording: Recording, table: Table, scores: Scores) -> None:
        self._recording, self._table, self._scores = recording, table, scores
        self._of_vertices: dict[Hashable, list[Matrix]] = defaultdict(list)
        self._by_derivatives: dict[Hashable, list[Matrix]] = defaultdict(list)

    def begin(self, call: Call) -> None:
        self._of_outputs = self._scores.of_outputs(call.outputs, self._table.rank[:, 0])

    def pairs(self, edges: DiagonalEdges) -> None:
        self._table.insert_pairs(edges, self._of_outputs)

    def matrix(self, matrix: Matrix) -> None:
        if self._recording.are_parameters(matrix.edges.vertex[matrix.b]):
            self._of_vertices[matrix.same_vertices].append(matrix)
        elif self._table.logarithms:  # the operators before it need its ranks
            product = product_of(matrix, self._of_outputs, self._table.order)
            self._table.insert_product(product, matrix.same_derivatives)
        else:
            self._by_derivatives[matrix.same_derivatives].append(matrix)

    def insert_waiting(self) -> None:
        """By now, the ranks of all targets are known."""
        for matrices in self._of_vertices.values():
            self._table.insert_product(stack_targets(self._products(matrices)))
        for matrices in self._by_derivatives.values():
            self._table.insert_product(stack_sources(self._products(matrices)))

    def _products(self, matrices: list[Matrix]) -> list[MatrixProduct]:
        rank, order = self._table.rank[:, 0], self._table.order
        scored = [(m, self._scores.of_outputs(m.edges.call.outputs, rank)) for m in matrices]
        return [product_of(matrix, of_outputs, order) for matrix, of_outputs in scored]
