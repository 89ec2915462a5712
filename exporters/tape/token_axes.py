"""Which axes of a tensor run over tokens, told from the inputs on: one rule for each kind of primitive.

An axis over tokens is known by its first token: index i along it is token `first + i` of the sample. So the source and
the target of a translation stay apart, whatever their lengths. An axis that the rules say nothing of is no such axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..operators.arguments import axes_of
from ..operators.registry import Primitive

if TYPE_CHECKING:
    from .tape import Value

Firsts = tuple[int | None, ...]  # of each axis the token at index 0, or None; empty when no axis runs over tokens
Shape = tuple[int, ...]
Inputs = Sequence["Value | None"]

STEP, KEY = "step", "key"

_COMPARED = {"And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor"}
_IN_PLACE = {"Cast", "CastLike", "Dropout", "Expand", "Identity", "Trilu"}  # each element is one of the same place
_IN_ORDER = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}  # the elements keep their row-major order
_FILLED = {"Pad": 2, "ScatterElements": 2, "ScatterND": 2}  # the input, beside the first, whose elements are copied too


class Place(NamedTuple):
    """Where tokens lie in a tensor: along axes, or the single token that all of it belongs to."""

    firsts: Firsts = ()
    token: int | None = None


def axis_names(firsts: Firsts, step: int | None) -> list[str | None]:
    """The first axis over tokens is 'step', others are 'key'; all are, where the operator itself has a step."""
    names: list[str | None] = [None if first is None else KEY for first in firsts]
    if step is None and KEY in names:
        names[names.index(KEY)] = STEP
    return names


def place(primitive: Primitive, inputs: Inputs, attributes: Mapping[str, Any], shape: Shape) -> Place:
    """Where tokens lie in the output, which has this shape, of a primitive."""
    is_copy = primitive.kind == "copies"
    if not any(x is not None and (x.firsts or (is_copy and x.token is not None)) for x in inputs):
        return Place()
    name = primitive.name
    if primitive.kind == "contracts":
        return Place(_of_product(inputs, shape))
    if primitive.kind == "reduces":
        return Place(_of_reduction(inputs, attributes))
    if primitive.kind == "elementwise":
        return Place(_agreed(inputs, shape))
    if name == "Where" or name in _IN_PLACE:
        read = inputs if name == "Where" else inputs[:1]
        return Place(_agreed(read, shape), _common_token(read))
    if name == "Concat":
        return _of_concatenation(inputs, attributes["axis"] % len(shape), shape)
    if name in _IN_ORDER:
        return _in_order(inputs, name, shape)
    if name == "Transpose":
        return _of_transpose(inputs, attributes.get("perm"))
    if name == "Gather":
        return _of_gather(inputs, attributes.get("axis", 0))
    if name == "OneHot":
        return _of_one_hot(inputs, attributes.get("axis", -1))
    return _of_copy(primitive, inputs, attributes)


def place_without_gradient(op_type: str, inputs: Inputs, shape: Shape) -> Place:
    """The same for an operator on integers, booleans or shapes."""
    return Place(_agreed(inputs, shape)) if op_type in _COMPARED else Place()


def _firsts(x: Value) -> Firsts:
    return x.firsts or (None,) * x.data.dim()


def _agreed(inputs: Inputs, shape: Shape) -> Firsts:
    """Broadcast to `shape`: an axis over tokens where an input says so that is as long, and no other disagrees."""
    return _broadcast([(_firsts(x), tuple(x.shape)) for x in inputs if x is not None], shape)


def _broadcast(operands: Sequence[tuple[Firsts, Shape]], shape: Shape) -> Firsts:
    found: list[set[int]] = [set() for _ in shape]
    for firsts, sizes in operands:
        before = len(shape) - len(sizes)
        for axis, (first, size) in enumerate(zip(firsts, sizes, strict=True)):
            if first is not None and size == shape[before + axis]:
                found[before + axis].add(first)
    return _or_none([min(firsts) if len(firsts) == 1 else None for firsts in found])


def _or_none(firsts: Sequence[int | None]) -> Firsts:
    return () if all(first is None for first in firsts) else tuple(firsts)


def _common_token(inputs: Inputs) -> int | None:
    """The token that all inputs with one belong to."""
    tokens = {x.token for x in inputs if x is not None and x.token is not None}
    return tokens.pop() if len(tokens) == 1 else None


def _of_product(inputs: Inputs, shape: Shape) -> Firsts:
    """Rows of the left operand, columns of the right one."""
    a, b = inputs
    assert a is not None
    assert b is not None
    rows = [_firsts(a)[-2]] if a.data.dim() > 1 else []
    columns = [_firsts(b)[-1]] if b.data.dim() > 1 else []
    batches = [(_firsts(x)[:-2], tuple(x.shape[:-2])) for x in (a, b)]
    n_batch = len(shape) - len(rows) - len(columns)
    batch = _broadcast(batches, shape[:n_batch]) or (None,) * n_batch
    return _or_none([*batch, *rows, *columns])


def _of_reduction(inputs: Inputs, attributes: Mapping[str, Any]) -> Firsts:
    x = inputs[0]
    assert x is not None
    given = inputs[1] if len(inputs) > 1 else None
    axes = attributes.get("axes") if given is None else given.data
    if attributes.get("noop_with_empty_axes") and (axes is None or len(axes) == 0):
        return x.firsts
    reduced, keep = axes_of(axes, x.data.dim()), attributes.get("keepdims", 1)
    firsts = enumerate(_firsts(x))
    return _or_none([None if axis in reduced else first for axis, first in firsts if keep or axis not in reduced])


def _of_concatenation(inputs: Inputs, axis: int, shape: Shape) -> Place:
    """Along `axis`: pieces whose tokens follow on each other. Along the others: what the pieces agree on."""
    pieces = [x for x in inputs if x is not None and x.shape[axis]]
    firsts = list(_broadcast([(_firsts(x), tuple(x.shape)) for x in pieces], shape) or (None,) * len(shape))
    starts = [x.token if _firsts(x)[axis] is None and x.shape[axis] == 1 else _firsts(x)[axis] for x in pieces]
    before = np.cumsum([0, *(x.shape[axis] for x in pieces)])
    origins = {None if start is None else int(start - n) for start, n in zip(starts, before, strict=False)}
    firsts[axis] = origins.pop() if len(origins) == 1 else None
    return Place(_or_none(firsts), _common_token(inputs))


def _in_order(inputs: Inputs, name: str, shape: Shape) -> Place:
    """An axis stays what it was where one of its size has as many elements in front."""
    x = inputs[0]
    assert x is not None
    sizes, token = tuple(x.shape), x.token
    firsts: list[int | None] = [None] * len(shape)
    for axis, first in enumerate(x.firsts):
        if first is None:
            continue
        fitting = [a for a, n in enumerate(shape) if n == sizes[axis] and prod(shape[:a]) == prod(sizes[:axis])]
        if fitting:
            firsts[axis if axis in fitting else fitting[0]] = first
        elif sizes[axis] == 1:
            token = first  # the axis is gone, its only token is not
    if name == "Unsqueeze" and x.token is not None and not x.firsts:
        assert inputs[1] is not None
        for axis in axes_of(inputs[1].data, len(shape)):
            firsts[axis] = x.token
    return Place(_or_none(firsts), token)


def _of_transpose(inputs: Inputs, perm: Sequence[int] | None) -> Place:
    x = inputs[0]
    assert x is not None
    order = reversed(range(x.data.dim())) if perm is None else perm
    return Place(tuple(x.firsts[axis] for axis in order) if x.firsts else (), x.token)


def _of_gather(inputs: Inputs, axis: int) -> Place:
    """Axes of the index take the place of the axis picked from: words pick embeddings, an iteration its word."""
    x, index = inputs
    assert x is not None
    assert index is not None
    firsts = _firsts(x)
    axis %= len(firsts)
    first, picked = firsts[axis], Place(_firsts(index), index.token if x.token is None else x.token)
    if first is not None:
        n = x.shape[axis]
        picked = _read(first + torch.where(index.data < 0, index.data + n, index.data), 0)
    return Place(_or_none([*firsts[:axis], *(picked.firsts or _firsts(index)), *firsts[axis + 1 :]]), picked.token)


def _of_one_hot(inputs: Inputs, axis: int) -> Place:
    x = inputs[0]
    assert x is not None
    firsts = list(_firsts(x))
    firsts.insert(axis % (len(firsts) + 1), None)
    return Place(_or_none(firsts), x.token)


def _of_copy(primitive: Primitive, inputs: Inputs, attributes: Mapping[str, Any]) -> Place:
    """Any other copy, run on the numbers of the tokens in place of its first input."""
    x = inputs[0]
    assert x is not None
    repeats, filled = primitive.repeats or primitive.compute, _FILLED.get(primitive.name)
    others = [
        None if other is None else torch.full(other.shape, -1) if slot == filled else other.data
        for slot, other in enumerate(inputs[1:], start=1)
    ]
    firsts: dict[int, int] = {}
    token, n_axes = x.token, 0
    for axis, first in enumerate(x.firsts):
        if first is not None:
            tokens: Tensor = repeats(_numbered(x, axis, first), *others, **attributes)
            read, n_axes = _read(tokens, axis), tokens.dim()
            token = read.token if token is None else token
            firsts |= {a: found for a, found in enumerate(read.firsts) if found is not None}
    return Place(_or_none([firsts.get(axis) for axis in range(n_axes)]), token)


def _numbered(x: Value, axis: int, first: int) -> Tensor:
    """The token of each element of `x`, int64 of its shape."""
    sizes = [-1 if a == axis else 1 for a in range(x.data.dim())]
    return (first + torch.arange(x.shape[axis])).reshape(sizes).expand(x.shape)


def _read(tokens: Tensor, likely: int) -> Place:
    """Where the tokens lie of which each element's number is given, -1 for none; `likely`: the axis it was before."""
    known = tokens >= 0
    if not bool(known.any()):
        return Place()
    numbers = tokens[known]
    first = int(numbers[0])
    if bool((numbers == first).all()):
        stays = likely < tokens.dim() and tokens.shape[likely] == 1
        return Place(tuple(first if a == likely else None for a in range(tokens.dim())) if stays else (), first)
    for axis, size in enumerate(tokens.shape):
        origins = (tokens - torch.arange(size).reshape([-1 if a == axis else 1 for a in range(tokens.dim())]))[known]
        whole = bool(known.movedim(axis, 0).reshape(size, -1).any(1).all())  # padding is not the token that it follows
        if whole and bool((origins == origins[0]).all()):
            return Place(tuple(int(origins[0]) if a == axis else None for a in range(tokens.dim())))
    return Place()
