"""The greedy sweep: for every vertex the K edges with the largest |contribution|.

Contributions need nothing but gradients, so every operator is looked at on its own. Uses of one operand (a recurrent
weight at every step) are stacked into one kernel call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from exporters import kernels
from exporters.recorder import Recording
from exporters.slots import Contracted, Direct, EdgeOrder, contracted_slots, direct_slots, first_vertex

Floats = NDArray[Any]
Ints = NDArray[np.int64]


@dataclass
class BestEdges:
    """The best K edges of each of V vertices, best first: all V x K.

    target: -1 where a vertex has fewer than K edges; score: equals the contribution for greedy
    """

    target: Ints
    slot: NDArray[np.int16]
    derivative: Floats
    score: Floats


@dataclass
class _Use:
    """One matrix product seen from one operand. left : Z x X (gradients), right : Z x Y (derivatives), key_z : Z."""

    vertex: Ints
    left: Floats
    right: Floats
    key_z: Ints
    stride_x: int


def best_edges(recording: Recording, keep: int) -> BestEdges:
    """The `keep` edges of every vertex with the largest |contribution|; ties as DESIGN section 1 orders them."""
    shape = (recording.n_vertices, keep)
    score = np.zeros(shape, dtype=recording.gradients.dtype)
    derivative = np.zeros_like(score)
    key = np.full(shape, kernels.NO_EDGE, dtype=np.int64)
    order = EdgeOrder(recording.tape)
    with _torch_threads_kept():
        for direct in direct_slots(recording.tape):
            _insert_direct(recording, order, direct, score, derivative, key)
        for uses in _stacked_uses(recording, order).values():
            left, right = np.concatenate([u.left for u in uses]), np.concatenate([u.right for u in uses])
            key_z = np.concatenate([u.key_z for u in uses])
            best_z = kernels.best_products(left, right, keep)
            kernels.insert_products(
                score, derivative, key, uses[0].vertex, left, right, best_z, key_z, uses[0].stride_x
            )
        target, slot = kernels.decode_keys(key.reshape(-1), order.base, order.size, order.first_vertex)
    return BestEdges(target.reshape(shape), slot.reshape(shape), derivative, score)


@contextmanager
def _torch_threads_kept() -> Iterator[None]:
    """Parallel kernels change torch's number of threads, and with it the last bit of its sums."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _insert_direct(
    recording: Recording, order: EdgeOrder, direct: Direct, score: Floats, derivative: Floats, key: Ints
) -> None:
    gradient = recording.gradients[first_vertex(recording.tape, direct.call) + direct.target]
    keys = order.key(direct.call, direct.slot) + direct.target
    kernels.insert_edges(score, derivative, key, direct.vertex, gradient * direct.derivative, direct.derivative, keys)


def _stacked_uses(recording: Recording, order: EdgeOrder) -> dict[Any, list[_Use]]:
    """The matrix products, grouped by the operand matrix they are seen from."""
    groups: dict[Any, list[_Use]] = defaultdict(list)
    for slot in contracted_slots(recording.tape):
        for b in range(slot.vertex.shape[0]):
            vertex = slot.vertex[b]
            same = (vertex.data_ptr(), vertex.shape, vertex.stride(), slot.stride_x)
            groups[same].append(_use(recording, order, slot, b))
    return groups


def _use(recording: Recording, order: EdgeOrder, slot: Contracted, b: int) -> _Use:
    (n_x, _), n_z = slot.vertex.shape[1:], slot.other.shape[2]
    first, start = first_vertex(recording.tape, slot.call), slot.offset + b * slot.stride_b
    gradients = torch.from_numpy(recording.gradients)
    left = gradients.as_strided((n_z, n_x), (slot.stride_z, slot.stride_x), first + start)
    key_z = order.key(slot.call, slot.slot) + start + np.arange(n_z) * slot.stride_z
    right = slot.other[b].transpose(0, 1).contiguous()
    return _Use(slot.vertex[b].numpy(), left.contiguous().numpy(), right.numpy(), key_z, slot.stride_x)
