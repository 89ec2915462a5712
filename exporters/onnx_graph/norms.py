"""Layer norms and RMS norms that an exporter wrote out in primitives, found in a graph.

    c = x - mean(x), or x itself    r = sqrt(mean(c^2) + epsilon)    y = c / r * scale + bias

Their operators get the roles that exporters/lowering/normalization.py gives its own: `mean`, `variance`, `scale`. Only
what has all of c, r and c / r is a norm; a deviation alone, or one that divides something else, is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .dataflow import Dataflow

MEAN, VARIANCE, SCALE = "mean", "variance", "scale"


class _Centred(NamedTuple):
    """x - mean(x): the value x, the axes of its mean, and the operators."""

    x: str
    axes: tuple[int, ...]
    operators: tuple[int, ...]


class _Spread(NamedTuple):
    """mean(c^2) + epsilon: the value c, the axes of the mean, and the operators."""

    c: str
    axes: tuple[int, ...]
    operators: tuple[int, ...]


def norm_roles(dataflow: Dataflow) -> dict[int, str]:
    """The role of each operator (by position) that is part of a norm."""
    roles: dict[int, str] = {}
    for i in range(len(dataflow.nodes)):
        spread = _spread(dataflow, i)
        if spread is not None:
            roles |= _norm(dataflow, spread)
    return roles


def _norm(dataflow: Dataflow, spread: _Spread) -> dict[int, str]:
    """The roles around one spread; none where nothing is divided by its root."""
    centred = _centred(dataflow, spread.c)
    if centred is not None and centred.axes != spread.axes:
        centred = None  # a mean of something else: what is left may be an RMS norm
    roles: dict[int, str] = {}
    for division, numerator, roots in _divisions(dataflow, spread.operators[-1]):
        divided = _centred(dataflow, numerator)
        same_difference = centred is not None and divided is not None and divided[:2] == centred[:2]
        if dataflow.uncast(numerator) != spread.c and not same_difference:
            continue
        for part in (centred, divided if same_difference else None):
            roles |= dict.fromkeys(part.operators if part is not None else (), MEAN)
        roles |= dict.fromkeys((*spread.operators, *roots), VARIANCE)
        roles |= dict.fromkeys(_scaling(dataflow, division), SCALE)
    return roles


def _centred(dataflow: Dataflow, name: str) -> _Centred | None:
    """What `name` is, if it is an x - mean(x)."""
    sub = dataflow.producer(name, "Sub")
    if sub is None:
        return None
    x, mean = (dataflow.uncast(value) for value in dataflow.nodes[sub].inputs)
    reduction = _mean(dataflow, mean)
    if reduction is None or dataflow.uncast(dataflow.nodes[reduction].inputs[0]) != x:
        return None
    return _Centred(x, dataflow.axes(reduction) or (), (reduction, sub))


def _spread(dataflow: Dataflow, i: int) -> _Spread | None:
    """What node i computes, if it adds a constant to a mean of squares."""
    node = dataflow.nodes[i]
    if node.op_type != "Add":
        return None
    for mean, epsilon in (node.inputs, node.inputs[::-1]):
        reduction = _mean(dataflow, mean)
        if reduction is not None and dataflow.number(epsilon) is not None:
            square = dataflow.producer(dataflow.nodes[reduction].inputs[0], "Mul", "Pow")
            c = None if square is None else _root_of_square(dataflow, square)
            if square is not None and c is not None:
                return _Spread(c, dataflow.axes(reduction) or (), (square, reduction, i))
    return None


def _mean(dataflow: Dataflow, name: str) -> int | None:
    """The ReduceMean over known axes behind a value, if there is one that can be set against what it is a mean of."""
    i = dataflow.node_of.get(dataflow.source(name))
    if i is None or dataflow.nodes[i].op_type != "ReduceMean" or dataflow.axes(i) is None:
        return None
    is_reshaped = dataflow.source(name) != dataflow.uncast(name)
    return i if dataflow.nodes[i].attributes.get("keepdims", 1) or is_reshaped else None


def _root_of_square(dataflow: Dataflow, i: int) -> str | None:
    """The value that node i squares."""
    node = dataflow.nodes[i]
    first, second = node.inputs
    squares = (
        dataflow.number(second) == 2 if node.op_type == "Pow" else dataflow.uncast(first) == dataflow.uncast(second)
    )
    return dataflow.uncast(first) if squares else None


def _divisions(dataflow: Dataflow, spread: int) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """What is divided by the root of a spread: the operator, the value, and the operators that make the divisor.

    A division by r may be a Div, or a Mul with a Reciprocal of r, 1 / r, or a power of -1/2.
    """
    for i in dataflow.readers_behind(spread):
        exponent = _exponent(dataflow, i)
        if exponent == -0.5:
            yield from _multiplied(dataflow, i, (i,))
        if exponent == 0.5:
            for j in dataflow.readers_behind(i):
                node = dataflow.nodes[j]
                is_one_over = node.op_type == "Div" and dataflow.number(node.inputs[0]) == 1
                if node.op_type == "Reciprocal" or is_one_over:
                    yield from _multiplied(dataflow, j, (i, j))
                elif node.op_type == "Div" and dataflow.reads(j, 1, i):
                    yield j, node.inputs[0], (i,)


def _exponent(dataflow: Dataflow, i: int) -> float | None:
    """The power that node i takes."""
    node = dataflow.nodes[i]
    if node.op_type == "Sqrt":
        return 0.5
    return dataflow.number(node.inputs[1]) if node.op_type == "Pow" else None


def _multiplied(dataflow: Dataflow, factor: int, roots: tuple[int, ...]) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    for i in dataflow.readers_behind(factor):
        if dataflow.nodes[i].op_type == "Mul":
            slot = 1 if dataflow.reads(i, 0, factor) else 0
            yield i, dataflow.nodes[i].inputs[slot], roots


def _scaling(dataflow: Dataflow, division: int) -> list[int]:
    """The division, and the learned scale and bias of the same module that alone read what comes before them."""
    found = [division]
    for op_type in ("Mul", "Add"):
        readers = dataflow.readers_behind(found[-1])
        if len(readers) != 1 or dataflow.nodes[readers[0]].op_type != op_type:
            break
        node = dataflow.nodes[readers[0]]
        others = [name for slot, name in enumerate(node.inputs) if not dataflow.reads(readers[0], slot, found[-1])]
        if node.module != dataflow.nodes[division].module or not all(_is_learned(dataflow, name) for name in others):
            break
        found.append(readers[0])
    return found


def _is_learned(dataflow: Dataflow, name: str) -> bool:
    """Whether a value is made of parameters alone: one of them, or, as some scales are, 1 + one of them."""
    if dataflow.number(name) is not None:
        return False
    added = dataflow.producer(name, "Add")
    return dataflow.is_fixed(name) or (
        added is not None and all(dataflow.is_fixed(value) for value in dataflow.nodes[added].inputs)
    )
