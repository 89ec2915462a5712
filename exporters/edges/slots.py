"""Every edge of a recording, slot by slot: which operand's elements lead to which targets, with what derivative.

Two shapes cover the four kinds of operators. *Diagonal* edges (elementwise, reduces): each element of the operand has
one target. *Contraction* edges (contracts): each has a row of targets, so that they are few matrices. Copies have none.
Both offer the same: pairs or matrices, one by one, for what goes along a sweep; all of them as fans, for rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..kernels.blas import aligned
from ..tape.parameter_vertices import place
from ..tape.tape import Call
from .order import EdgeOrder

Floats = NDArray[Any]
Ints = NDArray[np.int64]


class Fans(NamedTuple):
    """The edges of N elements of an operand, F of each.

    Edge f of element i leads to vertex first_target[i] + f * stride with derivative other[batch[i], row[i], f].
    """

    first_target: Ints
    stride: int
    other: Floats
    batch: Ints
    row: Ints


@dataclass(frozen=True)
class SlotEdges:
    """The edges through one slot of an operator."""

    call: Call
    slot: int

    @property
    def interleaves(self) -> bool:
        """Whether the targets of one vertex may come in another order than its elements."""
        return False

    def pairs(self) -> Iterator[DiagonalEdges]:
        """Those edges of which each is a pair of its own."""
        yield from ()

    def matrices(self) -> Iterator[Matrix]:
        """Those edges that are matrices."""
        yield from ()

    def vertices(self) -> Ints:
        """The vertex that each element of the operand is, -1 for constants: N."""
        raise NotImplementedError

    def fan_out(self) -> int:
        """The number of edges that leave each element."""
        raise NotImplementedError

    def fans(self, chosen: Ints) -> Fans:
        """The edges of chosen elements, given by their places in `vertices()`."""
        raise NotImplementedError

    def sums(self, of_outputs: Floats, *, absolute: bool = False) -> Floats:
        """For each element the sum over its edges of derivative times what its target has: N.

        of_outputs: of each element of the operator's output     absolute: whether |derivative| is meant
        """
        raise NotImplementedError


@dataclass(frozen=True)
class DiagonalEdges(SlotEdges):
    """N edges: vertex[i] leads to element target[i] of the output with derivative[i]."""

    vertex: Ints
    target: Ints
    derivative: Floats

    def pairs(self) -> Iterator[DiagonalEdges]:
        yield self

    def vertices(self) -> Ints:
        return self.vertex

    def fan_out(self) -> int:
        return 1

    def fans(self, chosen: Ints) -> Fans:
        derivative = self.derivative.reshape(1, -1, 1)
        return Fans(self.call.outputs.start + self.target[chosen], 0, derivative, np.zeros_like(chosen), chosen)

    def sums(self, of_outputs: Floats, *, absolute: bool = False) -> Floats:
        derivative = np.abs(self.derivative) if absolute else self.derivative
        found: Floats = of_outputs[self.target] * derivative
        return found


@dataclass(frozen=True)
class ContractionEdges(SlotEdges):
    """The edges of one operand of a matrix product, over flattened batch axes. See `target` for whom they lead to.

    vertex : batch x X x Y     other : batch x Y x Z, the derivatives
    No vertex stands twice in a row (b, x). repeats: whether one stands in several, so that its targets alternate.
    """

    vertex: Tensor
    other: Tensor
    offset: int
    stride_b: int
    stride_x: int
    stride_z: int
    repeats: bool

    @property
    def interleaves(self) -> bool:
        return self.repeats

    def target(self, b: Any, x: Any, z: Any) -> Any:
        """The element of the output that (b, x, y) leads to through (b, y, z), for numbers and for arrays of them."""
        return self.offset + b * self.stride_b + x * self.stride_x + z * self.stride_z

    def of_targets(self, of_outputs: Floats) -> Tensor:
        """What the targets have, given what the elements of the output have: batch x X x Z, a view."""
        size = (*self.vertex.shape[:2], self.other.shape[2])
        strides = (self.stride_b, self.stride_x, self.stride_z)
        return aligned(of_outputs).as_strided(size, strides, self.target(0, 0, 0))

    def matrices(self) -> Iterator[Matrix]:
        yield from (Matrix(self, b) for b in range(self.vertex.shape[0]))

    def vertices(self) -> Ints:
        return self.vertex.reshape(-1).to(torch.int64).numpy()

    def fan_out(self) -> int:
        return self.other.shape[2]

    def fans(self, chosen: Ints) -> Fans:
        _, n_x, n_y = self.vertex.shape
        batch, x, y = chosen // (n_x * n_y), chosen // n_y % n_x, chosen % n_y
        first = self.call.outputs.start + self.target(batch, x, 0)
        return Fans(first, self.stride_z, self.other.numpy(), batch, y)

    def sums(self, of_outputs: Floats, *, absolute: bool = False) -> Floats:
        other = self.other.abs() if absolute else self.other
        found: Floats = (self.of_targets(of_outputs) @ other.mT).reshape(-1).numpy()
        return found


class Matrix(NamedTuple):
    """The b-th matrix of a contraction: X x Y vertices, each with a row of Z targets."""

    edges: ContractionEdges
    b: int

    @property
    def vertex(self) -> Ints:
        """X x Y"""
        return self.edges.vertex[self.b].to(torch.int64).numpy()

    def targets(self) -> Ints:
        """The elements of the output that the vertices of a row lead to: X x Z."""
        x, z = np.arange(self.edges.vertex.shape[1]), np.arange(self.edges.other.shape[2])
        found: Ints = self.edges.target(self.b, x[:, None], z)
        return found

    def scores(self, of_outputs: Floats) -> Floats:
        """What belongs to the targets: Z x X. of_outputs: what belongs to each element of the output."""
        return self.edges.of_targets(of_outputs)[self.b].T.contiguous().numpy()

    def derivatives(self) -> Floats:
        """Z x Y"""
        return self.edges.other[self.b].T.contiguous().numpy()

    def sizes(self) -> Floats:
        """The |derivatives|: Y x Z, float64."""
        found: Floats = np.abs(self.edges.other[self.b].numpy(), dtype=np.float64)
        return found

    def keys(self, order: EdgeOrder) -> tuple[Ints, Ints]:
        """Of X and of Z: the sum of both is the key of an edge."""
        x, z = np.arange(self.edges.vertex.shape[1]), np.arange(self.edges.other.shape[2])
        first = order.key(self.edges.call, self.edges.slot)
        return x * self.edges.stride_x, first + self.edges.target(self.b, 0, z)

    def first_key(self, order: EdgeOrder) -> int:
        """The smallest key of its edges: matrices in this order have their targets in the order of ties."""
        return order.key(self.edges.call, self.edges.slot) + int(self.edges.target(self.b, 0, 0))

    @property
    def same_vertices(self) -> Hashable:
        """Alike for matrices of the same vertices, whose targets can be taken as one list."""
        return place(self.edges.vertex[self.b]), self.edges.stride_x

    @property
    def same_derivatives(self) -> Hashable:
        """Alike for matrices with the same derivatives, whose rows can be taken as one list."""
        return place(self.edges.other[self.b]), self.edges.stride_z
