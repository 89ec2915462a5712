"""The K places of every source, filled slot by slot by the kernels."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..edges.slots import Direct, EdgeOrder
from ..kernels import edges as kernels
from ..kernels import products as product_kernels
from ..recording.recorder import Recording
from .products import Use

Floats = NDArray[Any]
Ints = NDArray[np.int64]


@dataclass
class BestEdges:
    """The best K edges of the vertices from `first` on, best first: all V - first x K.

    target: -1 where a vertex has fewer than K edges
    score: greedy: the contribution; else the logarithm (base 2) that the method ranks by, -inf for a product of 0
    """

    method: str
    target: Ints
    slot: NDArray[np.int16]
    derivative: Floats
    score: Floats
    first: int = 0

    def dead(self, rows: slice | Ints) -> NDArray[np.bool_]:
        """Whether the best edge of the vertices in these rows carries nothing; so for those without an edge."""
        nothing: NDArray[np.bool_] = self.score[rows, 0] == (0 if self.method == "greedy" else -np.inf)
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
        shape = (rows.n, keep)
        dtype = np.dtype(np.float64) if logarithms else recording.gradients.dtype
        self.rank: Floats = np.full(shape, -np.inf if logarithms else 0, dtype=dtype)
        self.derivative: Floats = np.zeros(shape, dtype=recording.gradients.dtype)
        self.key = np.full(shape, kernels.NO_EDGE, dtype=np.int64)
        self.order = EdgeOrder(recording.tape)
        self._logarithms = logarithms
        self._largest: dict[Hashable, Floats] = {}

    def insert_direct(self, slot: Direct, score: Floats) -> None:
        """score: of the elements of the operator's output."""
        kernels.insert_edges(
            self.rank,
            self.derivative,
            self.key,
            self.rows.of(slot.vertex),
            score,
            slot.target,
            slot.derivative,
            self.order.key(slot.call, slot.slot),
            self._logarithms,
        )

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
            self.rows.of(use.vertex),
            use.left,
            use.right,
            choose(use.left, use.right, largest, self.key.shape[1]),
            use.key_x,
            use.key_z,
            use.distinct,
            self._logarithms,
        )

    def best(self, recording: Recording, method: str) -> BestEdges:
        """The finished table, which takes the place of this one."""
        o = self.order
        slot = kernels.decode_keys(self.key.reshape(-1), o.base, o.size, o.first_vertex).reshape(self.key.shape)
        if not self._logarithms:
            target, derivative, rank = (array.reshape(-1) for array in (self.key, self.derivative, self.rank))
            kernels.contributions(target, derivative, recording.gradients, rank)
        return BestEdges(method, self.key, slot, self.derivative, self.rank)


def _best_by_logarithm(left: Floats, right: Floats, largest: Floats, keep: int) -> NDArray[np.int32]:
    """`best_products` for scores given as logarithms: each column is scaled by its largest, so nothing overflows."""
    top = left.max(axis=0)
    scaled = np.exp2(left - np.where(np.isneginf(top), 0, top)).astype(right.dtype)
    best_z: NDArray[np.int32] = product_kernels.best_products(scaled, right, largest, keep)
    product_kernels.mend_underflow(left, scaled, right, best_z, float(np.finfo(right.dtype).tiny) * 2.0**20)
    return best_z
