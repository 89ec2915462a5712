"""The traced edges of a stored sample as arrays for the walker, under a method that picks one path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..components.parameter_groups import GroupPart
from ..database.graph import Graph
from ..errors import StoreError
from ..methods import find_method
from ..walk.path_counts import Entering, Links, Places, Spans, count_all
from ..walk.visits import visit
from ..walk.walker import Entries, Walk, components_met, count_entries, count_paths, push, reaches_loss

if TYPE_CHECKING:
    from ..database.reader import StoreReader

Counts = tuple[NDArray[np.float64], NDArray[np.float64]]

_KEPT = 4  # walks kept in memory by a store
_ROUNDED = 2.0**-148  # products of at least this size are not rounded to 0 by any dtype of a store


class SampleFlow(NamedTuple):
    """One sample's traced edges, and where the parameters of the finest groups (in the order of names) enter."""

    sample: int
    method: str
    graph: Graph
    walk: Walk
    entries: Entries

    def edges_into(self, node: NDArray[np.int32], entries: Entries, n_groups: int, n_nodes: int) -> Counts:
        """Path edges of each group into each `node` (A: of each activation), and weighted: two n_groups x n_nodes."""
        return push(self.walk._replace(node=node), entries, n_groups, n_nodes)

    def paths_meeting(self, bits: NDArray[np.uint64], entries: Entries, n_groups: int, n_components: int) -> Counts:
        """Paths of each group that meet each component, and weighted: two n_groups x n_components."""
        return count_paths(components_met(self.walk, bits), entries, self.walk.first, n_groups, n_components)

    def links_and_spans(self, n_groups: int) -> tuple[Links, Spans]:
        """Path edges of each group between operators, and paths by the tokens they lead from and to."""
        walk, entries, step = self.walk, self.entries, self.graph.step_of_activation
        components = np.full(len(self.graph.nodes), -1, np.int32)
        places = Places(walk.node, step, components, 0, int(step.max(initial=-1)) + 1)
        part = visit(walk.first, walk.next, entries.vertex, walk.loss)
        counts = count_all(part, places, Entering(entries.group, entries.paths, entries.weight), n_groups)
        return counts.links, counts.spans

    def entries_of_part(self, store: StoreReader, part: GroupPart) -> tuple[Entries, PartTotals]:
        """Where the parameters of a part of a finest group enter the graph."""
        return _part_entries(store, self, part)


class Starts(NamedTuple):
    """The traced edges of parameter vertices."""

    vertex: NDArray[np.int64]  # S
    next: NDArray[np.int64]  # S: where the edge leads, -1 where it carries nothing
    weight: NDArray[np.float64]  # S: |gradient|


class PartTotals(NamedTuple):
    """What became of the parameters of a part of a group."""

    parameters: int
    traced: int
    dead: int
    absent: int
    traced_gradient_l1: float


