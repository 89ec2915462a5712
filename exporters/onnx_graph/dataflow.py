"""How the nodes of one ONNX graph hang together: what the searches for attention and norms walk along."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor

from ..operators.registry import PassesOn, facts_of

PRECISION: frozenset[PassesOn] = frozenset({"precision"})
FORM: frozenset[PassesOn] = frozenset({"precision", "shape"})


class Operator(Protocol):
    """What the searches need of a node."""

    @property
    def op_type(self) -> str: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...
    @property
    def attributes(self) -> dict[str, Any]: ...
    @property
    def module(self) -> str: ...


class Dataflow:
    """The nodes of one graph, who computes and who reads each value.

    constants: initializers and constants by name; learned parameters are among them
    ranks: the number of axes of values, as far as the model says it
    """

    def __init__(
        self, nodes: Sequence[Operator], constants: Mapping[str, Tensor], ranks: Mapping[str, int] | None = None
    ) -> None:
        self.nodes = nodes
        self.constants = constants
        self.ranks = ranks or {}
        self.node_of = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}

    @cached_property
    def consumers(self) -> dict[str, list[int]]:
        """The nodes that read each value, once per slot."""
        found: dict[str, list[int]] = defaultdict(list)
        for i, node in enumerate(self.nodes):
            for name in node.inputs:
                found[name].append(i)
        return found

    def passes(self, i: int, what: Collection[PassesOn]) -> bool:
        """Whether node i passes one of these on."""
        return facts_of(self.nodes[i].op_type).passes_on in what

    def readers(self, i: int) -> list[int]:
        """The nodes that read an output of node i."""
        return [j for name in self.nodes[i].outputs for j in self.consumers.get(name, [])]

    def readers_behind(self, i: int) -> list[int]:
        """The nodes that read an output of node i, also in another shape or precision, but no copies."""
        waiting, found = self.readers(i), list[int]()
        while waiting:
            j = waiting.pop()
            if self.passes(j, FORM):
                waiting += self.readers(j)
            elif j not in found:
                found.append(j)
        return sorted(found)

    def reads(self, i: int, slot: int, maker: int) -> bool:
        """Whether node i reads in this slot, copies aside, what node `maker` computes."""
        return self.node_of.get(self.source(self.nodes[i].inputs[slot])) == maker

    def sources(self, i: int) -> list[int]:
        """The nodes that compute an input of node i."""
        return [self.node_of[name] for name in self.nodes[i].inputs if name in self.node_of]

    def uncast(self, name: str) -> str:
        """The value that `name` repeats in another precision, or itself."""
        return self._source(name, PRECISION)

    def producer(self, name: str, *op_types: str) -> int | None:
        """The node that computes a value, casts aside, if it is one of these operators."""
        i = self.node_of.get(self.uncast(name))
        return i if i is not None and self.nodes[i].op_type in op_types else None

    def source(self, name: str) -> str:
        """The value that `name` repeats in another shape or precision, or itself."""
        return self._source(name, FORM)

    def is_fixed(self, name: str) -> bool:
        """Whether a value is a parameter or a constant, however reshaped: the same in every sample."""
        return self.source(name) in self.constants

    def number(self, name: str) -> float | None:
        """The value of a constant with one element; None for everything else."""
        data = self.constants.get(self.source(name))
        return float(data.detach()) if data is not None and data.numel() == 1 else None

    def axes(self, i: int) -> tuple[int, ...] | None:
        """The axes of a reduction or an Unsqueeze; None when they are not known, or all.

        They are counted from the start where the number of axes is known, otherwise as the model counts them.
        """
        node = self.nodes[i]
        given = node.attributes.get("axes")
        if given is None and len(node.inputs) > 1 and node.inputs[1] in self.constants:
            given = self.constants[node.inputs[1]].reshape(-1).tolist()
        if given is None or len(given) == 0:
            return None
        of = node.outputs[0] if node.op_type == "Unsqueeze" else node.inputs[0]
        return tuple(self.axis(of, int(axis)) for axis in given)

    def axis(self, name: str, axis: int) -> int:
        """An axis of a value, counted from the start where its number of axes is known."""
        return axis % self.ranks[name] if name in self.ranks else axis

    def depends_on(self, name: str, others: set[int]) -> bool:
        """Whether a value is computed, over any number of nodes, from one of the nodes `others`."""
        waiting, seen = [name], set[int]()
        while waiting:
            i = self.node_of.get(waiting.pop())
            if i is None or i in seen:
                continue
            if i in others:
                return True
            seen.add(i)
            waiting += self.nodes[i].inputs
        return False

    def _source(self, name: str, what: Collection[PassesOn]) -> str:
        while name in self.node_of and self.passes(self.node_of[name], what):
            name = self.nodes[self.node_of[name]].inputs[0]
        return name
