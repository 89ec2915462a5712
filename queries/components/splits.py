"""Entries of a component file with `split`, in one graph: as many entries as the axis of that name is long."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..database.graph import Graph, Tensor
from ..errors import StoreError, nearest
from .selectors import Selector, matches
from .slices import selected

Mask = NDArray[np.bool_]

HEAD = "head"  # the axis of an attention's heads
_CONTEXT = "context"  # the role of the operator that averages values: head x query x unit


def parts(selector: Selector, tensor: Tensor) -> Iterator[tuple[str, Mask | None]]:
    """The components that a selector makes of a tensor: names, and flat masks of elements, None for all of them.

    A tensor without the axis that the selector splits by has no part in any.
    """
    mask = None if selector.slice is None else selected(selector.slice, tensor.shape, tensor.name)
    if selector.split is None:
        yield selector.name, mask
    elif selector.split in tensor.axis_names:
        axis = tensor.axis_names.index(selector.split)
        place = np.broadcast_to(_along(axis, tensor.shape), tensor.shape).reshape(-1)
        for index in range(tensor.shape[axis]):
            yield selector.part_name(index), (place == index) if mask is None else mask & (place == index)


def _along(axis: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The place along `axis`, to broadcast to `shape`."""
    return np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])


def axis_names(graph: Graph) -> list[str]:
    """The names of axes of a graph's vertices."""
    return sorted({name for tensor in graph.vertex_tensors for name in tensor.axis_names if name is not None})


def no_axis(split: str, graphs: list[Graph]) -> str:
    """What to say when no axis has the name that is split by."""
    names = sorted({name for graph in graphs for name in axis_names(graph)})
    if split in names:
        return f"no axis named {split!r}, though other operators have one."
    there_are = f" Axes have the names {', '.join(names)}." if names else " No axis of this store has a name."
    return f"no axis named {split!r}.{nearest(split, names) or there_are}"


def cut_groups(selectors: tuple[Selector, ...], graph: Graph) -> tuple[Selector, ...]:
    """Selectors of parameter groups with each split replaced by slices, a selector for each parameter and part.

    A parameter is cut into as many equal parts as the graph's axes of that name are long. Raises StoreError when there
    is no such axis, when two differ in length, or when a parameter cannot be cut so.
    """
    return tuple(
        part for selector in selectors for part in ([selector] if selector.split is None else _cut(selector, graph))
    )


def _cut(selector: Selector, graph: Graph) -> list[Selector]:
    n, accepted = _length(selector, graph), selector.conditions[0][1]
    found = []
    for tensor in graph.tensors:
        names = (tensor.name, *tensor.aliases)
        if tensor.kind != "parameter" or not any(matches(accepted, name) for name in names):
            continue
        if selector.axis >= len(tensor.shape) or tensor.shape[selector.axis] % n:
            raise StoreError(
                f"parameter group {selector} cuts axis {selector.axis} into {n} parts, the length of axis "
                f"{selector.split!r}, but {tensor.name} has shape {list(tensor.shape)}."
            )
        if selector.split == HEAD:
            _check_heads(selector, tensor, n, graph)
        size, condition = tensor.shape[selector.axis] // n, ("parameter", (glob.escape(tensor.name),))
        for i in range(n):
            text = ":, " * selector.axis + f"{i * size}:{(i + 1) * size}"
            found.append(replace(selector, name=selector.part_name(i), conditions=(condition,), slice=text, split=None))
    return found or [replace(selector, split=None)]  # which matches no parameter, as will be said


def _check_heads(selector: Selector, tensor: Tensor, n: int, graph: Graph) -> None:
    """Raise StoreError where the n equal parts of a parameter's axis are not its heads.

    A projection has n heads of as many units as the graph's attentions have: a longer axis packs several projections,
    whose order no shape tells (stacked in GPT-2 and nn.MultiheadAttention, head by head in GPT-NeoX and BLOOM), a
    shorter one has fewer heads, shared by several queries.
    """
    role = {node.node: node.role for node in graph.nodes}
    contexts = [t for t in graph.vertex_tensors if t.node is not None and role[t.node] == _CONTEXT]
    units = {t.shape[-1] for t in contexts if HEAD in t.axis_names}
    length = tensor.shape[selector.axis]
    if not units or length in {n * unit for unit in units}:
        return
    unit = min(units)
    before = ":, " * selector.axis
    what = (
        f"it packs several projections. Write one group for each part, such as slice = {before + f'0:{n * unit}'!r} "
        "for queries stacked in front"
        if length > n * unit
        else f"it has fewer heads, which several queries share. Write one group for each, such as slice = "
        f"{before + f'0:{unit}'!r}"
    )
    raise StoreError(
        f"parameter group {selector} cuts axis {selector.axis} of {tensor.name} into {n} heads, but it is {length} "
        f"long and {n} heads of {unit} units are {n * unit}: {what}."
    )


def _length(selector: Selector, graph: Graph) -> int:
    lengths = {
        size
        for tensor in graph.vertex_tensors
        for name, size in zip(tensor.axis_names, tensor.shape, strict=False)
        if name == selector.split
    }
    if not lengths:
        none = no_axis(selector.split or "", [graph])
        raise StoreError(f"parameter group {selector} is split by {selector.split!r}, but there is {none}")
    if len(lengths) > 1:
        raise StoreError(
            f"parameter group {selector} is split by {selector.split!r}, but axes of that name differ in length: "
            f"{', '.join(map(str, sorted(lengths)))}. Slice it by hand."
        )
    return lengths.pop()
