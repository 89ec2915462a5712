"""Attention found in a graph: the operators around a softmax whose weights average values.

    scores = Q K^T (scaled, masked), or v . tanh(q + k) -> weights = softmax(scores) -> context = weights V

The context is a matrix product, or a product of which one axis is summed. The roles go on the operators; dot-product
attention also names axes: with the batch axis of size 1, scores and weights are batch x head x query x key (or
head x query x key), the context is batch x head x query x unit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from ..operators.registry import PassesOn, facts_of
from .dataflow import FORM, PRECISION, Dataflow

SCORES, WEIGHTS, CONTEXT = "scores", "weights", "context"

# what may stand between the products and the softmax: scaling, masks, biases, and copies
_BEFORE: frozenset[PassesOn] = FORM | {"scale", "mask", "join"}
_AFTER: frozenset[PassesOn] = FORM | {"mask", "part"}


class AttentionPart(NamedTuple):
    """What an operator is in an attention, and whether the attention has heads on an axis of their own."""

    role: str
    heads: bool


def attention_roles(dataflow: Dataflow) -> dict[int, AttentionPart]:
    """The part of each operator (by position) that belongs to an attention."""
    parts: dict[int, AttentionPart] = {}
    for i, node in enumerate(dataflow.nodes):
        if node.op_type == "Softmax":
            for j, part in _around(dataflow, i).items():
                if part.role != SCORES or j not in parts:  # the context of one attention may score the next
                    parts[j] = part
    return parts


def _around(dataflow: Dataflow, softmax: int) -> dict[int, AttentionPart]:
    """The parts of the attention around one softmax; none when its results average nothing."""
    before, scores = _scores(dataflow, softmax)
    sums = {j: r for j in _multiplications(dataflow, softmax) if (r := _summed(dataflow, softmax, j, before, scores))}
    after, products = _between(
        dataflow, softmax, _AFTER, dataflow.readers, lambda j: _is_product(dataflow, j) or j in sums
    )
    if not after:
        return {}
    heads = not sums and any(_is_product(dataflow, j) and not _reads_fixed(dataflow, j) for j in scores)
    contexts = {*products, *(sums[j] for j in products if j in sums)}
    return {
        **dict.fromkeys(before, AttentionPart(SCORES, heads)),
        **dict.fromkeys([softmax, *after], AttentionPart(WEIGHTS, heads)),
        **dict.fromkeys(sorted(contexts), AttentionPart(CONTEXT, heads)),
    }


def _is_product(dataflow: Dataflow, j: int) -> bool:
    return facts_of(dataflow.nodes[j].op_type).multiplies


def _reads_fixed(dataflow: Dataflow, j: int) -> bool:
    return any(dataflow.is_fixed(name) for name in dataflow.nodes[j].inputs[:2])


def _scores(dataflow: Dataflow, softmax: int) -> tuple[list[int], list[int]]:
    """The operators that make the scores, and which of them are products: of matrices, or summed over an axis."""
    before, products = _between(
        dataflow,
        softmax,
        _BEFORE,
        dataflow.sources,
        lambda j: _is_product(dataflow, j) or _factors(dataflow, j) is not None,
    )
    factors = {m for j in products if (m := _factors(dataflow, j)) is not None}
    return sorted({*before, *factors}), products


def _factors(dataflow: Dataflow, j: int) -> int | None:
    """The multiplication that a ReduceSum sums, if it does."""
    node = dataflow.nodes[j]
    return dataflow.producer(node.inputs[0], "Mul") if node.op_type == "ReduceSum" else None


def _between(
    dataflow: Dataflow,
    start: int,
    passing: Collection[PassesOn],
    neighbours: Callable[[int], list[int]],
    is_product: Callable[[int], bool],
) -> tuple[list[int], list[int]]:
    """In one direction: the nearest products with the passing operators on the way to them, and the products alone."""
    ways: dict[int, list[int]] = {}  # operator -> those it was reached from
    waiting, products = [start], []
    while waiting:
        i = waiting.pop()
        for j in neighbours(i):
            found, passes = is_product(j), dataflow.passes(j, passing)
            if j not in ways and found:
                products.append(j)
            elif j not in ways and passes:
                waiting.append(j)
            if found or passes:
                ways.setdefault(j, []).append(i)
    reached: set[int] = set()
    waiting = list(products)
    while waiting:
        j = waiting.pop()
        if j not in reached and j != start:
            reached.add(j)
            waiting += ways[j]
    return sorted(reached), products


# Values multiplied with the weights and summed


def _multiplications(dataflow: Dataflow, softmax: int) -> list[int]:
    """The Muls that read the weights, copies aside."""
    waiting, found, seen = [softmax], [], set[int]()
    while waiting:
        for j in dataflow.readers(waiting.pop()):
            if j not in seen and dataflow.passes(j, _AFTER):
                waiting.append(j)
            elif j not in seen and dataflow.nodes[j].op_type == "Mul":
                found.append(j)
            seen.add(j)
    return found


def _summed(dataflow: Dataflow, softmax: int, mul: int, before: list[int], scores: list[int]) -> int | None:
    """The ReduceSum that makes `mul`, of weights and values, a context.

    It sums the axis of the keys, and the values know nothing of the scores: sums such as an entropy are no context.
    """
    node, readers = dataflow.nodes[mul], dataflow.readers(mul)
    while len(readers) == 1 and dataflow.passes(readers[0], PRECISION):
        readers = dataflow.readers(readers[0])
    if not scores or len(readers) != 1 or dataflow.nodes[readers[0]].op_type != "ReduceSum":
        return None
    ways = [_way(dataflow, name, softmax) for name in node.inputs]
    weights = next((slot for slot, way in enumerate(ways) if way is not None), None)
    if weights is None or dataflow.depends_on(node.inputs[1 - weights], {softmax, *before}):
        return None
    way, axes = ways[weights] or [], dataflow.axes(readers[0])
    # scores that keep an axis of size 1 where the units were go with values as they are
    fit = all(_keeps_an_axis(dataflow, j) for j in scores)
    fit = fit and not any(dataflow.nodes[j].op_type in ("Squeeze", "Reshape") for j in before)
    if axes is None or len(axes) != 1 or not _sums_keys(dataflow, softmax, way, axes[0], fit):
        return None
    return readers[0]


def _way(dataflow: Dataflow, name: str, softmax: int) -> list[int] | None:
    """The copies that lead from the softmax to a value, in their order; None when none do."""
    i = dataflow.node_of.get(name)
    if i == softmax:
        return []
    if i is None or not dataflow.passes(i, _AFTER):
        return None
    ways = (_way(dataflow, source, softmax) for source in dataflow.nodes[i].inputs)
    return next(([*way, i] for way in ways if way is not None), None)


def _sums_keys(dataflow: Dataflow, softmax: int, way: list[int], summed: int, fit: bool) -> bool:
    """Whether the axis `summed` is the one that the softmax normalizes, and another one is left for the units.

    fit: the weights have such an axis of size 1 from the start
    """
    node = dataflow.nodes[softmax]
    axis: int | None = dataflow.axis(node.outputs[0], int(node.attributes.get("axis", -1)))
    if not any(_may_widen(dataflow, j) for j in way):
        is_last = summed in (-1, dataflow.ranks.get(node.outputs[0], 0) - 1)
        if is_last or not fit:
            return False
    for j in way:
        axis = _moved(dataflow, j, axis)
    return axis is None or axis == summed or (axis < 0) != (summed < 0)


def _may_widen(dataflow: Dataflow, copy: int) -> bool:
    """Whether a copy may make room for an axis of the units."""
    return dataflow.passes(copy, {"shape"}) and dataflow.nodes[copy].op_type != "Squeeze"


def _moved(dataflow: Dataflow, copy: int, axis: int | None) -> int | None:
    """Where a copy puts an axis, counted from the same end; None when that is not known."""
    node = dataflow.nodes[copy]
    if axis is None or node.op_type in ("Reshape", "Flatten"):
        return None
    if node.op_type == "Transpose" and "perm" in node.attributes:
        perm = list(node.attributes["perm"])
        place = perm.index(axis % len(perm))
        return place if axis >= 0 else place - len(perm)
    if node.op_type != "Unsqueeze":
        return axis
    for new in dataflow.axes(copy) or ():
        if axis >= 0 and new >= 0:
            axis += new <= axis
        elif axis < 0 and new < 0:
            axis -= new >= axis
        elif new not in (0, -1):  # which is before a negative axis, or behind a positive one
            return None
    return axis


def _keeps_an_axis(dataflow: Dataflow, score: int) -> bool:
    """Whether a product with a vector leaves an axis of size 1 in place of the one it sums."""
    node = dataflow.nodes[score]
    if node.op_type == "ReduceSum":
        return bool(node.attributes.get("keepdims", 1))
    for name in node.inputs[:2]:
        if dataflow.is_fixed(name):
            vector, is_reshaped = (
                dataflow.constants[dataflow.source(name)],
                dataflow.source(name) != dataflow.uncast(name),
            )
            return max(vector.shape) == vector.numel() and (vector.dim() > 1 or is_reshaped)
    return False


# Axes


def attention_axes(role: str, shape: Sequence[int], names: Sequence[str | None]) -> list[str | None]:
    """The names of the axes of a tensor of this role; a query axis already known as 'step' keeps that name.

    shape: ... x head x query x key; with three axes the first is the heads', for a sample's batch has size 1
    """
    known: list[str | None] = list(names) if len(names) == len(shape) else [None] * len(shape)
    if role not in (SCORES, WEIGHTS, CONTEXT) or len(shape) < 3 or (len(shape) == 3 and shape[0] == 1):
        return known
    known[-3:] = ["head", known[-2] or "query", None if role == CONTEXT else "key"]
    return known
