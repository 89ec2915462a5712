"""The best edges of the vertices that the paths of parameters visit, and of no others: followed from their entries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..edges.order import edge_order
from ..edges.sorted import SortedEdges
from ..kernels.interface import Places
from ..recording.recorder import Recording
from .best_table import BestEdges

Ints = NDArray[np.int64]


class InTable(NamedTuple):
    """Best edges through matrix products: a row of `places` for each of these activations, ascending."""

    activation: Ints
    places: Places


def visited_edges(
    recording: Recording, entries: Ints, direct: SortedEdges, in_table: InTable, method: str
) -> BestEdges:
    """Those of the vertices on the paths from `entries` (vertices, -1 for none), in ascending order.

    For methods whose traced edge is that of the largest contribution.
    """
    first = recording.n_parameters
    visited = np.zeros(recording.n_vertices - first, dtype=bool)
    visited[entries[entries >= 0] - first] = True
    _, chosen = direct.chosen.split(first)
    order = edge_order(recording.tape)
    vertex, places = recording.kernels.follow_visited(  # whose vertices count from the first activation on
        visited,
        recording.loss_vertex - first,
        direct.of_activations,
        (chosen.source - first, chosen.place, chosen.target),
        in_table,
        direct.derivatives,
        recording.gradients[first:],
        direct.parts,
        (order.base, order.size, order.first_vertex - first),
    )
    slot = recording.kernels.decode_keys(places.key.reshape(-1), order.base, order.size, order.first_vertex)
    target, derivative, score = places.key, places.derivative, places.rank
    recording.kernels.contributions(target.reshape(-1), derivative.reshape(-1), recording.gradients, score.reshape(-1))
    return BestEdges(method, target, slot.reshape(target.shape), derivative, score, vertex=first + vertex)
