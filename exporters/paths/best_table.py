"""The K places of every source, filled slot by slot by the kernels."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...queries.methods import find_method
from ..edges.order import edge_order
from ..edges.slots import DiagonalEdges
from ..edges.sorted import EdgeList, SortedEdges
from ..kernels.interface import NO_EDGE, Kernels, Places, Suffixes
from ..recording.recorder import Recording
from .products import MatrixProduct

Floats = NDArray[Any]
Ints = NDArray[np.int64]

_ROUNDINGS = 8  # of the dtype's epsilon, in a product of two numbers rounded to it
_OF_LOGARITHMS = 2.0**-33  # of 1 + the size of a logarithm, in its power of two


@dataclass
class BestEdges:
    """The best K edges of N vertices, best first: all N x K.

    vertex: N, ascending; None: every vertex
    target: -1 where a vertex has fewer than K edges
    score: the contribution, or where the method ranks by logarithms those (base 2), -inf for a product of 0
    """

    method: str
    target: Ints
    slot: NDArray[np.int16]
    derivative: Floats
    score: Floats
    vertex: Ints | None = None

    def dead(self, rows: slice | Ints) -> NDArray[np.bool_]:
        """Whether the best edge of the vertices in these rows carries nothing; so for those without an edge."""
        nothing: NDArray[np.bool_] = self.score[rows, 0] == find_method(self.method).nothing
        return nothing

    def traced(self, rows: slice | Ints = slice(None)) -> Ints:
        """The targets of the traced edges of the vertices in these rows, -1 for a dead or absent one."""
        return np.where(self.dead(rows), -1, self.target[rows, 0])


class Rows(Protocol):
    """Which vertices have a row of the table: `n_parameters` parameters, then activations, `n` in all."""

    n: int
    n_parameters: int

    def of(self, vertex: Ints) -> Ints:
        """The rows of vertices that have one; -1 for constants."""
        ...


class EveryVertex:
    """All vertices have a row."""

    def __init__(self, recording: Recording) -> None:
        self.n, self.n_parameters = recording.n_vertices, recording.n_parameters

    def of(self, vertex: Ints) -> Ints:
        """See Rows."""
        return vertex


class Table:
    """The best edges so far: `rank`, `derivative` and `key` of each place, all rows x K."""

    def __init__(self, recording: Recording, rows: Rows, keep: int, logarithms: bool) -> None:
        self.rows = rows
        self.order = edge_order(recording.tape)
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
        self._suffixes = self._no_suffixes() if logarithms else None

    def _no_suffixes(self) -> Suffixes:
        """With factors of 1, and none settled."""
        n, o = self._recording.n_vertices - self._recording.n_parameters, self.order
        mantissas, wholes = np.tile([0.0, 0.0, 0.5], (n, 1)), np.tile(np.array([0, 0, 1], np.int64), (n, 1))
        operators = np.stack([o.base, o.size, o.first_vertex])
        return Suffixes(mantissas, wholes, operators, self._recording.n_parameters, self.rows.n_parameters)

    @property
    def rank(self) -> Floats:
        """What the edges are ranked by: rows x K."""
        return self._places.rank

    def set_factors(self, log2_factor: Floats) -> None:
        """What a path is multiplied by when it arrives at a vertex: V logarithms, -inf for 0."""
        assert self._suffixes is not None
        found = log2_factor[self._recording.n_parameters :]
        exponent = np.where(np.isfinite(found), np.floor(found), 0.0)
        self._suffixes.mantissas[:, 2] = np.where(np.isfinite(found), np.exp2(found - exponent) / 2, 0.5)
        self._suffixes.wholes[:, 2] = exponent.astype(np.int64) + 1

    def settle(self, outputs: slice) -> None:
        """All edges of these vertices are inserted; what leads to them needs the product of the best of each."""
        if self._suffixes is not None:
            recording, first = self._recording, self._recording.n_parameters
            span = (outputs.start - first, outputs.stop - first, recording.loss_vertex - first)
            self._kernels.settle(self._suffixes, self._places, *span)

    def insert_pairs(self, edges: DiagonalEdges, of_outputs: Floats) -> None:
        """of_outputs: the scores of the elements of the operator's output."""
        key = self.order.key(edges.call, edges.slot)
        of_edges = (self.rows.of(edges.vertex), of_outputs, edges.target, edges.derivative, key)
        if self._suffixes is not None:
            self._kernels.insert_pairs_exactly(self._suffixes, self._places, *of_edges)
        else:
            self._kernels.insert_pairs(self._places, *of_edges)

    def insert_list(self, row: Ints, edges: EdgeList, direct: SortedEdges, total: Floats) -> None:
        """Insert diagonal edges into rows; total[row[e]] += contribution of edge e."""
        gradient = self._recording.gradients[self._recording.n_parameters :]
        of_edges = row, edges.place, edges.target
        self._kernels.insert_list(self._places, *of_edges, direct.derivatives, gradient, direct.parts, total)

    def behind(self, row: int) -> Places:
        """The rows from `row` on."""
        return Places(*(places[row:] for places in self._places))

    def traced(self, n: int) -> Ints:
        """The targets of the traced edges of the first n rows, -1 for a dead or absent vertex."""
        rank, key = self._places.rank[:n, 0], self._places.key[:n, 0]
        return np.where(rank > 0, self.order.targets(np.where(rank > 0, key, 0)), -1)

    def insert_product(self, product: MatrixProduct, derivatives: Hashable = None) -> None:
        """derivatives: what other products with the same ones share."""
        largest = self._largest.get(derivatives) if product.largest is None else product.largest
        if largest is None:
            largest = self._kernels.largest_of_rows(product.right)
        if derivatives is not None:
            self._largest[derivatives] = largest
        keep, left, right = self.rank.shape[1], product.left, product.right
        row, keys = self.rows.of(product.vertex), (product.key_x, product.key_z)
        if self._suffixes is not None:
            best_z = best_by_product(self._kernels, self._suffixes, self._places, product, largest, keep)
            of_product = (row, left, right, best_z, *keys, product.distinct)
            self._kernels.insert_products_exactly(self._suffixes, self._places, *of_product)
        else:
            best_z = self._kernels.best_products(left, right, largest, keep)
            self._kernels.insert_products(self._places, row, left, right, best_z, *keys, product.distinct)

    def best(self, method: str, n: int | None = None) -> BestEdges:
        """The finished table, or its first n rows, which take the place of these here."""
        if self._suffixes is not None:
            self._kernels.rank_exactly(self._suffixes, self._places)
        o, (rank, derivative, key) = self.order, (places[:n] for places in self._places)
        slot = self._kernels.decode_keys(key.reshape(-1), o.base, o.size, o.first_vertex).reshape(key.shape)
        if not self.logarithms:
            target, of, found = (array.reshape(-1) for array in (key, derivative, rank))
            self._kernels.contributions(target, of, self._recording.gradients, found)
        return BestEdges(method, key, slot, derivative, rank)


def best_by_product(
    kernels: Kernels, suffixes: Suffixes, places: Places, product: MatrixProduct, largest: Floats, keep: int
) -> NDArray[np.int32]:
    """`best_products` where left has logarithms: each column is scaled by its largest, so that nothing overflows."""
    left, right = product.left, product.right
    top = left.max(axis=0)
    scaled = np.exp2(left - np.where(np.isneginf(top), 0, top)).astype(right.dtype)
    size = float(np.abs(left, out=np.zeros_like(left), where=np.isfinite(left)).max(initial=0.0))
    doubt = _ROUNDINGS * float(np.finfo(right.dtype).eps) + _OF_LOGARITHMS * (1.0 + size)
    best_z, doubtful = kernels.likely_products(scaled, right, largest, keep, doubt)
    tiny = float(np.finfo(right.dtype).tiny) * 2.0**20
    of_product = (left, scaled, right, best_z, doubtful, product.key_x, product.key_z, tiny)
    kernels.choose_exactly(suffixes, places, *of_product)
    return best_z
