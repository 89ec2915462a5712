"""Soft traces: a unit of mass starts on every parameter and splits at each vertex in proportion to |contribution|.

Mass is pushed forwards, operator by operator, for every parameter group at once; the probability of meeting a component
is pulled backwards. Over a contraction both are matrix products of absolute values, so no edge is made.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..edges.derive import slots_in_reverse
from ..edges.slots import DiagonalEdges, Matrix, SlotEdges
from ..kernels.blas import matmul
from ..recording.recorder import Recording
from ..tape.tape import Call
from .path_sums import Spread, contribution_spread
from .sweep import sweep

Floats = NDArray[Any]
Ints = NDArray[np.int64]

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
    operators: list[tuple[Call, list[SlotEdges]]]  # nearest to the loss first
    gradient: Floats
    scaled: Floats
    inverse: Floats
    group_of: NDArray[np.signedinteger[Any]]
    n_groups: int
    entries: dict[tuple[int, int], _Entering] = field(default_factory=dict)

    @property
    def first(self) -> int:
        return self.recording.n_parameters

    @property
    def n_activations(self) -> int:
        return max(1, self.recording.n_vertices - self.first)

    def chunks(self, n: int) -> Iterator[range]:
        """Columns 0 .. n - 1 in as many passes as memory wants."""
        width = max(1, _BYTES // (8 * self.n_activations))
        return (range(start, min(start + width, n)) for start in range(0, n, width))

    def activations(self, call: Call) -> slice:
        """The operator's outputs among the activations."""
        return slice(call.outputs.start - self.first, call.outputs.stop - self.first)

    def shares(self, edges: DiagonalEdges, chosen: Any, scaled: Floats) -> Floats:
        """The shares of chosen edges in the contributions of their sources. scaled: of the operator's outputs."""
        size = np.abs(edges.derivative[chosen], dtype=np.float64)
        found: Floats = size * scaled[edges.target[chosen]] * self.inverse[edges.vertex[chosen]]
        return found


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
    operators = list(slots_in_reverse(recording.tape))
    sample = _Sample(recording, operators, gradient, *_scaled(gradient, log2_sum), group_of, n_groups)
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
    visitor = _Enter(sample)
    sweep(sample.operators, visitor)
    for (group, order), found in visitor.parts.items():
        size = sample.recording.tape.calls[order].output.data.numel()
        target, paths, weight = (np.concatenate([part[i] for part in found]) for i in range(3))
        entering = _Entering(np.bincount(target, paths, size), np.bincount(target, weight, size))
        if entering.paths.any():
            sample.entries[group, order] = entering


class _Enter:
    """Collects the mass that parameters send: under group and operator, elements of its output, paths and weights."""

    def __init__(self, sample: _Sample) -> None:
        self._sample = sample
        self.parts: dict[tuple[int, int], list[tuple[Ints, Floats, Floats]]] = defaultdict(list)

    def begin(self, call: Call) -> None:
        self._order, self._scaled = call.order, self._sample.scaled[call.outputs]

    def pairs(self, edges: DiagonalEdges) -> None:
        sample = self._sample
        mine = (edges.vertex >= 0) & (edges.vertex < sample.first)
        vertex, target = edges.vertex[mine], edges.target[mine]
        share = sample.shares(edges, mine, self._scaled)
        group = sample.group_of[vertex]
        for g in np.unique(group):
            of = group == g
            weight = share[of] * sample.gradient[vertex[of]]
            self.parts[int(g), self._order].append((target[of], share[of], weight))

    def matrix(self, matrix: Matrix) -> None:
        sample, vertex = self._sample, matrix.vertex
        mine = (vertex >= 0) & (vertex < sample.first)
        if not mine.any():
            return
        group = np.where(mine, sample.group_of[np.where(mine, vertex, 0)], -1)
        inverse = np.where(mine, sample.inverse[vertex], 0.0)
        size, at, target = matrix.sizes(), matrix.scores(self._scaled).T, matrix.targets()
        for g in np.unique(group[mine]):
            rows = (group == g).any(axis=1)
            part = np.where(group[rows] == g, inverse[rows], 0.0)
            weight = part * sample.gradient[vertex[rows]]
            paths, weighted = ((matmul(m, size) * at[rows]).reshape(-1) for m in (part, weight))
            self.parts[int(g), self._order].append((target[rows].reshape(-1), paths, weighted))


