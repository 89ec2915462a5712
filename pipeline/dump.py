"""The dump of a study: record every sample, sweep it, follow every parameter's path, store it all, shard by shard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporters.annotate import annotate, save_model
from exporters.conservation import conservation_error
from exporters.edges import edge_blocks, total_edges
from exporters.models import SampleError
from exporters.parameter_groups import Partition, partition
from exporters.recorder import Recording, fingerprint
from exporters.spread import contribution_spread, path_statistics
from exporters.sweep import BestEdges, best_edges
from exporters.tables import (
    VertexSums,
    best_edge_tables,
    component_rows,
    edge_table,
    graph_row,
    index_graph,
    node_gradient_table,
    node_rows,
    tensor_rows,
    vertex_tables,
)
from exporters.traced_model import TracedModel
from exporters.writer import ShardWriter, StoreWriter
from pipeline.paths import Groups, default_components, path_tables
from pipeline.sources import Sample, Samples
from queries.manifest import MODEL, Manifest
from queries.schema import GRAPH_TABLES, INVALID, NON_FINITE, OK, table_schema

# samples in one shard: a file of its own for each sample's edges, fewer and larger files where samples are small
SHARD_SIZE = {"all": 1, "parameters": 8}


@dataclass(frozen=True)
class Settings:
    """What decides the contents of a store, beside the model and the samples."""

    detail: str = "parameters"
    dtype: str = "float32"
    keep: int = 2
    methods: tuple[str, ...] = ("greedy",)
    statistics: bool = False
    parameter_vertices: bool = True

    def in_manifest(self) -> dict[str, Any]:
        """As the manifest stores it, and compares it when a dump is continued."""
        return {**asdict(self), "methods": sorted(self.methods), "shard_size": SHARD_SIZE[self.detail]}


@dataclass
class Summary:
    """What the finished store holds: samples stored, those not stored with the reason, and how many were in before."""

    before: int = 0
    stored: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Count rows of `samples`."""
        for row in rows:
            if row["status"] == OK:
                self.stored += 1
            else:
                self.failed.append((row["sample"], f"{row['status']}: {row['message']}"))


