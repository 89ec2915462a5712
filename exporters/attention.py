"""Attention found in a graph: the operators around a softmax whose weights enter a matrix product.

    scores = Q K^T (scaled, masked) -> weights = softmax(scores) -> context = weights V

The roles go on the operators, names on the axes: with the batch axis of size 1, scores and weights are
batch x head x query x key (or head x query x key), the context is batch x head x query x unit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol

SCORES, WEIGHTS, CONTEXT = "scores", "weights", "context"

# what may stand between the products and the softmax: scaling, masks, biases, and copies
_BEFORE = {"Add", "Sub", "Mul", "Div", "Where", "Max", "Min", "Clip", "Tanh", "Cast", "Identity"}
_BEFORE |= {"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Concat"}
_AFTER = {"Cast", "Dropout", "Identity", "Where", "Slice", "Reshape", "Squeeze", "Unsqueeze", "Transpose"}
_PRODUCTS = {"MatMul", "Gemm", "Einsum"}


class Operator(Protocol):
    """What the search needs of a node."""

    @property
    def op_type(self) -> str: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...


def attention_roles(nodes: Sequence[Operator]) -> dict[int, str]:
    """The role of each operator (by position) that is part of an attention."""
    producer = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    consumers: dict[str, list[int]] = defaultdict(list)
    for i, node in enumerate(nodes):
        for name in node.inputs:
            consumers[name].append(i)
    roles: dict[int, str] = {}
    for i, node in enumerate(nodes):
        if node.op_type != "Softmax":
            continue
        after = _between(nodes, i, _AFTER, lambda node: [j for name in node.outputs for j in consumers[name]])
        if after:
            before = _between(nodes, i, _BEFORE, lambda node: [producer[n] for n in node.inputs if n in producer])
            for j in before:
                roles.setdefault(j, SCORES)
            roles.update({j: CONTEXT if nodes[j].op_type in _PRODUCTS else WEIGHTS for j in after})
            roles[i] = WEIGHTS
    return roles


def _between(
    nodes: Sequence[Operator], start: int, passing: set[str], neighbours: Callable[[Operator], list[int]]
) -> list[int]:
    """The nearest products in one direction and the passing operators on the way to them, `start` left out."""
    ways: dict[int, list[int]] = {}  # operator -> those it was reached from
    waiting, products = [start], []
    while waiting:
        i = waiting.pop()
        for j in neighbours(nodes[i]):
            if j not in ways and nodes[j].op_type in passing:
                waiting.append(j)
            if nodes[j].op_type in _PRODUCTS and j not in ways:
                products.append(j)
            if nodes[j].op_type in passing | _PRODUCTS:
                ways.setdefault(j, []).append(i)
    found: set[int] = set()
    waiting = products
    while waiting:
        j = waiting.pop()
        if j not in found and j != start:
            found.add(j)
            waiting += ways[j]
    return sorted(found)


def attention_axes(role: str, shape: Sequence[int], names: Sequence[str | None]) -> list[str | None]:
    """The names of the axes of a tensor of this role; a query axis already known as 'step' keeps that name.

    shape: ... x head x query x key; with three axes the first is the heads', for a sample's batch has size 1
    """
    known: list[str | None] = list(names) if len(names) == len(shape) else [None] * len(shape)
    if role not in (SCORES, WEIGHTS, CONTEXT) or len(shape) < 3 or (len(shape) == 3 and shape[0] == 1):
        return known
    known[-3:] = ["head", known[-2] or "query", None if role == CONTEXT else "key"]
    return known
