"""One traced path: from a parameter, hop by hop, to where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..database.connection import read_relation
from ..database.graph import Graph
from ..database.names import find_vertex
from ..errors import StoreError
from ..show.files import columns_of
from ..show.shown import Layout, Shown

if TYPE_CHECKING:
    from ..database.reader import StoreReader

_EDGE = ("contribution", "share", "margin")
_SHOWN = ("hop", "vertex_name", "op_type", "component", "step", "token", "value", "gradient", *_EDGE)
_ENDS = {
    "loss": "reaches the loss",
    "goal": "reaches the vertex asked for",
    "dead": "dead: no gradient flows on from its last vertex",
    "absent": "absent: the vertex has no edge in this sample",
}


@dataclass(frozen=True)
class Path(Shown):
    """The path from `start` under a method. `end` says why it ends: 'loss', 'goal', 'dead' or 'absent'.

    `rows` has one row per vertex on the path, hop 0 being the start: vertex, vertex_name; op_type, component, module,
    layer, step (place in the sample's tokens) and token of the operator that computes it; value and gradient; and, of
    the edge that leads to it, slot, derivative, contribution, share (contribution / gradient of the vertex before) and
    margin (1 - |runner-up| / |best|, null where the vertex before has no other edge).
    """

    start: str
    sample: int
    method: str
    end: str
    rows: pa.Table
    unfinished: str = ""

    @property
    def hops(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        rows: list[dict[str, Any]] = self.rows.to_pylist()
        return rows

    def __len__(self) -> int:
        """The number of edges."""
        return int(self.rows.num_rows) - 1

    def _title(self) -> str:
        edges = f"{len(self)} edge{'' if len(self) == 1 else 's'}"
        return f"{self.method} path of {self.start}, sample {self.sample}: {edges}, {_ENDS[self.end]}"

    def _layout(self) -> Layout:
        return Layout(self._title(), (), _SHOWN, columns_of(self.rows.select(list(_SHOWN))))

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table."""
        return self.rows

    def to_pandas(self) -> Any:
        """The rows as a pandas frame; needs pandas, which the extra `gradtrace[pandas]` installs."""
        return self.rows.to_pandas()


def _why_it_ends(store: StoreReader, graph: Graph, last: int, sample: int, method: str) -> str:
    if last == graph.loss_vertex:
        return "loss"
    edges = store.sample_rows(sample, "best_edges", "rank", "method = ? and src = ?", [method, last])
    return "absent" if last < graph.n_parameters and not edges else "dead"


def trace(store: StoreReader, parameter: str, sample: int, method: str) -> Path:
    """Follow one path of a sample from the element `parameter`.

    Raises StoreError for a sample, method or element that the store does not have.
    """
    store.check_method(method)
    graph = store.graph_of(sample)
    vertex = find_vertex(graph, parameter)
    if store.manifest.settings["detail"] == "study" and vertex < graph.n_parameters:
        raise StoreError(
            f"the store was dumped with detail study, which does not keep the path of {parameter}, only how many paths "
            "of its group enter the graph where. Dump with --detail parameters to trace single parameters."
        )
    relation = store.query("trace", sample=sample, vertex=vertex, method=method)
    rows = read_relation(relation)
    end = _why_it_ends(store, graph, rows["vertex"][-1].as_py(), sample, method)
    return Path(graph.vertex_name(vertex), sample, method, end, rows)
