"""The path tables of one sample: entries, path_edges, path_counts and path_totals.

Under a method that picks one path for each parameter they are counts, made by following its best edges; under the soft
method they are expectations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...queries.methods import find_method
from ...queries.walk import walker
from ..paths.best_table import BestEdges
from ..paths.counted import Counted
from ..paths.path_sums import Spread
from ..paths.soft import SoftTraces, soft_traces
from ..recording.parameter_groups import Partition
from ..recording.recorder import Recording
from .tables import GraphIndex

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


@dataclass(frozen=True)
class Partitions:
    """The parameter groups and components that paths are counted by, and the keys of a sample's rows."""

    partition: Partition
    components: Components
    index: GraphIndex

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Parameters of each group."""
        return np.array([group.size for group in self.partition.groups])

    @property
    def n(self) -> int:
        """The number of parameter groups."""
        return len(self.partition.groups)


@dataclass(frozen=True)
class PathTables:
    """The rows of the four path tables, and which of the A activations the path of a parameter visits."""

    tables: dict[str, pa.Table]
    reached: NDArray[np.bool_]


def path_tables(
    recording: Recording,
    best: BestEdges,
    groups: Partitions,
    sample: int,
    spread: Spread | None = None,
    counted: Counted | None = None,
) -> PathTables:
    """The paths of all parameters under the method of `best`.

    spread: see `best_edges`     counted: the parameters' traced edges, where `best` has none of them
    """
    first = recording.n_parameters
    if find_method(best.method).all_paths:
        walk, dead = _walk(recording, best, groups), best.dead(slice(first, None))
        counts = _soft_counts(recording, best, groups, spread)
        visits, _ = walker.vertex_mass(walk._replace(next=np.where(dead, -1, walk.next)), counts.entries)
        return PathTables(_tables(counts, groups, sample, best.method, recording.gradients.dtype), visits > 0)
    if counted is not None:
        part = _visited_part(recording, best, groups, counted)
        entries = _entries(part, counted)
        present = np.bincount(counted.group, counted.paths, groups.n).astype(np.int64)
    else:
        started = np.flatnonzero(best.target[:first, 0] >= 0)
        dead = best.dead(slice(first, None))
        part = walker.visited_part(_walk(recording, best, groups), best.traced(started), dead)
        group = groups.partition.group_of[started]
        weight = np.abs(recording.gradients[started], dtype=np.float64)
        entries = walker.count_entries(part.walk, part.starts, group, weight, groups.n)
        present = np.bincount(group, minlength=groups.n)
    reached = np.zeros(recording.n_vertices - first, dtype=bool)
    reached[part.vertex[walker.vertex_mass(part.walk, entries)[0] > 0] - first] = True
    counts = _followed_counts(part, entries, present, groups)
    return PathTables(_tables(counts, groups, sample, best.method, recording.gradients.dtype), reached)


def _walk(recording: Recording, best: BestEdges, groups: Partitions) -> walker.Walk:
    first = recording.n_parameters
    return walker.Walk(first, best.target[first:, 0], groups.index.node_of, recording.loss_vertex)


def _visited_part(recording: Recording, best: BestEdges, groups: Partitions, counted: Counted) -> walker.Part:
    """The part of a walk of which no more than the visited vertices are known."""
    vertex, first = best.vertex, recording.n_parameters
    assert vertex is not None
    place = np.zeros(recording.n_vertices - first, np.int32)
    place[vertex - first] = np.arange(len(vertex))

    def renumbered(vertices: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(vertices < 0, -1, first + place[np.maximum(vertices - first, 0)].astype(np.int64))

    loss = int(renumbered(np.array(recording.loss_vertex))) if recording.loss_vertex in vertex[-1:] else -1
    node = groups.index.node_of[vertex - first]
    return walker.Part(walker.Walk(first, renumbered(best.traced()), node, loss), vertex, renumbered(counted.target))


def _entries(part: walker.Part, counted: Counted) -> walker.Entries:
    """The counted edges that lead to the loss, one row for each group and vertex of the part."""
    first, size = part.walk.first, np.int64(len(part.walk.next))
    reaches = np.append(walker.reaches_loss(part.walk), False)
    alive = reaches[np.where(part.starts < 0, -1, part.starts - first)]
    keys, place = np.unique(counted.group[alive] * size + part.starts[alive] - first, return_inverse=True)
    return walker.Entries(
        (keys // size).astype(np.int32),
        keys % size + first,
        np.bincount(place, counted.paths[alive], keys.size).astype(np.float64),
        np.bincount(place, counted.weight[alive], keys.size).astype(np.float64),
    )


def _followed_counts(
    part: walker.Part, entries: walker.Entries, present: NDArray[np.int64], groups: Partitions
) -> _Counts:
    """Follow the paths from where they enter the graph. present: parameters of each group that have an edge."""
    walk, components = part.walk, groups.components
    return _Counts(
        entries._replace(vertex=part.vertex[entries.vertex - walk.first]),
        walker.push(walk, entries, groups.n, len(components.of_node)),
        walker.count_paths_by_node(walk, components.of_node, entries, groups.n, len(components.names)),
        present,
        np.bincount(entries.group, entries.paths, groups.n).astype(np.int64),
        np.bincount(entries.group, entries.weight, groups.n).astype(np.float64),
    )


def _soft_counts(recording: Recording, best: BestEdges, groups: Partitions, spread: Spread | None) -> _Counts:
    """The same in expectation over the soft traces of every parameter."""
    components, group_of = groups.components, groups.partition.group_of
    traces = soft_traces(recording, group_of, groups.n, components.of_node, len(components.names), spread)
    present = best.target[: recording.n_parameters, 0] >= 0
    return _Counts(
        _soft_entries(recording, traces),
        (traces.edges, traces.weighted_edges),
        (traces.paths, traces.weighted_paths),
        np.bincount(group_of[present], minlength=groups.n),
        traces.traced,
        traces.traced_weight,
    )


def _soft_entries(recording: Recording, traces: SoftTraces) -> walker.Entries:
    group, vertex, paths, weight = [np.empty(0, np.int32)], [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0)]
    for (g, order), entering in sorted(traces.entries.items()):
        inside = np.flatnonzero(entering.paths)
        group.append(np.full(len(inside), g, np.int32))
        vertex.append(recording.tape.calls[order].outputs.start + inside)
        paths.append(entering.paths[inside])
        weight.append(entering.weight[inside])
    columns = (np.concatenate(group), np.concatenate(vertex), np.concatenate(paths), np.concatenate(weight))
    return walker.Entries(*columns)


class _Counts(NamedTuple):
    """PathTables of G groups over N operators and C components."""

    entries: walker.Entries
    edges: tuple[Floats, Floats]  # G x N, and weighted
    paths: tuple[Floats, Floats]  # G x C, and weighted
    present: NDArray[np.int64]  # G: parameters that have an edge
    traced: NDArray[np.int64]  # G
    traced_weight: Floats  # G


def _tables(counts: _Counts, groups: Partitions, sample: int, method: str, dtype: np.dtype[Any]) -> dict[str, pa.Table]:
    keys = _Keys(method, sample, [g.name for g in groups.partition.groups])
    (edges, weighted), (paths, weighted_paths), entries = counts.edges, counts.paths, counts.entries
    g, node = np.nonzero(edges)
    pg, component = np.nonzero(paths)
    return {
        "entries": keys.table(
            entries.group,
            {
                "vertex": entries.vertex,
                "paths": entries.paths,
                # sums of numbers of that precision; digits behind it would be a quarter of a study's bytes
                "gradient_l1": entries.weight.astype(dtype),
            },
        ),
        "path_edges": keys.table(
            g, {"node": node.astype(np.int32), "edges": edges[g, node], "weighted_edges": weighted[g, node]}
        ),
        "path_counts": keys.table(
            pg,
            {
                "component": _names(groups.components.names, component),
                "paths": paths[pg, component],
                "weighted_paths": weighted_paths[pg, component],
            },
        ),
        "path_totals": keys.table(
            np.arange(groups.n),
            {
                "parameters": groups.sizes,
                "traced": counts.traced,
                "dead": counts.present - counts.traced,
                "absent": groups.sizes - counts.present,
                "traced_gradient_l1": counts.traced_weight,
            },
        ),
    }


@dataclass(frozen=True)
class _Keys:
    """The columns that all rows of a sample share, and the names of its parameter groups."""

    method: str
    sample: int
    groups: list[str]

    def table(self, group: NDArray[Any], columns: dict[str, Any]) -> pa.Table:
        n = len(group)
        return pa.table(
            {
                "method": pa.repeat(self.method, n).dictionary_encode(),
                "sample": pa.repeat(pa.scalar(self.sample, pa.int64()), n),
                "parameter_group": _names(self.groups, group),
                **columns,
            }
        )


def _names(names: list[str], number: NDArray[Any]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(number.astype(np.int32)), pa.array(names, pa.string()))
