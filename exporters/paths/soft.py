"""Soft traces: a unit of mass starts on every parameter and splits at each vertex in proportion to |contribution|.

Mass is pushed forwards, operator by operator, for every parameter group at once; the probabilities of meeting a
component and of ending in a token are pulled backwards. Over a contraction both are matrix products of absolute values,
so no edge is made.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...queries.walk.path_counts import Links, Places, Spans
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
    edges, weighted_edges : G x N     links : of the edges between operators     paths, weighted_paths : G x C
    spans : paths by the tokens they lead from and to
    traced: G, parameters with a contribution other than 0      traced_weight: G, the sum of their |gradient|
    """

    entries: dict[tuple[int, int], _Entering]
    edges: Floats
    weighted_edges: Floats
    links: Links
    paths: Floats
    weighted_paths: Floats
    spans: Spans
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
    places: Places
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
    places: Places,
    spread: Spread | None = None,
) -> SoftTraces:
    """Trace every parameter softly.

    group_of: of each parameter vertex
    spread: that of the contributions; found when not given
    """
    log2_sum = (spread or contribution_spread(recording)).log2_sum
    gradient = np.abs(recording.gradients, dtype=np.float64)
    operators = list(slots_in_reverse(recording.tape))
    sample = _Sample(recording, operators, gradient, *_scaled(gradient, log2_sum), group_of, n_groups, places)
    _enter(sample)
    edges, weighted_edges, links = _push(sample)
    paths, weighted_paths = _meet(sample)
    alive = np.isfinite(log2_sum[: sample.first])
    return SoftTraces(
        sample.entries,
        edges,
        weighted_edges,
        links,
        paths,
        weighted_paths,
        _end(sample),
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


def _push(sample: _Sample) -> tuple[Floats, Floats, Links]:
    """Push the groups' masses to the loss; the mass that arrives at an operator is its expected path edges: 2 G x N."""
    n_groups = sample.n_groups
    edges = np.zeros((2 * n_groups, len(sample.places.component)))
    links: dict[tuple[int, int], Floats] = defaultdict(lambda: np.zeros(2 * n_groups))
    for chunk in sample.chunks(2 * n_groups):
        visitor = _Push(sample, chunk, links)
        sweep(reversed(sample.operators), visitor)
        for call, _ in sample.operators:
            edges[chunk, call.order] = visitor.mass[sample.activations(call)].sum(axis=0)
    pairs = sorted(links)
    from_node, to_node = np.array(pairs, np.int32).reshape(-1, 2).T
    of_links = np.array([links[pair] for pair in pairs]).reshape(-1, 2 * n_groups).T
    return edges[:n_groups], edges[n_groups:], Links(from_node, to_node, of_links[:n_groups], of_links[n_groups:])


class _Push:
    """Sends the mass of activations on, from the parameters forwards: A x R, a column for each group of the chunk.

    links: under the operators that compute source and target, the mass sent between them: 2 G
    """

    def __init__(self, sample: _Sample, chunk: range, links: dict[tuple[int, int], Floats]) -> None:
        self._sample, self._chunk, self._links = sample, chunk, links
        self.mass = np.zeros((sample.n_activations, len(chunk)))

    def begin(self, call: Call) -> None:
        n_groups = self._sample.n_groups
        self._order, self._scaled = call.order, self._sample.scaled[call.outputs]
        self._arrived = self.mass[self._sample.activations(call)]
        for i, row in enumerate(self._chunk):
            entering = self._sample.entries.get((row % n_groups, call.order))
            if entering is not None:
                self._arrived[:, i] += entering.paths if row < n_groups else entering.weight

    def pairs(self, edges: DiagonalEdges) -> None:
        mine = edges.vertex >= self._sample.first
        activation = edges.vertex[mine] - self._sample.first
        sent = self.mass[activation] * self._sample.shares(edges, mine, self._scaled)[:, None]
        np.add.at(self._arrived, edges.target[mine], sent)
        self._link(activation, sent)

    def matrix(self, matrix: Matrix) -> None:
        sample, vertex = self._sample, matrix.vertex
        mine = vertex >= sample.first
        if not mine.any():
            return
        inverse = np.where(mine, sample.inverse[vertex], 0.0)
        sent = self.mass[np.where(mine, vertex - sample.first, 0)] * inverse[..., None]
        size, at = matrix.sizes(), matrix.scores(self._scaled)
        passed = matmul(sent.transpose(0, 2, 1), size)  # X x R x Z
        self._arrived[matrix.targets()] += passed.transpose(0, 2, 1) * at.T[..., None]
        share = matmul(size, at).T  # X x Y, of the source in all targets
        self._link(vertex[mine] - sample.first, (sent * share[..., None])[mine])

    def _link(self, activation: Ints, sent: Floats) -> None:
        """sent: from each activation to the operator, n x R."""
        node = self._sample.places.node[activation]
        for source in _distinct(node):  # no mass arrives at an input
            of = slice(None) if len(node) and (node == source).all() else node == source
            self._links[source, self._order][self._chunk] += sent[of].sum(axis=0)


def _distinct(number: NDArray[np.int32]) -> list[int]:
    """The numbers from 0 on that there are, ascending."""
    found: list[int] = np.flatnonzero(np.bincount(number[number >= 0])).tolist()
    return found


class _Pull:
    """Pulls probabilities from the loss back to the activations: A x R, a column for each outcome."""

    def __init__(self, sample: _Sample, width: int) -> None:
        self._sample = sample
        self._pulled = np.zeros((sample.n_activations, width))

    def begin(self, call: Call) -> None:
        self._scaled = self._sample.scaled[call.outputs]
        self._at = self._arriving(call, self._pulled[self._sample.activations(call)].copy())

    def _arriving(self, call: Call, pulled: Floats) -> Floats:
        """The outcomes of a path that has arrived at each output of the operator, from those of its further path."""
        raise NotImplementedError

    def _entering(self, call: Call) -> Iterator[tuple[int, _Entering]]:
        """The groups with mass that enters the graph at the operator."""
        for group in range(self._sample.n_groups):
            entering = self._sample.entries.get((group, call.order))
            if entering is not None:
                yield group, entering

    def pairs(self, edges: DiagonalEdges) -> None:
        mine = edges.vertex >= self._sample.first
        share = self._sample.shares(edges, mine, self._scaled)
        pulled = self._at[edges.target[mine]] * share[:, None]
        np.add.at(self._pulled, edges.vertex[mine] - self._sample.first, pulled)

    def matrix(self, matrix: Matrix) -> None:
        sample, vertex = self._sample, matrix.vertex
        mine = vertex >= sample.first
        if not mine.any():
            return
        at = self._at[matrix.targets()] * matrix.scores(self._scaled).T[..., None]  # X x Z x R
        pulled = matmul(matrix.sizes(), at) * np.where(mine, sample.inverse[vertex], 0.0)[..., None]  # X x Y x R
        np.add.at(self._pulled, vertex[mine] - sample.first, pulled[mine])


def _meet(sample: _Sample) -> tuple[Floats, Floats]:
    """The expected number of each group's paths that meet each component: 2 G x C."""
    paths, weighted = np.zeros((2, sample.n_groups, sample.places.n_components))
    for chunk in sample.chunks(sample.places.n_components):
        sweep(sample.operators, _Meet(sample, chunk, paths, weighted))
    return paths, weighted


class _Meet(_Pull):
    """The probability of meeting each component of the chunk."""

    def __init__(self, sample: _Sample, chunk: range, paths: Floats, weighted: Floats) -> None:
        super().__init__(sample, len(chunk))
        self._chunk, self._paths, self._weighted = chunk, paths, weighted

    def _arriving(self, call: Call, pulled: Floats) -> Floats:
        # an edge into this operator meets its component, and what its targets' paths meet
        component = self._sample.places.component[call.order]
        if component in self._chunk:
            pulled[:, component - self._chunk.start] = 1.0
        for group, entering in self._entering(call):
            self._paths[group, self._chunk] += matmul(entering.paths, pulled)
            self._weighted[group, self._chunk] += matmul(entering.weight, pulled)
        return pulled


def _end(sample: _Sample) -> Spans:
    """The expected number of each group's paths by the tokens they lead from and to."""
    parts: list[tuple[NDArray[Any], ...]] = []
    for chunk in list(sample.chunks(sample.places.n_steps)) or [range(0)]:
        visitor = _End(sample, chunk)
        sweep(sample.operators, visitor)
        paths, weighted = visitor.found[..., 0 if chunk.start == 0 else 1 :]
        at = group, entry, end = np.nonzero(paths)
        first = chunk.start - (chunk.start == 0)  # the token of column 0, -1 for none
        parts.append((group, entry - 1, end + first, paths[at], weighted[at]))
    group, entry, end, of_paths, of_weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((end, entry, group))
    keys = np.stack([group, entry, end])[:, order].astype(np.int32)
    return Spans(keys[0], keys[1], keys[2], of_paths[order], of_weight[order])


class _End(_Pull):
    """The probability of ending in no token (the first column) and in each token of the chunk.

    found: 2 x G x S + 1 x R, paths and weights by the token they enter at, no token first
    """

    def __init__(self, sample: _Sample, chunk: range) -> None:
        super().__init__(sample, 1 + len(chunk))
        self._chunk = chunk
        self._pulled[sample.recording.loss_vertex - sample.first, 0] = 1.0
        self.found = np.zeros((2, sample.n_groups, sample.places.n_steps + 1, 1 + len(chunk)))

    def _arriving(self, call: Call, pulled: Floats) -> Floats:
        # a path that goes on to no token ends in that of this vertex
        step = self._sample.places.step[self._sample.activations(call)]
        mine = np.flatnonzero((step >= self._chunk.start) & (step < self._chunk.stop))
        pulled[mine, 1 + step[mine] - self._chunk.start] += pulled[mine, 0]
        pulled[step >= 0, 0] = 0.0
        entering = list(self._entering(call))
        for place in _distinct(step + 1) if entering else ():
            of = step + 1 == place
            for group, mass in entering:
                self.found[0, group, place] += matmul(mass.paths[of], pulled[of])
                self.found[1, group, place] += matmul(mass.weight[of], pulled[of])
        return pulled
