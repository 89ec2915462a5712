"""The kernels of processors, compiled by numba."""

from __future__ import annotations

from typing import Any

from . import edges, path_sums, products
from .interface import Floats, Ints, Kernels, Places


class Cpu:
    """All kernels, see `Kernels`."""

    add_at = staticmethod(edges.add_at)
    norms = staticmethod(edges.norms)
    decode_keys = staticmethod(edges.decode_keys)
    contributions = staticmethod(edges.contributions)
    edge_rows = staticmethod(edges.edge_rows)
    place_edges = staticmethod(edges.place_edges)
    largest_of_rows = staticmethod(products.largest_of_rows)
    best_products = staticmethod(products.best_products)
    mend_underflow = staticmethod(products.mend_underflow)
    count_best = staticmethod(products.count_best)
    combine_at = staticmethod(path_sums.combine_at)
    spread_of_products = staticmethod(path_sums.spread_of_products)
    raise_signed = staticmethod(path_sums.raise_signed)
    signed_products = staticmethod(path_sums.signed_products)

    def insert_pairs(self, places: Places, row: Ints, score: Floats, *edge: Any) -> None:
        edges.insert_edges(*places, row, score, *edge)

    def insert_products(self, places: Places, row: Ints, left: Floats, right: Floats, *found: Any) -> None:
        products.insert_products(*places, row, left, right, *found)


CPU: Kernels = Cpu()
