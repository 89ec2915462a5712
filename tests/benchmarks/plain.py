"""The traced edges of a recording found without the product's search: by torch, and by networkx.

Both are given the operators' derivatives and look at every edge. Ties go to the edge met first, and edges are met in
the order in which the product breaks ties.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradtrace.exporters.edges.blocks import edge_blocks
from gradtrace.exporters.edges.derive import slots_in_reverse
from gradtrace.exporters.edges.slots import DiagonalEdges, Matrix
from gradtrace.exporters.recording.recorder import Recording

Ints = NDArray[np.int64]

CHUNK = 1 << 24  # edges looked at together


def torch_edges(recording: Recording) -> Ints:
    """The target of every vertex's traced edge, -1 for a dead or absent one: argmax |g d| in chunks. V."""
    best = torch.zeros(recording.n_vertices, dtype=torch.from_numpy(recording.gradients).dtype)
    target = torch.full((recording.n_vertices,), -1)
    gradients = torch.from_numpy(recording.gradients)
    in_order = reversed(list(slots_in_reverse(recording.tape)))
    for call, slots in in_order:
        first = call.outputs.start
        for slot in sorted(slots, key=lambda slot: slot.slot):
            for edges in slot.pairs():
                _pairs(edges, first, gradients, best, target)
            for matrix in slot.matrices():
                _matrix(matrix, first, gradients, best, target)
    return target.numpy()


def _pairs(slot: DiagonalEdges, first: int, gradients: Tensor, best: Tensor, target: Tensor) -> None:
    """A vertex may have several edges here (a broadcast operand): the first of the largest stays."""
    source, to = torch.from_numpy(slot.vertex), first + torch.from_numpy(slot.target)
    size = (gradients[to] * torch.from_numpy(slot.derivative)).abs()
    order = torch.from_numpy(np.lexsort((to.numpy(), -size.numpy(), source.numpy())))
    source, to, size = source[order], to[order], size[order]
    kept = torch.ones(len(source), dtype=torch.bool)
    kept[1:] = source[1:] != source[:-1]
    kept &= source >= 0
    _keep_larger(source[kept], to[kept], size[kept], best, target)


def _matrix(matrix: Matrix, first: int, gradients: Tensor, best: Tensor, target: Tensor) -> None:
    vertex, to_all = torch.from_numpy(matrix.vertex), first + torch.from_numpy(matrix.targets())
    derivative = matrix.edges.other[matrix.b]  # Y x Z
    (n_x, n_y), n_z = vertex.shape, derivative.shape[1]
    rows = max(1, CHUNK // max(1, n_y * n_z))
    for low in range(0, n_x, rows):
        source, to = vertex[low : low + rows], to_all[low : low + rows]  # X x Y, X x Z
        size, z = (gradients[to][:, None, :] * derivative).abs().max(dim=2)  # X x Y
        real = source >= 0
        _keep_larger(source[real], to.gather(1, z)[real], size[real], best, target)


def _keep_larger(source: Tensor, to: Tensor, size: Tensor, best: Tensor, target: Tensor) -> None:
    larger = size > best[source]
    best[source[larger]] = size[larger]
    target[source[larger]] = to[larger]


def networkx_walk(recording: Recording) -> tuple[int, Ints]:
    """All edges as a networkx graph, walked from every parameter to the loss: edges walked, and the traced edges. V."""
    import networkx

    graph: Any = networkx.MultiDiGraph()
    for block in edge_blocks(recording):
        weights = np.abs(block.contributions(recording.gradients)).tolist()
        graph.add_weighted_edges_from(zip(block.src.tolist(), block.dst.tolist(), weights, strict=True))
    following: dict[int, int] = {}
    walked = 0
    for start in range(recording.n_parameters):
        vertex = start
        while vertex != recording.loss_vertex and vertex in graph:
            if vertex not in following:
                _, following[vertex], weight = max(graph.out_edges(vertex, data="weight"), key=lambda edge: edge[2])
                if weight == 0:
                    following[vertex] = -1
            vertex = following[vertex]
            walked += vertex >= 0
    target = np.full(recording.n_vertices, -1)
    target[list(following)] = list(following.values())
    return walked, target
