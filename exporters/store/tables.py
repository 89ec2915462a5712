"""A recording as rows of the store's tables (queries/schema), in blocks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...queries.methods import find_method
from ...queries.walk.steps import element_steps
from ..paths.best_table import BestEdges
from ..paths.counted import Norms
from ..paths.in_blocks import EdgeRows
from ..paths.path_sums import PathStatistics, Spread
from ..recording.recorder import Recording
from ..tape.tape import Call
from ..tape.values import TapeTensor
from .rows import Rows

Floats = NDArray[Any]
Ints = NDArray[Any]

ROWS = 1 << 21  # vertices looked at at a time: all activations, mostly, whose gradients repeat along chains
_ROWS_OF_EDGES = ROWS // 4  # vertices whose best edges are rows at a time


@dataclass(frozen=True)
class GraphIndex:
    """What the rows of every sample of one graph share.

    node_of: A, the operator that computes each activation (-1 for inputs)
    step_of: A, the token that it belongs to (-1 for none), of `n_steps`
    """

    graph: int
    node_of: NDArray[np.int32]
    step_of: NDArray[np.int32]
    n_steps: int

    @property
    def nbytes(self) -> int:
        """Its size in memory."""
        return self.node_of.nbytes + self.step_of.nbytes


def index_graph(recording: Recording, graph: int) -> GraphIndex:
    """The index of a recording's graph."""
    activations = [tensor for _, tensor in recording.vertex_tensors() if tensor.kind != "parameter"]
    nodes = np.array([-1 if tensor.node is None else tensor.node for tensor in activations], dtype=np.int32)
    step_of = np.concatenate([_steps(tensor, recording.tape.calls) for tensor in activations])
    node_of = np.repeat(nodes, [tensor.size for tensor in activations])
    return GraphIndex(graph, node_of, step_of, int(step_of.max(initial=-1)) + 1)


def _steps(tensor: TapeTensor, calls: Sequence[Call]) -> NDArray[np.int32]:
    """The token of each element."""
    step = None if tensor.node is None else calls[tensor.node].label.step
    return element_steps(tuple(tensor.value.shape), tensor.axis_names, tensor.first_step, step)


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
            "saturates": call.primitive.facts.saturates,
            "gate": call.primitive.facts.gate,
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
        """The columns of the chosen vertices that were asked for, null where something is the logarithm of 0."""
        found: dict[str, NDArray[Any]] = {}
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
        return {name: _finite(column) for name, column in found.items()}


def vertex_tables(
    recording: Recording, sample: int, wanted: NDArray[np.bool_], sums: VertexSums, *, values: bool
) -> Iterator[pa.Table]:
    """`vertices`: gradient, sums and, if asked for, values of the wanted vertices (booleans of the last ones)."""
    first = recording.n_vertices - len(wanted)
    for start in range(0, len(wanted), ROWS):
        chosen = first + start + np.flatnonzero(wanted[start : start + ROWS])
        if len(chosen) == 0:
            continue
        yield pa.table(
            {
                "sample": constant(sample, len(chosen), pa.int64()),
                "vertex": chosen,
                **({"value": _values(recording, chosen)} if values else {}),
                "gradient": recording.gradients[chosen],
                **sums.columns(chosen),
            }
        )


def _values(recording: Recording, chosen: Ints) -> Floats:
    """Those of the chosen vertices, in ascending order. No copy of all parameters is made."""
    first = recording.n_parameters
    found = np.empty(len(chosen), recording.gradients.dtype)
    n = int(np.searchsorted(chosen, first))
    found[n:] = recording.activation_values[chosen[n:] - first]
    for _, tensor in recording.vertex_tensors() if n else ():
        if tensor.kind == "parameter":
            assert tensor.first_vertex is not None
            begin, end = np.searchsorted(chosen, [tensor.first_vertex, tensor.first_vertex + tensor.size])
            if begin < end:
                values = tensor.value.data.detach().reshape(-1).numpy()
                found[begin:end] = values[chosen[begin:end] - tensor.first_vertex]
    return found


