"""The path tables of one sample: entries, path_edges, path_counts and path_totals, from its best edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporters.parameter_groups import Partition
from exporters.recorder import Recording
from exporters.sweep import BestEdges
from exporters.tables import GraphIndex
from queries import walker

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """The default components of a graph; `of_node`: the component of each operator, -1 for copies."""

    names: list[str]
    of_node: NDArray[np.int32]


def default_components(recording: Recording) -> Components:
    """One component for each (module, layer, role) that an operator with edges has."""
    calls = recording.tape.calls
    names = list(dict.fromkeys(c.label.component for c in calls if c.primitive.kind != "copies"))
    number = {name: i for i, name in enumerate(names)}
    of_node = [-1 if c.primitive.kind == "copies" else number[c.label.component] for c in calls]
    return Components(names, np.array(of_node, dtype=np.int32))


def path_tables(
    recording: Recording,
    best: BestEdges,
    index: GraphIndex,
    partition: Partition,
    components: Components,
    sample: int,
    method: str,
) -> dict[str, pa.Table]:
    """Follow the traced edge of every parameter: the rows of the four path tables, by table."""
    first = recording.n_parameters
    target = np.where(best.score[:, 0] == 0, -1, best.target[:, 0])
    walk = walker.Walk(first, target[first:], index.node_of[first:], recording.loss_vertex)
    started = np.flatnonzero(best.target[:first, 0] >= 0)
    group = partition.group_of[started]
    weight = np.abs(recording.gradients[started], dtype=np.float64)
    n_groups = len(partition.groups)
    entries = walker.count_entries(walk, target[started], group, weight, n_groups)
    names = [g.name for g in partition.groups]
    keys = _Keys(method, sample, index.graph, names)

    edges, weighted = walker.push(walk, entries, n_groups, len(components.of_node))
    members = walker.node_members(walk, components.of_node, len(components.names))
    met = walker.components_met(walk, members)
    paths, weighted_paths = walker.count_paths(met, entries, first, n_groups, len(components.names))
    g, node = np.nonzero(edges)
    pg, component = np.nonzero(paths)
    sizes = np.array([p.size for p in partition.groups])
    present = np.bincount(group, minlength=n_groups)
    traced = np.bincount(entries.group, entries.paths, n_groups).astype(np.int64)
    return {
        "entries": keys.table(
            entries.group, {"vertex": entries.vertex, "paths": entries.paths, "gradient_l1": entries.weight}
        ),
        "path_edges": keys.table(
            g, {"node": node.astype(np.int32), "edges": edges[g, node], "weighted_edges": weighted[g, node]}
        ),
        "path_counts": keys.table(
            pg,
            {
                "component": _names(components.names, component),
                "paths": paths[pg, component],
                "weighted_paths": weighted_paths[pg, component],
            },
        ),
        "path_totals": keys.table(
            np.arange(n_groups),
            {
                "parameters": sizes,
                "traced": traced,
                "dead": present - traced,
                "absent": sizes - present,
                "traced_gradient_l1": np.bincount(entries.group, entries.weight, n_groups),
            },
        ),
    }


@dataclass(frozen=True)
class _Keys:
    """The columns that all rows of a sample share, and the names of its parameter groups."""

    method: str
    sample: int
    graph: int
    groups: list[str]

    def table(self, group: NDArray[Any], columns: dict[str, Any]) -> pa.Table:
        n = len(group)
        return pa.table(
            {
                "method": pa.repeat(self.method, n).dictionary_encode(),
                "sample": pa.repeat(pa.scalar(self.sample, pa.int64()), n),
                "graph": pa.repeat(pa.scalar(self.graph, pa.int32()), n),
                "parameter_group": _names(self.groups, group),
                **columns,
            }
        )


def _names(names: list[str], number: NDArray[Any]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(number.astype(np.int32)), pa.array(names, pa.string()))
