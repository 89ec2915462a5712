"""The kernels of processors, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import edges, exact, path_sums, products
from .interface import Floats, Ints, Kernels, Places, Suffixes


class Cpu:
    """All kernels, see `Kernels`."""

    add_at = staticmethod(edges.add_at)
    norms = staticmethod(edges.norms)
    decode_keys = staticmethod(edges.decode_keys)
    contributions = staticmethod(edges.contributions)
    edge_rows = staticmethod(edges.edge_rows)
    place_edges = staticmethod(edges.place_edges)
    largest_of_rows = staticmethod(products.largest_of_rows)
    likely_products = staticmethod(products.likely_products)
    count_best = staticmethod(products.count_best)
    combine_at = staticmethod(path_sums.combine_at)
    spread_of_products = staticmethod(path_sums.spread_of_products)
    raise_signed = staticmethod(path_sums.raise_signed)
    signed_products = staticmethod(path_sums.signed_products)

    def insert_pairs(self, places: Places, row: Ints, score: Floats, *edge: Any) -> None:
        edges.insert_edges(*places, row, score, *edge)

    def insert_products(self, places: Places, row: Ints, left: Floats, right: Floats, *found: Any) -> None:
        products.insert_products(*places, row, left, right, *found)

    def best_products(self, left: Floats, right: Floats, largest: Floats, keep: int) -> NDArray[np.int32]:
        found: NDArray[np.int32] = products.likely_products(left, right, largest, keep, 0.0)[0]
        return found

    def insert_pairs_exactly(self, suffixes: Suffixes, places: Places, row: Ints, *edge: Any) -> None:
        exact.insert_edges(*places, row, *edge, *suffixes)

    def insert_products_exactly(self, suffixes: Suffixes, places: Places, row: Ints, *found: Any) -> None:
        products.insert_products_exactly(*places, row, *found, *suffixes)

    def choose_exactly(self, suffixes: Suffixes, places: Places, left: Floats, *found: Any) -> None:
        products.choose_exactly(places.derivative, places.key, left, *found, *suffixes)

    def settle(self, suffixes: Suffixes, places: Places, *of: int) -> None:
        exact.settle(*places, *of, *suffixes)

    def rank_exactly(self, suffixes: Suffixes, places: Places) -> None:
        exact.rank_exactly(*places, *suffixes)


CPU: Kernels = Cpu()
