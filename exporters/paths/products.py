"""Matrix products of scores and derivatives, and several of them as one: fewer and larger calls of the kernels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..edges.order import EdgeOrder
from ..edges.slots import Matrix

Floats = NDArray[Any]
Ints = NDArray[np.int64]


@dataclass
class MatrixProduct:
    """The edges of one matrix of vertices, with the scores of their targets: (x, y) -> (x, z).

    vertex : X x Y     left : Z x X, scores of the targets     right : Z x Y, derivatives
    key_x : X, key_z : Z: the sum of both is the key of an edge
    distinct: whether no vertex stands twice     largest : Z, the largest |right| of each row, where it is known
    """

    vertex: Ints
    left: Floats
    right: Floats
    key_x: Ints
    key_z: Ints
    distinct: bool
    largest: Floats | None = None

    def of_rows(self, x: Ints) -> MatrixProduct:
        """The same for some of the X rows."""
        return MatrixProduct(self.vertex[x], self.left[:, x], self.right, self.key_x[x], self.key_z, self.distinct)


def product_of(matrix: Matrix, of_outputs: Floats, order: EdgeOrder) -> MatrixProduct:
    """of_outputs: the scores of the elements of the operator's output."""
    key_x, key_z = matrix.keys(order)
    distinct = not matrix.edges.interleaves
    return MatrixProduct(matrix.vertex, matrix.scores(of_outputs), matrix.derivatives(), key_x, key_z, distinct)


def stack_targets(products: list[MatrixProduct]) -> MatrixProduct:
    """Products of the same vertices as one: their targets follow each other in the order of their keys."""
    if len(products) == 1:
        return products[0]
    products = sorted(products, key=lambda product: int(product.key_z[0] + product.key_x[0]))
    first = products[0]
    return MatrixProduct(
        first.vertex,
        np.concatenate([product.left for product in products]),
        np.concatenate([product.right for product in products]),
        first.key_x,
        np.concatenate([product.key_z + (product.key_x[0] - first.key_x[0]) for product in products]),
        first.distinct,
    )


def stack_sources(products: list[MatrixProduct]) -> MatrixProduct:
    """Products with the same derivatives as one: their rows follow each other. A vertex may stand in several."""
    if len(products) == 1:
        return products[0]
    first = products[0]
    return MatrixProduct(
        np.concatenate([product.vertex for product in products]),
        np.concatenate([product.left for product in products], axis=1),
        first.right,
        np.concatenate([product.key_x + product.key_z[0] for product in products]),
        first.key_z - first.key_z[0],
        distinct=False,
    )


@dataclass
class WaitingMatrices:
    """Matrices that become few products: those of the same parameters, and others with the same derivatives."""

    of_vertices: dict[Hashable, list[Matrix]] = field(default_factory=lambda: defaultdict(list))
    by_derivatives: dict[Hashable, list[Matrix]] = field(default_factory=lambda: defaultdict(list))

    def add(self, matrix: Matrix, *, of_parameters: bool) -> None:
        """of_parameters: whether all its vertices are"""
        if of_parameters:
            self.of_vertices[matrix.same_vertices].append(matrix)
        else:
            self.by_derivatives[matrix.same_derivatives].append(matrix)

    def products(self, product: Callable[[Matrix], MatrixProduct]) -> Iterator[MatrixProduct]:
        """product: of one matrix, with the scores of its targets"""
        for matrices in self.of_vertices.values():
            yield stack_targets([product(matrix) for matrix in matrices])
        for matrices in self.by_derivatives.values():
            yield stack_sources([product(matrix) for matrix in matrices])
