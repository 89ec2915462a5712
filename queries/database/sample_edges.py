"""Every edge of a stored sample as arrays: those in rows, and those of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..walk.edge_matrices import Derivatives, Ends, Ints, Runs, VertexEdges, edges_of, fit
from .quoting import identifiers

if TYPE_CHECKING:
    from .reader import StoreReader

_ENDS = ("src", "src_step", "n_src", "dst", "dst_step", "n_dst")


def read_sample_edges(store: StoreReader, sample: int, vertices: Ints, behind: int) -> VertexEdges:
    """The edges of a sample that leave `vertices`, or any vertex from `behind` on, sorted by source.

    StoreError where they name vertices that there are not, or lead against their order.
    """
    graph = store.graph_of(sample)
    where, params = "(src >= ? or src in (select unnest(?::bigint[])))", [behind, vertices.tolist()]
    rows = store.sample_arrays(sample, "edges", "src, dst, slot, derivative", where, params)
    runs, derivatives = _read_matrices(store, sample)
    if not fit(runs, derivatives, graph.n_vertices):
        raise StoreError(f"{store.path} is damaged: sample {sample} has matrices of edges that do not fit its graph.")
    wanted = np.zeros(graph.n_vertices, np.bool_)
    wanted[vertices] = wanted[behind:] = True
    parts = _as_edges(rows), edges_of(runs, derivatives, wanted)
    src = np.concatenate([part.src for part in parts])
    dst = np.concatenate([part.dst for part in parts])
    if (dst <= src).any() or (dst < graph.n_parameters).any():
        raise StoreError(f"{store.path} is damaged: sample {sample} has edges against the order of its vertices.")
    order = np.argsort(src, kind="stable")
    slot = np.concatenate([part.slot for part in parts])
    derivative = np.concatenate([part.derivative for part in parts])
    return VertexEdges(src[order], dst[order], slot[order], derivative[order])


def _as_edges(rows: dict[str, NDArray[Any]]) -> VertexEdges:
    src, dst = (np.asarray(rows[name], np.int64) for name in ("src", "dst"))
    return VertexEdges(src, dst, np.asarray(rows["slot"], np.int16), np.asarray(rows["derivative"]))


def _read_matrices(store: StoreReader, sample: int) -> tuple[Runs, Derivatives]:
    rows = store.sample_arrays(sample, "edge_matrices", identifiers((*_ENDS, "slot", "matrix", "first")))
    src, src_step, n_src, dst, dst_step, n_dst, matrix, first = (
        np.asarray(rows[name], np.int64) for name in (*_ENDS, "matrix", "first")
    )
    slot = np.asarray(rows["slot"], np.int16)
    runs = Runs(Ends(src, src_step, n_src), Ends(dst, dst_step, n_dst), slot, matrix, first)
    lists = store.sample_arrays(sample, "matrix_derivatives", "matrix, target, len(derivatives) as length")
    numbers = store.sample_arrays(sample, "matrix_derivatives", "unnest(derivatives) as derivative")
    matrix, target, length = (np.asarray(column, np.int64) for column in lists.values())
    return runs, Derivatives(matrix, target, length, np.asarray(numbers["derivative"]))
