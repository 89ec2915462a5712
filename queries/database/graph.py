"""One unrolled graph of a store: its operators and tensors, and which vertex belongs to which."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import StoreError
from .quoting import identifiers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_VERTICES = ("vertex", "src", "dst")  # columns that hold numbers of vertices
Fetch = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]  # a statement and its values -> rows


class Node(NamedTuple):
    """A primitive operator of a graph."""

    node: int
    op_type: str
    kind: str
    name: str
    module: str | None
    role: str | None
    component: str | None
    layer: int | None
    step: int | None


class Tensor(NamedTuple):
    """A tensor of a graph; `first_vertex` is None where its elements are no vertices (constants and copies)."""

    tensor: int
    name: str
    kind: str
    shape: tuple[int, ...]
    axis_names: tuple[str | None, ...]
    first_step: int | None
    node: int | None
    first_vertex: int | None
    size: int
    aliases: tuple[str, ...]


def unravel(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The index of element `flat` of a row-major tensor."""
    index = []
    for axis in range(len(shape)):
        index.append(flat // math.prod(shape[axis + 1 :]) % shape[axis])
    return tuple(index)


@dataclass(frozen=True)
class Graph:
    """The operators and tensors of one graph, in the order of their numbers."""

    graph: int
    n_parameters: int
    n_vertices: int
    loss_vertex: int
    nodes: tuple[Node, ...]
    tensors: tuple[Tensor, ...]

    @cached_property
    def _by_vertex(self) -> tuple[list[int], list[Tensor]]:
        tensors = [t for t in self.tensors if t.first_vertex is not None and t.size > 0]
        tensors.sort(key=lambda t: t.first_vertex or 0)
        return [t.first_vertex or 0 for t in tensors], tensors

    @property
    def vertex_tensors(self) -> list[Tensor]:
        """The tensors whose elements are vertices, in the order of their vertices."""
        return self._by_vertex[1]

    def tensor_of(self, vertex: int) -> Tensor:
        """The tensor that the vertex is an element of; a number that is no vertex raises StoreError."""
        firsts, tensors = self._by_vertex
        at = bisect_right(firsts, vertex) - 1
        if at < 0 or vertex >= firsts[at] + tensors[at].size:
            raise StoreError(f"{vertex} is no vertex of graph {self.graph}, which has {self.n_vertices} vertices.")
        return tensors[at]

    def vertex_name(self, vertex: int) -> str:
        """The name of a vertex, `lstm.weight_hh_l0[3,17]`."""
        tensor = self.tensor_of(vertex)
        index = unravel(vertex - (tensor.first_vertex or 0), tensor.shape)
        return tensor.name + (f"[{','.join(map(str, index))}]" if index else "")

    @cached_property
    def node_of_activation(self) -> NDArray[np.int32]:
        """The operator that computes each activation vertex (A), -1 for inputs."""
        import numpy as np

        nodes = np.full(self.n_vertices - self.n_parameters, -1, np.int32)
        for tensor in self.vertex_tensors:
            first = (tensor.first_vertex or 0) - self.n_parameters
            if first >= 0 and tensor.node is not None:
                nodes[first : first + tensor.size] = tensor.node
        return nodes

    @cached_property
    def step_of_activation(self) -> NDArray[np.int32]:
        """The token that each activation vertex (A) belongs to, -1 for none."""
        import numpy as np

        from ..walk.steps import element_steps

        found = [np.empty(0, np.int32)]
        for tensor in self.vertex_tensors:
            if tensor.kind != "parameter":
                step = None if tensor.node is None else self.nodes[tensor.node].step
                found.append(element_steps(tensor.shape, tensor.axis_names, tensor.first_step, step))
        return np.concatenate(found)


def read_graph(fetch: Fetch, graph: int) -> Graph:
    """Read one graph of a store; a number the store does not have raises StoreError."""
    rows = fetch("select n_parameters, n_vertices, loss_vertex from graphs where graph = ?", [graph])
    if not rows:
        raise StoreError(f"the store has no graph {graph}.")
    nodes = fetch(f"select {identifiers(Node._fields)} from nodes where graph = ? order by node", [graph])
    tensors = fetch(f"select {identifiers(Tensor._fields)} from tensors where graph = ? order by tensor", [graph])
    found = Graph(
        graph,
        n_parameters=rows[0][0],
        n_vertices=rows[0][1],
        loss_vertex=rows[0][2],
        nodes=tuple(Node(*node) for node in nodes),
        tensors=tuple(
            Tensor(t[0], t[1], t[2], tuple(t[3] or ()), tuple(t[4] or ()), t[5], t[6], t[7], t[8], tuple(t[9] or ()))
            for t in tensors
        ),
    )
    wrong = _wrong_structure(found)
    if wrong:
        raise StoreError(f"the store is damaged: in graph {graph}, {wrong}.")
    return found


def check_numbers(graph: Graph, columns: Mapping[str, NDArray[Any]]) -> None:
    """Raise StoreError where a column that numbers vertices, operators or tensors of the graph names none of them."""
    import numpy as np

    ends = {"tensor": len(graph.tensors), "node": len(graph.nodes), **dict.fromkeys(_VERTICES, graph.n_vertices)}
    for name in columns.keys() & ends.keys():
        values = columns[name]
        if np.ma.is_masked(values) or (values.size and not 0 <= values.min() <= values.max() < ends[name]):
            raise StoreError(f"the store is damaged: a {name} of its rows is none of graph {graph.graph}.")


def _wrong_structure(graph: Graph) -> str:
    """What would lead an array over its end: numbers of operators, tensors and vertices; '' where all fit."""
    sizes = (graph.n_parameters, graph.n_vertices, graph.loss_vertex)
    if None in sizes or not (0 <= graph.n_parameters <= graph.n_vertices and 0 <= graph.loss_vertex < graph.n_vertices):
        return f"parameters, vertices and loss vertex do not fit together: {', '.join(map(str, sizes))}"
    if [node.node for node in graph.nodes] != list(range(len(graph.nodes))):
        return "operators are not numbered from 0 on"
    if [tensor.tensor for tensor in graph.tensors] != list(range(len(graph.tensors))):
        return "tensors are not numbered from 0 on"
    for tensor in graph.tensors:
        if tensor.node is not None and not 0 <= tensor.node < len(graph.nodes):
            return f"tensor {tensor.tensor} is computed by operator {tensor.node}, which there is not"
        if None in tensor.shape or any(n < 0 for n in tensor.shape) or math.prod(tensor.shape) != tensor.size:
            return f"tensor {tensor.tensor} of shape {list(tensor.shape)} has {tensor.size} elements"
    behind = 0
    for tensor in graph.vertex_tensors:
        if tensor.first_vertex != behind or (tensor.kind == "parameter") != (behind < graph.n_parameters):
            return f"tensor {tensor.tensor} begins at vertex {tensor.first_vertex}, wanted {behind}"
        behind += tensor.size
    return "" if behind == graph.n_vertices else f"its tensors have {behind} vertices, wanted {graph.n_vertices}"