def node_gradient_rows(recording: Recording, sample: int, of_parameters: Sequence[Norms] | None = None) -> Rows:
    """`node_gradients`: norms of every vertex tensor's values and gradients.

    of_parameters: of the parameters' gradients; None: the recording has these gradients
    """
    numbers, tensors = zip(*recording.vertex_tensors(), strict=True)
    first = np.array([t.first_vertex for t in tensors])
    size = np.array([t.size for t in tensors])
    n = sum(t.kind == "parameter" for t in tensors)  # they come first
    of_values = recording.kernels.norms(recording.activation_values, first[n:] - recording.n_parameters, size[n:])
    if of_parameters is None:
        of_gradients = recording.kernels.norms(recording.gradients, first, size)
    else:
        of_activations = recording.kernels.norms(recording.gradients, first[n:], size[n:])
        of_gradients = np.concatenate([_norms_of_parts(of_parameters, first[:n], size[:n]), of_activations])
    return Rows(
        len(tensors),
        {
            "sample": sample,
            "tensor": np.array(numbers, np.int32),
            **_norm_columns("value", np.concatenate([_parameter_norms(recording), of_values]), size),
            **_norm_columns("gradient", of_gradients, size),
        },
    )


def _parameter_norms(recording: Recording) -> Floats:
    """Those of the parameters' values, which are the same for every sample."""
    known = recording.parameter_vertices.facts
    if "value norms" not in known:
        values = [t.value.data.detach().reshape(-1).numpy() for t in recording.tape.tensors if t.kind == "parameter"]
        rows = [recording.kernels.norms(x, np.array([0]), np.array([x.size])) for x in values]
        known["value norms"] = np.concatenate(rows or [np.empty((0, 4))])
    found: Floats = known["value norms"]
    return found


def _norms_of_parts(parts: Sequence[Norms], first: Ints, size: Ints) -> Floats:
    """Those of parameters from those of their parts; elements in no part have the gradient 0."""
    found = np.zeros((len(first), 4))
    found[:, 3] = size
    for part in parts:
        row = found[np.searchsorted(first, part.vertex, "right") - 1]
        row += (part.l1, part.squares, 0.0, part.zeros - part.n)
        row[2] = max(row[2], part.largest)
    return found


def _norm_columns(name: str, norms: Floats, size: Ints) -> dict[str, Floats]:
    l1, squares, largest, zeros = norms.T
    share = zeros / np.maximum(size, 1)
    return {f"{name}_l1": l1, f"{name}_l2": np.sqrt(squares), f"{name}_max": largest, f"{name}_zeros": share}


def best_edge_tables(
    recording: Recording, best: BestEdges, sample: int, wanted: NDArray[np.bool_], *, scores: bool
) -> Iterator[pa.Table]:
    """`best_edges`: a row for each edge kept of the wanted vertices (booleans of the last ones).

    scores: see `edge_row_table`
    """
    first = recording.n_vertices - len(wanted)
    rows = np.flatnonzero(wanted) + first if best.vertex is None else np.flatnonzero(wanted[best.vertex - first])
    for row in np.split(rows, range(_ROWS_OF_EDGES, len(rows), _ROWS_OF_EDGES)):
        vertex = row if best.vertex is None else best.vertex[row]
        found = EdgeRows(*recording.kernels.edge_rows(vertex, row, best.target, best.slot, best.derivative))
        if len(found.src):
            score = best.score[row][best.target[row] >= 0] if find_method(best.method).logarithms else None
            yield edge_row_table(found, best.method, sample, score, scores=scores)


def edge_row_table(rows: EdgeRows, method: str, sample: int, score: Floats | None = None, *, scores: bool) -> pa.Table:
    """`best_edges`: these rows.

    score: that of each; None where it is the contribution, which follows from other columns
    scores: whether there is a column for it
    """
    n = len(rows.src)
    columns = {
        "method": _label(method, n),
        "sample": constant(sample, n, pa.int64()),
        "src": rows.src,
        "rank": rows.rank,
        "dst": rows.dst,
        "slot": rows.slot,
        "derivative": rows.derivative,
    }
    if scores:
        nulls = pa.nulls(n, pa.from_numpy_dtype(rows.derivative.dtype))
        columns["score"] = nulls if score is None else _finite(score)
    return pa.table(columns)


def _finite(numbers: NDArray[Any]) -> pa.Array:
    """Null for the logarithm of 0."""
    return pa.array(numbers, mask=np.isneginf(numbers))


def constant(value: int, n: int, kind: pa.DataType) -> pa.Array:
    return _repeated(value, kind, 1 << (n - 1).bit_length())[:n]


def _label(value: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(constant(0, n, pa.int32()), pa.array([value]))


@lru_cache(maxsize=8)
def _repeated(value: int, kind: pa.DataType, n: int) -> pa.Array:
    """Of a few sizes, so that the blocks of a table share it."""
    return pa.repeat(pa.scalar(value, kind), n)