def _push(sample: _Sample, n_nodes: int) -> tuple[Floats, Floats]:
    """Push the groups' masses to the loss; the mass that arrives at an operator is its expected path edges: 2 G x N."""
    edges = np.zeros((2 * sample.n_groups, n_nodes))
    for chunk in sample.chunks(2 * sample.n_groups):
        visitor = _Push(sample, chunk)
        sweep(reversed(sample.operators), visitor)
        for call, _ in sample.operators:
            edges[chunk, call.order] = visitor.mass[sample.activations(call)].sum(axis=0)
    return edges[: sample.n_groups], edges[sample.n_groups :]


class _Push:
    """Sends the mass of activations on, from the parameters forwards: A x R, a column for each group of the chunk."""

    def __init__(self, sample: _Sample, chunk: range) -> None:
        self._sample, self._chunk = sample, chunk
        self.mass = np.zeros((sample.n_activations, len(chunk)))

    def begin(self, call: Call) -> None:
        n_groups = self._sample.n_groups
        self._scaled, self._arrived = self._sample.scaled[call.outputs], self.mass[self._sample.activations(call)]
        for i, row in enumerate(self._chunk):
            entering = self._sample.entries.get((row % n_groups, call.order))
            if entering is not None:
                self._arrived[:, i] += entering.paths if row < n_groups else entering.weight

    def pairs(self, edges: DiagonalEdges) -> None:
        mine = edges.vertex >= self._sample.first
        share = self._sample.shares(edges, mine, self._scaled)
        sent = self.mass[edges.vertex[mine] - self._sample.first] * share[:, None]
        np.add.at(self._arrived, edges.target[mine], sent)

    def matrix(self, matrix: Matrix) -> None:
        sample, vertex = self._sample, matrix.vertex
        mine = vertex >= sample.first
        if not mine.any():
            return
        inverse = np.where(mine, sample.inverse[vertex], 0.0)
        sent = self.mass[np.where(mine, vertex - sample.first, 0)] * inverse[..., None]
        passed = matmul(sent.transpose(0, 2, 1), matrix.sizes())  # X x R x Z
        self._arrived[matrix.targets()] += passed.transpose(0, 2, 1) * matrix.scores(self._scaled).T[..., None]


def _meet(sample: _Sample, component_of: NDArray[np.int32], n_components: int) -> tuple[Floats, Floats]:
    """The expected number of each group's paths that meet each component: 2 G x C."""
    paths, weighted = np.zeros((2, sample.n_groups, n_components))
    for chunk in sample.chunks(n_components):
        sweep(sample.operators, _Meet(sample, component_of, chunk, paths, weighted))
    return paths, weighted


class _Meet:
    """Pulls the probability of meeting each component of the chunk from the loss back: A x C."""

    def __init__(
        self, sample: _Sample, component_of: NDArray[np.int32], chunk: range, paths: Floats, weighted: Floats
    ) -> None:
        self._sample, self._component_of, self._chunk = sample, component_of, chunk
        self._paths, self._weighted = paths, weighted
        self._meets = np.zeros((sample.n_activations, len(chunk)))

    def begin(self, call: Call) -> None:
        # an edge into this operator meets its component, and what its targets' paths meet
        sample, component = self._sample, self._component_of[call.order]
        self._scaled, self._met = sample.scaled[call.outputs], self._meets[sample.activations(call)].copy()
        if component in self._chunk:
            self._met[:, component - self._chunk.start] = 1.0
        for group in range(sample.n_groups):
            entering = sample.entries.get((group, call.order))
            if entering is not None:
                self._paths[group, self._chunk] += matmul(entering.paths, self._met)
                self._weighted[group, self._chunk] += matmul(entering.weight, self._met)

    def pairs(self, edges: DiagonalEdges) -> None:
        mine = edges.vertex >= self._sample.first
        share = self._sample.shares(edges, mine, self._scaled)
        pulled = self._met[edges.target[mine]] * share[:, None]
        np.add.at(self._meets, edges.vertex[mine] - self._sample.first, pulled)

    def matrix(self, matrix: Matrix) -> None:
        sample, vertex = self._sample, matrix.vertex
        mine = vertex >= sample.first
        if not mine.any():
            return
        at = self._met[matrix.targets()] * matrix.scores(self._scaled).T[..., None]  # X x Z x C
        pulled = matmul(matrix.sizes(), at) * np.where(mine, sample.inverse[vertex], 0.0)[..., None]  # X x Y x C
        np.add.at(self._meets, vertex[mine] - sample.first, pulled[mine])
