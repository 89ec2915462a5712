"""The edges of one sample of a store, as the search for paths takes them: of the start and of every activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..database.graph import Graph
from ..database.sample_edges import read_sample_edges
from ..errors import StoreError
from ..methods import BY_SHARE, method_of_ranking
from ..walk.edge_matrices import VertexEdges
from ..walk.suffixes import Edges, Floats, Ints, Vertices

if TYPE_CHECKING:
    from ..database.reader import StoreReader


class MoreEdges(Protocol):
    """A sample's edges from elsewhere than the store, by the store's vertex numbers."""

    def __call__(self, vertices: Ints) -> VertexEdges:
        """All edges that leave these vertices."""
        ...

    def best(self, method: str, keep: int, start: int) -> VertexEdges:
        """The `keep` best edges of `start` and of every activation under a method that ranks k best paths."""
        ...

    def contribution_l1(self) -> Floats:
        """The sum of |contributions| of every vertex."""
        ...


@dataclass(frozen=True)
class SampleEdges:
    """What is known of the edges of a sample, and where more are to be had.

    Vertices are renumbered: 0 is the start if that is a parameter, and 1 + i the i-th activation.
    truncated : V; the vertices that may have edges beside those given
    has_probabilities: asked after the search, whether the weights of the start's edges are shares, not only in
        proportion to them
    """

    graph: Graph
    vertices: Vertices
    edges: Edges
    truncated: NDArray[np.bool_]
    more: Callable[[Ints], Edges] | None
    has_probabilities: Callable[[], bool]


class _Sums(NamedTuple):
    """|gradient| and the sum of |contributions| of renumbered vertices: V each, nan where not stored."""

    gradient: Floats
    l1: Floats


@dataclass(frozen=True)
class _Reader:
    store: StoreReader
    sample: int
    start: int
    by: str

    @cached_property
    def graph(self) -> Graph:
        return self.store.graph_of(self.sample)

    @property
    def first(self) -> int:
        return self.graph.n_parameters

    def place(self, vertex: Ints) -> Ints:
        """Renumber; of the parameters only the start comes up."""
        return np.where(vertex < self.first, 0, vertex - self.first + 1)

    def rows(self, table: str, columns: str, where: str, params: Sequence[object] = ()) -> dict[str, NDArray[Any]]:
        return self.store.sample_arrays(self.sample, table, columns, where, params)

    @cached_property
    def sums(self) -> _Sums:
        rows = self.rows(
            "vertices",
            "vertex, gradient, contribution_l1",
            "(vertex = ? or vertex >= ?)",
            [self.start, self.first],
        )
        gradient, l1 = np.full((2, self.graph.n_vertices - self.first + 1), np.nan)
        at = self.place(np.asarray(rows["vertex"], np.int64))
        gradient[at] = np.abs(np.asarray(rows["gradient"], np.float64))
        l1[at] = np.ma.filled(np.ma.asarray(rows["contribution_l1"], np.float64), np.nan)
        return _Sums(gradient, l1)

    def check_sums(self) -> None:
        """Raise StoreError when an activation's sum is not stored; the start's only scales all probabilities."""
        if np.isnan(self.sums.l1[1:]).any():
            raise StoreError(f"{self.store.path} is damaged: sample {self.sample} lacks sums of contributions.")

    def kept(self) -> VertexEdges:
        """The best edges that the store keeps."""
        rows = self.rows(
            "best_edges",
            "src, dst, slot, derivative",
            "method = ? and (src = ? or src >= ?)",
            [method_of_ranking(self.by), self.start, self.first],
        )
        return self._checked(rows)

    def all_edges(self) -> VertexEdges:
        """Every edge of the sample that a path from the start may take."""
        return read_sample_edges(self.store, self.sample, np.array([self.start]), self.first)

    def all_edges_of(self, vertices: Ints) -> VertexEdges:
        """Every edge that leaves these vertices."""
        return read_sample_edges(self.store, self.sample, vertices, self.graph.n_vertices)

    def _checked(self, rows: dict[str, NDArray[Any]]) -> VertexEdges:
        src, dst = np.asarray(rows["src"], np.int64), np.asarray(rows["dst"], np.int64)
        if not ((dst > src) & (dst >= self.first) & (dst < self.graph.n_vertices)).all():
            raise StoreError(
                f"{self.store.path} is damaged: sample {self.sample} has edges against the order of its vertices."
            )
        order = np.argsort(src, kind="stable")
        return VertexEdges(src[order], dst[order], rows["slot"][order], rows["derivative"][order])

    def weighted(self, given: VertexEdges) -> Edges:
        """With what a path multiplies: |derivative|, or the share of the source's gradient."""
        src, dst = self.place(given.src), self.place(given.dst)
        weight = np.abs(given.derivative, dtype=np.float64)
        if self.by == BY_SHARE:
            gradient, l1 = self.sums
            carried = gradient[dst] * weight
            total = np.where(np.isnan(l1[src]), np.inf, l1[src])
            share = np.divide(carried, total, out=np.zeros_like(carried), where=carried > 0)
            weight = np.where(np.isinf(total), carried, np.minimum(share, 1.0))
        return Edges(src, dst, given.slot, given.derivative, weight)

    def set_sums(self, contribution_l1: Floats) -> None:
        """Take the sums of |contributions| from elsewhere: of every vertex of the store."""
        self.sums.l1[0] = contribution_l1[min(self.start, self.first)]
        self.sums.l1[1:] = contribution_l1[self.first :]

    def sum_contributions(self, edges: VertexEdges) -> None:
        """Fill in the sums of |contributions| that are not stored, of vertices whose edges are all given."""
        src, gradient = self.place(edges.src), self.sums.gradient[self.place(edges.dst)]
        found = np.bincount(src, gradient * np.abs(edges.derivative, dtype=np.float64), len(self.sums.l1))
        lacking = np.flatnonzero(np.isnan(self.sums.l1))
        self.sums.l1[lacking] = found[lacking]

    def has_shares(self) -> bool:
        """Whether the weights of the start's edges are shares of its contributions."""
        return self.by == BY_SHARE and not bool(np.isnan(self.sums.l1[self.place(np.array(self.start))]))

    def vertices(self) -> Vertices:
        firsts = [t.first_vertex or 0 for t in self.graph.vertex_tensors]
        blocks = [0, *(f - self.first + 1 for f in firsts if f >= self.first), self.graph.n_vertices - self.first + 1]
        operator = np.concatenate([[-1], self.graph.node_of_activation]).astype(np.int32)
        return Vertices(np.array(blocks, np.int64), operator, self.graph.loss_vertex - self.first + 1)


