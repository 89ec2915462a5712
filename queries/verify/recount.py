"""Count the path tables of a sample again, from its edges alone, and compare with what is stored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..components.components import default_components
from ..components.parameter_groups import elements
from ..database.finest_groups import FinestGroup
from ..database.quoting import identifiers
from ..errors import StoreError
from ..importance.flows import read_starts
from ..importance.soft_flows import Flow, SoftSampleFlow, flow, read_weights
from ..methods import find_method
from ..walk.path_counts import Spans
from ..walk.soft_walker import soft_entries
from ..walk.walker import Entries, count_entries, reaches_loss

if TYPE_CHECKING:
    from ..database.reader import StoreReader

Row = dict[tuple[Any, ...], tuple[float, ...]]


class Difference(NamedTuple):
    """A table that differs from the count: which, and the first row that does."""

    table: str
    detail: str


def _differ(counted: float, stored: float, tolerance: float) -> bool:
    # nan: it could not be counted. Expectations may be as small as rounding, so their tolerance is absolute too.
    return not math.isnan(counted) and not math.isclose(counted, stored, rel_tol=tolerance, abs_tol=tolerance * 1e-3)


def _compare(table: str, counted: Row, stored: Row, tolerance: float, *, exact: bool) -> Iterator[Difference]:
    # The first row that differs, if any. All numbers but the last are counts, expected ones unless `exact`; the last is
    # a sum of gradients.
    for key in sorted(counted.keys() | stored.keys(), key=str):
        ours, theirs = counted.get(key), stored.get(key)
        if exact and (ours is None or theirs is None or ours[:-1] != theirs[:-1]):
            yield Difference(table, f"{key}: stored {theirs}, counted {ours}")
            return
        nothing = (0.0,) * len(ours or theirs or ())
        pairs = zip(ours or nothing, theirs or nothing, strict=True)
        if any(_differ(a, b, tolerance) for a, b in pairs):
            yield Difference(table, f"{key}: stored {theirs}, counted {ours}")
            return


def _stored(store: StoreReader, at: Flow, table: str, key: Sequence[str], columns: Sequence[str]) -> Row:
    keys = ["parameter_group", *key]
    rows = store.sample_rows(at.sample, table, identifiers([*keys, *columns]), "method = ?", [at.method])
    n_keys = len(keys)
    return {tuple(row[:n_keys]): tuple(map(float, row[n_keys:])) for row in rows}


def _group_of_parameter(groups: list[FinestGroup], at: Flow) -> NDArray[np.int32]:
    # n_parameters: the finest group of each parameter vertex
    group_of = np.full(at.graph.n_parameters, -1, np.int32)
    tensors = {t.name: t for t in at.graph.tensors if t.kind == "parameter"}
    for i, group in enumerate(groups):
        if group.parameter not in tensors:
            raise StoreError(f"there is no parameter {group.parameter!r}, of which {group.name!r} is a group.")
        tensor = tensors[group.parameter]
        first = tensor.first_vertex or 0
        group_of[first : first + tensor.size][elements(group, tensor)] = i
    if (group_of < 0).any():
        raise StoreError(f"{int((group_of < 0).sum())} parameters are in no parameter group.")
    return group_of


def _table(names: list[str], columns: Sequence[tuple[Any, ...]], values: tuple[NDArray[np.float64], ...]) -> Row:
    # The non-zero cells of G x C counts as rows. columns: the keys of each
    return {
        (names[g], *columns[c]): tuple(float(value[g, c]) for value in values) for g, c in np.argwhere(values[0] > 0)
    }


def _spans(names: list[str], spans: Spans) -> Row:
    # The rows of path_spans.
    rows = zip(*(column.tolist() for column in spans), strict=True)
    return {
        (names[g], *(None if step < 0 else step for step in steps)): (paths, weighted)
        for g, *steps, paths, weighted in rows
    }


class _Entered(NamedTuple):
    """The entries counted from the edges of the parameters, and which parameters have an edge and are traced."""

    entries: Entries
    weight: NDArray[np.float64]  # n_parameters: |gradient|, nan where it is not stored
    present: NDArray[np.int64]
    traced: NDArray[np.int64]


def _entered(store: StoreReader, at: Flow, group_of: NDArray[np.int32], n_groups: int) -> _Entered:
    weight = read_weights(store, at.sample, at.graph)
    if isinstance(at, SoftSampleFlow):
        mine = at.walk.src < at.walk.first
        src, alive = at.walk.src[mine], at.walk.share[mine] > 0
        return _Entered(soft_entries(at.walk, group_of, weight), weight, np.unique(src), np.unique(src[alive]))
    starts = read_starts(store, at.sample, at.method, 0, at.graph.n_parameters, weighted=False)
    entries = count_entries(at.walk, starts.next, group_of[starts.vertex], weight[starts.vertex], n_groups)
    reached = np.append(reaches_loss(at.walk), False)[np.where(starts.next < 0, -1, starts.next - at.walk.first)]
    return _Entered(entries, weight, starts.vertex, starts.vertex[reached])


def _totals(entered: _Entered, group_of: NDArray[np.int32], names: list[str]) -> Row:
    # The rows of path_totals.
    n = len(names)
    size = np.bincount(group_of, minlength=n)
    present = np.bincount(group_of[entered.present], minlength=n)
    traced = np.bincount(group_of[entered.traced], minlength=n)
    weight = np.bincount(group_of[entered.traced], entered.weight[entered.traced], n)
    counts = np.stack([size, traced, present - traced, size - present, weight], axis=1).astype(float)
    return {(name,): tuple(counts[i]) for i, name in enumerate(names)}


def recount(store: StoreReader, sample: int, method: str) -> list[Difference]:
    """Where the path tables and the trace in SQL differ from what is counted here.

    Counts must be equal, expected ones and sums of gradients up to rounding. Raises StoreError for soft paths in a
    store that does not hold every edge.
    """
    at = flow(store, sample, method)
    exact = not find_method(method).all_paths
    compare = partial(_compare, tolerance=1e-9 if store.manifest.dtype == "float64" else 1e-4, exact=exact)
    stored = partial(_stored, store, at)
    names = [group.name for group in store.finest_groups]
    found: list[Difference] = []

    if store.manifest.settings["detail"] != "study":  # which stores parameters as entries only
        group_of = _group_of_parameter(store.finest_groups, at)
        entered = _entered(store, at, group_of, len(names))
        counted: Row = {(names[g], int(v)): (p, w) for g, v, p, w in zip(*entered.entries, strict=True)}
        found += compare("entries", counted, stored("entries", ["vertex"], ("paths", "gradient_l1")))
        columns = ("parameters", "traced", "dead", "absent", "traced_gradient_l1")
        found += compare("path_totals", _totals(entered, group_of, names), stored("path_totals", [], columns))

    n_nodes = len(at.graph.nodes)
    edges = _table(
        names, [(node,) for node in range(n_nodes)], at.edges_into(at.walk.node, at.entries, len(names), n_nodes)
    )
    found += compare("path_edges", edges, stored("path_edges", ["node"], ("edges", "weighted_edges")))

    links, spans = at.links_and_spans(len(names))
    pairs = list(zip(links.from_node.tolist(), links.to_node.tolist(), strict=True))
    linked = _table(names, pairs, (links.edges, links.weighted_edges))
    found += compare("path_links", linked, stored("path_links", ["from_node", "to_node"], ("edges", "weighted_edges")))
    in_spans = stored("path_spans", ["entry_step", "end_step"], ("paths", "weighted_paths"))
    found += compare("path_spans", _spans(names, spans), in_spans)

    members = default_components(at.graph)
    counts = _table(names, members.labels, at.paths_meeting(members.bits, at.entries, len(names), len(members.labels)))
    found += compare("path_counts", counts, stored("path_counts", ["component"], ("paths", "weighted_paths")))

    if exact:
        relation = store.query("trace_groups", sample=sample, method=method)
        in_sql: Row = {(group, node): (e, w) for group, node, e, w in relation.fetchall()}
        found += compare("the trace in SQL", in_sql, edges)
    return found
