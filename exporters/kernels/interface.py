"""What a device must be able to compute: the only way in which the rest of gradtrace calls kernels.

The arrays are numpy's. `cpu.py` is one implementation; `exporters.recording` says which one a recording uses.

The table of best edges has, for each of V rows, K places: rank (what the method ranks by, largest first), derivative
and key. A *key* numbers the edges of a graph in the order in which ties are broken (`edges/order.py`), so that one
comparison of integers decides a tie and the result does not depend on the order of insertion. NO_EDGE marks an empty
place.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

NO_EDGE = int(np.iinfo(np.int64).max)

Floats = NDArray[Any]
Ints = NDArray[np.int64]


class Places(NamedTuple):
    """The table of best edges: rank, derivative and key of each place, all V x K."""

    rank: Floats
    derivative: Floats
    key: Ints


class Suffixes(NamedTuple):
    """The best product behind each activation, and what it takes to follow its edges. A activations, O operators.

    The product is (high + low) * 2^exponent, high 0 where there is none, and has a residue modulo 2^61 - 1. A path that
    arrives at the vertex is multiplied by factor * 2^factor_exponent beside its derivatives.

    mantissas : A x 3, high, low and factor     wholes : A x 3, exponent, residue and factor_exponent
    operators : 3 x O, base, size and first_vertex, see `edges.order.EdgeOrder`
    first_activation: the first one's vertex     first_row: its row in the table of best edges
    """

    mantissas: Floats
    wholes: Ints
    operators: Ints
    first_activation: int
    first_row: int


class Kernels(Protocol):
    """One implementation of all kernels. X x Y sources of a matrix product reach Z targets: `edges.slots.Matrix`."""

    # over lists of edges

    def add_at(self, total: Floats, vertex: Ints, amount: Floats | Ints) -> None:
        """total[vertex[e]] += amount[e]; a vertex below 0 counts nothing."""
        ...

    def norms(self, numbers: Floats, first: Ints, size: Ints) -> Floats:
        """Sum of |.|, sum of squares, largest |.| and zeros of numbers[first[i] : first[i] + size[i]]: N x 4."""
        ...

    def insert_pairs(
        self, places: Places, row: Ints, score: Floats, target: Ints, derivative: Floats, key: int
    ) -> None:
        """Insert E edges, ranked by |score * derivative|; those of row -1, a constant, are none.

        score: of the operator's output elements, of which target[e] is one     key: of an edge to element 0
        """
        ...

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
        """The same where scores are logarithms of products, which decide where these are near each other."""
        ...

    def settle(self, suffixes: Suffixes, places: Places, low: int, high: int, loss: int) -> None:
        """Fill in the products behind activations low .. high, whose best edges are known, and these edges' ranks.

        loss: the loss's number among the activations
        """
        ...

    def rank_exactly(self, suffixes: Suffixes, places: Places) -> None:
        """Let edges of one row have equal ranks where their products are equal, and ranks that fall elsewhere."""
        ...

    def decode_keys(self, key: Ints, base: Ints, size: Ints, first_vertex: Ints) -> NDArray[np.int16]:
        """Put the target vertex (-1: no edge) in the place of each of E keys; returns the slots, E.

        base, size, first_vertex: of each operator, base ascending
        """
        ...

    def contributions(self, target: Ints, derivative: Floats, gradient: Floats, found: Floats) -> None:
        """found[e] = gradient[target[e]] * derivative[e], 0 where there is no target."""
        ...

    def edge_rows(
        self, vertex: Ints, row: Ints, target: Ints, slot: NDArray[np.int16], derivative: Floats
    ) -> tuple[Ints, Ints, NDArray[np.int16], NDArray[np.int16], Floats]:
        """The columns src, dst, rank, slot and derivative of the edges of N vertices.

        row: N, that of each vertex in the table target, slot, derivative: R x K; -1: no edge
        """
        ...

    def place_edges(
        self,
        src: Ints,
        dst: Ints,
        derivative: Floats,
        slot: NDArray[np.int16],
        cursor: Ints,
        low: int,
        slot_number: int,
        vertex: Ints,
        first_target: Ints,
        stride: int,
        other: Floats,
        batch: Ints,
        row: Ints,
    ) -> None:
        """Write all edges of N operand elements behind those already written for the same vertices.

        vertex: N, ascending; first_target: N, the target of fan 0; other[batch, row, fan]: derivative
        cursor: place of the next edge of vertex low + i in src, dst, derivative and slot
        """
        ...

    # over edges sorted by source, see `edges/sorted.py`; places, targets and parts as in `SortedEdges`

    def count_sources(self, counts: NDArray[np.int32], vertex: Ints, first: int) -> None:
        """counts[vertex[e] - first] += 1 for each of E edges; a vertex before `first` counts nothing."""
        ...

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
        """Write place start + e and target first_target - first + of_part[e] (None: e) of E edges of activations.

        cursor: where the next edge of each activation has its place; a vertex before `first` has none
        """
        ...

    def insert_list(
        self,
        places: Places,
        row: Ints,
        place: NDArray[np.int32],
        target: NDArray[np.int32],
        derivatives: Floats,
        gradient: Floats,
        parts: tuple[Ints, Ints],
        total: Floats,
    ) -> None:
        """Insert E edges into rows of a table, ranked by |contribution|, and add their contributions to total[row[e]].

        gradient: of the activations
        """
        ...

    def follow_visited(
        self,
        visited: NDArray[np.bool_],
        loss: int,
        direct: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
        chosen: tuple[Ints, NDArray[np.int32], NDArray[np.int32]],
        in_table: tuple[Ints, Places],
        derivatives: Floats,
        gradient: Floats,
        parts: tuple[Ints, Ints],
        operators: tuple[Ints, Ints, Ints],
    ) -> tuple[Ints, Places]:
        """The visited vertices, ascending, and the best edges of each; the target of the best one is visited too.

        All vertices are counted from the first activation on. visited : A, written to     loss: visited as the last
        direct, chosen: all diagonal edges, by source and sorted by it     in_table: the best of all others, by source
        operators: base, size and first vertex of each, see `edges.order.EdgeOrder`
        """
        ...

    # over matrix products

    def largest_of_rows(self, right: Floats) -> Floats:
        """The largest |right[z, y]| over y: Z."""
        ...

    def best_products(self, left: Floats, right: Floats, largest: Floats, keep: int) -> NDArray[np.int32]:
        """For every x and y the `keep` best z by |left[z, x] right[z, y]|, the smallest z first among equals.

        left : Z x X, right : Z x Y, largest : Z, that of |right| over y -> X x keep x Y (-1 where Z < keep)
        """
        ...

    def likely_products(
        self, left: Floats, right: Floats, largest: Floats, keep: int, doubt: float
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """The same, and for which (x, y) another z is no worse by a share of `doubt` or more: X x Y."""
        ...

    def choose_exactly(
        self,
        suffixes: Suffixes,
        places: Places,
        left: Floats,
        scaled: Floats,
        right: Floats,
        best_z: NDArray[np.int32],
        doubtful: NDArray[np.bool_],
        key_x: Ints,
        key_z: Ints,
        tiny: float,
    ) -> None:
        """Choose again by the products themselves where that is doubtful, or where numbers below tiny were compared.

        left : Z x X logarithms; scaled: what was compared, their powers relative to the largest of each column
        """
        ...

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
        """Insert what `best_products` found, ranked by |left * right|.

        row : X x Y, all `distinct` or not     key_x : X, key_z : Z, whose sum is an edge's key
        """
        ...

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
        """The same where left has logarithms of products."""
        ...

    def count_best(self, left: Floats, right: Floats) -> tuple[Ints, Floats, Floats]:
        """How often each target is the best of a source, without an array of the sources.

        left : Z x X, right : Z x Y, the targets of one source in the order in which ties are broken
        -> paths : X x Z, sources whose largest |left right| is that with z, of those where it is not 0
           weight : X x Z, the sum of |gradient| of these sources, the gradient being the sum of left right over z
           norms : X x 4, of all gradients in row x, as `norms`
        """
        ...

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
        """Count the sources whose best product, which `best_products` found, is not 0, and their |gradients|.

        gradient : X x Y, row by row, or where `turned` column by column     paths, weight : X x Z, added to
        """
        ...

    def product_rows(
        self,
        first: int,
        target: Ints,
        slot: NDArray[np.int16],
        right: Floats,
        best_z: NDArray[np.int32],
        turned: bool,
    ) -> tuple[Ints, Ints, NDArray[np.int16], NDArray[np.int16], Floats]:
        """What `best_products` found as the columns src, dst, rank, slot and derivative of edges sorted by source.

        The sources are the vertices from `first` on, row by row, or where `turned` column by column.
        target : Z x X, vertices     slot : Z     keep is at most Z
        """
        ...

    # over all paths, in base-2 logarithms; a spread is the logarithm of a sum and the entropy of its terms' shares

    def combine_at(
        self, log2_sum: Floats, entropy: Floats, vertex: Ints, more_sum: Floats, more_entropy: Floats
    ) -> None:
        """Combine the spread of vertex[e] with that of alternative set e, in order; vertex -1, a constant, has none."""
        ...

    def spread_of_products(
        self,
        left: Floats,
        left_entropy: Floats,
        right: Floats,
        log2_sum: Floats,
        entropy: Floats,
        chosen: NDArray[np.bool_],
    ) -> None:
        """Write the spreads of the chosen (x, y), one z after the other, without scaling.

        left, left_entropy : Z x X spreads; right : Z x Y derivatives; log2_sum, entropy, chosen : X x Y
        """
        ...

    def raise_signed(
        self, positive: Floats, negative: Floats, vertex: Ints, derivative: Floats, up: Floats, down: Floats
    ) -> None:
        """Edge e of vertex[e] leads to a target whose largest positive and negative products are up[e] and down[e]."""
        ...

    def signed_products(self, up: Floats, down: Floats, rising: Floats, falling: Floats) -> tuple[Floats, Floats]:
        """The largest positive and negative products over z: two X x Y logarithms.

        up, down : Z x X, the targets' own
        rising, falling : Z x Y, log2 of the positive and of the negative derivatives
        """
        ...
