"""Compiled kernels over edges sorted by source, for the vertices alone that somebody asks for: `edges/sorted.py`.

`interface.py` says what each computes.
"""

from __future__ import annotations

from typing import Any

from .compiled import inlined, kernel
from .edges import insert
from .interface import NO_EDGE


@kernel()
def count_sources(counts: Any, vertex: Any, first: int) -> None:
    """See Kernels."""
    for e in range(vertex.shape[0]):
        if vertex[e] >= first:
            counts[vertex[e] - first] += 1


@kernel()
def place_pairs(
    place: Any, target: Any, cursor: Any, vertex: Any, first: int, start: int, of_part: Any, first_target: int
) -> None:
    """See Kernels. of_part: empty where edge e leads to element e"""
    for e in range(vertex.shape[0]):
        if vertex[e] >= first:
            at = cursor[vertex[e] - first]
            place[at] = start + e
            target[at] = first_target - first + (of_part[e] if of_part.shape[0] > 0 else e)
            cursor[vertex[e] - first] = at + 1


@inlined()
def _last_at_most(ascending: Any, number: Any) -> int:
    low, high = 0, ascending.shape[0]
    while high - low > 1:
        middle = (low + high) // 2
        if ascending[middle] <= number:
            low = middle
        else:
            high = middle
    return low


@inlined()
def _insert_edge(
    rank: Any,
    derivative: Any,
    key: Any,
    row: int,
    place: int,
    target: int,
    derivatives: Any,
    gradient: Any,
    part_start: Any,
    part_key: Any,
) -> Any:
    """Put one edge into a row; its contribution."""
    d = derivatives[place]
    contribution = gradient[target] * d
    k = part_key[_last_at_most(part_start, place)] + target
    insert(rank, derivative, key, row, abs(contribution), d, k)
    return contribution


@inlined()
def _insert_row(
    rank: Any, derivative: Any, key: Any, row: int, ranks: Any, derivatives: Any, keys: Any, at: int
) -> None:
    """Put the edges in one row of a table into a row of another."""
    for r in range(keys.shape[1]):
        if keys[at, r] != NO_EDGE:
            insert(rank, derivative, key, row, ranks[at, r], derivatives[at, r], keys[at, r])


@kernel()
def insert_list(
    rank: Any,
    derivative: Any,
    key: Any,
    total: Any,
    row: Any,
    place: Any,
    target: Any,
    derivatives: Any,
    gradient: Any,
    part_start: Any,
    part_key: Any,
) -> None:
    """See Kernels."""
    for e in range(row.shape[0]):
        total[row[e]] += _insert_edge(
            rank, derivative, key, row[e], place[e], target[e], derivatives, gradient, part_start, part_key
        )


@kernel()
def follow_visited(
    visited: Any,
    loss: int,
    vertex: Any,
    rank: Any,
    derivative: Any,
    key: Any,
    start: Any,
    place: Any,
    target: Any,
    source_c: Any,
    place_c: Any,
    target_c: Any,
    in_table: Any,
    ranks: Any,
    of_ranks: Any,
    keys: Any,
    derivatives: Any,
    gradient: Any,
    part_start: Any,
    part_key: Any,
    base: Any,
    size: Any,
    first_target: Any,
) -> int:
    """See Kernels; the number of visited vertices."""
    n, c, t = 0, 0, 0
    for i in range(visited.shape[0]):
        if not visited[i]:
            continue
        vertex[n] = i
        for r in range(key.shape[1]):
            rank[n, r], derivative[n, r], key[n, r] = 0, 0, NO_EDGE
        for e in range(start[i], start[i + 1]):
            p, u = place[e], target[e]
            _insert_edge(rank, derivative, key, n, p, u, derivatives, gradient, part_start, part_key)
        while c < source_c.shape[0] and source_c[c] <= i:
            if source_c[c] == i:
                p, u = place_c[c], target_c[c]
                _insert_edge(rank, derivative, key, n, p, u, derivatives, gradient, part_start, part_key)
            c += 1
        while t < in_table.shape[0] and in_table[t] <= i:
            if in_table[t] == i:
                _insert_row(rank, derivative, key, n, ranks, of_ranks, keys, t)
            t += 1
        if i != loss and rank[n, 0] > 0:
            o = _last_at_most(base, key[n, 0])
            visited[first_target[o] + (key[n, 0] - base[o]) % size[o]] = True
        n += 1
    return n
