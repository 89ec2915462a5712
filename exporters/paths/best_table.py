"""The K places of every source, filled slot by slot by the kernels."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...queries.methods import find_method
from ..edges.order import EdgeOrder
from ..edges.slots import DiagonalEdges
from ..kernels.interface import NO_EDGE, Kernels, Places
from ..recording.recorder import Recording
from .products import MatrixProduct

Floats = NDArray[Any]
Ints = NDArray[np.int64]


@dataclass
class BestEdges:
    """The best K edges of the vertices from `first` on, best first: all V - first x K.

    target: -1 where a vertex has fewer than K edges
    score: the contribution, or where the method ranks by logarithms those (base 2), -inf for a product of 0
    """

    method: str
    target: Ints
    slot: NDArray[np.int16]
    derivative: Floats
    score: Floats
    first: int = 0

    def dead(self, rows: slice | Ints) -> NDArray[np.bool_]:
        """Whether the best edge of the vertices in these rows carries nothing; so for those without an edge."""
        nothing: NDArray[np.bool_] = self.score[rows, 0] == find_method(self.method).nothing
        return nothing

    def traced(self, rows: slice | Ints = slice(None)) -> Ints:
        """The targets of the traced edges of the vertices in these rows, -1 for a dead or absent one."""
        return np.where(self.dead(rows), -1, self.target[rows, 0])

    def behind(self, row: int, vertex: int) -> BestEdges:
        """The rows from `row` on, the first of which is that of `vertex`."""
        rest = (self.target[row:], self.slot[row:], self.derivative[row:], self.score[row:])
        return BestEdges(self.method, *rest, first=vertex)


class Rows:
    """Which vertices have a row of the table: some parameters, in the order of their numbers, and every activation."""

    def __init__(self, recording: Recording, parameters: Ints | None = None) -> None:
        """parameters: ascending; None: all of them."""
        self._parameters = parameters
        self._n_parameters = recording.n_parameters
        self.n_parameters = recording.n_parameters if parameters is None else len(parameters)
        self.n = recording.n_vertices - recording.n_parameters + self.n_parameters

    def of(self, vertex: Ints) -> Ints:
        """The rows of vertices; -1 for constants. A parameter without a row must not be asked for."""
        if self._parameters is None:
            return vertex
        row = vertex - (self._n_parameters - self.n_parameters)
        is_parameter = vertex < self._n_parameters
        if is_parameter.any():
            row[is_parameter] = np.searchsorted(self._parameters, vertex[is_parameter])
            row[vertex < 0] = -1
        return row


class Table:
    """The best edges so far: `rank`, `derivative` and `key` of each place, all rows x K."""

    def __init__(self, recording: Recording, rows: Rows, keep: int, logarithms: bool) -> None:
        self.rows = rows
        self.order = EdgeOrder(recording.tape)
        self.logarithms = logarithms
        self._recording = recording
        self._kernels = recording.kernels
        shape, dtype = (rows.n, keep), recording.gradients.dtype
        self._places = Places(
            np.full(shape, -np.inf if logarithms else 0, dtype=np.float64 if logarithms else dtype),
            np.zeros(shape, dtype=dtype),
            np.full(shape, NO_EDGE, dtype=np.int64),
        )
        self._largest: dict[Hashable, Floats] = {}

    @property
    def rank(self) -> Floats:
        """What the edges are ranked by: rows x K."""
        return self._places.rank

    def insert_pairs(self, edges: DiagonalEdges, of_outputs: Floats) -> None:
        """of_outputs: the scores of the elements of the operator's output."""
        key = self.order.key(edges.call, edges.slot)
        row = self.rows.of(edges.vertex)
        self._kernels.insert_pairs(self._places, row, of_outputs, edges.target, edges.derivative, key, self.logarithms)

    def insert_product(self, product: MatrixProduct, derivatives: Hashable = None) -> None:
        """derivatives: what other products with the same ones share."""
        largest = self._largest.get(derivatives)
        if largest is None:
            largest = self._kernels.largest_of_rows(product.right)
        if derivatives is not None:
            self._largest[derivatives] = largest
        keep = self.rank.shape[1]
        if self.logarithms:
            best_z = best_by_logarithm(self._kernels, product.left, product.right, largest, keep)
        else:
            best_z = self._kernels.best_products(product.left, product.right, largest, keep)
        self._kernels.insert_products(
            self._places,
            self.rows.of(product.vertex),
            product.left,
            product.right,
            best_z,
            product.key_x,
            product.key_z,
            product.distinct,
            self.logarithms,
        )

    def best(self, method: str) -> BestEdges:
        """The finished table, which takes the place of this one."""
        o, (rank, derivative, key) = self.order, self._places
        slot = self._kernels.decode_keys(key.reshape(-1), o.base, o.size, o.first_vertex).reshape(key.shape)
        if not self.logarithms:
            target, of, found = (array.reshape(-1) for array in (key, derivative, rank))
            self._kernels.contributions(target, of, self._recording.gradients, found)
        return BestEdges(method, key, slot, derivative, rank)


def best_by_logarithm(kernels: Kernels, left: Floats, right: Floats, largest: Floats, keep: int) -> NDArray[np.int32]:
    """`best_products` for scores given as logarithms: each column is scaled by its largest, so nothing overflows."""
    top = left.max(axis=0)
    scaled = np.exp2(left - np.where(np.isneginf(top), 0, top)).astype(right.dtype)
    best_z = kernels.best_products(scaled, right, largest, keep)
    kernels.mend_underflow(left, scaled, right, best_z, float(np.finfo(right.dtype).tiny) * 2.0**20)
    return best_z
