"""Everything that the dump counts of the paths of one sample, in a few passes over the vertices that they visit.

The walker answers one question at a time, about any walk; the path tables ask all of them at once, of every sentence.

Sizes:  A  activation vertices of the sample        R  those that paths visit       E  rows of starts
        N  operators        L  links        G  groups       C  components       W  64-bit words of C bits
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .visits import Rows, Visited
from .walker import Entries, n_words, order_by_group

P = ParamSpec("P")
R = TypeVar("R")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 64  # vertices that share one flag, so that a pass skips the parts of the graph no path touches
_ONE = np.uint64(1)
_NONE = np.uint64(0)
_LOST = -2  # in place of a step: the path does not reach the loss


class Places(NamedTuple):
    """Where the activations of a graph belong."""

    node: Rows  # A: operator that computes the vertex, -1 for inputs, to which no edge leads
    step: Rows  # A: token that the vertex belongs to, -1 for none
    component: Rows  # N: component of the operator, -1 for none
    n_components: int
    n_steps: int


class Entering(NamedTuple):
    """Traced edges of parameters, as rows of edges that lead to the same vertex: the start that it is in `Visited`.

    A vertex may have several rows.
    """

    group: NDArray[np.signedinteger[Any]]  # E
    paths: Floats  # E: how many edges; empty: each row is one
    weight: Floats  # E: sum of their parameters' weights


class Links(NamedTuple):
    """Path edges between two operators, sorted by them: from the one that computes the source to that of the target."""

    from_node: Rows  # L
    to_node: Rows  # L
    edges: Floats  # G x L
    weighted_edges: Floats  # G x L


class Spans(NamedTuple):
    """Paths by the tokens they lead from and to, -1 for none: of the first vertex, and of the last that has one.

    Sorted by (group, entry_step, end_step), without those of no path.
    """

    group: Rows
    entry_step: Rows
    end_step: Rows
    paths: Floats
    weighted_paths: Floats


class PathCounts(NamedTuple):
    """What is counted of the paths of G groups that reach the loss."""

    entries: Entries  # their vertices are ids of the sample
    edges: tuple[Floats, Floats]  # G x N, and weighted
    paths: tuple[Floats, Floats]  # G x C, and weighted
    links: Links
    spans: Spans
    reached: NDArray[np.bool_]  # A: whether a path visits the vertex


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    return cast("Callable[P, R]", njit(cache=True)(function))


class _Tails(NamedTuple):
    """Of the path from every visited vertex on: R each."""

    end: Rows  # step of its last vertex that has one, -1: none has; _LOST
    met: NDArray[np.uint64]  # R x W: bits of the components that an edge into the vertex, or a later one, is in
    link: Rows  # number of the link that its edge belongs to, -1: none
    pair: Rows  # L x 2: the operators of each link; several may be alike, where an operator's vertices are apart


@_compiled
def _pull_tails(visited: Visited, node: Rows, step: Rows, member: NDArray[np.uint64]) -> _Tails:
    # member : N + 1 x W, bits of each operator's component; the last row is that of inputs
    n = visited.next.size
    end, link, pair = np.empty(n, np.int32), np.empty(n, np.int32), np.empty((n, 2), np.int32)
    met = np.empty((n, member.shape[1]), np.uint64)
    latest, number = np.full(member.shape[0], -1, np.int32), np.empty(member.shape[0], np.int32)
    n_links = 0
    for r in range(n - 1, -1, -1):
        i, j = visited.row[r], visited.next[r]
        end[r], link[r] = step[i], -1
        for word in range(met.shape[1]):
            met[r, word] = member[node[i], word]
        if j < 0:
            if r != visited.loss:
                end[r] = _LOST
            continue
        if end[j] != -1:
            end[r] = end[j]
        for word in range(met.shape[1]):
            met[r, word] |= met[j, word]
        head, tail = node[i], node[visited.row[j]]
        if head >= 0 and tail >= 0:
            if latest[tail] != head:
                latest[tail], number[tail] = head, n_links
                pair[n_links, 0], pair[n_links, 1] = head, tail
                n_links += 1
            link[r] = number[tail]
    return _Tails(end, met, link, pair[:n_links])


class _Sums(NamedTuple):
    """What is added up group by group: the last axis is paths and weight."""

    entry: Rows  # E: vertices of the entries; those of a group come after those of the group before
    of_entry: Floats  # E x 2
    into: Floats  # G x N + 1 x 2: edges that enter the graph at an operator
    links: Floats  # G x L x 2
    paths: Floats  # G x C x 2
    span: Rows  # E x 3
    of_span: Floats  # E x 2


@_compiled
def _put(
    visited: Visited,
    end: Rows,
    low: int,
    high: int,
    order: Ints,
    paths: Floats,
    weight: Floats,
    mass: Floats,
    touched: NDArray[np.bool_],
) -> None:
    # mass : R x 2, of the group's starts
    start = visited.start
    for p in range(low, high):
        e = order[p] if order.size else p
        r = start[e]
        if r >= 0 and end[r] != _LOST:
            touched[r // _BLOCK] = True
            mass[r, 0] += paths[e] if paths.size else 1.0
            mass[r, 1] += weight[e]


@_compiled
def _alike(met: NDArray[np.uint64], r: int, s: int) -> bool:
    same = True
    for word in range(met.shape[1]):
        same &= met[r, word] == met[s, word]
    return same


@_compiled
def _add_bits(words: NDArray[np.uint64], paths: float, weight: float, found: Floats) -> None:
    # found : C x 2
    for word in range(words.size):
        bits, c = words[word], word * 64
        while bits != _NONE:
            if bits & _ONE:
                found[c, 0] += paths
                found[c, 1] += weight
            bits >>= _ONE
            c += 1


@_compiled
def _enter(
    visited: Visited,
    tails: _Tails,
    node: Rows,
    step: Rows,
    mass: Floats,
    touched: NDArray[np.bool_],
    sums: _Sums,
    g: int,
    n: int,
    spans: Floats,
) -> int:
    # what is known where paths enter the graph; n : entries so far; spans : S + 1 x S + 1 x 2
    row, end, met, entry, of_entry = visited.row, tails.end, tails.met, sums.entry, sums.of_entry
    into, of_component = sums.into[g], sums.paths[g]
    last, run_paths, run_weight = -1, 0.0, 0.0  # entries beside each other mostly meet the same components
    for block in range(touched.size):
        if not touched[block]:
            continue
        for r in range(block * _BLOCK, min((block + 1) * _BLOCK, row.size)):
            paths, weight = mass[r, 0], mass[r, 1]
            if paths == 0:
                continue
            i = row[r]
            entry[n], of_entry[n, 0], of_entry[n, 1] = r, paths, weight
            into[node[i], 0] += paths
            into[node[i], 1] += weight
            spans[step[i] + 1, end[r] + 1, 0] += paths
            spans[step[i] + 1, end[r] + 1, 1] += weight
            n += 1
            if last >= 0 and not _alike(met, last, r):
                _add_bits(met[last], run_paths, run_weight, of_component)
                run_paths, run_weight = 0.0, 0.0
            last = r
            run_paths += paths
            run_weight += weight
    if last >= 0:
        _add_bits(met[last], run_paths, run_weight, of_component)
    return n


@_compiled
def _take_spans(g: int, n: int, spans: Floats, sums: _Sums) -> int:
    # n : spans so far
    for entry in range(spans.shape[0]):
        for end in range(spans.shape[1]):
            if spans[entry, end, 0] != 0:
                sums.span[n, 0], sums.span[n, 1], sums.span[n, 2] = g, entry - 1, end - 1
                for k in range(2):
                    sums.of_span[n, k], spans[entry, end, k] = spans[entry, end, k], 0.0
                n += 1
    return n


@_compiled
def _push(
    visited: Visited,
    link: Rows,
    mass: Floats,
    touched: NDArray[np.bool_],
    links: Floats,
    reached: NDArray[np.bool_],
) -> None:
    # mass, touched : nothing is left of them
    row, following = visited.row, visited.next
    for block in range(touched.size):
        if not touched[block]:
            continue
        touched[block] = False
        for r in range(block * _BLOCK, min((block + 1) * _BLOCK, row.size)):
            paths, weight, j = mass[r, 0], mass[r, 1], following[r]
            if paths == 0:
                continue
            mass[r, 0], mass[r, 1] = 0, 0
            reached[row[r]] = True
            if link[r] >= 0:
                links[link[r], 0] += paths
                links[link[r], 1] += weight
            if j >= 0:
                if j // _BLOCK > block:
                    touched[j // _BLOCK] = True
                mass[j, 0] += paths
                mass[j, 1] += weight


@_compiled
def _sum(
    visited: Visited,
    tails: _Tails,
    node: Rows,
    step: Rows,
    paths: Floats,
    weight: Floats,
    of_group: tuple[Ints, Ints],
    sums: _Sums,
    n_steps: int,
    reached: NDArray[np.bool_],
) -> tuple[Ints, int]:
    # where the entries of each group begin : G + 1, and the number of spans
    offsets, order = of_group
    mass, touched = np.zeros((visited.row.size, 2)), np.zeros(visited.row.size // _BLOCK + 1, np.bool_)
    spans = np.zeros((n_steps + 1, n_steps + 1, 2))
    begins, n_spans = np.zeros(offsets.size, np.int64), 0
    for g in range(offsets.size - 1):
        _put(visited, tails.end, offsets[g], offsets[g + 1], order, paths, weight, mass, touched)
        begins[g + 1] = _enter(visited, tails, node, step, mass, touched, sums, g, begins[g], spans)
        if begins[g + 1] > begins[g]:
            n_spans = _take_spans(g, n_spans, spans, sums)
            _push(visited, tails.link, mass, touched, sums.links[g], reached)
    return begins, n_spans


def _members(places: Places) -> NDArray[np.uint64]:
    # N + 1 x W: the bit of each operator's component
    found = np.zeros((len(places.component) + 1, n_words(places.n_components)), np.uint64)
    inside = np.flatnonzero(places.component >= 0)
    component = places.component[inside]
    found[inside, component // 64] = _ONE << (component % 64).astype(np.uint64)
    return found


def _added(values: Floats, place: NDArray[np.integer[Any]], n: int) -> Floats:
    # values : G x L, found : G x n, each column the sum of those whose place it is
    found = np.zeros((n, len(values)))
    np.add.at(found, place, values.T)
    return found.T


def _links(pair: Rows, sums: Floats, n_nodes: int) -> Links:
    # sums : G x L x 2, of links that may stand more than once
    keys, place = np.unique(pair[:, 0] * np.int64(n_nodes) + pair[:, 1], return_inverse=True)
    edges, weighted = (_added(sums[..., k], place, keys.size) for k in range(2))
    return Links((keys // n_nodes).astype(np.int32), (keys % n_nodes).astype(np.int32), edges, weighted)


def count_all(part: Visited, places: Places, starts: Entering, n_groups: int) -> PathCounts:
    """Follow every path from the starts on, which are those of `part`; what does not reach the loss counts for nothing.

    Equal to following each path on its own, in time and memory for R vertices and E starts. An edge belongs to the
    operator that computes its head, the one that enters the graph too; links are the other edges.
    """
    tails = _pull_tails(part, places.node, places.step, _members(places))
    n_nodes, n = len(places.component), min(len(starts.group), n_groups * len(part.row))
    sums = _Sums(
        np.empty(n, np.int32),
        np.empty((n, 2)),
        np.zeros((n_groups, n_nodes + 1, 2)),
        np.zeros((n_groups, len(tails.pair), 2)),
        np.zeros((n_groups, places.n_components, 2)),
        np.empty((n, 3), np.int32),
        np.empty((n, 2)),
    )
    reached = np.zeros(len(places.node), np.bool_)
    begins, n_spans = _sum(
        part,
        tails,
        places.node,
        places.step,
        starts.paths,
        starts.weight,
        order_by_group(starts.group, n_groups),
        sums,
        places.n_steps,
        reached,
    )
    entry, of_entry = sums.entry[: begins[-1]], sums.of_entry[: begins[-1]]
    links = _links(tails.pair, sums.links, n_nodes)
    (g, start, end), of_span = sums.span[:n_spans].T.copy(), sums.of_span[:n_spans].copy()
    into = sums.into[:, :n_nodes]
    return PathCounts(
        Entries(
            np.repeat(np.arange(n_groups, dtype=np.int32), np.diff(begins)),
            part.first + part.row[entry].astype(np.int64),
            of_entry[:, 0].copy(),
            of_entry[:, 1].copy(),
        ),
        (
            into[..., 0] + _added(links.edges, links.to_node, n_nodes),
            into[..., 1] + _added(links.weighted_edges, links.to_node, n_nodes),
        ),
        (sums.paths[..., 0], sums.paths[..., 1]),
        links,
        Spans(g, start, end, of_span[:, 0].copy(), of_span[:, 1].copy()),
        reached,
    )
