"""Matrix products seen from one operand, and several of them as one: fewer and larger calls of the kernels."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..edges.slots import Contracted, EdgeOrder
from ..tape.parameter_vertices import place

Floats = NDArray[Any]
Ints = NDArray[np.int64]


@dataclass
class Use:
    """The edges of one matrix of vertices: (x, y) -> (x, z).

    vertex : X x Y     left : Z x X, scores of the targets     right : Z x Y, derivatives
    key_x : X, key_z : Z: the sum of both is the key of an edge
    distinct: whether no vertex stands twice
    """

    vertex: Ints
    left: Floats
    right: Floats
    key_x: Ints
    key_z: Ints
    distinct: bool

    def of_rows(self, x: Ints) -> Use:
        """The same for some of the X rows."""
        return Use(self.vertex[x], self.left[:, x], self.right, self.key_x[x], self.key_z, self.distinct)


def use_of(slot: Contracted, b: int, score: Floats, order: EdgeOrder) -> Use:
    """The b-th matrix of a contraction. score: of the elements of the operator's output."""
    key_x = np.arange(slot.vertex.shape[1]) * slot.stride_x
    left, right = scores_of(slot, b, score), derivatives_of(slot, b)
    return Use(slot.vertex[b].numpy(), left, right, key_x, keys_of(slot, b, order), not slot.interleaves)


def scores_of(slot: Contracted, b: int, score: Floats) -> Floats:
    """The scores of the targets of the b-th matrix of a contraction: Z x X. See `use_of`."""
    n_x, n_z = slot.vertex.shape[1], slot.other.shape[2]
    start = slot.offset + b * slot.stride_b
    left = torch.from_numpy(score).as_strided((n_z, n_x), (slot.stride_z, slot.stride_x), start)
    return left.contiguous().numpy()


def derivatives_of(slot: Contracted, b: int) -> Floats:
    """The derivatives of the b-th matrix of a contraction: Z x Y."""
    right: Floats = slot.other[b].transpose(0, 1).contiguous().numpy()
    return right


def keys_of(slot: Contracted, b: int, order: EdgeOrder) -> Ints:
    """The keys of the edges of the first row of the b-th matrix of a contraction: Z."""
    start = slot.offset + b * slot.stride_b
    keys: Ints = order.key(slot.call, slot.slot) + start + np.arange(slot.other.shape[2]) * slot.stride_z
    return keys


def operand(slot: Contracted, b: int) -> Hashable:
    """Alike for uses of the same matrix of vertices, whose targets can be taken as one list."""
    return place(slot.vertex[b]), slot.stride_x


def matrix(slot: Contracted, b: int) -> Hashable:
    """Alike for uses with the same derivatives, whose rows can be taken as one list."""
    return place(slot.other[b]), slot.stride_z


def one_below_the_other(uses: list[Use]) -> Use:
    """Uses of one operand as one: their targets follow each other in the order of their keys."""
    if len(uses) == 1:
        return uses[0]
    uses = sorted(uses, key=lambda use: int(use.key_z[0] + use.key_x[0]))
    shift = [use.key_x[0] - uses[0].key_x[0] for use in uses]
    return Use(
        uses[0].vertex,
        np.concatenate([use.left for use in uses]),
        np.concatenate([use.right for use in uses]),
        uses[0].key_x,
        np.concatenate([use.key_z + more for use, more in zip(uses, shift, strict=True)]),
        uses[0].distinct,
    )


def side_by_side(uses: list[Use]) -> Use:
    """Uses with the same derivatives as one: their rows follow each other. A vertex may stand in several of them."""
    if len(uses) == 1:
        return uses[0]
    return Use(
        np.concatenate([use.vertex for use in uses]),
        np.concatenate([use.left for use in uses], axis=1),
        uses[0].right,
        np.concatenate([use.key_x + use.key_z[0] for use in uses]),
        uses[0].key_z - uses[0].key_z[0],
        distinct=False,
    )
