"""The k best paths from one vertex to another, exact even where only the best edges of each vertex are at hand.

A store keeps the K best edges of a vertex. Another edge ranks no higher than the last of those, so the search knows
when a missing edge could matter: then it asks for all edges of the vertices in question and starts again, or, where
nobody can tell, stops at the paths that are certain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .exact import Exact
from .path_search import Found, Question, Search, find_bounds
from .suffixes import Edges, Ints, Vertices

MOST = 1 << 16  # paths and openings looked at in one search

More = Callable[[Ints], Edges]  # vertices -> all their edges


class Answer(NamedTuple):
    """The best paths, each as rows of `edges`, best first, with the product of its weights.

    exhausted: there are no more paths with a product other than 0
    certain: the paths are all that were asked for, or all that there are; if not, those behind them are not known
    """

    edges: Edges
    paths: list[list[int]]
    products: list[Exact]
    exhausted: bool
    certain: bool


class _Round(NamedTuple):
    """What one search found: the paths before the first opening, and all openings that it met."""

    paths: list[Found]
    openings: set[int]
    exhausted: bool


def k_best(
    vertices: Vertices,
    edges: Edges,
    truncated: NDArray[np.bool_],
    question: Question,
    k: int,
    more: More | None = None,
) -> Answer:
    """The `k` paths with the largest products of weights; ties in the order of the first edge in which they differ.

    truncated: V; see `find_bounds`. more: gives all edges of vertices that are truncated
    """
    at_most, before = k, 0
    while True:
        found = _search(vertices, edges, truncated, question, k, at_most, patient=more is not None)
        if not found.openings or len(found.paths) == k or more is None or at_most > MOST:
            break
        asked = np.array(sorted(found.openings), np.int64)
        edges = edges.with_all_edges_of(asked, more(asked))
        truncated = truncated.copy()
        truncated[asked] = False
        if len(found.paths) <= 2 * before:  # mostly a round certifies many times more paths than the one before
            at_most *= 2
        before = len(found.paths)
    certain = found.exhausted or len(found.paths) == k
    products = [path.product for path in found.paths if path.product is not None]
    return Answer(edges, [path.rows for path in found.paths], products, found.exhausted, certain)


def _search(
    vertices: Vertices,
    edges: Edges,
    truncated: NDArray[np.bool_],
    question: Question,
    k: int,
    at_most: int,
    *,
    patient: bool,
) -> _Round:
    """Look at up to `at_most` paths and openings; not `patient`, only up to the first opening."""
    search = Search(vertices, edges, find_bounds(vertices, edges, truncated, question), question)
    paths: list[Found] = []
    openings: set[int] = set()
    for number, found in enumerate(search.best_paths(), start=1):
        if found.opening is not None:
            openings.add(found.opening)
        elif not openings:
            paths.append(found)
        if len(paths) == k or number == at_most or (openings and not patient):
            return _Round(paths, openings, exhausted=False)
    return _Round(paths, openings, exhausted=not openings)
