"""The diagonal edges of a graph in the order of their sources: what its samples share of it, and what each chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.interface import Kernels
from ..recording.recorder import Recording
from ..tape.plan import LARGEST
from ..tape.tape import Tape
from ..tape.values import Value
from .diagonal import DiagonalParts, Part, diagonal_parts
from .duplicates import merge_pairs

Floats = NDArray[Any]
Ints = NDArray[np.int64]
Numbers = NDArray[np.int32]


class EdgeList(NamedTuple):
    """E edges sorted by source.

    source: vertices     place: of their derivatives among all     target: counted from the first activation on
    """

    source: Ints
    place: Numbers
    target: Numbers

    def split(self, vertex: int) -> tuple[EdgeList, EdgeList]:
        """Those of the sources before a vertex, and from it on."""
        at = int(np.searchsorted(self.source, vertex))
        source, place, target = self
        return EdgeList(source[:at], place[:at], target[:at]), EdgeList(source[at:], place[at:], target[at:])


class ByActivation(NamedTuple):
    """The edges of A activations: those of number i have the places start[i] .. start[i + 1] of the other columns."""

    start: Numbers
    place: Numbers
    target: Numbers


class Parts(NamedTuple):
    """P parts: the first place of each, and what a target counts on from for the key of its edge."""

    start: Ints
    key: Ints


@dataclass(frozen=True)
class SortedEdges:
    """A sample's diagonal edges.

    of_activations, of_parameters: those that all samples of its graph have
    parameters: the sources of the latter     of_parameter: of each of the latter the place of its source among these
    chosen: those whose sources are the sample's own choice
    derivatives: by place     parts: which part a place belongs to
    """

    of_activations: ByActivation
    of_parameters: EdgeList
    parameters: Ints
    of_parameter: Ints
    chosen: EdgeList
    derivatives: Floats
    parts: Parts


@dataclass(frozen=True)
class _Shared:
    """What all samples of a graph have. varying: the other parts, and the place at which each begins"""

    of_activations: ByActivation
    of_parameters: EdgeList
    parameters: Ints
    of_parameter: Ints
    parts: Parts
    varying: list[tuple[int, Part]]


def sorted_edges(recording: Recording) -> SortedEdges:
    """The diagonal edges of a recording; what its graph alone decides is found once."""
    tape, first = recording.tape, recording.n_parameters
    diagonal = diagonal_parts(tape)
    if recording.n_vertices - first > LARGEST:  # no other sample follows, and much memory is free again
        shared = _shared(recording, diagonal)
    else:
        shared = tape.of_graph("sorted edges", lambda: _shared(recording, diagonal))
    derivatives, parts = diagonal.derivatives(tape.log.values), shared.parts
    columns: list[tuple[Ints, Ints, Ints]] = []
    for start, part in shared.varying:
        vertex, target = part.vertices(tape.log.values), part.targets()
        place = np.arange(start, start + part.size)
        if _adds_up(tape, part):
            vertex, target, found = merge_pairs(vertex, target, derivatives[start : start + part.size])
            parts = Parts(np.append(parts.start, len(derivatives)), np.append(parts.key, _first_key(part, first)))
            place = len(derivatives) + np.arange(len(found))
            derivatives = np.append(derivatives, found)
        columns.append((vertex, place, target + (part.first_target - first)))
    of_parameters = shared.of_parameters, shared.parameters, shared.of_parameter
    return SortedEdges(shared.of_activations, *of_parameters, _by_source(columns), derivatives, parts)


def _shared(recording: Recording, diagonal: DiagonalParts) -> _Shared:
    tape, first = recording.tape, recording.n_parameters
    starts = np.cumsum([0, *(part.size for part in diagonal.parts)]).tolist()
    placed = list(zip(starts, diagonal.parts, strict=False))
    fixed: list[tuple[int, Part]] = []
    varying: list[tuple[int, Part]] = []
    for start, part in placed:
        varies = tape.log.values[part.operand].picked or _adds_up(tape, part)
        (varying if varies else fixed).append((start, part))
    of_parameters = _of_parameters(tape.log.values, fixed, first)
    return _Shared(
        _by_activation(recording.kernels, tape.log.values, fixed, first, recording.n_vertices - first),
        of_parameters,
        *np.unique(of_parameters.source, return_inverse=True),
        Parts(np.array(starts[:-1], np.int64), np.array([_first_key(p, first) for p in diagonal.parts], np.int64)),
        varying,
    )


def _first_key(part: Part, first: int) -> int:
    return part.key - (part.first_target - first)


def _adds_up(tape: Tape, part: Part) -> bool:
    """Whether edges of one source and target have to be added up."""
    return part.of_output is None and tape.repeats_one(tape.log.values[part.operand])


def _by_activation(
    kernels: Kernels, values: Sequence[Value], placed: list[tuple[int, Part]], first: int, n: int
) -> ByActivation:
    with_activations = [(at, part) for at, part in placed if part.last_vertex(values) >= first]
    start = np.zeros(n + 1, dtype=np.int32)
    for _, part in with_activations:
        kernels.count_sources(start[1:], part.vertices(values), first)
    np.cumsum(start, out=start)
    place, target = np.empty((2, int(start[-1])), dtype=np.int32)
    for at, part in with_activations:
        kernels.place_pairs(place, target, start, part.vertices(values), first, at, part.target, part.first_target)
    start[1:] = start[:-1]  # each is where the next one begins by now
    start[0] = 0
    return ByActivation(start, place, target)


def _of_parameters(values: Sequence[Value], placed: list[tuple[int, Part]], first: int) -> EdgeList:
    columns = []
    for start, part in placed:
        if part.first_vertex(values) < first:
            vertex = part.vertices(values)
            inside = np.flatnonzero(vertex < first)
            columns.append((vertex[inside], start + inside, part.targets()[inside] + (part.first_target - first)))
    return _by_source(columns)


def _by_source(columns: list[tuple[Ints, Ints, Ints]]) -> EdgeList:
    """Edges sorted by source; what leaves constants is none."""
    none = np.empty(0, np.int64)
    source, place, target = (np.concatenate([none, *(column[i] for column in columns)]) for i in range(3))
    order = np.argsort(source, kind="stable")
    order = order[np.searchsorted(source[order], 0) :]
    return EdgeList(source[order], place[order].astype(np.int32), target[order].astype(np.int32))
