"""What format 2 did not count of its paths, `path_links` and `path_spans`, found from its entries and best edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...queries.walk.path_counts import Entering, Places, count_all
from ...queries.walk.steps import element_steps
from ...queries.walk.visits import visited
from .path_tables import link_and_span_rows
from .rows import Rows

Ints = NDArray[np.int64]


class OldGraph(NamedTuple):
    """Where the activations of a graph of the old store belong."""

    n_parameters: int
    loss: int
    places: Places


def old_graphs(tables: Mapping[str, pa.Table]) -> dict[int, OldGraph]:
    """By number. tables: graphs, nodes, tensors"""
    found = {}
    steps = {(row["graph"], row["node"]): row["step"] for row in tables["nodes"].to_pylist()}
    for graph in tables["graphs"].to_pylist():
        number, n_parameters = graph["graph"], graph["n_parameters"]
        tensors = tables["tensors"].filter(pc.equal(tables["tensors"]["graph"], number)).to_pylist()
        activations = [t for t in tensors if t["first_vertex"] is not None and t["first_vertex"] >= n_parameters]
        activations.sort(key=_first_vertex)
        nodes = [np.full(t["size"], -1 if t["node"] is None else t["node"], np.int32) for t in activations]
        of_tokens = [
            element_steps(t["shape"], t["axis_names"], t["first_step"], steps.get((number, t["node"])))
            for t in activations
        ]
        step = np.concatenate(of_tokens)
        components = np.full(1 + max((node for of, node in steps if of == number), default=0), -1, np.int32)
        places = Places(np.concatenate(nodes), step, components, 1, int(step.max(initial=-1)) + 1)
        found[number] = OldGraph(n_parameters, graph["loss_vertex"], places)
    return found


def _first_vertex(tensor: Mapping[str, Any]) -> int:
    return int(tensor["first_vertex"])


def links_and_spans(
    graphs: Mapping[int, OldGraph], groups: list[str], entries: pa.Table, edges: pa.Table
) -> list[dict[str, Rows]]:
    """The rows of one sample, method by method. edges: its best edges of rank 1"""
    found = []
    for method in sorted(entries["method"].unique().to_pylist()):
        mine, own = (rows.filter(pc.equal(rows["method"], method)) for rows in (entries, edges))
        graph = graphs[mine["graph"][0].as_py()]
        first, n = graph.n_parameters, len(graph.places.node)
        starts = mine["vertex"].to_numpy()
        vertex, following = _visited(graph, starts, own)
        part = visited(first, n, vertex, following, starts, graph.loss)
        number = pc.index_in(mine["parameter_group"], pa.array(groups)).to_numpy()
        entering = Entering(number, mine["paths"].to_numpy(), mine["gradient_l1"].to_numpy())
        counts = count_all(part, graph.places, entering, len(groups))
        keys = {"method": method, "sample": mine["sample"][0].as_py()}
        found.append(link_and_span_rows(counts, groups, keys))
    return found


def _visited(graph: OldGraph, starts: Ints, edges: pa.Table) -> tuple[Ints, Ints]:
    """The vertices that paths from the starts visit, ascending, and the one behind each, -1 behind the loss."""
    src, dst = edges["src"].to_numpy(), edges["dst"].to_numpy()
    behind = dict(zip(src.tolist(), dst.tolist(), strict=True))
    reached, waiting = set(), list(set(starts.tolist()))
    while waiting:
        vertex = waiting.pop()
        if vertex not in reached:
            reached.add(vertex)
            if vertex != graph.loss:
                waiting.append(behind[vertex])
    vertex = np.array(sorted(reached), np.int64)
    return vertex, np.array([behind[v] if v != graph.loss else -1 for v in vertex.tolist()], np.int64)
