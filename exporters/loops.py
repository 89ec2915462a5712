"""Which iteration of a Python loop over time an exported node comes from.

The exporter unrolls a Python loop, and writes on each node the module and the lines of code it comes from. Nodes of one
operator from the same lines of the same module are the iterations of a loop, in order. It is taken for a loop over time
when there are as many iterations as tokens, and the export holds for this length only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import onnx

STACK_TRACE = "pkg.torch.onnx.stack_trace"


class Repetition(NamedTuple):
    """The place of a node among the `total` nodes of one operator from the same lines of code."""

    place: int
    total: int

    def step(self, n_steps: int) -> int | None:
        """The iteration, if the nodes are spread evenly over `n_steps` of them; None when they are not."""
        if n_steps < 2 or self.total % n_steps:
            return None
        return self.place // (self.total // n_steps)


ONCE = Repetition(0, 1)


def repetitions(nodes: Iterable[tuple[onnx.NodeProto, str]]) -> dict[str, Repetition]:
    """By first output, for nodes given with their modules; those without a stack trace are left out."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for node, module in nodes:
        trace = next((p.value for p in node.metadata_props if p.key == STACK_TRACE), None)
        if trace is not None:
            groups[module, node.op_type, trace].append(node.output[0])
    return {name: Repetition(i, len(outputs)) for outputs in groups.values() for i, name in enumerate(outputs)}
