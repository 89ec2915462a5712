"""A store of format 2 written again in this format, into another folder, shard by shard; the old one is only read.

Format 2 held columns that follow from others: these are left out. Contributions follow from the gradients of vertices,
which a store of detail `study` did not hold: they are found so that every contribution is the same, bit for bit.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...queries.errors import StoreError, first_line
from ...queries.manifest import MODEL, Manifest, Shard, read_format_2
from ...queries.methods import find_method
from ...queries.schema import SHARD_TABLES, table_schema
from ..operators.registry import facts_of
from .rows import Names, Rows
from .shard import ROW_GROUP, WHOLE_SAMPLE, ShardWriter
from .upgraded_paths import OldGraph, links_and_spans, old_graphs
from .writer import StoreWriter

Floats = NDArray[Any]
Ints = NDArray[np.int64]

_ULPS = (0, 1, -1, 2, -2)  # how far a gradient may be from contribution / derivative, each of the three rounded


def upgrade(store: Path, out: Path, on_shard: Callable[[int], None] = lambda _: None) -> bool:
    """Write the finished store of format 2 `store` to the folder `out`, as a store of this format.

    Returns False, and writes nothing, where it is of this format already.

    on_shard: told the number of shards done
    Interrupted at any moment, it goes on when it is run again. Raises StoreError for what cannot be upgraded, and when
    `out` holds something else.
    """
    old = read_format_2(store)
    if old is None:
        return False
    if out.resolve().is_relative_to(store.resolve()):
        raise StoreError(f"{out} lies in {store}, which is not changed. Choose another folder for --out.")
    _refuse_all_paths(store, old)
    wanted = Manifest(old.tool_version, old.model, old.samples, old.settings)
    with StoreWriter(out, wanted) as writer:
        if not writer.manifest.model_files:
            writer.enter_model(_copied_model(store, out))
        for table in old.graph_files:
            writer.write_graph_table(table, _graph_rows(store, old, table))
        (n_graphs,) = (file.rows for name, file in old.graph_files.items() if name == "graphs")
        graphs = {table: _graph_rows(store, old, table) for table in ("graphs", "nodes", "tensors", "parameter_groups")}
        counting = _Counting(old_graphs(graphs), graphs["parameter_groups"]["parameter_group"].to_pylist())
        for shard in old.shards[len(writer.manifest.shards) :]:
            writer.enter(_upgraded(store, out, old, shard, counting), range(n_graphs))
            on_shard(shard.shard + 1)
        writer.finish()
    return True


def _refuse_all_paths(store: Path, old: Manifest) -> None:
    """Refuse a method over all paths: what links its paths have does not follow from the edges that are stored."""
    of_all = [name for name in old.settings["methods"] if find_method(name).all_paths]
    if of_all:
        raise StoreError(
            f"{store} was dumped with the method {of_all[0]}, whose path_links and path_spans do not follow from what "
            "format 2 holds. Dump it again."
        )


def _copied_model(store: Path, out: Path) -> list[Path]:
    found = [store / name for name in (MODEL, f"{MODEL}.data") if (store / name).is_file()]
    return [Path(shutil.copyfile(path, out / path.name)) for path in found]


def _row_groups(store: Path, path: str) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(store / path) as parquet:
            for group in range(parquet.num_row_groups):
                yield parquet.read_row_group(group)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{store} is damaged: {path} cannot be read ({first_line(error)}). Restore the file, or dump the store "
            "again."
        ) from error


def _graph_rows(store: Path, old: Manifest, table: str) -> pa.Table:
    rows = pa.concat_tables(_row_groups(store, old.graph_files[table].path))
    if table == "nodes":
        facts = [facts_of(name) for name in rows["op_type"].to_pylist()]
        rows = rows.append_column("saturates", pa.array([fact.saturates for fact in facts], pa.bool_()))
        rows = rows.append_column("gate", pa.array([fact.gate for fact in facts], pa.bool_()))
    return _stored(store, rows, table_schema(table, old.dtype), old.graph_files[table].path)


def _stored(store: Path, rows: pa.Table, schema: pa.Schema, path: str) -> pa.Table:
    """The columns that this format holds."""
    try:
        return rows.select(schema.names).cast(schema)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise StoreError(
            f"{store} is damaged: {path} has not the columns of format 2 ({first_line(error)})."
        ) from error


class _Counting(NamedTuple):
    """What paths are counted by: the graphs, and the names of the parameter groups."""

    graphs: dict[int, OldGraph]
    groups: list[str]


def _upgraded(store: Path, out: Path, old: Manifest, shard: Shard, counting: _Counting) -> Shard:
    """The files of one shard under their temporary names."""
    is_study = old.settings["detail"] == "study"
    writer = ShardWriter(out, shard.shard, old.dtype, WHOLE_SAMPLE if is_study else ROW_GROUP)
    try:
        for rows in _labels(store, shard):
            writer.write("labels", rows)
        best = dict(_by_sample(store, shard, "best_edges"))
        for sample, entries in _by_sample(store, shard, "entries"):
            edges = best[sample].filter(pc.equal(best[sample]["rank"], 1))
            for of_method in links_and_spans(*counting, entries, edges):
                for table, counted in of_method.items():
                    writer.write(table, counted)
        for table in SHARD_TABLES:
            schema = table_schema(table, old.dtype)
            if table == "vertices" and is_study:
                for rows in _vertices_of_study(store, old, shard):
                    writer.write(table, _stored(store, rows, schema, table))
                continue
            for file in shard.files.get(table, []):
                for rows in _row_groups(store, file.path):
                    writer.write(table, _stored(store, rows, schema, file.path))
        files = writer.finish()
    except BaseException:
        writer.discard()
        raise
    return Shard(shard.shard, shard.first, shard.count, files)


def _labels(store: Path, shard: Shard) -> Iterator[Rows]:
    """Those of samples, which had a column for them."""
    for _, sample in _by_sample(store, shard, "samples"):
        for row in sample.to_pylist():
            labels = dict(row["labels"] or [])
            values = np.array([labels[name] for name in sorted(labels)], dtype=object)
            names = Names(sorted(labels), np.arange(len(labels)))
            if labels:
                yield Rows(len(labels), {"sample": row["sample"], "label": names, "value": values})


def _vertices_of_study(store: Path, old: Manifest, shard: Shard) -> Iterator[pa.Table]:
    """The vertices that were stored, and the targets of best edges that were not, sample by sample."""
    schema = table_schema("vertices", old.dtype)
    known = dict(_by_sample(store, shard, "vertices"))
    for sample, edges in _by_sample(store, shard, "best_edges"):
        there = known.pop(sample, schema.empty_table())
        new = edges.filter(pc.invert(pc.is_in(edges["dst"], there["vertex"].combine_chunks())))
        vertex, gradient = find_gradients(*(new[name].to_numpy() for name in ("dst", "derivative", "contribution")))
        nulls = {field.name: pa.nulls(len(vertex), field.type) for field in schema}
        columns = nulls | {"sample": pa.repeat(sample, len(vertex)), "vertex": vertex, "gradient": gradient}
        found = pa.table([pa.array(columns[name]) for name in schema.names], schema.names)
        rows = [_stored(store, part, schema, "vertices") for part in (there, found)]
        yield pa.concat_tables(rows).sort_by("vertex")


def _by_sample(store: Path, shard: Shard, table: str) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each sample of a shard, which follow each other."""
    waiting: list[pa.Table] = []
    for file in shard.files.get(table, []):
        for rows in _row_groups(store, file.path):
            for sample in rows["sample"].unique().to_pylist():
                if waiting and waiting[0]["sample"][0].as_py() != sample:
                    yield waiting[0]["sample"][0].as_py(), pa.concat_tables(waiting)
                    waiting = []
                waiting.append(rows.filter(pc.equal(rows["sample"], sample)))
    if waiting:
        yield waiting[0]["sample"][0].as_py(), pa.concat_tables(waiting)