@dataclass
class _Graphs:
    """The graphs seen so far. A graph's number is the order in which the samples met it."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in GRAPH_TABLES})
    numbers: dict[str, int] = field(default_factory=dict)
    groups: dict[str, Groups] = field(default_factory=dict)
    partition: Partition | None = None
    changed: bool = False


def dump(
    model: TracedModel,
    samples: Samples,
    out: Path,
    settings: Settings,
    on_sample: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Write, or continue, the store `out`. `on_sample` is told the number of samples done after each one.

    Raises ModelError when the model cannot be traced, StoreError when `out` holds something else. A sample that fails
    is stored with its status and reason, and the dump goes on. Interrupted at any moment, the finished shards remain.
    """
    example = first_recording(model, samples.samples)
    wanted = Manifest(
        tool_version=tool_version(),
        model={"name": model.name, "fingerprint": model.fingerprint()},
        samples={"source": samples.source, "fingerprint": samples.fingerprint, "count": len(samples.samples)},
        settings=settings.in_manifest(),
    )
    summary = Summary()
    with StoreWriter(out, wanted) as writer:
        graphs = _read_graphs(writer)
        _prepare(graphs, writer, model, example)
        size = SHARD_SIZE[settings.detail]
        finished = {shard.shard: shard.files["samples"].path for shard in writer.manifest.shards}
        for number in range(-(-len(samples.samples) // size)):
            ids = range(number * size, min((number + 1) * size, len(samples.samples)))
            if number in finished:
                summary.before += len(ids)
                summary.add(writer.read(finished[number]))
            else:
                summary.add(_write_shard(writer, number, ids, model, samples.samples, settings, graphs, on_sample))
            on_sample(ids.stop)
        writer.finish()
    return summary


def tool_version() -> str:
    """This gradtrace's version."""
    try:
        return version("gradtrace")
    except PackageNotFoundError:
        return "unknown"


def first_recording(model: TracedModel, samples: list[Sample]) -> Recording:
    """A recording of the first sample that can be recorded: it decides the export and shows the parameters' gates."""
    reason = "there is none"
    for sample in samples:
        try:
            encoded = sample.encode()
            return model.record(encoded.inputs, len(encoded.tokens))
        except SampleError as error:
            reason = str(error)
    raise SampleError(f"no sample can be recorded; the last one: {reason}")


def _prepare(graphs: _Graphs, writer: StoreWriter, model: TracedModel, example: Recording) -> None:
    """The annotated model, and the parameter groups, which all graphs of a store share."""
    graphs.partition = partition(example)
    graphs.rows["parameter_groups"] = [
        {"parameter_group": g.name, "parameter": g.parameter, "slice": g.slice, "size": g.size}
        for g in graphs.partition.groups
    ]
    if not (writer.folder / MODEL).exists():
        save_model(annotate(model.model, example), writer.folder / MODEL)


def _write_shard(
    writer: StoreWriter,
    number: int,
    ids: range,
    model: TracedModel,
    samples: list[Sample],
    settings: Settings,
    graphs: _Graphs,
    on_sample: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Write one shard; returns its rows of `samples`."""
    with writer.shard(number, ids.start, len(ids)) as shard:
        rows = []
        for i in ids:
            row = _write_sample(shard, i, model, samples[i], settings, graphs)
            rows.append(row)
            on_sample(i)
        shard.write("samples", pa.Table.from_pylist(rows, table_schema("samples", settings.dtype)))
        if graphs.changed or not writer.manifest.graph_files:
            for table, schema in GRAPH_TABLES.items():
                writer.write_graph_table(table, pa.Table.from_pylist(graphs.rows[table], schema))
            graphs.changed = False
    return rows


def _write_sample(
    shard: ShardWriter, number: int, model: TracedModel, sample: Sample, settings: Settings, graphs: _Graphs
) -> dict[str, Any]:
    """Write one sample's rows; returns its row of `samples`."""
    started = time.perf_counter()
    row: dict[str, Any] = {"sample": number, "text": sample.text, "tokens": [], "labels": list(sample.labels.items())}
    try:
        encoded = sample.encode()
        row.update(tokens=encoded.tokens, n_tokens=len(encoded.tokens))
        recording = model.record(encoded.inputs, len(encoded.tokens))
    except SampleError as error:
        return {**row, "status": INVALID, "message": str(error)}
    if not recording.is_finite():
        return {**row, "status": NON_FINITE, "loss": recording.loss, "message": _non_finite(recording)}
    groups = _groups_of(graphs, recording, model)
    for table, block in _sample_tables(recording, groups, number, settings):
        shard.write(table, block)
    return {
        **row,
        "graph": groups.index.graph,
        "loss": recording.loss,
        "n_vertices": recording.n_vertices,
        "n_edges": total_edges(recording),
        "seconds": time.perf_counter() - started,
        "status": OK,
    }


def _sample_tables(
    recording: Recording, groups: Groups, number: int, settings: Settings
) -> Iterator[tuple[str, pa.Table]]:
    """All rows of one sample, block by block, each table's in order."""
    index = groups.index
    spread = contribution_spread(recording) if settings.statistics or "soft" in settings.methods else None
    yield "node_gradients", node_gradient_table(recording, index, number)
    for i, method in enumerate(sorted(settings.methods)):
        best = best_edges(recording, settings.keep, method, spread)
        if i == 0:
            sums = VertexSums(spread, path_statistics(recording) if settings.statistics else None)
            for block in vertex_tables(recording, index, number, _stored_vertices(recording, best, settings), sums):
                yield "vertices", block
        for block in best_edge_tables(recording, best, index, number):
            yield "best_edges", block
        yield from path_tables(recording, best, groups, number, spread).items()
    if settings.detail == "all":
        for edges in edge_blocks(recording):
            yield "edges", edge_table(edges, index, number)


def _stored_vertices(recording: Recording, best: BestEdges, settings: Settings) -> NDArray[np.bool_]:
    """Every activation, and the parameters that have an edge where parameters are wanted."""
    wanted = np.ones(recording.n_vertices, dtype=bool)
    of_parameters = slice(0, recording.n_parameters)
    wanted[of_parameters] = settings.parameter_vertices & (best.target[of_parameters, 0] >= 0)
    return wanted


def _non_finite(recording: Recording) -> str:
    """Which tensor's gradient is not finite first, seen from the loss."""
    if not np.isfinite(recording.loss):
        return f"the loss is {recording.loss}"
    bad = [
        t.name
        for _, t in recording.vertex_tensors()
        if not np.isfinite(recording.gradients[t.first_vertex : (t.first_vertex or 0) + t.size]).all()
    ]
    return f"gradients of {len(bad)} tensors are NaN or infinite, nearest to the loss: {bad[-1]}"


def _groups_of(graphs: _Graphs, recording: Recording, model: TracedModel) -> Groups:
    """What the recording's graph counts paths by; a new graph is added to its tables, its conservation measured."""
    mark = fingerprint(recording.tape)
    if mark not in graphs.groups:
        assert graphs.partition is not None
        number = graphs.numbers.setdefault(mark, len(graphs.numbers))
        graphs.groups[mark] = Groups(graphs.partition, default_components(recording), index_graph(recording, number))
        if number == len(graphs.rows["graphs"]):
            _add_graph(graphs, recording, number, mark, model)
    return graphs.groups[mark]


def _add_graph(graphs: _Graphs, recording: Recording, number: int, mark: str, model: TracedModel) -> None:
    graphs.rows["graphs"].append(graph_row(recording, number, mark, conservation_error(recording)))
    graphs.rows["nodes"] += node_rows(recording, number)
    graphs.rows["tensors"] += tensor_rows(recording, number, model.aliases)
    known = {row["component"] for row in graphs.rows["components"]}
    graphs.rows["components"] += [row for row in component_rows(recording) if row["component"] not in known]
    graphs.changed = True


def _read_graphs(writer: StoreWriter) -> _Graphs:
    """The graphs that the finished shards use; later ones, of a shard that was lost, will be met again."""
    graphs = _Graphs()
    if not writer.manifest.graph_files:
        return graphs
    used = -1
    for file in writer.manifest.files("samples"):
        used = max([used, *(row["graph"] for row in writer.read(file) if row["graph"] is not None)])
    for table in ("graphs", "nodes", "tensors"):
        rows = writer.read(writer.manifest.graph_files[table].path)
        graphs.rows[table] = [row for row in rows if row["graph"] <= used]
    names = {row["component"] for row in graphs.rows["nodes"] if row["kind"] != "copies"}
    rows = writer.read(writer.manifest.graph_files["components"].path)
    graphs.rows["components"] = [row for row in rows if row["component"] in names]
    graphs.numbers = {row["fingerprint"]: row["graph"] for row in graphs.rows["graphs"]}
    graphs.changed = True
    return graphs
