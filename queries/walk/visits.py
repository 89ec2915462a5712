"""The vertices that paths visit: what is found out about these paths takes time and memory for them alone.

Sizes:  A  activation vertices of the sample        R  those that paths visit       E  edges that paths start with
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]


class Visited(NamedTuple):
    """The R vertices that paths visit, in order; in `next`, `start` and `loss` they go by their place in it."""

    first: int  # number of parameter vertices, which is the id of the first activation
    row: Rows  # R: of each among the A activations
    next: Rows  # R: where its traced edge leads, -1 where it leads nowhere or carries nothing
    start: Rows  # E: where the starts lead, -1 for those that carry nothing
    loss: int  # -1: no path reaches it


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    return cast("Callable[P, R]", njit(cache=True)(function))


@_compiled
def _reached(first: int, following: Ints, starts: Ints) -> NDArray[np.bool_]:
    # following : A
    reached = np.zeros(following.size, np.bool_)
    for start in starts:
        if start >= 0:
            reached[start - first] = True
    for i in range(following.size):
        if reached[i] and following[i] >= 0:
            reached[following[i] - first] = True
    return reached


@_compiled
def _placed(first: int, n: int, row: Rows, vertices: Ints) -> Rows:
    # the places of vertices in the R rows of n activations, -1 for -1
    place, found = np.empty(n, np.int32), np.empty(vertices.size, np.int32)
    for r in range(row.size):
        place[row[r]] = r
    for v in range(vertices.size):
        found[v] = place[vertices[v] - first] if vertices[v] >= 0 else -1
    return found


def reached(first: int, following: Ints, starts: Ints) -> NDArray[np.bool_]:
    """Whether a path from the starts visits each activation: A. Those that carry nothing are -1.

    following: A, the vertex that the traced edge of each activation leads to
    """
    return _reached(first, following, starts)


def visit(first: int, following: Ints, starts: Ints, loss: int) -> Visited:
    """Follow the traced edges of all activations from the starts; see `reached`."""
    row = np.flatnonzero(reached(first, following, starts)).astype(np.int32)
    return visited(first, following.size, first + row.astype(np.int64), following[row], starts, loss)


def visited(first: int, n: int, vertex: Ints, following: Ints, starts: Ints, loss: int) -> Visited:
    """The same where the visited vertices are known, R in ascending order, and nothing of the others.

    following: R, the vertices that their traced edges lead to, -1 for those that carry nothing
    n: the number A of activations
    """
    row = (vertex - first).astype(np.int32)
    at = int(np.searchsorted(vertex, loss))
    is_there = at < vertex.size and vertex[at] == loss
    place_of_loss = at if is_there else -1
    return Visited(first, row, _placed(first, n, row, following), _placed(first, n, row, starts), place_of_loss)
