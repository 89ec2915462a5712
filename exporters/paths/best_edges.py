"""The K best edges of every vertex under a method.

Parameters are never targets, so the uses of one (a recurrent weight at every step) wait to become one kernel call;
under a method that ranks by contributions those of activations do.
"""

from __future__ import annotations

from ...queries.methods import GREEDY, find_method
from ..edges.derive import slots_in_reverse
from ..edges.slots import DiagonalEdges, Matrix
from ..recording.recorder import Recording
from ..tape.tape import Call
from .best_table import BestEdges, EveryVertex, Table
from .path_sums import Spread
from .products import Floats, MatrixProduct, WaitingMatrices, product_of
from .scores import SCORES, Scores
from .sweep import sweep


def best_edges(recording: Recording, keep: int, method: str = GREEDY, spread: Spread | None = None) -> BestEdges:
    """The `keep` best edges of every vertex under `method`; ties as DESIGN section 1 orders them.

    spread: that of the contributions, which methods over all paths need; found when not given
    """
    scores = SCORES[method](recording, spread)
    table = Table(recording, EveryVertex(recording), keep, find_method(method).logarithms)
    if scores.log2_factor is not None:
        table.set_factors(scores.log2_factor)
    visitor = _BestEdges(recording, table, scores)
    sweep(slots_in_reverse(recording.tape), visitor)
    visitor.insert_waiting()
    best = table.best(method)
    best.score = scores.finish(best.score)
    return best


class _BestEdges:
    """Fills the table. Matrices whose vertices are no targets that other operators ask for wait for the end."""

    def __init__(self, recording: Recording, table: Table, scores: Scores) -> None:
        self._recording, self._table, self._scores = recording, table, scores
        self._waiting = WaitingMatrices()

    def begin(self, call: Call) -> None:
        self._table.settle(call.outputs)
        self._of_outputs = self._scores_of(call)

    def pairs(self, edges: DiagonalEdges) -> None:
        self._table.insert_pairs(edges, self._of_outputs)

    def matrix(self, matrix: Matrix) -> None:
        of_parameters = self._recording.are_parameters(matrix.edges.vertex[matrix.b])
        if self._table.logarithms and not of_parameters:  # the operators before it need its ranks
            product = product_of(matrix, self._of_outputs, self._table.order)
            self._table.insert_product(product, matrix.same_derivatives)
        else:
            self._waiting.add(matrix, of_parameters=of_parameters)

    def insert_waiting(self) -> None:
        """By now, the ranks of all targets are known."""
        for product in self._waiting.products(self._product):
            self._table.insert_product(product)

    def _product(self, matrix: Matrix) -> MatrixProduct:
        return product_of(matrix, self._scores_of(matrix.edges.call), self._table.order)

    def _scores_of(self, call: Call) -> Floats:
        return self._scores.of_outputs(call.outputs, self._table.rank[:, 0])