def read_edges(store: StoreReader, sample: int, start: int, by: str, more: MoreEdges | None = None) -> SampleEdges:
    """The edges of a sample for paths from `start` ranked by `by`, BY_PRODUCT or BY_SHARE.

    The best edges if the store keeps those, with the table `edges`, else `more`, as the source of others; or all edges;
    or those of `more` alone. Raises StoreError where there are none of these, and in detail 'study', whose edges are
    those of some vertices only.
    """
    reader = _Reader(store, sample, start, by)
    settings = store.manifest.settings
    method, has_all = method_of_ranking(by), settings["detail"] == "all"
    if settings["detail"] == "study":
        raise StoreError(
            "the store was dumped with detail study, which keeps the edges of traced paths only. Dump with --detail "
            "parameters or all to find other paths; a file with the sample's line alone makes it quick."
        )
    if method in settings["methods"]:
        if by == BY_SHARE:
            reader.check_sums()
        return _kept_edges(reader, reader.kept(), reader.all_edges_of if has_all else more)
    if has_all:
        given = reader.all_edges()
        if by == BY_SHARE:
            reader.sum_contributions(given)
        vertices = reader.vertices()
        nothing = np.zeros(vertices.size, np.bool_)
        return SampleEdges(reader.graph, vertices, reader.weighted(given), nothing, None, reader.has_shares)
    if more is not None:
        if by == BY_SHARE:
            reader.set_sums(more.contribution_l1())
        return _kept_edges(reader, more.best(method, int(settings["keep"]), start), more)
    raise StoreError(
        f"the best paths by {by} need the edges of method {method!r}, and the store was dumped with "
        f"{', '.join(settings['methods'])} only. Dump it with --method {method} or --detail all, or give --model and "
        "--samples, to have them found again."
    )


def _kept_edges(reader: _Reader, kept: VertexEdges, source: Callable[[Ints], VertexEdges] | None) -> SampleEdges:
    """The best edges of each vertex, and `source` of all of them."""
    vertices, edges = reader.vertices(), reader.weighted(kept)
    truncated = np.bincount(edges.src, minlength=vertices.size) >= int(reader.store.manifest.settings["keep"])

    def more(places: Ints) -> Edges:
        assert source is not None
        found = source(np.where(places == 0, reader.start, places - 1 + reader.first))
        if reader.by == BY_SHARE and 0 in places:
            reader.sum_contributions(found)
        return reader.weighted(found)

    known = None if source is None else more
    return SampleEdges(reader.graph, vertices, edges, truncated, known, reader.has_shares)
