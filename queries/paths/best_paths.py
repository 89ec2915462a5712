"""The k best paths of a stored sample, from one vertex to the loss or to another vertex.

By product, the best path is the largest term of the gradient: ∂L/∂v is the sum of the products of derivatives over all
paths from v to the loss. By share, it is the most probable one, where a path goes on from a vertex over each edge with
the probability |contribution| / sum of |contributions|.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..components.components import Members, SelectorUse, check_use, default_components, members_by_selectors
from ..components.selectors import read_selectors
from ..database.graph import Graph
from ..database.names import find_vertex
from ..errors import StoreError, nearest
from ..methods import BY_SHARE, RANKINGS, find_method
from ..walk.k_best import MOST, Answer, k_best
from ..walk.path_search import Question
from ..walk.suffixes import Ints
from .path_list import Paths
from .stored_edges import MoreEdges, SampleEdges, read_edges
from .tables import Asked, describe

if TYPE_CHECKING:
    from ..database.reader import StoreReader
    from .trace import Path as TracedPath

MOST_PATHS = 1000
_MOST_THROUGH = 6  # the search keeps a bound for every set of them
_MOST_KEPT = 64  # of `dump --keep`

Name = str | int  # of a vertex: 'lstm.weight_hh_l0[3,17]', or its number


def best_paths(
    store: StoreReader,
    start: Name,
    sample: int,
    k: int,
    by: str,
    *,
    through: Name | Sequence[Name] = (),
    to: Name | None = None,
    components: str | Path | None = None,
    more: MoreEdges | None = None,
) -> Paths:
    """The `k` best paths from `start`; ties go to the smallest (operator, slot, target) of the first edge that differs.

    by: 'product' of derivatives, or 'share': the product of the edges' shares of their source's contributions
    through: names of components, or vertices; paths that meet all of them. A path meets a component when an operator of
        the component computes the head of one of its edges.
    to: where the paths end; default: the loss
    components: a TOML file that names components, in place of the default ones
    more: gives all edges of vertices, where the store keeps only the best
    Raises StoreError for names, samples or numbers that do not fit the store, and where it lacks the edges wanted.
    """
    _check(k, by)
    graph = store.graph_of(sample)
    first, goal = _vertex(graph, start), graph.loss_vertex if to is None else _vertex(graph, to)
    if to is not None and (goal <= first or goal < graph.n_parameters):
        raise StoreError(
            f"no path leads from {graph.vertex_name(first)} to {graph.vertex_name(goal)}: "
            "paths run from parameters to the loss, through operators in the order they were computed."
        )
    names = [through] if isinstance(through, str | int) else list(dict.fromkeys(through))
    met = _requirements(graph, names, components, first)
    given = read_edges(store, sample, first, by, more)
    asked = Asked(store, graph, sample, first, goal, k, by, tuple(map(str, names)))
    if first == goal:
        return describe(
            asked, Answer(given.edges, [[]], [], exhausted=True, certain=True), given.has_probabilities(), []
        )
    place = np.array([first, goal]) - graph.n_parameters + 1
    question = Question(max(int(place[0]), 0), int(place[1]), met, len(names))
    answer = k_best(given.vertices, given.edges, given.truncated, question, k, given.more)
    return describe(asked, answer, given.has_probabilities(), _notes(store, given, asked, answer))


def best_path(store: StoreReader, start: str, sample: int, method: str, through: str | Sequence[str]) -> TracedPath:
    """The best path that passes `through`, ranked as the k best of the method are; by share where it has none.

    Raises StoreError where there is none, and where the store cannot tell which it is.
    """
    by = find_method(method).k_best or BY_SHARE
    found = best_paths(store, start, sample, 1, by, through=through)
    if not found:
        raise StoreError(f"{found.note}.")
    return found[0]


def _check(k: int, by: str) -> None:
    if by not in RANKINGS:
        raise StoreError(f"paths are ranked by {' or by '.join(map(repr, RANKINGS))}, got {by!r}.")
    if not 1 <= k <= MOST_PATHS:
        raise StoreError(f"k is the number of paths wanted, from 1 to {MOST_PATHS}, got {k}.")


def _vertex(graph: Graph, name: Name) -> int:
    if isinstance(name, str) and not name.isdecimal():
        return find_vertex(graph, name)
    graph.tensor_of(int(name))  # or it says that there is no such vertex
    return int(name)


def _requirements(graph: Graph, names: Sequence[Name], components: str | Path | None, start: int) -> Ints:
    """Which of the requirements an edge into each vertex meets, as bits: V, renumbered as in `SampleEdges`."""
    if len(names) > _MOST_THROUGH:
        raise StoreError(
            f"paths can be asked to pass {_MOST_THROUGH} components and vertices at most, got {len(names)}."
        )
    met = np.zeros(graph.n_vertices - graph.n_parameters + 1, np.int64)
    if not names:
        if components is not None:
            raise StoreError("a file of components says what the names in `through` mean; name one of them there.")
        return met
    members = _members(graph, components)
    for bit, name in enumerate(names):
        mask = _of_component(members, name)
        if mask is not None:
            met[1:][mask] |= 1 << bit
            continue
        vertex = _through_vertex(graph, name, members)
        if vertex == start:
            met[:] |= 1 << bit
        elif vertex >= graph.n_parameters:
            met[vertex - graph.n_parameters + 1] |= 1 << bit
        else:
            raise StoreError(f"no path leads through {graph.vertex_name(vertex)}: a parameter is where paths start.")
    return met


def _members(graph: Graph, components: str | Path | None) -> Members:
    if components is None:
        return default_components(graph)
    selectors = read_selectors(components, "component")
    use = SelectorUse([0] * len(selectors), [0] * len(selectors))
    members = members_by_selectors(graph, selectors, use)
    check_use(selectors, use, [graph])
    return members


def _of_component(members: Members, name: Name) -> NDArray[np.bool_] | None:
    if (name,) not in members.labels:
        return None
    number = members.labels.index((name,))
    mask: NDArray[np.bool_] = (members.bits[:, number // 64] >> np.uint64(number % 64)) & np.uint64(1) == 1
    return mask


def _through_vertex(graph: Graph, name: Name, members: Members) -> int:
    try:
        return _vertex(graph, name)
    except StoreError as error:
        known = [str(label) for (label,) in members.labels]
        raise StoreError(
            f"{name!r} names no component and no vertex.{nearest(str(name), known)} As a vertex: {error}"
        ) from error


def _notes(store: StoreReader, given: SampleEdges, asked: Asked, answer: Answer) -> list[str]:
    n, k, restriction = len(answer.paths), asked.k, asked.restriction
    if answer.certain:
        only = f"only {n}" if n else "no"
        paths = f"{only} path{'' if n == 1 else 's'}{restriction} {'has' if n == 1 else 'have'} a product other than 0"
        return [paths] if n < k else []
    counted = f"{n} of {k} paths {'is' if n == 1 else 'are'} certain"
    if given.more is not None:
        return [f"{counted}: {MOST} ways were looked at, and better ones than the next may be left"]
    keep = int(store.manifest.settings["keep"])
    wider = f"with --keep {k}" if k <= _MOST_KEPT and not restriction else "with a larger --keep"
    return [
        f"{counted} with keep = {keep}: edges that are not stored may carry better ones than the next. "
        f"Dump {wider} or --detail all, or give --model and --samples, to have all edges found again"
    ]
