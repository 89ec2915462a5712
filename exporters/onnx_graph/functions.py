"""The functions of a model, written out in the places where it calls them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
import onnx.inliner

from ..models import ModelError
from ..operators.registry import DOMAIN

MOST_NODES = 1_000_000  # of a graph whose functions are written out
DEEPEST = 50  # functions within functions

Key = tuple[str, str]


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model without functions but those of ours, whose bodies are for other tools.

    Raises ModelError for functions that call themselves, or become too many nodes.
    """
    functions = {(function.domain, function.name): function for function in model.functions}
    ours = [key for key in functions if key[0] == DOMAIN]
    if len(ours) == len(functions):
        return model
    sizes = _Sizes({key: function for key, function in functions.items() if key not in ours})
    n_nodes = sizes.of(model.graph.node, ())
    if n_nodes > MOST_NODES:
        raise ModelError(f"the model's functions become {n_nodes:,} nodes; at most {MOST_NODES:,} are wanted")
    inlined: onnx.ModelProto = onnx.inliner.inline_selected_functions(model, ours, exclude=True)
    return inlined


class _Sizes:
    """How many nodes the functions become, each counted once."""

    def __init__(self, functions: dict[Key, onnx.FunctionProto]) -> None:
        self._functions = functions
        self._found: dict[Key, int] = {}

    def of(self, nodes: Iterable[onnx.NodeProto], within: tuple[Key, ...]) -> int:
        """The number of nodes that these become. within: the functions they are part of"""
        if len(within) > DEEPEST:
            raise ModelError(f"the model's functions lie within each other more than {DEEPEST} deep")
        return sum(self._of_function((node.domain, node.op_type), within) for node in with_subgraphs(nodes))

    def _of_function(self, key: Key, within: tuple[Key, ...]) -> int:
        if key not in self._functions:
            return 1
        if key in within:
            raise ModelError(f"the model's function {key[1]!r} calls itself, so that it would have no end")
        if key not in self._found:
            self._found[key] = self.of(self._functions[key].node, (*within, key))
        return self._found[key]


def with_subgraphs(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of the subgraphs in them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from with_subgraphs(graph.node)
