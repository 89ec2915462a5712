"""Parameter groups: labelled sets of parameter elements, made of a store's finest groups or of parts of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..database.finest_groups import FinestGroup
from ..database.graph import Graph, Tensor
from ..errors import StoreError, nearest
from .selectors import Selector, matches, selector_names
from .slices import selected
from .splits import cut_groups


class GroupPart(NamedTuple):
    """Some elements of one parameter, `mask` over its flat elements, that belong to group number `group`."""

    group: int
    tensor: Tensor
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class ParameterGroups:
    """Groups by name: the finest groups they hold whole, and the parts of finest groups they hold besides."""

    names: list[str]
    whole: list[tuple[int, int]]  # (group, finest group)
    parts: list[GroupPart]
    overlap: bool


def finest(groups: list[FinestGroup]) -> ParameterGroups:
    """The store's finest groups themselves."""
    return ParameterGroups([g.name for g in groups], [(i, i) for i in range(len(groups))], [], overlap=False)


def elements(group: FinestGroup, tensor: Tensor) -> NDArray[np.bool_]:
    """The elements of its parameter that a finest group holds, as a flat mask."""
    if group.slice is None:
        return np.ones(tensor.size, np.bool_)
    return selected(group.slice, tensor.shape, tensor.name)


def _masks(selectors: tuple[Selector, ...], graph: Graph) -> dict[tuple[str, int], NDArray[np.bool_]]:
    # (group name, tensor) -> the union of what the group's selectors select of the tensor
    parameters = [t for t in graph.tensors if t.kind == "parameter"]
    masks: dict[tuple[str, int], NDArray[np.bool_]] = {}
    for selector in selectors:
        accepted = selector.conditions[0][1]
        matched = [t for t in parameters if any(matches(accepted, name) for name in (t.name, *t.aliases))]
        if not matched:
            names = [name for t in parameters for name in (t.name, *t.aliases)]
            close = nearest(str(accepted[0]).strip("*"), names)
            raise StoreError(f"parameter group {selector} matches no parameter.{close}")
        found = 0
        for tensor in matched:
            whole = selector.slice is None
            mask = (
                np.ones(tensor.size, np.bool_) if whole else selected(selector.slice or "", tensor.shape, tensor.name)
            )
            found += int(mask.sum())
            key = (selector.name, tensor.tensor)
            masks[key] = masks[key] | mask if key in masks else mask
        if found == 0:
            shapes = ", ".join(f"{t.name} {list(t.shape)}" for t in matched[:4])
            raise StoreError(f"the slice {selector.slice!r} of parameter group {selector} selects nothing of {shapes}.")
    return masks


def resolve_groups(selectors: tuple[Selector, ...], finest_groups: list[FinestGroup], graph: Graph) -> ParameterGroups:
    """The groups that selectors define, over the parameters of any graph of the store (they are alike in all).

    Raises StoreError when a selector matches no parameter, or its slice or split does not fit or selects nothing.
    """
    selectors = cut_groups(selectors, graph)
    names = selector_names(selectors)
    whole: list[tuple[int, int]] = []
    parts: list[GroupPart] = []
    covered: dict[int, NDArray[np.bool_]] = {}
    overlap = False
    for (name, number), mask in _masks(selectors, graph).items():
        tensor = graph.tensors[number]
        overlap |= number in covered and bool((covered[number] & mask).any())
        covered[number] = covered[number] | mask if number in covered else mask
        for i, group in enumerate(finest_groups):
            if group.parameter != tensor.name:
                continue
            inside = elements(group, tensor) & mask
            if inside.sum() == group.size:
                whole.append((names.index(name), i))
            elif inside.any():
                parts.append(GroupPart(names.index(name), tensor, inside))
    return ParameterGroups(names, whole, parts, overlap)
