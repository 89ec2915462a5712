"""All edges of chosen vertices, from a recording: what a store of the best edges leaves out, found again on request."""

from __future__ import annotations

from itertools import chain

import numpy as np

from ..recording.recorder import Recording
from .blocks import EdgeBlock, Floats, Ints
from .slots import Contracted, Direct, contracted_slots, direct_slots, first_vertex

_Found = tuple[Ints, Ints, int, Floats]  # sources, targets, slot, derivatives


class VertexEdges:
    """The edges of a recording by their source. Derivatives are found once, when this is made."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        slots = chain[Direct | Contracted](direct_slots(recording.tape), contracted_slots(recording.tape))
        self._slots = sorted(slots, key=lambda slot: (slot.call.order, slot.slot))
        self._spans = [_span(slot) for slot in self._slots]

    def of(self, vertices: Ints) -> EdgeBlock:
        """All edges that leave `vertices`, sorted by (source, operator, slot)."""
        recording = self._recording
        wanted = np.zeros(recording.n_vertices + 1, dtype=bool)  # the last is vertex -1, a constant
        wanted[vertices] = True
        ordered = np.sort(vertices)
        found: list[_Found] = []
        for slot, span in zip(self._slots, self._spans, strict=True):
            first_wanted, behind_last = np.searchsorted(ordered, span)
            if first_wanted < behind_last:
                first = first_vertex(recording.tape, slot.call)
                found += [
                    _of_direct(slot, wanted, first) if isinstance(slot, Direct) else _of_matrix(slot, wanted, first)
                ]
        return _joined(recording, found)


def _span(slot: Direct | Contracted) -> tuple[int, int]:
    """The vertices [first, end) between which those of an operand lie; [0, 0): it has none but constants."""
    vertex = slot.vertex if isinstance(slot, Direct) else slot.vertex.numpy()
    real = vertex[vertex >= 0]
    return (int(real.min()), int(real.max()) + 1) if real.size else (0, 0)


def _of_direct(slot: Direct, wanted: Floats, first: int) -> _Found:
    chosen = np.flatnonzero(wanted[slot.vertex])
    return slot.vertex[chosen], first + slot.target[chosen], slot.slot, slot.derivative[chosen]


def _of_matrix(slot: Contracted, wanted: Floats, first: int) -> _Found:
    vertex, other = slot.vertex.numpy(), slot.other.numpy()
    batch, x, y = np.nonzero(wanted[vertex])
    start = first + slot.offset + batch * slot.stride_b + x * slot.stride_x
    n_z = other.shape[2]
    target = start[:, None] + np.arange(n_z) * slot.stride_z
    return np.repeat(vertex[batch, x, y], n_z), target.reshape(-1), slot.slot, other[batch, y].reshape(-1)


def _joined(recording: Recording, found: list[_Found]) -> EdgeBlock:
    dtype = recording.gradients.dtype
    src = np.concatenate([np.empty(0, np.int64), *(part[0] for part in found)])
    dst = np.concatenate([np.empty(0, np.int64), *(part[1] for part in found)])
    slot = np.concatenate([np.empty(0, np.int16), *(np.full(len(part[0]), part[2], np.int16) for part in found)])
    derivative = np.concatenate([np.empty(0, dtype), *(part[3] for part in found)])
    order = np.argsort(src, kind="stable")
    src, dst, slot, derivative = src[order], dst[order], slot[order], derivative[order]
    return EdgeBlock(src, dst, slot, derivative, recording.gradients[dst] * derivative)
