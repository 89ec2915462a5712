"""The path tables of one sample: entries, path_edges, path_links, path_spans, path_counts and path_totals.

Under a method that picks one path for each parameter they are counts, made by following its best edges; under the soft
method they are expectations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...queries.methods import find_method
from ...queries.walk.path_counts import Entering, PathCounts, Places, count_all
from ...queries.walk.visits import reached, visit, visited
from ...queries.walk.walker import Entries
from ..paths.best_table import BestEdges
from ..paths.counted import Counted
from ..paths.path_sums import Spread
from ..paths.soft import SoftTraces, soft_traces
from ..recording.parameter_groups import Partition
from ..recording.recorder import Recording
from .rows import Column, Names, OrNone, Rows
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

    @property
    def places(self) -> Places:
        """Where the activations of the graph belong."""
        index, components = self.index, self.components
        return Places(index.node_of, index.step_of, components.of_node, len(components.names), index.n_steps)


@dataclass(frozen=True)
class PathTables:
    """The rows of the path tables, and which of the A activations the path of a parameter visits."""

    tables: dict[str, Rows]
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
    if find_method(best.method).all_paths:
        counts, ends = _soft_counts(recording, best, groups, spread)
    elif counted is not None:
        counts, ends = _counts_of_counted(recording, best, groups, counted)
    else:
        counts, ends = _counts_of_best(recording, best, groups)
    tables = _Tables(groups, sample, best.method, recording.gradients.dtype)
    return PathTables(tables.of(counts, ends), counts.reached)


class _Ends(NamedTuple):
    """Of each group the parameters that have an edge, those that are traced, and the sum of their |gradient|: G."""

    present: NDArray[np.int64]
    traced: NDArray[np.int64]
    traced_weight: Floats


def _counts_of_counted(
    recording: Recording, best: BestEdges, groups: Partitions, counted: Counted
) -> tuple[PathCounts, _Ends]:
    """From the edges of the activations, or of the visited ones alone."""
    first, n, vertex = recording.n_parameters, len(groups.index.node_of), best.vertex
    assert vertex is not None
    if len(vertex) == n:
        part = visit(first, best.traced(), counted.target, recording.loss_vertex)
    else:
        part = visited(first, n, vertex, best.traced(), counted.target, recording.loss_vertex)
    entering = Entering(counted.group, counted.paths.astype(np.float64), counted.weight)
    counts = count_all(part, groups.places, entering, groups.n)
    return counts, _ends(counts, np.bincount(counted.group, counted.paths, groups.n))


def _counts_of_best(recording: Recording, best: BestEdges, groups: Partitions) -> tuple[PathCounts, _Ends]:
    """From a row for each parameter and activation."""
    first = recording.n_parameters
    started = np.flatnonzero(best.target[:first, 0] >= 0)
    group = groups.partition.group_of[started]
    part = visit(first, best.traced(slice(first, None)), best.traced(started), recording.loss_vertex)
    entering = Entering(group, np.empty(0), np.abs(recording.gradients[started], dtype=np.float64))
    counts = count_all(part, groups.places, entering, groups.n)
    return counts, _ends(counts, np.bincount(group, minlength=groups.n))


def _ends(counts: PathCounts, present: NDArray[Any]) -> _Ends:
    group, _, paths, weight = counts.entries
    traced, of_traced = (np.bincount(group, numbers, len(present)) for numbers in (paths, weight))
    return _Ends(present.astype(np.int64), traced.astype(np.int64), of_traced.astype(np.float64))


def _soft_counts(
    recording: Recording, best: BestEdges, groups: Partitions, spread: Spread | None
) -> tuple[PathCounts, _Ends]:
    """In expectation over the soft traces of every parameter."""
    first, group_of = recording.n_parameters, groups.partition.group_of
    traces = soft_traces(recording, group_of, groups.n, groups.places, spread)
    present = best.target[:first, 0] >= 0
    entries = _soft_entries(recording, traces)
    counts = PathCounts(
        entries,
        (traces.edges, traces.weighted_edges),
        (traces.paths, traces.weighted_paths),
        traces.links,
        traces.spans,
        reached(first, best.traced(slice(first, None)), entries.vertex),
    )
    return counts, _Ends(np.bincount(group_of[present], minlength=groups.n), traces.traced, traces.traced_weight)


def _soft_entries(recording: Recording, traces: SoftTraces) -> Entries:
    group, vertex, paths, weight = [np.empty(0, np.int32)], [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0)]
    for (g, order), entering in sorted(traces.entries.items()):
        inside = np.flatnonzero(entering.paths)
        group.append(np.full(len(inside), g, np.int32))
        vertex.append(recording.tape.calls[order].outputs.start + inside)
        paths.append(entering.paths[inside])
        weight.append(entering.weight[inside])
    columns = (np.concatenate(group), np.concatenate(vertex), np.concatenate(paths), np.concatenate(weight))
    return Entries(*columns)


class _Tables:
    """Makes the rows of one sample and method."""

    def __init__(self, groups: Partitions, sample: int, method: str, dtype: np.dtype[Any]) -> None:
        self._groups, self._dtype = groups, dtype
        self._names = [group.name for group in groups.partition.groups]
        self._keys: dict[str, int | str] = {"method": method, "sample": sample}

    def of(self, counts: PathCounts, ends: _Ends) -> dict[str, Rows]:
        """By the names of the tables."""
        return {
            "entries": self._entries(counts.entries),
            "path_edges": self._edges(*counts.edges),
            **link_and_span_rows(counts, self._names, self._keys),
            "path_counts": self._counts(*counts.paths),
            "path_totals": self._totals(ends),
        }

    def _rows(self, group: NDArray[Any], **columns: NDArray[Any] | Names | OrNone) -> Rows:
        return Rows(len(group), {**self._keys, "parameter_group": Names(self._names, group), **columns})

    def _entries(self, entries: Entries) -> Rows:
        # sums of numbers of that precision; digits behind it would be a quarter of a study's bytes
        weight = entries.weight.astype(self._dtype)
        return self._rows(entries.group, vertex=entries.vertex, paths=entries.paths, gradient_l1=weight)

    def _edges(self, edges: Floats, weighted: Floats) -> Rows:
        at = g, node = np.nonzero(edges)
        return self._rows(g, node=node.astype(np.int32), edges=edges[at], weighted_edges=weighted[at])

    def _counts(self, paths: Floats, weighted: Floats) -> Rows:
        at = g, component = np.nonzero(paths)
        names = Names(self._groups.components.names, component)
        return self._rows(g, component=names, paths=paths[at], weighted_paths=weighted[at])

    def _totals(self, ends: _Ends) -> Rows:
        sizes = self._groups.sizes
        return self._rows(
            np.arange(self._groups.n),
            parameters=sizes,
            traced=ends.traced,
            dead=ends.present - ends.traced,
            absent=sizes - ends.present,
            traced_gradient_l1=ends.traced_weight,
        )


def link_and_span_rows(counts: PathCounts, groups: Sequence[str], keys: Mapping[str, int | str]) -> dict[str, Rows]:
    """`path_links` and `path_spans`. groups: their names     keys: the columns of method and sample"""
    links, spans = counts.links, counts.spans
    at = g, link = np.nonzero(links.edges)
    of_links: dict[str, Column] = {
        "from_node": links.from_node[link],
        "to_node": links.to_node[link],
        "edges": links.edges[at],
        "weighted_edges": links.weighted_edges[at],
    }
    of_spans: dict[str, Column] = {
        "entry_step": OrNone(spans.entry_step),
        "end_step": OrNone(spans.end_step),
        "paths": spans.paths,
        "weighted_paths": spans.weighted_paths,
    }
    return {
        "path_links": Rows(len(g), {**keys, "parameter_group": Names(groups, g), **of_links}),
        "path_spans": Rows(len(spans.group), {**keys, "parameter_group": Names(groups, spans.group), **of_spans}),
    }
