"""Count the path tables of a sample again, from its traced edges alone, and compare with what is stored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from queries.components import members_by_columns
from queries.groups import FinestGroup, elements
from queries.walker import Entries, components_met, count_entries, count_paths, push, reaches_loss
from queries.walks import SampleWalk, read_starts, sample_walk

if TYPE_CHECKING:
    from queries.reader import StoreReader

Row = dict[tuple[Any, ...], tuple[float, ...]]


class Difference(NamedTuple):
    """A table that differs from the count: which, and the first row that does."""

    table: str
    detail: str


def _differ(counted: tuple[float, ...], stored: tuple[float, ...], tolerance: float) -> bool:
    # All numbers but the last are counts; the last is a sum of gradients, nan where it could not be counted.
    if counted[:-1] != stored[:-1]:
        return True
    return not math.isnan(counted[-1]) and not math.isclose(counted[-1], stored[-1], rel_tol=tolerance)


def _compare(table: str, counted: Row, stored: Row, tolerance: float) -> Iterator[Difference]:
    # The first row that differs, if any.
    for key in sorted(counted.keys() | stored.keys(), key=str):
        ours, theirs = counted.get(key), stored.get(key)
        if ours is None or theirs is None or _differ(ours, theirs, tolerance):
            yield Difference(table, f"{key}: stored {theirs}, counted {ours}")
            return


def _stored(store: StoreReader, at: SampleWalk, table: str, key: str, columns: Sequence[str]) -> Row:
    names = ", ".join(("parameter_group", *([key] if key else []), *columns))
    rows = store.fetch(
        f"select {names} from {store.table_of(at.sample, table)} where method = ? and sample = ?",
        [at.method, at.sample],
    )
    n_keys = len(names.split(", ")) - len(columns)
    return {tuple(row[:n_keys]): tuple(map(float, row[n_keys:])) for row in rows}


def _group_of_parameter(groups: list[FinestGroup], at: SampleWalk) -> NDArray[np.int32]:
    # n_parameters: the finest group of each parameter vertex
    group_of = np.full(at.graph.n_parameters, -1, np.int32)
    tensors = {t.name: t for t in at.graph.tensors if t.kind == "parameter"}
    for i, group in enumerate(groups):
        tensor = tensors[group.parameter]
        first = tensor.first_vertex or 0
        group_of[first : first + tensor.size][elements(group, tensor)] = i
    return group_of


def _table(names: list[str], columns: Sequence[Any], values: tuple[NDArray[np.float64], ...]) -> Row:
    # The non-zero cells of G x C counts as rows.
    return {
        (names[g], columns[c]): tuple(float(value[g, c]) for value in values) for g, c in np.argwhere(values[0] > 0)
    }


def _entries_again(store: StoreReader, at: SampleWalk, groups: list[FinestGroup]) -> tuple[Entries, Row]:
    # The entries, and the rows of path_totals, counted from the traced edges of the parameters.
    weighted = bool(store.manifest.settings.get("parameter_vertices", False))
    starts = read_starts(store, at.sample, at.method, 0, at.graph.n_parameters, weighted=weighted)
    group_of = _group_of_parameter(groups, at)
    group = group_of[starts.vertex]
    entries = count_entries(at.walk, starts.next, group, starts.weight, len(groups))
    reached = np.append(reaches_loss(at.walk), False)[np.where(starts.next < 0, -1, starts.next - at.walk.first)]
    n = len(groups)
    size = np.bincount(group_of, minlength=n)
    traced = np.bincount(group[reached], minlength=n)
    dead = np.bincount(group[~reached], minlength=n)
    weight = np.bincount(group[reached], starts.weight[reached], n)
    counts = np.stack([size, traced, dead, size - traced - dead, weight], axis=1).astype(float)
    return entries, {(group.name,): tuple(counts[i]) for i, group in enumerate(groups)}


def recount(store: StoreReader, sample: int, method: str) -> list[Difference]:
    """Where entries, path_totals, path_edges, path_counts and the trace in SQL differ from the walker's count.

    Counts must be equal; sums of gradients may differ by rounding.
    """
    tolerance = 1e-9 if store.manifest.dtype == "float64" else 1e-4
    at = sample_walk(store, sample, method)
    groups = store.finest_groups
    names = [group.name for group in groups]
    found: list[Difference] = []

    entries, totals = _entries_again(store, at, groups)
    counted: Row = {(names[g], int(v)): (p, w) for g, v, p, w in zip(*entries, strict=True)}
    stored = _stored(store, at, "entries", "vertex", ("paths", "gradient_l1"))
    found += _compare("entries", counted, stored, tolerance)
    total_columns = ("parameters", "traced", "dead", "absent", "traced_gradient_l1")
    found += _compare("path_totals", totals, _stored(store, at, "path_totals", "", total_columns), tolerance)

    n_nodes = len(at.graph.nodes)
    edges = _table(names, range(n_nodes), push(at.walk, at.entries, len(names), n_nodes))
    stored = _stored(store, at, "path_edges", "node", ("edges", "weighted_edges"))
    found += _compare("path_edges", edges, stored, tolerance)

    members = members_by_columns(at.graph, ("component",))
    met = components_met(at.walk, members.bits)
    components = [label[0] for label in members.labels]
    counts = count_paths(met, at.entries, at.walk.first, len(names), len(components))
    stored = _stored(store, at, "path_counts", "component", ("paths", "weighted_paths"))
    found += _compare("path_counts", _table(names, components, counts), stored, tolerance)

    relation = store.query("trace_groups", sample=sample, method=method)
    in_sql: Row = {(group, node): (e, w) for group, node, e, w in relation.fetchall()}
    found += _compare("the trace in SQL", in_sql, edges, tolerance)
    return found