def find_gradients(dst: Ints, derivative: Floats, contribution: Floats) -> tuple[Ints, Floats]:
    """The targets of edges, ascending, and for each a gradient whose product with each derivative is the contribution.

    A target to which only derivatives of 0 lead may have any: it gets 0. StoreError where there is none.
    """
    vertex, number = np.unique(dst, return_inverse=True)
    largest = np.lexsort((np.abs(contribution), derivative != 0, number))  # of each target, the edge that tells most
    edge = largest[np.append(np.flatnonzero(np.diff(number[largest])), len(largest) - 1)] if len(dst) else largest
    quotient = np.divide(
        contribution[edge], derivative[edge], out=np.zeros_like(contribution[edge]), where=derivative[edge] != 0
    )
    gradient, wanted = quotient, np.ones(len(vertex), bool)
    for ulps in _ULPS:
        tried = np.where(wanted, _moved(quotient, ulps), gradient)
        wrong = np.zeros(len(vertex), bool)
        wrong[number[tried[number] * derivative != contribution]] = True
        gradient, wanted = np.where(wanted & ~wrong, tried, gradient), wanted & wrong
    if wanted.any():
        raise StoreError(
            f"no gradient of vertex {vertex[wanted][0]} explains the contributions of the edges that lead to it. "
            "The store is damaged; dump it again."
        )
    return vertex, gradient


def _moved(numbers: Floats, ulps: int) -> Floats:
    """The neighbours of floating-point numbers, so many steps up or down."""
    for _ in range(abs(ulps)):
        numbers = np.nextafter(numbers, numbers.dtype.type(np.copysign(np.inf, ulps)))
    return numbers
