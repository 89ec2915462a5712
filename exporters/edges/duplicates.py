"""One edge per (vertex, slot, target): a vertex that stands more than once in an operand is still one vertex.

An embedding row picked twice and averaged is read in two places by one slot; its edge has the sum of both derivatives.
Elementwise operators read one element per slot and target, so only reduces and contracts meet this.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]


class MergedRows(NamedTuple):
    """Rows of a contraction, no vertex twice in one: batch x X x Y and batch x Y x Z, from target `offset` on."""

    vertex: Tensor
    other: Tensor
    offset: int


def merge_pairs(vertex: Ints, target: Ints, derivative: NDArray[Any]) -> tuple[Ints, Ints, NDArray[Any]]:
    """Edges of one slot with those of one vertex to one target added up, in order of (vertex, target)."""
    order = np.lexsort((target, vertex))
    order = order[np.searchsorted(vertex[order], 0) :]  # constants have no edges
    if len(order) == 0:
        return vertex[order], target[order], derivative[order]
    v, t = vertex[order], target[order]
    starts = np.flatnonzero(np.concatenate([[True], (v[1:] != v[:-1]) | (t[1:] != t[:-1])]))
    return v[starts], t[starts], np.add.reduceat(derivative[order], starts)


def merge_matrices(vertex: Tensor, other: Tensor, stride_b: int, stride_x: int) -> Iterator[MergedRows]:
    """The same for a contraction: vertex : batch x X x Y, other : batch x Y x Z.

    Where all rows repeat alike (rows gathered from one matrix) they stay together; else each row is a part of its own.
    """
    if not _repeats_in_a_row(vertex):
        yield MergedRows(vertex, other, 0)
        return
    for b in range(vertex.shape[0]):
        first = _first_places(vertex[b])
        if bool((first == first[:1]).all()):
            yield _merged(vertex[b], other[b], first[0], b * stride_b)
            continue
        for x in range(vertex.shape[1]):
            yield _merged(vertex[b, x : x + 1], other[b], first[x], b * stride_b + x * stride_x)


def _repeats_in_a_row(vertex: Tensor) -> bool:
    row = vertex.sort(-1).values
    return bool(((row[..., 1:] == row[..., :-1]) & (row[..., 1:] >= 0)).any())


def _first_places(vertex: Tensor) -> Tensor:
    """For each element of X x Y, where in its row the same vertex stands first."""
    row, order = vertex.sort(dim=-1, stable=True)
    new = torch.ones_like(row, dtype=torch.bool)
    new[:, 1:] = row[:, 1:] != row[:, :-1]
    start = torch.where(new, torch.arange(row.shape[1]), 0).cummax(-1).values
    return torch.zeros_like(order).scatter(-1, order, order.gather(-1, start))


def _merged(vertex: Tensor, other: Tensor, first: Tensor, offset: int) -> MergedRows:
    """X x Y -> 1 x X x Y', 1 x Y' x Z, with the rows of `other` that share a vertex added up."""
    kept, place = np.unique(first.numpy(), return_inverse=True)
    summed = other.new_zeros(len(kept), other.shape[1]).index_add(0, torch.from_numpy(place), other)
    return MergedRows(vertex[:, torch.from_numpy(kept)].unsqueeze(0), summed.unsqueeze(0), offset)
