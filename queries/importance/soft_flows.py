"""Every edge of a stored sample as arrays for the soft walk, which answers what `flows` answers of one path."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..components.parameter_groups import GroupPart
from ..database.graph import Graph
from ..database.sample_edges import read_sample_edges
from ..errors import StoreError
from ..methods import find_method
from ..walk.path_counts import Links, Spans
from ..walk.soft_walker import SoftWalk, shares, soft_entries, soft_links, soft_met, soft_paths, soft_push, soft_spans
from ..walk.walker import Entries
from .flows import Counts, PartTotals, SampleFlow, read_entries, sample_flow

if TYPE_CHECKING:
    from ..database.reader import StoreReader


class SoftSampleFlow(NamedTuple):
    """One sample's edges and their shares, and where the mass of the finest groups (in the order of names) enters."""

    sample: int
    method: str
    graph: Graph
    walk: SoftWalk
    entries: Entries

    def edges_into(self, node: NDArray[np.int32], entries: Entries, n_groups: int, n_nodes: int) -> Counts:
        """Expected path edges of each group into each `node` (A: of each activation), and weighted."""
        return soft_push(self.walk._replace(node=node), entries, n_groups, n_nodes)

    def paths_meeting(self, bits: NDArray[np.uint64], entries: Entries, n_groups: int, n_components: int) -> Counts:
        """Expected paths of each group that meet each component, and weighted."""
        component = np.arange(n_components)
        inside = (bits[:, component // 64] >> (component % 64).astype(np.uint64)) & np.uint64(1)
        return soft_paths(soft_met(self.walk, inside.astype(np.bool_)), entries, self.walk.first, n_groups)

    def links_and_spans(self, n_groups: int) -> tuple[Links, Spans]:
        """Expected path edges of each group between operators, and paths by the tokens they lead from and to."""
        step, loss = self.graph.step_of_activation, self.graph.loss_vertex
        n_steps = int(step.max(initial=-1)) + 1
        links = soft_links(self.walk, self.entries, n_groups, len(self.graph.nodes))
        return links, soft_spans(self.walk, self.entries, step, loss, n_groups, n_steps)

    def entries_of_part(self, store: StoreReader, part: GroupPart) -> tuple[Entries, PartTotals]:
        """Where the mass of the parameters of a part of a finest group enters the graph."""
        first = part.tensor.first_vertex or 0
        members = np.zeros(self.graph.n_parameters, np.bool_)
        members[first : first + part.tensor.size] = part.mask
        inside = (self.walk.src < self.walk.first) & members[np.minimum(self.walk.src, self.graph.n_parameters - 1)]
        of_part = SoftWalk(
            self.walk.first, self.walk.src[inside], self.walk.dst[inside], self.walk.share[inside], self.walk.node
        )
        weight = read_weights(store, self.sample, self.graph)
        if np.isnan(weight[of_part.src]).any():
            raise StoreError(
                "a parameter group that cuts a stored group needs the gradient of every parameter, which this store "
                "was dumped without. Use groups of whole tensors and gates, or dump again with parameter vertices."
            )
        entries = soft_entries(of_part, np.zeros(self.graph.n_parameters, np.int32), weight)
        present, alive = np.unique(of_part.src), np.unique(of_part.src[of_part.share > 0])
        size = int(part.mask.sum())
        totals = PartTotals(
            size, alive.size, present.size - alive.size, size - present.size, float(weight[alive].sum())
        )
        return entries._replace(group=np.full(entries.group.size, part.group, np.int32)), totals


def read_weights(store: StoreReader, sample: int, graph: Graph) -> NDArray[np.float64]:
    """|gradient| of every parameter vertex, nan where it is not stored."""
    rows = store.sample_arrays(sample, "vertices", "vertex, gradient", "vertex < ?", [graph.n_parameters])
    weight = np.full(graph.n_parameters, np.nan)
    weight[np.asarray(rows["vertex"], np.int64)] = np.abs(np.asarray(rows["gradient"], np.float64))
    return weight


def _gradients(store: StoreReader, sample: int, graph: Graph) -> NDArray[np.float64]:
    """That of every activation, nan where it is not stored."""
    rows = store.sample_arrays(sample, "vertices", "vertex, gradient", "vertex >= ?", [graph.n_parameters])
    gradient = np.full(graph.n_vertices - graph.n_parameters, np.nan)
    gradient[np.asarray(rows["vertex"], np.int64) - graph.n_parameters] = np.asarray(rows["gradient"], np.float64)
    return gradient


def soft_sample_flow(store: StoreReader, sample: int, method: str) -> SoftSampleFlow:
    """The edges of a sample for the soft walk.

    Raises StoreError where the store does not hold every edge.
    """
    if store.manifest.settings["detail"] != "all":
        raise StoreError(
            f"{method} paths of components or groups chosen after the dump need every edge, and this store holds the "
            "best ones only. Dump with --detail all, or ask for `--by component` or the query importance_by."
        )
    graph = store.graph_of(sample)
    src, dst, _, derivative = read_sample_edges(store, sample, np.empty(0, np.int64), 0)
    gradient = _gradients(store, sample, graph).astype(derivative.dtype)[dst - graph.n_parameters]
    if np.isnan(gradient).any():
        raise StoreError(f"{store.path} is damaged: sample {sample} lacks gradients of vertices that edges end in.")
    share = shares(src, derivative * gradient)
    walk = SoftWalk(graph.n_parameters, src, dst, share, graph.node_of_activation)
    names = [group.name for group in store.finest_groups]
    return SoftSampleFlow(sample, method, graph, walk, read_entries(store, sample, method, names, graph))


Flow = SampleFlow | SoftSampleFlow


def flow(store: StoreReader, sample: int, method: str) -> Flow:
    """What answers questions about all paths of a sample under a method."""
    read = soft_sample_flow if find_method(method).all_paths else sample_flow
    return read(store, sample, method)
