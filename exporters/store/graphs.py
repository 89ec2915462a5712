"""The graphs of a store: numbered in the order in which its samples meet them, whoever records the samples.

A shard is made without knowing what the shards before it have met. It numbers the graphs that are new to it behind
those it was told, and says which they are; when it is entered into the store, in the order of the samples, each gets
the number that is due to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from ...queries.schema import GRAPH_TABLES
from ..edges.conservation import conservation_error
from ..recording.fingerprint import fingerprint
from ..recording.parameter_groups import Partition
from ..recording.recorder import Recording
from ..recording.traced_model import TracedModel
from .path_tables import Partitions, default_components
from .tables import component_rows, graph_row, index_graph, node_rows, tensor_rows
from .writer import StoreWriter

_NUMBERED = ("graphs", "nodes", "tensors")  # tables with a column `graph`
_KEPT = 256 << 20  # bytes of the graphs' indices that are kept: two numbers for every vertex


@dataclass(frozen=True)
class NewGraph:
    """A graph that a shard was the first to meet, and its rows of the graph tables."""

    fingerprint: str
    tables: dict[str, pa.Table]


@dataclass
class ShardGraphs:
    """The graphs met while one shard is made. `known`: the numbers of those that earlier shards have met."""

    known: Mapping[str, int]
    partition: Partition
    model: TracedModel
    new: list[NewGraph] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _groups: dict[str, Partitions] = field(default_factory=dict)

    @property
    def order(self) -> list[str]:
        """The fingerprint of every graph by its number in the shard's rows."""
        return [*sorted(self.known, key=self.known.__getitem__), *(graph.fingerprint for graph in self.new)]

    def groups(self, recording: Recording) -> Partitions:
        """What the recording's graph counts paths by. A new graph gets a number, its conservation is measured."""
        mark = fingerprint(recording.tape)
        if mark not in self._groups:
            number = self.known.get(mark, self._numbers.get(mark))
            if number is None:
                number = self._numbers[mark] = len(self.known) + len(self.new)
                self.new.append(NewGraph(mark, _graph_tables(recording, number, mark, self.model)))
            self._groups[mark] = Partitions(
                self.partition, default_components(recording), index_graph(recording, number)
            )
            while len(self._groups) > 1 and sum(groups.index.nbytes for groups in self._groups.values()) > _KEPT:
                self._groups.pop(next(iter(self._groups)))
        return self._groups[mark]


def _graph_tables(recording: Recording, number: int, mark: str, model: TracedModel) -> dict[str, pa.Table]:
    rows = {
        "graphs": [graph_row(recording, number, mark, conservation_error(recording))],
        "nodes": node_rows(recording, number),
        "tensors": tensor_rows(recording, number, model.aliases),
        "components": component_rows(recording),
    }
    return {table: pa.Table.from_pylist(found, GRAPH_TABLES[table]) for table, found in rows.items()}


class StoreGraphs:
    """The graphs of the finished shards, and the tables that describe them."""

    def __init__(self, partition: Partition) -> None:
        self.numbers: dict[str, int] = {}
        self.changed = True  # since the tables were written
        self._tables = {name: schema.empty_table() for name, schema in GRAPH_TABLES.items()}
        groups = [
            {"parameter_group": g.name, "parameter": g.parameter, "slice": g.slice, "size": g.size}
            for g in partition.groups
        ]
        self._tables["parameter_groups"] = pa.Table.from_pylist(groups, GRAPH_TABLES["parameter_groups"])

    def read(self, writer: StoreWriter) -> None:
        """Take over the graphs that the finished shards use."""
        files = writer.manifest.graph_files
        if not files:
            return
        for table in (*_NUMBERED, "components"):
            self._tables[table] = writer.read(files[table]).cast(GRAPH_TABLES[table])
        graphs = self._tables["graphs"]
        self.numbers = dict(zip(graphs["fingerprint"].to_pylist(), graphs["graph"].to_pylist(), strict=True))

    def add(self, order: Sequence[str], new: Sequence[NewGraph]) -> list[int]:
        """Take in the graphs that a shard was the first to meet: the store's number of each graph in `order`."""
        for graph in new:
            if graph.fingerprint not in self.numbers:
                number = self.numbers[graph.fingerprint] = len(self.numbers)
                for table in _NUMBERED:
                    self._append(table, _numbered(graph.tables[table], number))
                self._add_components(graph.tables["components"])
                self.changed = True
        return [self.numbers[fingerprint] for fingerprint in order]

    def write(self, writer: StoreWriter) -> None:
        """Bring the store's graph tables up to date; to be done before the shard that uses them is entered."""
        if self.changed:
            for table, rows in self._tables.items():
                writer.write_graph_table(table, rows)
            self.changed = False

    def _add_components(self, rows: pa.Table) -> None:
        """Those that are not there yet and that some operator of the graphs has."""
        nodes = self._tables["nodes"]
        used = nodes.filter(pc.not_equal(nodes["kind"], "copies"))["component"]
        found = pc.is_in(rows["component"], value_set=used.combine_chunks())
        there = pc.is_in(rows["component"], value_set=self._tables["components"]["component"].combine_chunks())
        self._append("components", rows.filter(pc.and_(found, pc.invert(there))))

    def _append(self, table: str, rows: pa.Table) -> None:
        self._tables[table] = pa.concat_tables([self._tables[table], rows.cast(GRAPH_TABLES[table])])


def _numbered(rows: pa.Table, number: int) -> pa.Table:
    graph = pa.repeat(pa.scalar(number, pa.int32()), rows.num_rows)
    return rows.set_column(rows.schema.get_field_index("graph"), "graph", graph)
