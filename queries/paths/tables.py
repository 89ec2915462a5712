"""Tables of what the search for paths found: a row per path, and a row per hop, with names, values and gradients."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..database.graph import Graph
from ..methods import BY_PRODUCT, BY_SHARE
from ..walk.exact import ONE, Exact
from ..walk.k_best import Answer
from .path_list import Paths

if TYPE_CHECKING:
    from ..database.reader import StoreReader

_NORMAL = (1e-300, 1e300)  # products in between are divided as they are, others as logarithms

Numbers = NDArray[Any]


class Asked(NamedTuple):
    """A question for paths, by the store's vertex numbers."""

    store: StoreReader
    graph: Graph
    sample: int
    start: int
    goal: int
    k: int
    by: str
    through: tuple[str, ...]

    @property
    def restriction(self) -> str:
        """' to … through …', where they are restricted so."""
        to = "" if self.goal == self.graph.loss_vertex else f" to {self.graph.vertex_name(self.goal)}"
        return to + (f" through {' and '.join(self.through)}" if self.through else "")


def describe(asked: Asked, answer: Answer, has_probabilities: bool, notes: list[str]) -> Paths:
    """What was found, with names, values and gradients.

    has_probabilities: whether the products of the answer are probabilities, not only in proportion to them
    """
    graph, start = asked.graph, asked.start
    back = np.array([start, *range(graph.n_parameters, graph.n_vertices)])  # V: the store's numbers
    rows = [np.array(path, np.int64) for path in answer.paths]
    vertices = [np.array([start, *back[answer.edges.dst[path]]], np.int64) for path in rows]
    seen = _seen(asked, np.unique(np.concatenate([[start, asked.goal], *vertices])))
    gradient = seen.gradient_of(start)
    if start < graph.n_parameters and not (answer.edges.src == 0).any():
        notes = [f"{graph.vertex_name(start)} has no edge in this sample"]
    else:
        notes = [*notes, *_notes(asked, gradient, has_probabilities)]
    hops = _hops(answer, rows, vertices, seen)
    return Paths(
        graph.vertex_name(start),
        asked.sample,
        asked.by,
        asked.restriction,
        gradient,
        answer.certain,
        "; ".join(notes),
        "loss" if asked.goal == graph.loss_vertex else "goal",
        _summary(asked, answer, rows, seen, hops, has_probabilities),
        hops,
    )


def _notes(asked: Asked, gradient: float | None, has_probabilities: bool) -> list[str]:
    """Why columns are null."""
    name, found = asked.graph.vertex_name(asked.start), []
    if gradient == 0:
        found.append("the gradient is 0, so paths have no share of it")
    if gradient is None:
        found.append(f"the store does not hold the gradient of {name}, so shares of it are not known")
    if asked.by == BY_SHARE and not has_probabilities:
        found.append(f"nor are probabilities known, for want of all contributions of {name}")
    return found


class _Seen(NamedTuple):
    """The vertices that come up, in order of their numbers, each a row of `columns`. gradient: nan where not stored."""

    vertices: Numbers
    columns: pa.Table
    gradient: Numbers

    def gradient_of(self, vertex: int) -> float | None:
        found = float(self.gradient[np.searchsorted(self.vertices, vertex)])
        return None if math.isnan(found) else found


def _seen(asked: Asked, vertices: Numbers) -> _Seen:
    store, graph = asked.store, asked.graph
    of = [graph.tensor_of(v).node for v in vertices.tolist()]
    nodes = [None if node is None else graph.nodes[node] for node in of]
    where = "(vertex = ? or vertex >= ?) and vertex in (select unnest(?::bigint[]))"
    params = [asked.start, graph.n_parameters, vertices.tolist()]
    rows = store.sample_arrays(asked.sample, "vertices", "vertex, value, gradient", where, params)
    value, gradient = np.full((2, len(vertices)), np.nan, rows["gradient"].dtype)
    at = np.searchsorted(vertices, rows["vertex"])
    value[at], gradient[at] = rows["value"], rows["gradient"]
    steps = _steps(asked, vertices.tolist())
    ((tokens,),) = store.sample_rows(asked.sample, "samples", "tokens")
    columns = {
        "vertex": pa.array(vertices, pa.int64()),
        "vertex_name": pa.array([graph.vertex_name(v) for v in vertices.tolist()], pa.string()),
        "op_type": pa.array([node and node.op_type for node in nodes], pa.string()),
        "component": pa.array([node and node.component for node in nodes], pa.string()),
        "module": pa.array([node and node.module for node in nodes], pa.string()),
        "layer": pa.array([node and node.layer for node in nodes], pa.int32()),
        "step": pa.array(steps, pa.int64()),
        "token": pa.array([None if s is None or s >= len(tokens) else tokens[s] for s in steps], pa.string()),
        "value": pa.array(value, from_pandas=True),
        "gradient": pa.array(gradient, from_pandas=True),
    }
    return _Seen(vertices, pa.table(columns), gradient)


