"""All rows of one recorded sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..edges.blocks import edge_blocks
from ..paths.best_edges import best_edges
from ..paths.best_table import BestEdges
from ..paths.counted import Counted, study_edges
from ..paths.path_sums import contribution_spread, path_statistics
from ..recording.recorder import Recording
from .path_tables import Partitions, path_tables
from .rows import Rows
from .settings import Settings
from .tables import VertexSums, best_edge_tables, edge_table, node_gradient_rows, vertex_tables

Mask = NDArray[np.bool_]


def sample_tables(
    recording: Recording, groups: Partitions, number: int, settings: Settings
) -> Iterator[tuple[str, pa.Table | Rows]]:
    """The rows of a sample, block by block, each table's in order; of a small table as Rows."""
    index = groups.index
    spread = contribution_spread(recording) if settings.needs_contribution_sums else None
    counted: Counted | None = None
    stored = np.zeros(recording.n_vertices, dtype=bool)
    for method in sorted(settings.methods):
        if settings.counts_parameters(method):
            best, counted = study_edges(recording, settings.keep, groups.partition.group_of, method)
            paths = path_tables(recording, best, groups, number, counted=counted)
        else:
            best = best_edges(recording, settings.keep, method, spread)
            paths = path_tables(recording, best, groups, number, spread)
        wanted = _vertices(recording, best, paths.reached, settings)
        stored |= wanted
        for block in best_edge_tables(recording, best, index, number, wanted):
            yield "best_edges", block
        yield from paths.tables.items()
    of_parameters = None if recording.has_parameter_gradients or counted is None else counted.norms
    yield "node_gradients", node_gradient_rows(recording, index, number, of_parameters)
    if settings.stores_vertices:
        if not settings.parameter_vertices:
            stored[: recording.n_parameters] = False
        sums = VertexSums(spread, path_statistics(recording) if settings.statistics else None)
        for block in vertex_tables(recording, index, number, stored, sums):
            yield "vertices", block
    if settings.detail == "all":
        for edges in edge_blocks(recording):
            yield "edges", edge_table(edges, index, number)


def _vertices(recording: Recording, best: BestEdges, reached: Mask, settings: Settings) -> Mask:
    """The vertices whose rows are stored. reached: of the activations, those that the path of a parameter visits."""
    first = recording.n_parameters
    if settings.detail == "study":
        return np.concatenate([np.zeros(first, dtype=bool), reached])
    wanted = np.ones(recording.n_vertices, dtype=bool)
    wanted[:first] = best.target[:first, 0] >= 0
    return wanted
