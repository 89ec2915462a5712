"""Attention found in a graph: the operators around a softmax whose weights average values.

    scores = Q K^T (scaled, masked), or v . tanh(q + k) -> weights = softmax(scores) -> context = weights V

The context is a matrix product, or a product of which one axis is summed. The roles go on the operators; dot-product
attention also names axes: with the batch axis of size 1, scores and weights are batch x head x query x key (or
head x query x key), the context is batch x head x query x unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from exporters.wiring import Wiring

SCORES, WEIGHTS, CONTEXT = "scores", "weights", "context"

# what may stand between the products and the softmax: scaling, masks, biases, and copies
_BEFORE = {"Add", "Sub", "Mul", "Div", "Where", "Max", "Min", "Clip", "Tanh", "Cast", "Identity"}
_BEFORE |= {"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Concat"}
_AFTER = {"Cast", "Dropout", "Identity", "Where", "Slice", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Expand"}
_WIDENING = {"Unsqueeze", "Reshape", "Transpose", "Expand"}
_PRODUCTS = {"MatMul", "Gemm", "Einsum"}


class Part(NamedTuple):
    """What an operator is in an attention, and whether the attention has heads on an axis of their own."""

    role: str
    heads: bool


def attention_roles(wiring: Wiring) -> dict[int, Part]:
    """The part of each operator (by position) that belongs to an attention."""
    parts: dict[int, Part] = {}
    for i, node in enumerate(wiring.nodes):
        if node.op_type != "Softmax":
            continue
        before, scores = _scores(wiring, i)
        sums = {j: r for j in _multiplications(wiring, i) if (r := _summed(wiring, i, j, before, scores)) is not None}
        after, products = _between(
            wiring, i, _AFTER, wiring.readers, lambda j, sums=sums: _is_product(wiring, j) or j in sums
        )
        if not after:
            continue
        after = sorted({*after, *(sums[j] for j in products if j in sums)})
        heads = not sums and any(_is_product(wiring, j) and not _reads_fixed(wiring, j) for j in scores)
        for j in before:
            parts.setdefault(j, Part(SCORES, heads))
        contexts = {*products, *sums.values()}
        parts.update({j: Part(CONTEXT if j in contexts else WEIGHTS, heads) for j in after})
        parts[i] = Part(WEIGHTS, heads)
    return parts


def _is_product(wiring: Wiring, j: int) -> bool:
    return wiring.nodes[j].op_type in _PRODUCTS


def _reads_fixed(wiring: Wiring, j: int) -> bool:
    return any(wiring.is_fixed(name) for name in wiring.nodes[j].inputs[:2])


def _scores(wiring: Wiring, softmax: int) -> tuple[list[int], list[int]]:
    """The operators that make the scores, and which of them are products: of matrices, or summed over an axis."""
    before, products = _between(
        wiring, softmax, _BEFORE, wiring.sources, lambda j: _is_product(wiring, j) or _factors(wiring, j) is not None
    )
    factors = {m for j in products if (m := _factors(wiring, j)) is not None}
    return sorted({*before, *factors}), products


def _factors(wiring: Wiring, j: int) -> int | None:
    """The multiplication that a ReduceSum sums, if it does."""
    node = wiring.nodes[j]
    return wiring.maker(node.inputs[0], "Mul") if node.op_type == "ReduceSum" else None


def _between(
    wiring: Wiring,
    start: int,
    passing: set[str],
    neighbours: Callable[[int], list[int]],
    is_product: Callable[[int], bool],
) -> tuple[list[int], list[int]]:
    """In one direction: the nearest products with the passing operators on the way to them, and the products alone."""
    ways: dict[int, list[int]] = {}  # operator -> those it was reached from
    waiting, products = [start], []
    while waiting:
        i = waiting.pop()
        for j in neighbours(i):
            found, passes = is_product(j), wiring.nodes[j].op_type in passing
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


def _multiplications(wiring: Wiring, softmax: int) -> list[int]:
    """The Muls that read the weights, copies aside."""
    waiting, found, seen = [softmax], [], set[int]()
    while waiting:
        for j in wiring.readers(waiting.pop()):
            if j not in seen and wiring.nodes[j].op_type in _AFTER:
                waiting.append(j)
            elif j not in seen and wiring.nodes[j].op_type == "Mul":
                found.append(j)
            seen.add(j)
    return found


def _summed(wiring: Wiring, softmax: int, mul: int, before: list[int], scores: list[int]) -> int | None:
    """The ReduceSum that makes `mul`, of weights and values, a context.

    It sums the axis of the keys, and the values know nothing of the scores: sums such as an entropy are no context.
    """
    node, readers = wiring.nodes[mul], wiring.readers(mul)
    while len(readers) == 1 and wiring.nodes[readers[0]].op_type in ("Cast", "Identity"):
        readers = wiring.readers(readers[0])
    if not scores or len(readers) != 1 or wiring.nodes[readers[0]].op_type != "ReduceSum":
        return None
    ways = [_way(wiring, name, softmax) for name in node.inputs]
    weights = next((slot for slot, way in enumerate(ways) if way is not None), None)
    if weights is None or wiring.depends_on(node.inputs[1 - weights], {softmax, *before}):
        return None
    way, axes = ways[weights] or [], wiring.axes(readers[0])
    if axes is None or len(axes) != 1 or not _sums_keys(wiring, softmax, way, axes[0], scores):
        return None
    return readers[0]


def _way(wiring: Wiring, name: str, softmax: int) -> list[int] | None:
    """The copies that lead from the softmax to a value, in their order; None when none do."""
    i = wiring.producer.get(name)
    if i == softmax:
        return []
    if i is None or wiring.nodes[i].op_type not in _AFTER:
        return None
    ways = (_way(wiring, source, softmax) for source in wiring.nodes[i].inputs)
    return next(([*way, i] for way in ways if way is not None), None)


def _sums_keys(wiring: Wiring, softmax: int, way: list[int], summed: int, scores: list[int]) -> bool:
    """Whether the axis `summed` is the one that the softmax normalizes, and another one is left for the units."""
    axis = int(wiring.nodes[softmax].attributes.get("axis", -1))
    if not any(wiring.nodes[j].op_type in _WIDENING for j in way):
        return summed == axis != -1 or (summed * axis < 0 and summed != -1) if _leaves_an_axis(wiring, scores) else False
    moved: int | None = axis
    for j in way:
        moved = _moved(wiring, j, moved)
    return moved is None or moved * summed < 0 or moved == summed


def _moved(wiring: Wiring, copy: int, axis: int | None) -> int | None:
    """Where a copy puts an axis, counted from the same end; None when that is not known."""
    node = wiring.nodes[copy]
    if axis is None or node.op_type == "Reshape":
        return None
    if node.op_type == "Transpose" and "perm" in node.attributes:
        perm = list(node.attributes["perm"])
        place = perm.index(axis % len(perm))
        return place if axis >= 0 else place - len(perm)
    if node.op_type != "Unsqueeze":
        return axis
    for new in wiring.axes(copy) or ():
        if axis >= 0 and new >= 0:
            axis += new <= axis
        elif axis < 0 and new < 0:
            axis -= new >= axis
        elif new not in (0, -1):  # which is before a negative axis, or behind a positive one
            return None
    return axis


def _leaves_an_axis(wiring: Wiring, scores: list[int]) -> bool:
    """Whether scores keep an axis of size 1 where the units were, so that they go with values as they are."""
    return all(_one_unit(wiring, j) for j in scores)


def _one_unit(wiring: Wiring, score: int) -> bool:
    node = wiring.nodes[score]
    if node.op_type == "ReduceSum":
        return bool(node.attributes.get("keepdims", 1))
    fixed = [wiring.constants[wiring.behind(name)] for name in node.inputs[:2] if wiring.is_fixed(name)]
    return any(data.dim() > 1 and max(data.shape) == data.numel() for data in fixed)


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