def _steps(asked: Asked, vertices: list[int]) -> list[int | None]:
    """The tokens that the vertices belong to."""
    one_each = "select vertex_step(?::integer, v) from (select unnest(?::bigint[]) as v) order by v"
    return [step for (step,) in asked.store.fetch(one_each, [asked.graph.graph, vertices])]


def _hops(answer: Answer, rows: list[Numbers], vertices: list[Numbers], seen: _Seen) -> pa.Table:
    flat = np.concatenate([np.empty(0, np.int64), *vertices])
    hop = np.concatenate([np.empty(0, np.int64), *(np.arange(len(path)) for path in vertices)])
    rank = np.repeat(np.arange(1, len(vertices) + 1), [len(path) for path in vertices])
    at = np.searchsorted(seen.vertices, flat)
    is_start = hop == 0
    row = np.zeros(len(flat), np.int64)
    row[~is_start] = np.concatenate([np.empty(0, np.int64), *rows])
    edges = answer.edges
    slot = edges.slot[row] if len(edges.src) else np.zeros(len(flat), np.int16)
    derivative = edges.derivative[row] if len(edges.src) else np.zeros(len(flat))
    gradient = seen.gradient[at]
    contribution = gradient * derivative
    before = np.where(is_start, np.nan, np.roll(gradient, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(before == 0, np.nan, contribution / before)
    named = seen.columns.take(pa.array(at))
    columns = {"rank": pa.array(rank, pa.int64()), "hop": pa.array(hop, pa.int64())}
    for name in named.column_names:
        of_edge = name in ("op_type", "component", "module", "layer")
        columns[name] = pc.if_else(pa.array(is_start), None, named[name]) if of_edge else named[name]
    columns["slot"] = pa.array(slot, mask=is_start)
    columns["derivative"] = pa.array(derivative, mask=is_start)
    columns["contribution"] = pa.array(contribution, mask=is_start)
    columns["share"] = pa.array(share, mask=is_start | np.isnan(share))
    columns["margin"] = pa.nulls(len(flat), pa.float64())
    return pa.table(columns)


def _summary(
    asked: Asked, answer: Answer, rows: list[Numbers], seen: _Seen, hops: pa.Table, has_probabilities: bool
) -> pa.Table:
    start, end = seen.gradient_of(asked.start), seen.gradient_of(asked.goal)
    described = _described(hops, [len(path) for path in rows])
    found: list[dict[str, Any]] = []
    for i, path in enumerate(rows):
        derivatives = answer.edges.derivative[path].astype(np.float64)
        sign = -1.0 if np.count_nonzero(derivatives < 0) % 2 else 1.0
        reached = answer.products[i] if answer.products else ONE
        size = reached if asked.by == BY_PRODUCT else _product(np.abs(derivatives))
        found.append(
            {
                "rank": i + 1,
                "product": sign * size.to_float(),
                "log2_product": size.log2(),
                "gradient_share": _share(sign, size, start, end),
                "probability": reached.to_float() if has_probabilities else None,
                "edges": len(path),
                "path": described[i],
            }
        )
    schema = [("rank", pa.int64()), ("product", pa.float64()), ("log2_product", pa.float64())]
    schema += [("gradient_share", pa.float64()), ("probability", pa.float64())]
    return pa.Table.from_pylist(found, pa.schema([*schema, ("edges", pa.int64()), ("path", pa.string())]))


def _product(numbers: Numbers) -> Exact:
    product = ONE
    for number in numbers.tolist():
        product = product.times(Exact.of(number))
    return product


def _share(sign: float, size: Exact, start: float | None, end: float | None) -> float | None:
    """product * gradient of the end / gradient of the start."""
    if not start or end is None:
        return None
    product = size.to_float()
    if end == 0 or _NORMAL[0] < product < _NORMAL[1]:
        return sign * product * end / start
    sign *= math.copysign(1.0, end) * math.copysign(1.0, start)
    return float(sign * 2.0 ** min(size.log2() + math.log2(abs(end)) - math.log2(abs(start)), 1023.0))


def _described(hops: pa.Table, lengths: list[int]) -> list[str]:
    """The components that each path runs through, with their steps: 'lstm.l0.cell@3-7 > decoder@7 > loss'."""
    component, step = hops["component"].to_pylist(), hops["step"].to_pylist()
    found, first = [], 0
    for length in lengths:
        heads = list(zip(component[first + 1 : first + 1 + length], step[first + 1 : first + 1 + length], strict=True))
        found.append(
            " > ".join(_run(name, [s for _, s in run]) for name, run in itertools.groupby(heads, lambda h: h[0]))
        )
        first += length + 1
    return found


def _run(component: str | None, steps: list[int | None]) -> str:
    known = [s for s in steps if s is not None]
    if not known:
        return str(component)
    low, high = min(known), max(known)
    return f"{component}@{low}" if low == high else f"{component}@{low}-{high}"
