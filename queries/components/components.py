"""Components: labelled sets of edges, given by the vertex each edge ends in, as one bit per component."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..database.graph import Graph, Node, Tensor
from ..errors import StoreError, nearest
from .selectors import Selector, matches
from .splits import no_axis, parts

Label = tuple[str | int | None, ...]


class Members(NamedTuple):
    """Which components of one graph an edge into each activation vertex belongs to."""

    labels: list[Label]  # C: the components, each a value per column
    bits: NDArray[np.uint64]  # A x W: bit c of row i: an edge into vertex first + i is in component c
    present: NDArray[np.bool_]  # C: whether the graph has vertices of the component
    is_partition: bool  # every vertex that an operator computes is in exactly one component


def _computed(graph: Graph) -> Iterator[tuple[Node, Tensor]]:
    for tensor in graph.vertex_tensors:
        if tensor.node is not None:
            yield graph.nodes[tensor.node], tensor


def _set_bit(bits: NDArray[np.uint64], rows: slice, component: int, mask: NDArray[np.bool_] | None) -> bool:
    # Returns whether any row got the bit.
    bit = np.uint64(1) << np.uint64(component % 64)
    block = bits[rows, component // 64]
    if mask is None:
        block |= bit
        return block.size > 0
    block[mask] |= bit
    return bool(mask.any())


def _rows(graph: Graph, tensor: Tensor) -> slice:
    first = (tensor.first_vertex or 0) - graph.n_parameters
    return slice(first, first + tensor.size)


def _empty(graph: Graph, n_components: int) -> NDArray[np.uint64]:
    return np.zeros((graph.n_vertices - graph.n_parameters, max(1, -(-n_components // 64))), np.uint64)


def members_by_columns(graph: Graph, columns: Sequence[str]) -> Members:
    """The partition of a graph's operators by columns of `nodes`, such as layer and step."""
    labels: dict[Label, int] = {}
    for node, _ in _computed(graph):
        labels.setdefault(tuple(getattr(node, column) for column in columns), len(labels))
    bits = _empty(graph, len(labels))
    for node, tensor in _computed(graph):
        label = tuple(getattr(node, column) for column in columns)
        _set_bit(bits, _rows(graph, tensor), labels[label], None)
    return Members(list(labels), bits, np.ones(len(labels), np.bool_), is_partition=True)


def default_components(graph: Graph) -> Members:
    """The components of a graph that the dump counted: one per value of the column `component`."""
    return members_by_columns(graph, ("component",))


class SelectorUse(NamedTuple):
    """What the selectors of a file found so far, in the graphs looked at: operators, and elements behind the slice."""

    operators: list[int]
    elements: list[int]


def members_by_selectors(graph: Graph, selectors: tuple[Selector, ...], use: SelectorUse) -> Members:
    """The components that selectors define in one graph; `use` counts what each selector found, for `check_use`.

    A selector with a split defines as many components as the graph's axis of that name is long, none where it has no
    such axis. Raises StoreError when a slice has more items than a tensor it meets has axes.
    """
    found: list[tuple[str, Tensor, NDArray[np.bool_] | None]] = []
    for number, selector in enumerate(selectors):
        for node, tensor in _computed(graph):
            if not all(matches(accepted, getattr(node, key)) for key, accepted in selector.conditions):
                continue
            use.operators[number] += 1
            for name, mask in parts(selector, tensor):
                use.elements[number] += tensor.size if mask is None else int(mask.sum())
                found.append((name, tensor, mask))
    names = _names(selectors, [name for name, _, _ in found])
    bits = _empty(graph, len(names))
    present = np.zeros(len(names), np.bool_)
    for name, tensor, mask in found:
        component = names[name]
        present[component] |= _set_bit(bits, _rows(graph, tensor), component, mask)
    return Members([(name,) for name in names], bits, present, _is_partition(graph, bits))


def _names(selectors: tuple[Selector, ...], found: list[str]) -> dict[str, int]:
    """The components of a graph by name: all that selectors without a split define, and those found."""
    whole = [selector.name for selector in selectors if selector.split is None]
    return {name: i for i, name in enumerate(dict.fromkeys([*whole, *found]))}


def _is_partition(graph: Graph, bits: NDArray[np.uint64]) -> bool:
    components = np.bitwise_count(bits).sum(axis=1)
    return bool((components[graph.node_of_activation >= 0] == 1).all())


def check_use(selectors: tuple[Selector, ...], use: SelectorUse, graphs: list[Graph]) -> None:
    """Raise StoreError for a selector that found no operator, or whose slice selects nothing, in any of the graphs."""
    for number, selector in enumerate(selectors):
        if use.operators[number] == 0:
            raise StoreError(f"component {selector} matches no operator.{_hint(selector, graphs)}")
        if use.elements[number] == 0 and selector.split is not None and not _has_axis(selector, graphs):
            none = no_axis(selector.split, graphs)
            raise StoreError(f"component {selector} is split by {selector.split!r}, but what it matches has {none}")
        if use.elements[number] == 0:
            raise StoreError(
                f"the slice {selector.slice!r} of component {selector} selects nothing of what it matches."
            )


def _has_axis(selector: Selector, graphs: list[Graph]) -> bool:
    matched = (
        tensor
        for graph in graphs
        for node, tensor in _computed(graph)
        if all(matches(accepted, getattr(node, key)) for key, accepted in selector.conditions)
    )
    return any(selector.split in tensor.axis_names for tensor in matched)


def _hint(selector: Selector, graphs: list[Graph]) -> str:
    # Names the first condition that no operator fulfils, and the values that come close.
    for key, accepted in selector.conditions:
        values = {getattr(node, key) for graph in graphs for node, _ in _computed(graph)}
        if not any(matches(accepted, value) for value in values):
            known = sorted(str(value) for value in values if value is not None)
            close = nearest(str(accepted[0]).strip("*"), known)
            there_are = f" There are {', '.join(known[:8])}."
            return f" No operator has {key} = {list(accepted)}.{close or there_are}"
    return " Each condition alone matches some operator, all together match none."
