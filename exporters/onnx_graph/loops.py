"""Which iteration of a Python loop over time an exported node comes from.

The exporter unrolls a Python loop, and writes on each node the module and the lines of code it comes from. Nodes of one
operator from the same lines of the same module are the iterations of a loop, in order. It is taken for a loop over the
last text that the nodes depend on, when they are as many as its tokens, and the export holds for its length only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import onnx

from ..tape.token_spans import TokenSpan

STACK_TRACE = "pkg.torch.onnx.stack_trace"


class Repetition(NamedTuple):
    """The place of a node among the `total` nodes of one operator from the same lines of code.

    inputs: the graph inputs that any of these nodes depends on
    """

    place: int
    total: int
    inputs: frozenset[str] = frozenset()

    def step(self, token_spans: Sequence[TokenSpan]) -> int | None:
        """The token that the iteration is for, if the nodes are spread evenly over the tokens of a text; else None."""
        read = [span for span in token_spans if span.name in self.inputs and span.symbol is None]
        span = max(read, key=lambda span: span.first, default=None)
        if span is None or span.length < 2 or self.total % span.length:
            return None
        return span.first + self.place // (self.total // span.length)


ONCE = Repetition(0, 1)


def repetitions(
    nodes: Iterable[tuple[onnx.NodeProto, str]], depends: Mapping[str, frozenset[str]]
) -> dict[str, Repetition]:
    """By first output, for nodes given with their modules; those without a stack trace are left out.

    depends: first output of a node -> the graph inputs that it depends on
    """
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for node, module in nodes:
        trace = next((p.value for p in node.metadata_props if p.key == STACK_TRACE), None)
        if trace is not None:
            groups[module, node.op_type, trace].append(node.output[0])
    found: dict[str, Repetition] = {}
    for outputs in groups.values():
        inputs = frozenset().union(*(depends[name] for name in outputs))
        found |= {name: Repetition(i, len(outputs), inputs) for i, name in enumerate(outputs)}
    return found


def dependencies(graph: onnx.GraphProto) -> dict[str, frozenset[str]]:
    """The graph inputs that each value of a graph depends on."""
    found = {value.name: frozenset([value.name]) for value in graph.input}
    for node in graph.node:
        inputs = frozenset().union(*(found.get(name, frozenset()) for name in _read(node)))
        found |= dict.fromkeys(node.output, inputs)
    return found


def _read(node: onnx.NodeProto) -> Iterable[str]:
    """What a node reads, and what its subgraphs read of the graph around them."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for inner in attribute.g.node:
                yield from _read(inner)
