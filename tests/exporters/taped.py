"""Small graphs on a tape, made into recordings: what the tests of edges have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradtrace.exporters import lowering as _composites  # noqa: F401  registers them
from gradtrace.exporters import operators as _primitives  # noqa: F401  registers them
from gradtrace.exporters.edges.blocks import EdgeBlock, edge_blocks
from gradtrace.exporters.onnx_graph.reader import OnnxGraph
from gradtrace.exporters.recording.recorder import Recorder, Recording
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.values import Value

Array = NDArray[Any]


def leaf(tape: Tape, name: str, data: Array | Tensor, kind: str = "parameter") -> Value:
    """A leaf of the tape's dtype; leaves come before operators."""
    return tape.leaf(name, kind, torch.as_tensor(data).to(tape.dtype).clone().requires_grad_())


def weighted_sum(tape: Tape, output: Value, seed: int = 0) -> Value:
    """A scalar that depends differently on every element of `output`."""
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, tuple(output.shape))
    scaled = tape("Mul", output, tape.constant(torch.from_numpy(np.asarray(weights)).to(tape.dtype)))
    total: Value = tape("ReduceSum", scaled, keepdims=0)
    return total


def finish(tape: Tape, loss: Value) -> Recording:
    """The backward pass, as the Recorder makes it; the tape's leaves of kind 'parameter' come first."""
    n_parameters = sum(t.size for t in tape.tensors if t.kind == "parameter")
    return Recorder(OnnxGraph([], [], {}, {}, ""), tape.dtype)._finish(tape, loss, n_parameters)


def all_edges(recording: Recording, block: int = 1 << 20) -> EdgeBlock:
    """Every edge of a recording in one block, in the order in which `edge_blocks` gives them."""
    blocks = list(edge_blocks(recording, block))
    columns = ("src", "dst", "slot", "derivative")
    return EdgeBlock(*(np.concatenate([getattr(b, column) for b in blocks]) for column in columns))


def derivative_matrix(recording: Recording) -> Array:
    """V x V: row u, column v holds the sum of the derivatives of the edges v -> u."""
    edges = all_edges(recording)
    matrix = np.zeros((recording.n_vertices, recording.n_vertices))
    np.add.at(matrix, (edges.dst, edges.src), edges.derivative)
    return matrix


def composed_jacobian(recording: Recording, output: Value, leaves: Sequence[Value]) -> list[Array]:
    """The Jacobian of `output` by each leaf, as products of derivatives added up over all paths through the edges."""
    matrix = derivative_matrix(recording)
    total = np.eye(recording.n_vertices)  # row u: d u / d v for every v
    for u in range(recording.n_vertices):  # topological order
        total[u] += matrix[u, :u] @ total[:u]
    return [_rows(total, output)[:, _vertices(x)].reshape((*output.shape, *x.shape)) for x in leaves]


def _vertices(value: Value) -> Array:
    assert value.vertices is not None
    return value.vertices.reshape(-1).numpy()


def _rows(total: Array, output: Value) -> Array:
    """The rows of the vertices that the elements of `output` are; a constant's is zero."""
    if output.vertices is None:
        return np.zeros((output.data.numel(), len(total)))
    vertices = _vertices(output)
    return np.where((vertices >= 0)[:, None], total[vertices], 0.0)


def operator_of(recording: Recording) -> Array:
    """For each vertex the order of the operator that computes it; -1 for parameters and inputs."""
    order = np.full(recording.n_vertices, -1, dtype=np.int64)
    for call in recording.tape.calls:
        if call.primitive.kind != "copies":
            order[_vertices(call.output)] = call.order
    return order
