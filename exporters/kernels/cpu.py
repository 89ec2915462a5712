"""The kernels of processors, compiled by numba: arrays for what they find, and the threads that they run on.

Every dtype and layout of an argument is compiled for itself, so arrays of one layout are handed on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import edges, exact, path_sums, products, visits
from .interface import Floats, Ints, Kernels, Places, Suffixes
from .products import BLOCK, POWERS
from .threads import in_ranges

_COMPARISONS = 8  # elementary operations of one that needs a logarithm
_LIKELY = 32  # targets looked at, of many


class Cpu:
    """All kernels, see `Kernels`."""

    add_at = staticmethod(edges.add_at)
    place_edges = staticmethod(edges.place_edges)
    combine_at = staticmethod(path_sums.combine_at)
    raise_signed = staticmethod(path_sums.raise_signed)

    # over lists of edges

    def norms(self, numbers: Floats, first: Ints, size: Ints) -> Floats:
        found = np.zeros((len(first), 4))
        in_ranges(edges.norms, len(first), 2 * numbers.size, numbers, first, size, found)
        return found

    def insert_pairs(
        self, places: Places, row: Ints, score: Floats, target: Ints, derivative: Floats, key: int
    ) -> None:
        edges.insert_edges(*places, row, score, np.ascontiguousarray(target), derivative, key)

    def insert_pairs_exactly(
        self,
        suffixes: Suffixes,
        places: Places,
        row: Ints,
        score: Floats,
        target: Ints,
        derivative: Floats,
        key: int,
    ) -> None:
        exact.insert_edges(*places, row, score, np.ascontiguousarray(target), derivative, key, *suffixes)

    def settle(self, suffixes: Suffixes, places: Places, *of: int) -> None:
        exact.settle(*places, *of, *suffixes)

    def rank_exactly(self, suffixes: Suffixes, places: Places) -> None:
        in_ranges(exact.rank_exactly, len(places.key), places.key.size, *places, *suffixes)

    def decode_keys(self, key: Ints, base: Ints, size: Ints, first_vertex: Ints) -> NDArray[np.int16]:
        slot = np.empty(len(key), np.int16)
        in_ranges(edges.decode_keys, len(key), 4 * len(key), key, base, size, first_vertex, slot)
        return slot

    def contributions(self, target: Ints, derivative: Floats, gradient: Floats, found: Floats) -> None:
        in_ranges(edges.contributions, len(target), 2 * len(target), target, derivative, gradient, found)

    def edge_rows(
        self, vertex: Ints, row: Ints, target: Ints, slot: NDArray[np.int16], derivative: Floats
    ) -> tuple[Ints, Ints, NDArray[np.int16], NDArray[np.int16], Floats]:
        start = np.zeros(len(row) + 1, np.int64)
        in_ranges(edges.count_places, len(row), target.shape[1] * len(row), row, target, start)
        n = int(np.cumsum(start, out=start)[-1])
        ends, places = np.empty((2, n), np.int64), np.empty((2, n), np.int16)
        found = ends[0], ends[1], places[0], places[1], np.empty(n, derivative.dtype)
        in_ranges(edges.edge_rows, len(row), 4 * n, vertex, row, target, slot, derivative, start, *found)
        return found

    # over edges sorted by source

    count_sources = staticmethod(visits.count_sources)

    def place_pairs(
        self,
        place: NDArray[np.int32],
        target: NDArray[np.int32],
        cursor: NDArray[np.int32],
        vertex: Ints,
        first: int,
        start: int,
        of_part: Ints | None,
        first_target: int,
    ) -> None:
        given = np.empty(0, np.int64) if of_part is None else of_part
        visits.place_pairs(place, target, cursor, vertex, first, start, given, first_target)

    def insert_list(
        self, places: Places, row: Ints, place: Any, target: Any, derivatives: Floats, gradient: Floats, *rest: Any
    ) -> None:
        parts, total = rest
        last = np.zeros(1, np.int64)
        insert: Any = visits.insert_list  # whose arguments mypy cannot count
        insert(*places, total, row, place, target, derivatives, gradient, *parts, last)

    def follow_visited(
        self,
        visited: NDArray[np.bool_],
        loss: int,
        direct: Any,
        chosen: Any,
        in_table: tuple[Ints, Places],
        derivatives: Floats,
        gradient: Floats,
        parts: Any,
        operators: Any,
    ) -> tuple[Ints, Places]:
        activation, table = in_table
        n, keep = len(visited), table.key.shape[1]
        # room for all: what is not written to takes no memory
        vertex, key = np.empty(n, np.int64), np.empty((n, keep), np.int64)
        rank, derivative = np.empty((2, n, keep), gradient.dtype)
        given = *direct, *chosen, activation, *table, derivatives, gradient, *parts, *operators, np.zeros(8, np.int64)
        follow: Any = visits.follow_visited  # whose arguments mypy cannot count
        found = follow(visited, loss, vertex, rank, derivative, key, *given)
        return vertex[:found], Places(rank[:found], derivative[:found], key[:found])

    # over matrix products

    def largest_of_rows(self, right: Floats) -> Floats:
        found: Floats = np.maximum(right.max(axis=1, initial=0), -right.min(axis=1, initial=0))
        return found

    def best_products(self, left: Floats, right: Floats, largest: Floats, keep: int) -> NDArray[np.int32]:
        return self.likely_products(left, right, largest, keep, 0.0)[0]

    def likely_products(
        self, left: Floats, right: Floats, largest: Floats, keep: int, doubt: float
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        (n_z, n_x), n_y = left.shape, right.shape[1]
        best_z = np.empty((n_x, keep, n_y), np.int32)
        doubtful = np.zeros((n_x, n_y if doubt > 0 else 0), np.bool_)

        def find(low: int, high: int) -> None:
            order = np.empty(n_z, left.dtype), np.empty(POWERS + 1, np.int64), np.empty(n_z, np.int32)
            of_block = np.empty((keep + 2, BLOCK), left.dtype), np.empty((keep + 2, BLOCK), np.int32)
            products.likely_products(low, high, left, right, largest, doubt, best_z, doubtful, *order, *of_block)

        in_ranges(find, n_x * -(-n_y // BLOCK), n_x * n_y * min(n_z, _LIKELY))
        return best_z, doubtful

    def choose_exactly(
        self,
        suffixes: Suffixes,
        places: Places,
        left: Floats,
        scaled: Floats,
        right: Floats,
        best_z: NDArray[np.int32],
        doubtful: NDArray[np.bool_],
        *keys_and_tiny: Any,
    ) -> None:
        n_x, keep, n_y = best_z.shape
        top = left.max(axis=0), self.largest_of_rows(right.T)

        def choose(low: int, high: int) -> None:
            found = left, scaled, right, best_z, doubtful, *keys_and_tiny, *top, np.empty(keep)
            products.choose_exactly(low, high, places.derivative, places.key, *found, *suffixes)

        n_doubtful = np.count_nonzero(doubtful)
        in_ranges(choose, n_x, n_x * n_y + _COMPARISONS * n_doubtful * len(left))

    def insert_products(
        self,
        places: Places,
        row: Ints,
        left: Floats,
        right: Floats,
        best_z: NDArray[np.int32],
        key_x: Ints,
        key_z: Ints,
        distinct: bool,
    ) -> None:
        n = best_z.size if distinct else 0  # rows that stand twice are one thread's
        found = np.ascontiguousarray(row), left, right, best_z, key_x, key_z
        in_ranges(products.insert_products, len(row), 4 * n, *places, *found)

    def insert_products_exactly(
        self,
        suffixes: Suffixes,
        places: Places,
        row: Ints,
        left: Floats,
        right: Floats,
        best_z: NDArray[np.int32],
        key_x: Ints,
        key_z: Ints,
        distinct: bool,
    ) -> None:
        n = best_z.size if distinct else 0
        found = np.ascontiguousarray(row), left, right, best_z, key_x, key_z
        in_ranges(products.insert_products_exactly, len(row), _COMPARISONS * n, *places, *found, *suffixes)

    def count_best(self, left: Floats, right: Floats) -> tuple[Ints, Floats, Floats]:
        (n_z, n_x), n_y = left.shape, right.shape[1]
        found = np.zeros((n_x, n_z), np.int64), np.zeros((n_x, n_z)), np.zeros((n_x, 4))

        def count(low: int, high: int) -> None:
            room = np.empty(BLOCK, left.dtype), np.empty(BLOCK, np.int32), np.empty(BLOCK, left.dtype)
            products.count_best(low, high, left, right, *found, *room)

        in_ranges(count, n_x, n_x * n_y * n_z)
        return found

    def tally_products(
        self,
        left: Floats,
        right: Floats,
        best_z: NDArray[np.int32],
        gradient: Floats,
        turned: bool,
        paths: Ints,
        weight: Floats,
    ) -> None:
        n_x, _, n_y = best_z.shape
        steps = (1, n_x) if turned else (n_y, 1)
        found = left, right, best_z, gradient, *steps, paths, weight
        in_ranges(products.tally_products, n_x, 2 * n_x * n_y, *found)

    def product_rows(
        self,
        first: int,
        target: Ints,
        slot: NDArray[np.int16],
        right: Floats,
        best_z: NDArray[np.int32],
        turned: bool,
    ) -> tuple[Ints, Ints, NDArray[np.int16], NDArray[np.int16], Floats]:
        n = best_z.size
        ends, places = np.empty((2, n), np.int64), np.empty((2, n), np.int16)
        found = ends[0], ends[1], places[0], places[1], np.empty(n, right.dtype)
        outer = best_z.shape[2 if turned else 0]
        in_ranges(products.product_rows, outer, 4 * n, first, turned, target, slot, right, best_z, *found)
        return found

    # over all paths

    def spread_of_products(self, left: Floats, left_entropy: Floats, right: Floats, *found: Any) -> None:
        n = _COMPARISONS * left.size * right.shape[1]
        in_ranges(path_sums.spread_of_products, left.shape[1], n, left, left_entropy, right, *found)

    def signed_products(self, up: Floats, down: Floats, rising: Floats, falling: Floats) -> tuple[Floats, Floats]:
        n_x, n_y = up.shape[1], rising.shape[1]
        found = np.full((n_x, n_y), -np.inf), np.full((n_x, n_y), -np.inf)
        in_ranges(path_sums.signed_products, n_x, up.size * n_y, up, down, rising, falling, *found)
        return found


CPU: Kernels = Cpu()
