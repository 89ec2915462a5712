"""THE order of edges, which decides ties: (operator, slot, target), as one integer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..tape.tape import Call, Tape

Ints = NDArray[np.int64]


class EdgeOrder:
    """The keys of a tape's edges: one integer for (operator, slot, target), in the order in which ties are broken."""

    def __init__(self, tape: Tape) -> None:
        calls = [call for call in tape.calls if call.primitive.kind != "copies"]
        self.size = np.array([call.output.data.numel() for call in calls], dtype=np.int64)
        slots = np.array([len(call.inputs) for call in calls], dtype=np.int64)
        self.base = np.concatenate([[0], np.cumsum(self.size * slots)[:-1]]).astype(np.int64)
        self.first_vertex = np.array([call.outputs.start for call in calls], dtype=np.int64)
        self._row = {call.order: row for row, call in enumerate(calls)}

    def key(self, call: Call, slot: int) -> int:
        """The key of the edge through `slot` to element 0 of the call's output; further elements follow."""
        row = self._row[call.order]
        return int(self.base[row] + slot * self.size[row])

    def keys(self, dst: Ints, slot: NDArray[np.int16]) -> Ints:
        """The keys of edges, given their target vertices and slots."""
        row = np.searchsorted(self.first_vertex, dst, side="right") - 1
        found: Ints = self.base[row] + slot * self.size[row] + (dst - self.first_vertex[row])
        return found

    def targets(self, key: Ints) -> Ints:
        """The target vertices of edges, given their keys."""
        row = np.searchsorted(self.base, key, side="right") - 1
        found: Ints = self.first_vertex[row] + (key - self.base[row]) % self.size[row]
        return found


def edge_order(tape: Tape) -> EdgeOrder:
    """That of a tape's graph."""
    return tape.of_graph("edge order", lambda: EdgeOrder(tape))
