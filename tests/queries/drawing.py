"""Draw a gradient graph by hand and write it as a store, every derived table by following each path on its own."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gradtrace.queries.manifest import MANIFEST, Manifest, Shard, StoredFile, listed_file, sealed, write_manifest
from gradtrace.queries.schema import GRAIN, GRAPH_TABLES, SHARD_TABLES, table_schema

Rows = list[dict[str, Any]]
GREEDY = "greedy"


class Op(NamedTuple):
    """An operator of a drawn graph."""

    op_type: str
    kind: str
    component: str
    module: str | None = None
    role: str | None = None
    layer: int | None = None
    step: int | None = None
    saturates: bool = False
    gate: bool = False


class Drawn(NamedTuple):
    """A tensor of a drawn graph; `node` is the operator that computes it."""

    name: str
    kind: str
    shape: tuple[int, ...]
    node: int | None = None
    axis_names: tuple[str, ...] = ()
    first_step: int | None = None
    aliases: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def has_vertices(self) -> bool:
        return self.kind not in ("constant", "copy")


class Group(NamedTuple):
    """A finest parameter group: elements [first, first + size) of the vertices."""

    name: str
    parameter: str
    slice: str | None
    first: int
    size: int


@dataclass
class DrawnGraph:
    """The structure that samples share."""

    graph: int
    tensors: list[Drawn]
    nodes: list[Op]
    groups: list[Group]
    firsts: dict[int, int] = field(init=False)
    owner: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.firsts, self.owner, vertex = {}, {}, 0
        for t, tensor in enumerate(self.tensors):
            if tensor.has_vertices:
                self.firsts[t] = vertex
                for v in range(vertex, vertex + tensor.size):
                    self.owner[v] = t
                vertex += tensor.size
        self.n_vertices = vertex

    @property
    def n_parameters(self) -> int:
        return sum(t.size for t in self.tensors if t.kind == "parameter")

    @property
    def loss(self) -> int:
        return next(self.firsts[t] for t, tensor in enumerate(self.tensors) if tensor.kind == "loss")

    def node_of(self, vertex: int) -> int:
        node = self.tensors[self.owner[vertex]].node
        return -1 if node is None else node

    def step_of(self, vertex: int) -> int | None:
        """The token that a vertex belongs to."""
        t = self.owner[vertex]
        tensor, node = self.tensors[t], self.node_of(vertex)
        if node >= 0 and self.nodes[node].step is not None:
            return self.nodes[node].step
        if "step" not in tensor.axis_names or tensor.first_step is None:
            return None
        axis = tensor.axis_names.index("step")
        index = np.unravel_index(vertex - self.firsts[t], tensor.shape)
        return tensor.first_step + int(index[axis])


class Edge(NamedTuple):
    """src -> dst with derivative d; `slot` tells two edges of one pair apart."""

    src: int
    dst: int
    d: float
    slot: int = 0


Factor = Callable[[Edge], float]


@dataclass
class DrawnSample:
    """One sentence: its edges, in any order.

    A *factor* gives every edge a number; the method of that factor takes the path with the largest |product| of them.
    None is greedy: the largest |contribution| at every vertex.
    """

    sample: int
    graph: DrawnGraph
    text: str
    tokens: list[str]
    edges: list[Edge]
    status: str = "ok"
    labels: dict[str, str] = field(default_factory=dict)
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        self.gradient = dict.fromkeys(range(self.graph.n_vertices), 0.0)
        self.gradient[self.graph.loss] = 1.0
        for edge in sorted(self.edges, key=lambda e: -e.src):
            self.gradient[edge.src] += self.contribution(edge)

    def contribution(self, edge: Edge) -> float:
        return edge.d * self.gradient[edge.dst]

    def products(self, factor: Factor) -> dict[Edge, float]:
        """The largest |product| of factors over the paths to the loss that begin with each edge."""
        best = {self.graph.loss: 1.0}
        found: dict[Edge, float] = {}
        for edge in sorted(self.edges, key=lambda e: -e.src):
            found[edge] = abs(factor(edge)) * best.get(edge.dst, 0.0)
            best[edge.src] = max(best.get(edge.src, 0.0), found[edge])
        return found

    def sizes(self, factor: Factor | None) -> dict[Edge, float]:
        """What the edges are ranked by, the largest first."""
        return {e: abs(self.contribution(e)) for e in self.edges} if factor is None else self.products(factor)

    def ranked(self, vertex: int, factor: Factor | None = None) -> list[tuple[Edge, float]]:
        """The edges of a vertex and what they are ranked by, best first."""
        edges = [(e, size) for e, size in self.sizes(factor).items() if e.src == vertex]
        return sorted(edges, key=lambda e: (-e[1], self.graph.node_of(e[0].dst), e[0].slot, e[0].dst))

    def path(self, vertex: int, factor: Factor | None = None) -> tuple[list[int], str]:
        """The vertices after `vertex` on its path, and why it ends: 'loss', 'dead' or 'absent'."""
        path: list[int] = []
        if not self.ranked(vertex, factor) and vertex != self.graph.loss:
            return path, "absent"
        while vertex != self.graph.loss:
            best = [edge for edge, size in self.ranked(vertex, factor)[:1] if size > 0]
            if not best:
                return path, "dead"
            vertex = best[0].dst
            path.append(vertex)
        return path, "loss"


Methods = Mapping[str, Factor | None]
ONLY_GREEDY: Methods = {GREEDY: None}
WITH_PRODUCT: Methods = {GREEDY: None, "product": lambda edge: edge.d}


def _graph_rows(graphs: list[DrawnGraph]) -> dict[str, Rows]:
    rows: dict[str, Rows] = {table: [] for table in GRAPH_TABLES}
    components: dict[str, Op] = {}
    for g in graphs:
        rows["graphs"].append(
            {
                "graph": g.graph,
                "fingerprint": f"graph {g.graph}",
                "n_nodes": len(g.nodes),
                "n_tensors": len(g.tensors),
                "n_parameters": g.n_parameters,
                "n_vertices": g.n_vertices,
                "loss_vertex": g.loss,
                "conservation_error": 0.0,
            }
        )
        for n, op in enumerate(g.nodes):
            rows["nodes"].append({"graph": g.graph, "node": n, "name": f"node_{n}", "order": n, **op._asdict()})
            if op.kind != "copies":
                components.setdefault(op.component, op)
        for t, tensor in enumerate(g.tensors):
            row = {**tensor._asdict(), "graph": g.graph, "tensor": t, "size": tensor.size}
            rows["tensors"].append({**row, "first_vertex": g.firsts.get(t)})
    for name, op in sorted(components.items()):
        rows["components"].append({"component": name, "module": op.module, "role": op.role, "layer": op.layer})
    for group in graphs[0].groups:
        row = {"parameter_group": group.name, "parameter": group.parameter, "slice": group.slice, "size": group.size}
        rows["parameter_groups"].append(row)
    return rows


def _edge_row(sample: DrawnSample, edge: Edge, dtype: str) -> dict[str, Any]:
    derivative, gradient = np.array([edge.d, sample.gradient[edge.dst]], dtype)
    return {
        "src": edge.src,
        "dst": edge.dst,
        "src_tensor": sample.graph.owner[edge.src],
        "dst_tensor": sample.graph.owner[edge.dst],
        "slot": edge.slot,
        "derivative": edge.d,
        "contribution": derivative * gradient,  # as it is derived from what a store of this dtype holds
    }


class _PathTable(NamedTuple):
    """A table that adds up paths: its key beside the group, what it counts, and the keys that one path counts under."""

    key: tuple[str, ...]
    columns: tuple[str, str]
    counted_under: Callable[[DrawnGraph, list[int]], list[tuple[Any, ...]]]


def _links_of(g: DrawnGraph, path: list[int]) -> list[tuple[Any, ...]]:
    return [(g.node_of(v), g.node_of(u)) for v, u in pairwise(path)]


def _span_of(g: DrawnGraph, path: list[int]) -> list[tuple[Any, ...]]:
    steps = [g.step_of(v) for v in path]
    return [(steps[0], next((step for step in reversed(steps) if step is not None), None))]


PATH_TABLES = {
    "entries": _PathTable(("vertex",), ("paths", "gradient_l1"), lambda _, path: [(path[0],)]),
    "path_edges": _PathTable(("node",), ("edges", "weighted_edges"), lambda g, path: [(g.node_of(v),) for v in path]),
    "path_links": _PathTable(("from_node", "to_node"), ("edges", "weighted_edges"), _links_of),
    "path_spans": _PathTable(("entry_step", "end_step"), ("paths", "weighted_paths"), _span_of),
    "path_counts": _PathTable(
        ("component",),
        ("paths", "weighted_paths"),
        lambda g, path: list({(g.nodes[g.node_of(v)].component,) for v in path}),
    ),
}


def _path_rows(s: DrawnSample, key: dict[str, Any], factor: Factor | None) -> dict[str, Rows]:
    rows: dict[str, Rows] = defaultdict(list)
    for group in s.graph.groups:
        ends = {"loss": 0, "dead": 0, "absent": 0}
        sums: dict[str, dict[tuple[Any, ...], list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
        traced_gradient = 0.0
        for theta in range(group.first, group.first + group.size):
            path, end = s.path(theta, factor)
            ends[end] += 1
            if end != "loss":
                continue
            weight = abs(s.gradient[theta])
            traced_gradient += weight
            for name, table in PATH_TABLES.items():
                for under in table.counted_under(s.graph, path):
                    sums[name][under][0] += 1
                    sums[name][under][1] += weight
        here = {**key, "parameter_group": group.name}
        for name, table in PATH_TABLES.items():
            for under, values in sums[name].items():
                keys, counts = zip(table.key, under, strict=True), zip(table.columns, values, strict=True)
                rows[name].append({**here, **dict(keys), **dict(counts)})
        totals = {"traced": ends["loss"], "dead": ends["dead"], "absent": ends["absent"]}
        totals_row = {**here, "parameters": group.size, **totals, "traced_gradient_l1": traced_gradient}
        rows["path_totals"].append(totals_row)
    return rows


def _sample_rows(
    s: DrawnSample, keep: int, detail: str, dtype: str, parameter_vertices: bool, methods: Methods
) -> dict[str, Rows]:
    rows: dict[str, Rows] = {table: [] for table in SHARD_TABLES}
    ok = s.status == "ok"
    rows["samples"].append(
        {
            "sample": s.sample,
            "graph": s.graph.graph if ok else None,
            "text": s.text,
            "tokens": s.tokens,
            "loss": 1.5 if ok else None,
            "n_tokens": len(s.tokens),
            "n_vertices": s.graph.n_vertices if ok else None,
            "n_edges": len(s.edges) if ok else None,
            "seconds": 0.25,
            "status": s.status,
            "message": None if ok else "the loss is nan",
            "checkpoint": s.checkpoint,
        }
    )
    rows["labels"] = [{"sample": s.sample, "label": label, "value": value} for label, value in s.labels.items()]
    if not ok:
        return rows
    key = {"sample": s.sample, "graph": s.graph.graph}
    for v in range(s.graph.n_vertices):
        if v >= s.graph.n_parameters or (s.ranked(v) and parameter_vertices):
            row = {"vertex": v, "tensor": s.graph.owner[v], "value": 0.5, "gradient": s.gradient[v]}
            rows["vertices"].append({**key, **row})
        for method, factor in methods.items():
            for rank, (edge, size) in enumerate(s.ranked(v, factor)[:keep], start=1):
                score = math.log2(size) if factor is not None and size > 0 else None
                row = {**_edge_row(s, edge, dtype), "rank": rank, "score": score}
                rows["best_edges"].append({"method": method, **key, **row})
    if detail == "all":
        rows["edges"] = [
            {**key, **_edge_row(s, e, dtype)} for e in sorted(s.edges, key=lambda e: (e.src, e.dst, e.slot))
        ]
    for t, first in s.graph.firsts.items():
        tensor = s.graph.tensors[t]
        gradients = [abs(s.gradient[v]) for v in range(first, first + tensor.size)]
        zeros = {"value_zeros": 0.0, "gradient_zeros": gradients.count(0.0) / tensor.size}
        values = {"value_l1": 0.5 * tensor.size, "value_l2": 0.5 * tensor.size**0.5, "value_max": 0.5}
        norms = {"gradient_l1": sum(gradients), "gradient_l2": sum(g * g for g in gradients) ** 0.5}
        row = {"node": tensor.node, "tensor": t, "n": tensor.size, **values, **zeros, **norms}
        rows["node_gradients"].append({**key, **row, "gradient_max": max(gradients)})
    for method, factor in methods.items():
        for table, found in _path_rows(s, {"method": method, **key}, factor).items():
            rows[table] += found
    return rows


def _place(value: Any) -> Any:
    return -1 if value is None else value


def _write(store: Path, path: str, table: str, rows: Rows, dtype: str) -> StoredFile:
    """Rows may have derived columns too, which are left out."""
    rows = sorted(rows, key=lambda row: tuple(_place(row[column]) for column in GRAIN[table]))
    file = store / path
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=table_schema(table, dtype)), file)
    return stored_file(store, file, len(rows))


def stored_file(store: Path, file: Path, rows: int) -> StoredFile:
    """A Parquet file as the manifest lists it."""
    return StoredFile(**asdict(listed_file(store, file)), rows=rows)


def write_store(
    store: Path,
    samples: list[DrawnSample],
    *,
    detail: str = "all",
    dtype: str = "float64",
    keep: int = 2,
    shard_size: int = 2,
    parameter_vertices: bool = True,
    methods: Methods = ONLY_GREEDY,
) -> Path:
    """Write the drawn samples as a store, `shard_size` samples to a shard, traced by these methods."""
    graphs = list({s.graph.graph: s.graph for s in samples}.values())
    settings = {
        "detail": detail,
        "dtype": dtype,
        "keep": keep,
        "methods": list(methods),
        "parameter_vertices": parameter_vertices,
    }
    manifest = Manifest(
        tool_version="0.1.0",
        model={"name": "drawn", "fingerprint": "0123"},
        samples={"source": "drawn.txt", "fingerprint": "4567", "count": len(samples)},
        settings=settings,
        complete=True,
    )
    store.mkdir(parents=True, exist_ok=True)
    for table, rows in _graph_rows(graphs).items():
        manifest.graph_files[table] = _write(store, f"{table}.parquet", table, rows, dtype)
    for shard, first in enumerate(range(0, len(samples), shard_size)):
        part = samples[first : first + shard_size]
        files = {}
        for table in SHARD_TABLES:
            rows = [
                row for s in part for row in _sample_rows(s, keep, detail, dtype, parameter_vertices, methods)[table]
            ]
            if rows:
                files[table] = [_write(store, f"{table}/shard={shard:05d}/part-0.parquet", table, rows, dtype)]
        manifest.shards.append(Shard(shard, first, len(part), files))
    write_manifest(store, manifest)
    return store


def edit_manifest(store: Path, **changes: object) -> None:
    """Change fields of a manifest on disk, and its sum with them, as one who means harm would."""
    path = store / MANIFEST
    path.write_bytes(sealed({**json.loads(path.read_text()), **changes}))
