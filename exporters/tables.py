"""A recording as rows of the store's tables (queries/schema.py), in blocks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporters.best_table import BestEdges
from exporters.edges import EdgeBlock
from exporters.recorder import Recording
from exporters.spread import PathStatistics, Spread
from exporters.study import Norms
from exporters.tape import TapeTensor

Ints = NDArray[Any]

ROWS = 1 << 20  # rows made at a time

_VERTEX_SUMS = (
    "contribution_l1",
    "split_entropy",
    "log2_paths",
    "log2_products",
    "log2_positive",
    "log2_negative",
    "path_entropy",
)


@dataclass(frozen=True)
class GraphIndex:
    """What the rows of every sample of one graph share.

    tensor_of, node_of: V, the tensor of each vertex and the operator that computes it (-1 for parameters and inputs)
    """

    graph: int
    tensor_of: NDArray[np.int32]
    node_of: NDArray[np.int32]


def index_graph(recording: Recording, graph: int) -> GraphIndex:
    """The index of a recording's graph."""
    tensors = recording.vertex_tensors()
    sizes = [t.size for _, t in tensors]
    numbers = np.array([i for i, _ in tensors], dtype=np.int32)
    nodes = np.array([-1 if t.node is None else t.node for _, t in tensors], dtype=np.int32)
    return GraphIndex(graph, np.repeat(numbers, sizes), np.repeat(nodes, sizes))


def graph_row(recording: Recording, graph: int, fingerprint: str, conservation_error: float) -> dict[str, Any]:
    """The row of `graphs`."""
    return {
        "graph": graph,
        "fingerprint": fingerprint,
        "n_nodes": len(recording.tape.calls),
        "n_tensors": len(recording.tape.tensors),
        "n_parameters": recording.n_parameters,
        "n_vertices": recording.n_vertices,
        "loss_vertex": recording.loss_vertex,
        "conservation_error": conservation_error,
    }


def node_rows(recording: Recording, graph: int) -> list[dict[str, Any]]:
    """The rows of `nodes`: every primitive operator, copies included."""
    return [
        {
            "graph": graph,
            "node": call.order,
            "op_type": call.primitive.name,
            "kind": call.primitive.kind,
            "name": call.label.name,
            "module": call.label.module,
            "role": call.label.role or None,
            "component": call.label.component,
            "layer": call.label.layer,
            "step": call.label.step,
            "order": call.order,
        }
        for call in recording.tape.calls
    ]


