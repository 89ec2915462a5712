"""From what a person writes, `lstm.weight_hh_l0[3,17]`, to a vertex of a graph."""

from __future__ import annotations

import re

from ..errors import StoreError, nearest
from .graph import Graph, Tensor

_VERTEX = re.compile(r"\s*(?P<name>.+?)\s*(?:\[(?P<index>[-\d\s,]*)\])?\s*")


def _find_tensor(graph: Graph, name: str) -> Tensor:
    named = [t for t in graph.tensors if t.name == name or name in t.aliases]
    if not named:
        names = [n for t in graph.tensors if t.first_vertex is not None for n in (t.name, *t.aliases)]
        raise StoreError(f"there is no tensor named {name!r} in this sample's graph.{nearest(name, names)}")
    with_vertices = [t for t in named if t.first_vertex is not None]
    if not with_vertices:
        raise StoreError(
            f"{name} is a {named[0].kind}: its elements are not vertices of the gradient graph. "
            "Name a parameter, an input or the output of an operator that computes."
        )
    return with_vertices[0]


def _flat_index(tensor: Tensor, index: tuple[int, ...], text: str) -> int:
    example = f"{tensor.name}[{','.join('0' for _ in tensor.shape)}]" if tensor.shape else tensor.name
    shape = f"{tensor.name} has shape {list(tensor.shape)}"
    if len(index) != len(tensor.shape):
        raise StoreError(f"{text!r} has {len(index)} indices, but {shape}. Name one element, as in {example!r}.")
    flat = 0
    for i, size in zip(index, tensor.shape, strict=True):
        if not -size <= i < size:
            raise StoreError(f"{text!r} is out of range: {shape}, so {i} must lie in [0, {size}).")
        flat = flat * size + i % size
    return flat


def find_vertex(graph: Graph, text: str) -> int:
    """The vertex that `name[i,j]` names in a graph; a scalar tensor needs no index.

    The names are those of parameters (tied weights under every alias), inputs and operator outputs; negative indices
    count from the end. An unknown name, a copy or an index out of range raises StoreError.
    """
    match = _VERTEX.fullmatch(text)
    if match is None:
        raise StoreError(f"got {text!r}, wanted the name of one element, as in 'lstm.weight_hh_l0[3,17]'.")
    tensor = _find_tensor(graph, match["name"])
    try:
        index = tuple(int(i) for i in (match["index"] or "").split(",") if i.strip())
    except ValueError as error:
        raise StoreError(f"{text!r} has an index that is no number.") from error
    return (tensor.first_vertex or 0) + _flat_index(tensor, index, text)
