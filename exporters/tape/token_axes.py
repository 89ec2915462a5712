"""Which axes of a tensor run over tokens, told from the inputs on: one rule for each kind of primitive.

An axis over tokens is known by its first token: index i along it is token `first + i` of the sample. So the source and
the target of a translation stay apart, whatever their lengths. An axis that the rules say nothing of is no such axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..operators.arguments import axes_of
from ..operators.registry import Primitive, TokenRule, token_rule_of
from .values import TokenOffsets, Value

Shape = tuple[int, ...]
Inputs = Sequence["Value | None"]

STEP, KEY = "step", "key"


class Place(NamedTuple):
    """Where tokens lie in a tensor: along axes, or the single token that all of it belongs to."""

    token_offsets: TokenOffsets = ()
    token: int | None = None


def axis_names(token_offsets: TokenOffsets, step: int | None) -> list[str | None]:
    """The first axis over tokens is 'step', others are 'key'; all are, where the operator itself has a step."""
    names: list[str | None] = [None if first is None else KEY for first in token_offsets]
    if step is None and KEY in names:
        names[names.index(KEY)] = STEP
    return names


def place(primitive: Primitive, inputs: Inputs, attributes: Mapping[str, Any], shape: Shape) -> Place:
    """Where tokens lie in the output, which has this shape, of a primitive."""
    is_copy = primitive.kind == "copies"
    if not any(x is not None and (x.token_offsets or (is_copy and x.token is not None)) for x in inputs):
        return Place()
    return _RULES[primitive.tokens](_Run(primitive, inputs, attributes, shape))


def reads_numbers(primitive: Primitive, inputs: Inputs, attributes: Mapping[str, Any]) -> bool:
    """Whether `place` looks at numbers that vary with the sample, beside shapes and where tokens lie in the inputs."""
    x = inputs[0]
    if x is None or not x.token_offsets or not any(other is not None and other.varies for other in inputs[1:]):
        return False
    if primitive.tokens == "picked":
        return x.token_offsets[attributes.get("axis", 0)] is not None
    return primitive.tokens in ("numbers", "unsqueezed", "reduced")


def place_without_gradient(op_type: str, inputs: Inputs, shape: Shape) -> Place:
    """The same for an operator on integers, booleans or shapes."""
    return Place(_agreed(inputs, shape)) if token_rule_of(op_type) == "agreed" else Place()


class _Run(NamedTuple):
    """One run of a primitive: what a rule may look at."""

    primitive: Primitive
    inputs: Inputs
    attributes: Mapping[str, Any]
    shape: Shape


def _firsts(x: Value) -> TokenOffsets:
    return x.token_offsets or (None,) * x.data.dim()


def _agreed(inputs: Inputs, shape: Shape) -> TokenOffsets:
    """Broadcast to `shape`: an axis over tokens where an input says so that is as long, and no other disagrees."""
    return _broadcast([(_firsts(x), tuple(x.shape)) for x in inputs if x is not None], shape)


def _broadcast(operands: Sequence[tuple[TokenOffsets, Shape]], shape: Shape) -> TokenOffsets:
    found: list[set[int]] = [set() for _ in shape]
    for token_offsets, sizes in operands:
        before = len(shape) - len(sizes)
        for axis, (first, size) in enumerate(zip(token_offsets, sizes, strict=True)):
            if first is not None and size == shape[before + axis]:
                found[before + axis].add(first)
    return _or_none([min(token_offsets) if len(token_offsets) == 1 else None for token_offsets in found])


def _or_none(token_offsets: Sequence[int | None]) -> TokenOffsets:
    return () if all(first is None for first in token_offsets) else tuple(token_offsets)


def _common_token(inputs: Inputs) -> int | None:
    """The token that all inputs with one belong to."""
    tokens = {x.token for x in inputs if x is not None and x.token is not None}
    return tokens.pop() if len(tokens) == 1 else None


def _of_product(inputs: Inputs, shape: Shape) -> TokenOffsets:
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


def _of_reduction(inputs: Inputs, attributes: Mapping[str, Any]) -> TokenOffsets:
    x = inputs[0]
    assert x is not None
    given = inputs[1] if len(inputs) > 1 else None
    axes = attributes.get("axes") if given is None else given.data
    if attributes.get("noop_with_empty_axes") and (axes is None or len(axes) == 0):
        return x.token_offsets
    reduced, keep = axes_of(axes, x.data.dim()), attributes.get("keepdims", 1)
    token_offsets = enumerate(_firsts(x))
    return _or_none(
        [None if axis in reduced else first for axis, first in token_offsets if keep or axis not in reduced]
    )


def _of_concatenation(inputs: Inputs, axis: int, shape: Shape) -> Place:
    """Along `axis`: pieces whose tokens follow on each other. Along the others: what the pieces agree on."""
    pieces = [x for x in inputs if x is not None and x.shape[axis]]
    token_offsets = list(_broadcast([(_firsts(x), tuple(x.shape)) for x in pieces], shape) or (None,) * len(shape))
    starts = [x.token if _firsts(x)[axis] is None and x.shape[axis] == 1 else _firsts(x)[axis] for x in pieces]
    before = np.cumsum([0, *(x.shape[axis] for x in pieces)])
    origins = {None if start is None else int(start - n) for start, n in zip(starts, before, strict=False)}
    token_offsets[axis] = origins.pop() if len(origins) == 1 else None
    return Place(_or_none(token_offsets), _common_token(inputs))


def _in_order(inputs: Inputs, shape: Shape) -> Place:
    """An axis stays what it was where one of its size has as many elements in front."""
    x = inputs[0]
    assert x is not None
    sizes, token = tuple(x.shape), x.token
    token_offsets: list[int | None] = [None] * len(shape)
    for axis, first in enumerate(x.token_offsets):
        if first is None:
            continue
        fitting = [a for a, n in enumerate(shape) if n == sizes[axis] and prod(shape[:a]) == prod(sizes[:axis])]
        if fitting:
            token_offsets[axis if axis in fitting else fitting[0]] = first
        elif sizes[axis] == 1:
            token = first  # the axis is gone, its only token is not
    return Place(_or_none(token_offsets), token)


def _of_unsqueeze(inputs: Inputs, shape: Shape) -> Place:
    """In order; a tensor of one token has that token along its new axes."""
    x, axes = inputs
    assert x is not None
    if x.token is None or x.token_offsets:
        return _in_order(inputs, shape)
    assert axes is not None
    new = axes_of(axes.data, len(shape))
    return Place(_or_none([x.token if axis in new else None for axis in range(len(shape))]), x.token)


def _of_transpose(inputs: Inputs, perm: Sequence[int] | None) -> Place:
    x = inputs[0]
    assert x is not None
    order = reversed(range(x.data.dim())) if perm is None else perm
    return Place(tuple(x.token_offsets[axis] for axis in order) if x.token_offsets else (), x.token)


def _of_gather(inputs: Inputs, axis: int) -> Place:
    """Axes of the index take the place of the axis picked from: words pick embeddings, an iteration its word."""
    x, index = inputs
    assert x is not None
    assert index is not None
    token_offsets = _firsts(x)
    axis %= len(token_offsets)
    first, picked = token_offsets[axis], Place(_firsts(index), index.token if x.token is None else x.token)
    if first is not None:
        n = x.shape[axis]
        picked = _read(first + torch.where(index.data < 0, index.data + n, index.data), 0)
    return Place(
        _or_none([*token_offsets[:axis], *(picked.token_offsets or _firsts(index)), *token_offsets[axis + 1 :]]),
        picked.token,
    )


def _of_one_hot(inputs: Inputs, axis: int) -> Place:
    x = inputs[0]
    assert x is not None
    token_offsets = list(_firsts(x))
    token_offsets.insert(axis % (len(token_offsets) + 1), None)
    return Place(_or_none(token_offsets), x.token)


def _of_copy(primitive: Primitive, inputs: Inputs, attributes: Mapping[str, Any]) -> Place:
    """Any other copy, run on the numbers of the tokens in place of its first input."""
    x = inputs[0]
    assert x is not None
    repeats, filled = primitive.repeats or primitive.compute, primitive.filled
    others = [
        None if other is None else torch.full(other.shape, -1) if slot == filled else other.data
        for slot, other in enumerate(inputs[1:], start=1)
    ]
    token_offsets: dict[int, int] = {}
    token, n_axes = x.token, 0
    for axis, first in enumerate(x.token_offsets):
        if first is not None:
            tokens: Tensor = repeats(_numbered(x, axis, first), *others, **attributes)
            read, n_axes = _read(tokens, axis), tokens.dim()
            token = read.token if token is None else token
            token_offsets |= {a: found for a, found in enumerate(read.token_offsets) if found is not None}
    return Place(_or_none([token_offsets.get(axis) for axis in range(n_axes)]), token)


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


def _of_first(run: _Run) -> Place:
    return Place(_agreed(run.inputs[:1], run.shape), _common_token(run.inputs[:1]))


def _of_choice(run: _Run) -> Place:
    return Place(_agreed(run.inputs, run.shape), _common_token(run.inputs))


_RULES: dict[TokenRule, Callable[[_Run], Place]] = {
    "agreed": lambda run: Place(_agreed(run.inputs, run.shape)),
    "first": _of_first,
    "choice": _of_choice,
    "joined": lambda run: _of_concatenation(run.inputs, run.attributes["axis"] % len(run.shape), run.shape),
    "in_order": lambda run: _in_order(run.inputs, run.shape),
    "unsqueezed": lambda run: _of_unsqueeze(run.inputs, run.shape),
    "permuted": lambda run: _of_transpose(run.inputs, run.attributes.get("perm")),
    "picked": lambda run: _of_gather(run.inputs, run.attributes.get("axis", 0)),
    "one_hot": lambda run: _of_one_hot(run.inputs, run.attributes.get("axis", -1)),
    "numbers": lambda run: _of_copy(run.primitive, run.inputs, run.attributes),
    "reduced": lambda run: Place(_of_reduction(run.inputs, run.attributes)),
    "product": lambda run: Place(_of_product(run.inputs, run.shape)),
    "none": lambda _: Place(),
}
