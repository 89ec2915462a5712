"""Importance of components and parameter groups invented after the dump, by the walker, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..components.components import Label, Members
from ..components.parameter_groups import ParameterGroups
from ..database.graph import Graph
from ..database.quoting import identifiers
from ..errors import StoreError
from ..walk.walker import Entries
from .flows import PartTotals
from .soft_flows import Flow, flow

if TYPE_CHECKING:
    from ..database.reader import StoreReader


class Totals(NamedTuple):
    """What became of the parameters of each group: G each."""

    parameters: NDArray[np.float64]
    traced: NDArray[np.float64]
    dead: NDArray[np.float64]
    absent: NDArray[np.float64]
    traced_gradient_l1: NDArray[np.float64]


class CountedSample(NamedTuple):
    """The counts of one sample: G groups, C components, of which `present` are in the sample's graph."""

    labels: list[Label]  # C
    present: NDArray[np.bool_]  # C
    is_partition: bool
    edges: NDArray[np.float64]  # G x C
    weighted_edges: NDArray[np.float64]
    paths: NDArray[np.float64]
    weighted_paths: NDArray[np.float64]
    totals: Totals


class Labelled(NamedTuple):
    """The components of one graph. Vertices that are in the same components form a cell, so that one pass over the
    cells counts overlapping components too.
    """

    members: Members
    cell: NDArray[np.int32]  # A
    in_component: NDArray[np.float64]  # cells x C: 1 where the cell is in the component


def label(members: Members) -> Labelled:
    """Find the cells of a graph's components."""
    if members.bits.shape[1] == 1:
        words, cell = np.unique(members.bits[:, 0], return_inverse=True)
        unique = words[:, None]
    else:
        unique, cell = np.unique(members.bits, axis=0, return_inverse=True)
    components = np.arange(len(members.labels))
    in_component = (unique[:, components // 64] >> (components % 64).astype(np.uint64)) & np.uint64(1)
    return Labelled(members, cell.reshape(-1).astype(np.int32), in_component.astype(float))


def _whole_entries(at: Flow, groups: ParameterGroups) -> Entries:
    # A finest group may be in several groups, or in none.
    of = at.entries
    pieces = []
    for group, finest in groups.whole:
        inside = np.flatnonzero(of.group == finest)
        number = np.full(inside.size, group, np.int32)
        pieces.append(Entries(number, of.vertex[inside], of.paths[inside], of.weight[inside]))
    return _joined(pieces)


def _joined(pieces: list[Entries]) -> Entries:
    # Sorted by group, which the walker needs; one vertex may come up more than once in a group.
    if not pieces:
        return Entries(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0))
    group = np.concatenate([piece.group for piece in pieces])
    order = np.argsort(group, kind="stable")
    vertex = np.concatenate([piece.vertex for piece in pieces])
    paths = np.concatenate([piece.paths for piece in pieces])
    weight = np.concatenate([piece.weight for piece in pieces])
    return Entries(group[order], vertex[order], paths[order], weight[order])


def _stored_totals(store: StoreReader, at: Flow) -> dict[str, PartTotals]:
    columns = f"parameter_group, {identifiers(PartTotals._fields)}"
    rows = store.sample_rows(at.sample, "path_totals", columns, "method = ?", [at.method])
    return {row[0]: PartTotals(*row[1:]) for row in rows}


def _group_entries(
    store: StoreReader, at: Flow, groups: ParameterGroups, finest_names: list[str]
) -> tuple[Entries, Totals]:
    stored = _stored_totals(store, at)
    lacking = [finest_names[finest] for _, finest in groups.whole if finest_names[finest] not in stored]
    if lacking:
        raise StoreError(f"{store.path} is damaged: sample {at.sample} has no totals of the group {lacking[0]!r}.")
    totals = np.zeros((len(PartTotals._fields), len(groups.names)))
    for group, finest in groups.whole:
        totals[:, group] += stored[finest_names[finest]]
    pieces = [_whole_entries(at, groups)]
    for part in groups.parts:
        entries, part_totals = at.entries_of_part(store, part)
        pieces.append(entries)
        totals[:, part.group] += part_totals
    return _joined(pieces), Totals(*totals)


def count_sample(
    store: StoreReader,
    sample: int,
    method: str,
    labelled_of: Callable[[Graph], Labelled],
    groups: ParameterGroups,
    finest_names: list[str],
) -> CountedSample:
    """Count the edges and paths of each group in each component, for one sample.

    Raises StoreError when a group cuts a stored one and the store lacks the gradients of parameters.
    """
    at = flow(store, sample, method)
    labelled = labelled_of(at.graph)
    members, in_component = labelled.members, labelled.in_component
    entries, totals = _group_entries(store, at, groups, finest_names)
    n_groups, n_components = len(groups.names), len(members.labels)
    edges, weighted_edges = at.edges_into(labelled.cell, entries, n_groups, len(in_component))
    paths, weighted_paths = at.paths_meeting(members.bits, entries, n_groups, n_components)
    return CountedSample(
        labels=members.labels,
        present=members.present,
        is_partition=members.is_partition,
        edges=edges @ in_component,
        weighted_edges=weighted_edges @ in_component,
        paths=paths,
        weighted_paths=weighted_paths,
        totals=totals,
    )
