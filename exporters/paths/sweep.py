"""The sweep, from the loss backwards: the one driver of everything that is found operator by operator.

A visitor sees every operator's edges after those that its outputs lead to, so that what it found of the outputs is
final when their own sources are reached.
"""

from __future__ import annotations

from typing import Protocol

from ..edges.derive import Operators
from ..edges.slots import DiagonalEdges, Matrix
from ..tape.tape import Call


class Visitor(Protocol):
    """What is done along a sweep."""

    def begin(self, call: Call) -> None:
        """The operator whose edges come next; every edge that leaves its outputs has been seen."""
        ...

    def pairs(self, edges: DiagonalEdges) -> None:
        """Edges of the operator, each a pair of its own."""
        ...

    def matrix(self, matrix: Matrix) -> None:
        """Edges of the operator that are a matrix."""
        ...


def sweep(operators: Operators, *visitors: Visitor) -> None:
    """Lead the visitors along the operators, which come in the order of `slots_in_reverse`."""
    for call, slots in operators:
        for visitor in visitors:
            visitor.begin(call)
            for slot in slots:
                for edges in slot.pairs():
                    visitor.pairs(edges)
                for matrix in slot.matrices():
                    visitor.matrix(matrix)
