"""Soft traces: a unit of mass starts on every parameter and splits at each vertex in proportion to |contribution|.

Mass is pushed forwards, operator by operator, for every parameter group at once; the probability of meeting a component
is pulled backwards. Over a contraction both are matrix products of absolute values, so no edge is made.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..edges.slots import Contracted, Direct, first_vertex, slots_in_reverse
from ..recording.recorder import Recording
from .path_sums import Spread, contribution_spread, matrix_of_targets

Floats = NDArray[Any]
Ints = NDArray[np.int64]
Slots = list[Direct | Contracted]

_ROOM = 900  # exponent that the largest scaled sum may have; sums below 2^-1800 of it lose mass
_BYTES = 1 << 28  # of the masses of activations in memory; more groups take more passes


@dataclass
class _Entering:
    """Mass that the parameters of one group put on an operator's outputs: expected paths, and |gradient|-weighted."""

    paths: Floats
    weight: Floats


@dataclass
class SoftTraces:
    """The expectation of every path count. G groups, N operators, C components.

    entries: (group, operator) -> masses of that operator's outputs
    edges, weighted_edges : G x N     paths, weighted_paths : G x C
    traced: G, parameters with a contribution other than 0      traced_weight: G, the sum of their |gradient|
    """

    entries: dict[tuple[int, int], _Entering]
    edges: Floats
    weighted_edges: Floats
    paths: Floats
    weighted_paths: Floats
    traced: Ints
    traced_weight: Floats


@dataclass
class _Sample:
    """What the passes share. gradient: V, |gradients|; scaled * |d| * inverse is an edge's share."""

    recording: Recording
    calls: list[tuple[Any, Slots]]  # nearest to the loss first
    gradient: Floats
    scaled: Floats
    inverse: Floats
    group_of: NDArray[np.signedinteger[Any]]
    n_groups: int
    entries: dict[tuple[int, int], _Entering] = field(default_factory=dict)

    @property
    def first(self) -> int:
        return self.recording.n_parameters

    def span(self, call: Any) -> slice:
        first = first_vertex(self.recording.tape, call)
        return slice(first, first + call.output.data.numel())


def soft_traces(
    recording: Recording,
    group_of: NDArray[np.signedinteger[Any]],
    n_groups: int,
    component_of: NDArray[np.int32],
    n_components: int,
    spread: Spread | None = None,
) -> SoftTraces:
    """Trace every parameter softly.

    group_of: of each parameter vertex; component_of: of each operator, -1 for copies
    spread: that of the contributions; found when not given
    """
    log2_sum = (spread or contribution_spread(recording)).log2_sum
    gradient = np.abs(recording.gradients, dtype=np.float64)
    calls = list(slots_in_reverse(recording.tape))
    sample = _Sample(recording, calls, gradient, *_scaled(gradient, log2_sum), group_of, n_groups)
    _enter(sample)
    edges, weighted_edges = _push(sample, len(component_of))
    paths, weighted_paths = _meet(sample, component_of, n_components)
    alive = np.isfinite(log2_sum[: sample.first])
    return SoftTraces(
        sample.entries,
        edges,
        weighted_edges,
        paths,
        weighted_paths,
        np.bincount(group_of[alive], minlength=n_groups),
        np.bincount(group_of[alive], gradient[: sample.first][alive], n_groups),
    )


def _scaled(gradient: Floats, log2_sum: Floats) -> tuple[Floats, Floats]:
    """|gradients| and the inverses of the sums of |contributions| (0 where that is 0), both scaled by a power of two.

    The scale keeps both in range where the gradient has all but vanished.
    """
    shift = _ROOM - math.ceil(log2_sum.max(initial=0.0))
    inverse = np.where(np.isneginf(log2_sum), 0.0, np.exp2(np.minimum(-log2_sum - shift, _ROOM)))
    return np.ldexp(gradient, shift), inverse


def _enter(sample: _Sample) -> None:
    """Split the mass of every parameter over the operators that read it."""
    parts: dict[tuple[int, int], list[tuple[Ints, Floats, Floats]]] = defaultdict(list)
    for call, slots in sample.calls:
        for slot in slots:
            for group, target, paths, weight in _entering(sample, slot, sample.scaled[sample.span(call)]):
                parts[group, call.order].append((target, paths, weight))
    for (group, order), found in parts.items():
        size = sample.recording.tape.calls[order].output.data.numel()
        target, paths, weight = (np.concatenate([part[i] for part in found]) for i in range(3))
        entering = _Entering(np.bincount(target, paths, size), np.bincount(target, weight, size))
        if entering.paths.any():
            sample.entries[group, order] = entering


def _entering(sample: _Sample, slot: Direct | Contracted, scaled: Floats) -> list[tuple[int, Ints, Floats, Floats]]:
    """The mass that parameters send through one slot: group, targets (elements of the output), paths and weight."""
    found = []
    if isinstance(slot, Direct):
        mine = (slot.vertex >= 0) & (slot.vertex < sample.first)
        vertex, target = slot.vertex[mine], slot.target[mine]
        share = np.abs(slot.derivative[mine], dtype=np.float64) * scaled[target] * sample.inverse[vertex]
        group = sample.group_of[vertex]
        for g in np.unique(group):
            of = group == g
            found.append((int(g), target[of], share[of], share[of] * sample.gradient[vertex[of]]))
        return found
    for b in range(slot.vertex.shape[0]):
        vertex = slot.vertex[b].numpy()
        mine = (vertex >= 0) & (vertex < sample.first)
        if not mine.any():
            continue
        group = np.where(mine, sample.group_of[np.where(mine, vertex, 0)], -1)
        inverse = np.where(mine, sample.inverse[vertex], 0.0)
        size = np.abs(slot.other[b].numpy(), dtype=np.float64)
        at, target = matrix_of_targets(slot, b, scaled).T, _elements(slot, b)
        for g in np.unique(group[mine]):
            rows = (group == g).any(axis=1)
            part = np.where(group[rows] == g, inverse[rows], 0.0)
            weight = part * sample.gradient[vertex[rows]]
            masses = [((m @ size) * at[rows]).reshape(-1) for m in (part, weight)]
            found.append((int(g), target[rows].reshape(-1), *masses))
    return found


