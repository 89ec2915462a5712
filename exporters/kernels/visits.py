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
def _part_of(starts: Any, number: Any, last: Any, j: int) -> int:
    """Which part a number lies in, looked for where the one before was found: last[j]."""
    o = last[j]
    if number < starts[o] or (o + 1 < starts.shape[0] and number >= starts[o + 1]):
        o = _last_at_most(starts, number)
        last[j] = o
    found: int = o
    return found


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
    last: Any,
) -> None:
    """See Kernels. last: one number, room for where the part before was found"""
    for e in range(row.shape[0]):
        d = derivatives[place[e]]
        contribution = gradient[target[e]] * d
        k = part_key[_part_of(part_start, place[e], last, 0)] + target[e]
        insert(rank, derivative, key, row[e], abs(contribution), d, k)
        total[row[e]] += contribution


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
    last: Any,
) -> int:
    """See Kernels; the number of visited vertices. last: a few numbers, room for where parts were found"""
    n, c, t = 0, 0, 0
    for i in range(visited.shape[0]):
        if not visited[i]:
            continue
        vertex[n] = i
        for r in range(key.shape[1]):
            rank[n, r], derivative[n, r], key[n, r] = 0, 0, NO_EDGE
        for e in range(start[i], start[i + 1]):  # neighbours mostly have edges of the same parts
            p, u, d = place[e], target[e], derivatives[place[e]]
            k = part_key[_part_of(part_start, p, last, 1 + (e - start[i]) % (last.shape[0] - 1))] + u
            insert(rank, derivative, key, n, abs(gradient[u] * d), d, k)
        while c < source_c.shape[0] and source_c[c] <= i:
            if source_c[c] == i:
                p, u, d = place_c[c], target_c[c], derivatives[place_c[c]]
                insert(rank, derivative, key, n, abs(gradient[u] * d), d, part_key[_last_at_most(part_start, p)] + u)
            c += 1
        while t < in_table.shape[0] and in_table[t] <= i:
            if in_table[t] == i:
                _insert_row(rank, derivative, key, n, ranks, of_ranks, keys, t)
            t += 1
        if i != loss and rank[n, 0] > 0:
            o = _part_of(base, key[n, 0], last, 0)
            visited[first_target[o] + (key[n, 0] - base[o]) % size[o]] = True
        n += 1
    return n
