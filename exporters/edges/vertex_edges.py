"""All edges of chosen vertices, from a recording: what a store of the best edges leaves out, found again on request."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..recording.recorder import Recording
from .blocks import EdgeBlock, Floats, Ints
from .derive import all_slots
from .slots import SlotEdges


class VertexEdges:
    """The edges of a recording by their source. Derivatives are found once, when this is made."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._slots = sorted(all_slots(recording.tape), key=lambda slot: (slot.call.order, slot.slot))
        self._spans = [_span(slot.vertices()) for slot in self._slots]

    def of(self, vertices: Ints) -> EdgeBlock:
        """All edges that leave `vertices`, sorted by (source, operator, slot)."""
        recording = self._recording
        wanted = np.zeros(recording.n_vertices + 1, dtype=bool)  # the last is vertex -1, a constant
        wanted[vertices] = True
        ordered = np.sort(vertices)
        found: list[_Edges] = []
        for slot, span in zip(self._slots, self._spans, strict=True):
            first_wanted, behind_last = np.searchsorted(ordered, span)
            if first_wanted < behind_last:
                found.append(_edges_of(slot, wanted))
        return _joined(recording, found)


class _Edges(NamedTuple):
    """Edges through one slot: E of each column."""

    src: Ints
    dst: Ints
    slot: int
    derivative: Floats


def _span(vertex: Ints) -> tuple[int, int]:
    """The vertices [first, end) between which those of an operand lie; [0, 0): it has none but constants."""
    real = vertex[vertex >= 0]
    return (int(real.min()), int(real.max()) + 1) if real.size else (0, 0)


def _edges_of(slot: SlotEdges, wanted: NDArray[np.bool_]) -> _Edges:
    vertex = slot.vertices()
    chosen = np.flatnonzero(wanted[vertex])
    fans = slot.fans(chosen)
    target = fans.first_target[:, None] + np.arange(slot.fan_out()) * fans.stride
    derivative = fans.other[fans.batch, fans.row]
    return _Edges(np.repeat(vertex[chosen], slot.fan_out()), target.reshape(-1), slot.slot, derivative.reshape(-1))


def _joined(recording: Recording, found: list[_Edges]) -> EdgeBlock:
    dtype = recording.gradients.dtype
    src = np.concatenate([np.empty(0, np.int64), *(part.src for part in found)])
    dst = np.concatenate([np.empty(0, np.int64), *(part.dst for part in found)])
    slot = np.concatenate([np.empty(0, np.int16), *(np.full(len(part.src), part.slot, np.int16) for part in found)])
    derivative = np.concatenate([np.empty(0, dtype), *(part.derivative for part in found)])
    order = np.argsort(src, kind="stable")
    src, dst, slot, derivative = src[order], dst[order], slot[order], derivative[order]
    return EdgeBlock(src, dst, slot, derivative)