def tensor_rows(recording: Recording, graph: int, aliases: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The rows of `tensors`: every differentiable tensor; a copy has no vertices of its own."""
    return [
        {
            "graph": graph,
            "tensor": i,
            "name": tensor.name,
            "kind": tensor.kind,
            "shape": list(tensor.value.shape),
            "axis_names": tensor.axis_names or [None] * len(tensor.value.shape),
            "first_step": tensor.first_step,
            "node": tensor.node,
            "first_vertex": tensor.first_vertex,
            "size": tensor.size,
            "aliases": list(aliases.get(tensor.name, [])),
        }
        for i, tensor in enumerate(recording.tape.tensors)
    ]


def component_rows(recording: Recording) -> list[dict[str, Any]]:
    """The default components of this graph: one row each for (module, layer, role)."""
    labels = {c.label.component: c.label for c in recording.tape.calls if c.primitive.kind != "copies"}
    return [
        {"component": name, "module": label.module, "role": label.role or None, "layer": label.layer}
        for name, label in labels.items()
    ]


@dataclass(frozen=True)
class VertexSums:
    """What is known of every vertex beside its value and gradient; None: it was not asked for."""

    spread: Spread | None = None
    statistics: PathStatistics | None = None

    def columns(self, chosen: Ints) -> dict[str, pa.Array]:
        """The columns of the chosen vertices, null where something was not asked for or is the logarithm of 0."""
        found: dict[str, NDArray[Any] | None] = dict.fromkeys(_VERTEX_SUMS)
        if self.spread is not None:
            log2_sum = self.spread.log2_sum[chosen]
            found["contribution_l1"] = np.exp2(log2_sum)
            found["split_entropy"] = np.where(np.isneginf(log2_sum), -np.inf, self.spread.entropy[chosen])
        if self.statistics is not None:
            products = self.statistics.products.log2_sum[chosen]
            found["log2_paths"] = self.statistics.log2_paths[chosen]
            found["log2_products"] = products
            found["log2_positive"] = self.statistics.log2_positive[chosen]
            found["log2_negative"] = self.statistics.log2_negative[chosen]
            found["path_entropy"] = np.where(np.isneginf(products), -np.inf, self.statistics.products.entropy[chosen])
        nulls = pa.nulls(len(chosen), pa.float64())
        return {name: nulls if column is None else _finite(column) for name, column in found.items()}


def vertex_tables(
    recording: Recording, index: GraphIndex, sample: int, wanted: NDArray[np.bool_], sums: VertexSums
) -> Iterator[pa.Table]:
    """`vertices`: value, gradient and sums of the wanted vertices (V booleans)."""
    for start in range(0, len(wanted), ROWS):
        chosen = start + np.flatnonzero(wanted[start : start + ROWS])
        if len(chosen):
            yield pa.table(
                {
                    "sample": _constant(sample, len(chosen), pa.int64()),
                    "graph": _constant(index.graph, len(chosen), pa.int32()),
                    "vertex": chosen,
                    "tensor": index.tensor_of[chosen],
                    "value": recording.values[chosen],
                    "gradient": recording.gradients[chosen],
                    **sums.columns(chosen),
                }
            )


def node_gradient_table(
    recording: Recording, index: GraphIndex, sample: int, of_parameters: Sequence[Norms] | None = None
) -> pa.Table:
    """`node_gradients`: norms of every vertex tensor's values and gradients.

    of_parameters: of the parameters' gradients; None: the recording has these gradients
    """
    rows = []
    for number, tensor in recording.vertex_tensors():
        assert tensor.first_vertex is not None
        row: dict[str, Any] = {"sample": sample, "graph": index.graph, "node": tensor.node, "tensor": number}
        row["n"] = tensor.size
        span = slice(tensor.first_vertex, tensor.first_vertex + tensor.size)
        if tensor.kind == "parameter" and of_parameters is not None:
            parts = [norms for norms in of_parameters if span.start <= norms.vertex < span.stop]
            gradient = _norms_of_parts(parts, tensor.size)
        else:
            gradient = _norms(recording.gradients[span])
        for name, found in (("value", _value_norms(recording, tensor)), ("gradient", gradient)):
            row.update({f"{name}_{norm}": number for norm, number in found.items()})
        rows.append(row)
    return pa.Table.from_pylist(rows)


def _value_norms(recording: Recording, tensor: TapeTensor) -> dict[str, float]:
    """A parameter's are the same for every sample."""
    known = recording.kept.facts if tensor.kind == "parameter" else {}
    key = "value norms", tensor.name
    if key not in known:
        known[key] = _norms(tensor.value.data.detach().reshape(-1).numpy())
    found: dict[str, float] = known[key]
    return found


def _norms_of_parts(parts: Sequence[Norms], size: int) -> dict[str, float]:
    """Those of a parameter from those of its parts; elements in no part have the gradient 0."""
    zeros = size - sum(part.n - part.zeros for part in parts)
    return {
        "l1": sum(part.l1 for part in parts),
        "l2": sum(part.squares for part in parts) ** 0.5,
        "max": max((part.largest for part in parts), default=0.0),
        "zeros": zeros / size if size else 0.0,
    }


def _norms(numbers: NDArray[Any]) -> dict[str, float]:
    if numbers.size == 0:
        return {"l1": 0.0, "l2": 0.0, "max": 0.0, "zeros": 0.0}
    sizes = np.abs(numbers, dtype=np.float64)
    return {
        "l1": float(sizes.sum()),
        "l2": float(np.sqrt(np.square(sizes).sum())),
        "max": float(sizes.max()),
        "zeros": float(np.mean(sizes == 0.0)),
    }


def best_edge_tables(
    recording: Recording, best: BestEdges, index: GraphIndex, sample: int, wanted: NDArray[np.bool_]
) -> Iterator[pa.Table]:
    """`best_edges`: a row for each edge kept of the wanted vertices (V booleans)."""
    n_rows, keep = best.target.shape
    wanted = wanted[best.first :]
    for start in range(0, n_rows, ROWS // keep):
        block = slice(start, start + ROWS // keep)
        row, rank = np.nonzero((best.target[block] >= 0) & wanted[block, None])
        if len(row) == 0:
            continue
        row += start
        source = best.first + row
        target = best.target[row, rank]
        yield pa.table(
            {
                "method": _label(best.method, len(row)),
                "sample": _constant(sample, len(row), pa.int64()),
                "graph": _constant(index.graph, len(row), pa.int32()),
                "src": source,
                "rank": (rank + 1).astype(np.int16),
                "dst": target,
                "src_tensor": index.tensor_of[source],
                "dst_tensor": index.tensor_of[target],
                "slot": best.slot[row, rank],
                "derivative": best.derivative[row, rank],
                "contribution": recording.gradients[target] * best.derivative[row, rank],
                "score": pa.array(best.score[row, rank], mask=best.carries_nothing[row, rank]),
            }
        )


def edge_table(edges: EdgeBlock, index: GraphIndex, sample: int) -> pa.Table:
    """`edges`: one block of all edges."""
    n = len(edges.src)
    return pa.table(
        {
            "sample": _constant(sample, n, pa.int64()),
            "graph": _constant(index.graph, n, pa.int32()),
            "src": edges.src,
            "dst": edges.dst,
            "src_tensor": index.tensor_of[edges.src],
            "dst_tensor": index.tensor_of[edges.dst],
            "slot": edges.slot,
            "derivative": edges.derivative,
            "contribution": edges.contribution,
        }
    )


def _finite(numbers: NDArray[Any]) -> pa.Array:
    """Null for the logarithm of 0."""
    return pa.array(numbers, mask=np.isneginf(numbers))


def _constant(value: int, n: int, kind: pa.DataType) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), n)


def _label(value: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), n), pa.array([value]))