def _elements(slot: Contracted, b: int) -> Ints:
    """The element of the output that (x, z) of the b-th matrix is: X x Z."""
    n_x, n_z = slot.vertex.shape[1], slot.other.shape[2]
    start = slot.offset + b * slot.stride_b
    elements: Ints = start + np.arange(n_x)[:, None] * slot.stride_x + np.arange(n_z) * slot.stride_z
    return elements


def _push(sample: _Sample, n_nodes: int) -> tuple[Floats, Floats]:
    """Push the groups' masses to the loss; the mass that arrives at an operator is its expected path edges: 2 G x N."""
    edges = np.zeros((2 * sample.n_groups, n_nodes))
    activations = max(1, sample.recording.n_vertices - sample.first)
    width = max(1, _BYTES // (8 * activations))
    for start in range(0, 2 * sample.n_groups, width):
        chunk = range(start, min(start + width, 2 * sample.n_groups))
        mass = np.zeros((activations, len(chunk)))
        for call, slots in reversed(sample.calls):
            span = sample.span(call)
            arrived = mass[span.start - sample.first : span.stop - sample.first]
            for slot in slots:
                _push_slot(sample, slot, mass, arrived, sample.scaled[span])
            for i, row in enumerate(chunk):
                entering = sample.entries.get((row % sample.n_groups, call.order))
                if entering is not None:
                    arrived[:, i] += entering.paths if row < sample.n_groups else entering.weight
            edges[chunk, call.order] = arrived.sum(axis=0)
    return edges[: sample.n_groups], edges[sample.n_groups :]


def _push_slot(sample: _Sample, slot: Direct | Contracted, mass: Floats, arrived: Floats, scaled: Floats) -> None:
    """Add what the activations that one slot reads send on. mass : A x R; arrived: its rows of the outputs."""
    if isinstance(slot, Direct):
        mine = slot.vertex >= sample.first
        vertex, target = slot.vertex[mine], slot.target[mine]
        share = np.abs(slot.derivative[mine], dtype=np.float64) * scaled[target] * sample.inverse[vertex]
        np.add.at(arrived, target, mass[vertex - sample.first] * share[:, None])
        return
    for b in range(slot.vertex.shape[0]):
        vertex = slot.vertex[b].numpy()
        mine = vertex >= sample.first
        if not mine.any():
            continue
        sent = mass[np.where(mine, vertex - sample.first, 0)] * np.where(mine, sample.inverse[vertex], 0.0)[..., None]
        size = np.abs(slot.other[b].numpy(), dtype=np.float64)
        passed = sent.transpose(0, 2, 1) @ size  # X x R x Z
        arrived[_elements(slot, b)] += passed.transpose(0, 2, 1) * matrix_of_targets(slot, b, scaled).T[..., None]


def _meet(sample: _Sample, component_of: NDArray[np.int32], n_components: int) -> tuple[Floats, Floats]:
    """The expected number of each group's paths that meet each component: 2 G x C."""
    paths, weighted = np.zeros((2, sample.n_groups, n_components))
    activations = max(1, sample.recording.n_vertices - sample.first)
    width = max(1, _BYTES // (8 * activations))
    for start in range(0, n_components, width):
        chunk = range(start, min(start + width, n_components))
        meets = np.zeros((activations, len(chunk)))
        for call, slots in sample.calls:
            span = sample.span(call)
            # an edge into this operator meets its component, and what its targets' paths meet
            met = meets[span.start - sample.first : span.stop - sample.first].copy()
            if component_of[call.order] in chunk:
                met[:, component_of[call.order] - start] = 1.0
            for slot in slots:
                _pull_slot(sample, slot, meets, met, sample.scaled[span])
            for group in range(sample.n_groups):
                entering = sample.entries.get((group, call.order))
                if entering is not None:
                    paths[group, chunk] += entering.paths @ met
                    weighted[group, chunk] += entering.weight @ met
    return paths, weighted


def _pull_slot(sample: _Sample, slot: Direct | Contracted, meets: Floats, met: Floats, scaled: Floats) -> None:
    """Add one slot's edges to the probabilities of the activations it reads. met: of the operator's outputs."""
    if isinstance(slot, Direct):
        mine = slot.vertex >= sample.first
        vertex, target = slot.vertex[mine], slot.target[mine]
        share = np.abs(slot.derivative[mine], dtype=np.float64) * scaled[target] * sample.inverse[vertex]
        np.add.at(meets, vertex - sample.first, met[target] * share[:, None])
        return
    for b in range(slot.vertex.shape[0]):
        vertex = slot.vertex[b].numpy()
        mine = vertex >= sample.first
        if not mine.any():
            continue
        at = met[_elements(slot, b)] * matrix_of_targets(slot, b, scaled).T[..., None]  # X x Z x C
        size = np.abs(slot.other[b].numpy(), dtype=np.float64)
        pulled = (size @ at) * np.where(mine, sample.inverse[vertex], 0.0)[..., None]  # X x Y x C
        np.add.at(meets, vertex[mine] - sample.first, pulled[mine])