def _traced_edges(
    store: StoreReader, sample: int, method: str, graph: Graph, first: int, end: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # The vertices in [first, end) that have an edge, and where their traced edge leads, -1 where it is dead.
    where = "method = ? and rank = 1 and src >= ? and src < ? order by src"
    score = "score is null as dead" if find_method(method).logarithms else "derivative"
    rows = store.sample_arrays(sample, "best_edges", f"src, dst, {score}", where, [method, first, end])
    src, dst = np.asarray(rows["src"], np.int64), np.asarray(rows["dst"], np.int64)
    forward = (dst > src) & (dst >= graph.n_parameters) & (dst < graph.n_vertices)
    if not forward.all() or (np.diff(src) <= 0).any():
        raise StoreError(
            f"{store.path} is damaged: sample {sample} has traced edges against the order of its vertices."
        )
    if "dead" in rows:
        dead = np.asarray(rows["dead"], bool)
    else:
        dead = _carry_nothing(store, sample, graph, dst, rows["derivative"])
    return src, np.where(dead, -1, dst)


def _carry_nothing(
    store: StoreReader, sample: int, graph: Graph, dst: NDArray[np.int64], derivative: NDArray[Any]
) -> NDArray[np.bool_]:
    """Whether derivative * gradient of dst is 0 in the store's dtype.

    Gradients so large that no product with these derivatives rounds to 0 are not read, which takes half of the time.
    """
    least = float(np.abs(derivative, where=derivative != 0, out=np.ones_like(derivative)).min(initial=1.0))
    where = "vertex >= ? and abs(gradient) < ?"
    faint = store.sample_arrays(sample, "vertices", "vertex, gradient", where, [graph.n_parameters, _ROUNDED / least])
    gradient = np.ones(graph.n_vertices - graph.n_parameters, derivative.dtype)
    gradient[np.asarray(faint["vertex"], np.int64) - graph.n_parameters] = faint["gradient"]
    nothing: NDArray[np.bool_] = derivative * gradient[dst - graph.n_parameters] == 0
    return nothing


def read_walk(store: StoreReader, sample: int, method: str) -> Walk:
    """The traced edges of the activations of a sample."""
    graph = store.graph_of(sample)
    src, dst = _traced_edges(store, sample, method, graph, graph.n_parameters, graph.n_vertices)
    following = np.full(graph.n_vertices - graph.n_parameters, -1, np.int64)
    following[src - graph.n_parameters] = dst
    return Walk(graph.n_parameters, following, graph.node_of_activation, graph.loss_vertex)


def read_entries(store: StoreReader, sample: int, method: str, names: list[str], graph: Graph) -> Entries:
    """The stored entries of a sample, with groups numbered by their place in `names`."""
    columns = "parameter_group, vertex, paths, gradient_l1"
    where = "method = ? order by parameter_group, vertex"
    rows = store.sample_arrays(sample, "entries", columns, where, [method])
    number = {name: i for i, name in enumerate(names)}
    group = np.array([number.get(name, -1) for name in rows["parameter_group"]], np.int32)
    vertex = np.asarray(rows["vertex"], np.int64)
    if (group < 0).any() or (vertex < graph.n_parameters).any() or (vertex >= graph.n_vertices).any():
        raise StoreError(f"{store.path} is damaged: entries of sample {sample} name no group or vertex of the store.")
    return Entries(group, vertex, np.asarray(rows["paths"], float), np.asarray(rows["gradient_l1"], float))


def sample_flow(store: StoreReader, sample: int, method: str) -> SampleFlow:
    """The walk and entries of a sample; the last few stay in memory."""
    kept: dict[tuple[str, int], SampleFlow] = store.flows
    if (method, sample) not in kept:
        graph = store.graph_of(sample)
        names = [group.name for group in store.finest_groups]
        entries = read_entries(store, sample, method, names, graph)
        kept[method, sample] = SampleFlow(sample, method, graph, read_walk(store, sample, method), entries)
        while len(kept) > _KEPT:
            kept.pop(next(iter(kept)))
    return kept[method, sample]


def read_starts(
    store: StoreReader, sample: int, method: str, first: int, size: int, *, weighted: bool = True
) -> Starts:
    """The traced edges of parameter vertices [first, first + size); not `weighted`, the weights are nan.

    Raises StoreError when weights are wanted of a store that was dumped without the gradients of parameters.
    """
    graph = store.graph_of(sample)
    vertex, following = _traced_edges(store, sample, method, graph, first, first + size)
    if not weighted:
        return Starts(vertex, following, np.full(vertex.size, np.nan))
    where = "vertex >= ? and vertex < ? order by vertex"
    rows = store.sample_arrays(sample, "vertices", "vertex, gradient", where, [first, first + size])
    if not np.array_equal(rows["vertex"], vertex):
        raise StoreError(
            "a parameter group that cuts a stored group needs the gradient of every parameter, which this store was "
            "dumped without. Use groups of whole tensors and gates, or dump again with parameter vertices."
        )
    return Starts(vertex, following, np.abs(np.asarray(rows["gradient"], np.float64)))


def _part_entries(store: StoreReader, at: SampleFlow, part: GroupPart) -> tuple[Entries, PartTotals]:
    first = part.tensor.first_vertex or 0
    starts = read_starts(store, at.sample, at.method, first, part.tensor.size)
    inside = part.mask[starts.vertex - first]
    following, weight = starts.next[inside], starts.weight[inside]
    entries = count_entries(at.walk, following, np.zeros(following.size, np.int32), weight, 1)
    alive = np.append(reaches_loss(at.walk), False)
    reached = alive[np.where(following < 0, -1, following - at.walk.first)]
    totals = PartTotals(
        parameters=int(part.mask.sum()),
        traced=int(reached.sum()),
        dead=int((~reached).sum()),
        absent=int(part.mask.sum()) - following.size,
        traced_gradient_l1=float(weight[reached].sum()),
    )
    group = np.full(entries.group.size, part.group, np.int32)
    return entries._replace(group=group), totals
