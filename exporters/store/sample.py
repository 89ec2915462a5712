"""All rows of one recorded sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...queries.methods import find_method
from ..edges.blocks import row_blocks
from ..edges.matrix_runs import edge_matrices
from ..paths.best_edges import best_edges
from ..paths.best_table import BestEdges
from ..paths.counted import Counted, study_edges
from ..paths.in_blocks import EdgesInBlocks
from ..paths.path_sums import contribution_spread, path_statistics
from ..recording.recorder import Recording
from .edge_tables import derivative_tables, edge_table, run_table
from .path_tables import Partitions, path_tables
from .rows import Rows
from .settings import Settings
from .tables import VertexSums, best_edge_tables, edge_row_table, node_gradient_rows, vertex_tables

Mask = NDArray[np.bool_]


def sample_tables(
    recording: Recording, groups: Partitions, number: int, settings: Settings
) -> Iterator[tuple[str, pa.Table | Rows]]:
    """The rows of a sample, block by block, each table's in order; of a small table as Rows."""
    spread = contribution_spread(recording) if settings.needs_contribution_sums else None
    counted: Counted | None = None
    stored = np.zeros(_n_stored(recording, settings), dtype=bool)  # of the last vertices
    for method in sorted(settings.methods):
        if settings.counts_parameters(method):
            best, counted = study_edges(recording, settings.keep, groups.partition.group_of, method)
            paths = path_tables(recording, best, groups, number, counted=counted)
        elif not find_method(method).logarithms:
            found = EdgesInBlocks(recording, settings.keep, groups.partition.group_of, method)
            for rows in found.of_parameters():
                if settings.stores_parameter_vertices:
                    stored[rows.src] = True
                yield "best_edges", edge_row_table(rows, method, number, scores=settings.stores_scores)
            best = found.activations
            paths = path_tables(recording, best, groups, number, counted=found.counted())
        else:
            best = best_edges(recording, settings.keep, method, spread)
            paths = path_tables(recording, best, groups, number, spread)
        wanted = paths.reached if settings.detail == "study" else _with_edges(recording, best)
        stored[-len(wanted) :] |= wanted[-len(stored) :]
        for block in best_edge_tables(recording, best, number, wanted, scores=settings.stores_scores):
            if settings.detail == "study":  # else all activations are stored
                stored[block["dst"].to_numpy() - recording.n_parameters] = True
            yield "best_edges", block
        yield from paths.tables.items()
    of_parameters = None if recording.has_parameter_gradients or counted is None else counted.norms
    yield "node_gradients", node_gradient_rows(recording, number, of_parameters)
    sums = VertexSums(spread, path_statistics(recording) if settings.statistics else None)
    for block in vertex_tables(recording, number, stored, sums, values=settings.stores_values):
        yield "vertices", block
    if settings.detail == "all":
        yield from _all_edges(recording, number)


def _all_edges(recording: Recording, number: int) -> Iterator[tuple[str, pa.Table]]:
    """Every edge: of matrices, and the others as rows."""
    matrices = edge_matrices(recording)
    if len(matrices.runs.src):
        yield "edge_matrices", run_table(matrices.runs, number)
    for block in derivative_tables(matrices.derivatives(recording), number):
        yield "matrix_derivatives", block
    for edges in row_blocks(recording, matrices.irregular):
        yield "edges", edge_table(edges, number)


def _n_stored(recording: Recording, settings: Settings) -> int:
    """How many of the last vertices may have rows: the activations, or the parameters too."""
    n_activations = recording.n_vertices - recording.n_parameters
    return recording.n_vertices if settings.stores_parameter_vertices else n_activations


def _with_edges(recording: Recording, best: BestEdges) -> Mask:
    """All activations, and the parameters that have an edge: booleans of the last vertices."""
    if best.vertex is not None:
        return np.ones(len(best.vertex), dtype=bool)
    wanted = np.ones(recording.n_vertices, dtype=bool)
    wanted[: recording.n_parameters] = best.target[: recording.n_parameters, 0] >= 0
    return wanted
