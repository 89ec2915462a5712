"""All edges of chosen vertices are those that a dump of every edge writes."""

from __future__ import annotations

import numpy as np
import torch

from gradtrace.exporters.edges.vertex_edges import VertexEdges
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.tape.tape import Tape

from ..taped import all_edges, finish, leaf, weighted_sum


def mixed() -> Recording:
    """Every kind of edge: broadcast and squared, picked twice into a product, a batch of matrices, and reduced."""
    tape = Tape(torch.float64)
    generator = np.random.default_rng(0)
    table, weight = leaf(tape, "table", generator.normal(size=(4, 3))), leaf(tape, "w", generator.normal(size=(3, 2)))
    batch, bias = leaf(tape, "batch", generator.normal(size=(2, 2, 5))), leaf(tape, "bias", generator.normal(size=2))
    picked = tape("Gather", table, tape.integers([0, 2, 0, 3, 0]), axis=0)
    mixing = tape("MatMul", leaf(tape, "mix", generator.normal(size=(2, 5))), picked)
    hidden = tape("Add", tape("MatMul", tape("Mul", mixing, mixing), weight), bias)
    turned = tape("Transpose", tape("MatMul", batch, tape("MatMul", picked, weight)), perm=[0, 2, 1])
    joined = tape("Add", tape("ReduceMean", turned, tape.integers([0]), keepdims=0), hidden)
    return finish(tape, weighted_sum(tape, joined))


def rows(src: object, dst: object, slot: object, derivative: object) -> list[tuple[object, ...]]:
    return sorted(zip(*(np.asarray(column).tolist() for column in (src, dst, slot, derivative)), strict=True))


def test_the_edges_of_some_vertices_are_theirs_among_all() -> None:
    recording = mixed()
    every, index = all_edges(recording), VertexEdges(recording)
    last = recording.n_vertices - 1
    for vertices in ([0], [last], [3, 7, 8, 40], list(range(recording.n_vertices)), [1, 5, last]):
        found = index.of(np.array(vertices))
        mine = np.isin(every.src, vertices)
        wanted = rows(every.src[mine], every.dst[mine], every.slot[mine], every.derivative[mine])
        assert rows(found.src, found.dst, found.slot, found.derivative) == wanted
        assert (np.diff(found.src) >= 0).all()
