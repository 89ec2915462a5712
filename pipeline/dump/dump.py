"""The dump of a study: record every sample, sweep it, follow every parameter's path, store it all, shard by shard.

A shard, a range of samples, is made from the study and the numbers of the graphs met so far, by whoever an engine
gives it to; the store takes shards in their order. A shard that takes long is closed before its range is done, and
another one goes on there: where shards end depends on the clock, what their rows say does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ...exporters.edges.blocks import total_edges
from ...exporters.kernels.threads import torch_on_one_thread
from ...exporters.models import Encoded, SampleError
from ...exporters.recording.memory import return_freed_memory
from ...exporters.recording.parameter_groups import Partition, partition
from ...exporters.recording.recorder import Recording
from ...exporters.recording.traced_model import TracedModel
from ...exporters.store.annotate import annotate, save_model
from ...exporters.store.graphs import NewGraph, ShardGraphs, StoreGraphs
from ...exporters.store.rows import Names, Rows
from ...exporters.store.sample import sample_tables
from ...exporters.store.settings import SHARD_SECONDS, SHARD_SIZE, Settings
from ...exporters.store.shard import ROW_GROUP, WHOLE_SAMPLE, ShardWriter
from ...exporters.store.writer import StoreWriter
from ...queries.manifest import MODEL, Manifest, Shard
from ...queries.schema import INVALID, NON_FINITE, OK, table_schema
from ...queries.show.cells import escaped
from .checkpoints import AtCheckpoints, Checkpoint
from .samples import Sample, Samples

NO_SOURCE: Mapping[str, str] = {}
LARGE = 50_000_000  # parameters of a model whose matrices are worth several threads of torch


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


@dataclass(frozen=True)
class Task:
    """A shard to make: its samples, and the numbers of the graphs that the store's shards have met so far."""

    ids: range
    known: Mapping[str, int]

    def rest(self, made: MadeShard) -> Task | None:
        """What is left of it behind a shard that was closed early; None: nothing."""
        done = made.shard.first + made.shard.count
        if done == self.ids.stop:
            return None
        return Task(range(done, self.ids.stop), {mark: number for number, mark in enumerate(made.graphs)})


@dataclass(frozen=True)
class MadeShard:
    """A shard's files under their temporary names, its rows of `samples`, and the graphs it met.

    graphs: the fingerprint of each graph by the number it has in the shard's rows; `new`: those that were not known
    """

    shard: Shard
    rows: list[dict[str, Any]]
    graphs: list[str]
    new: list[NewGraph]


@dataclass(frozen=True)
class Study:
    """A model at its checkpoints, the samples and the parameter groups: all it takes to make shards of a store.

    Sample number i of the store is sample i modulo their number, at checkpoint i divided by it.
    """

    model: AtCheckpoints
    samples: Samples
    settings: Settings
    folder: Path  # of the store
    partition: Partition
    clock: Callable[[], float] = time.monotonic
    source: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples.samples) * len(self.model)

    @property
    def is_large(self) -> bool:
        """Whether torch takes all cores for one sample of this model. Otherwise it takes one, on every machine: then
        the numbers in a store do not depend on how many there are.
        """
        return len(self.partition.group_of) >= LARGE

    def _threads(self) -> AbstractContextManager[None]:
        return nullcontext() if self.is_large else torch_on_one_thread()

    def manifest(self) -> Manifest:
        """What the store of this study says of it."""
        return Manifest(
            tool_version=version("gradtrace"),
            model=self.model.in_manifest(),
            samples={"source": self.samples.source, "fingerprint": self.samples.fingerprint, "count": len(self)},
            settings=self.settings.in_manifest(),
            source=dict(self.source),
        )

    def make(self, task: Task, on_sample: Callable[[int], None] = lambda _: None) -> MadeShard:
        """Make one shard, which may be closed before all samples of the task are in it. The store numbers it.

        on_sample: told the number of samples done after each one
        """
        row_group = WHOLE_SAMPLE if self.settings.detail == "study" else ROW_GROUP
        first, until = task.ids.start, self.clock() + SHARD_SECONDS
        writer = ShardWriter(self.folder, first, self.settings.dtype, row_group)
        graphs = ShardGraphs(task.known, self.partition, self.model.at(0))
        try:
            rows = []
            for number in task.ids:
                with self._threads():
                    rows.append(self._write_sample(writer, number, graphs))
                on_sample(number + 1)
                if self.clock() >= until:
                    break
            writer.write("samples", pa.Table.from_pylist(rows, table_schema("samples", self.settings.dtype)))
            files = writer.finish()
        except BaseException:
            writer.discard()
            raise
        return MadeShard(Shard(first, first, len(rows), files), rows, graphs.order, graphs.new)

    def _write_sample(self, shard: ShardWriter, number: int, graphs: ShardGraphs) -> dict[str, Any]:
        """Write one sample's rows; returns its row of `samples`."""
        started = time.perf_counter()
        at, which = divmod(number, len(self.samples.samples))
        model, sample = self.model.at(at), self.samples.samples[which]
        row: dict[str, Any] = {"sample": number, "text": sample.text, "tokens": [], "checkpoint": self.model.names[at]}
        if sample.labels:
            shard.write("labels", _label_rows(number, sample.labels))
        try:
            encoded = sample.encode()
            row.update(tokens=encoded.tokens, n_tokens=len(encoded.tokens))
            recording = self._record(model, encoded)
        except SampleError as error:
            return {**row, "status": INVALID, "message": escaped(str(error))}
        if not recording.is_finite():
            return {**row, "status": NON_FINITE, "loss": recording.loss, "message": _non_finite(recording)}
        groups = graphs.groups(recording)
        for table, block in sample_tables(recording, groups, number, self.settings):
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

    def graphs_of(self, number: int, known: Mapping[str, int]) -> ShardGraphs:
        """The graphs that are known when one sample, which can be recorded, has been met."""
        at, which = divmod(number, len(self.samples.samples))
        graphs = ShardGraphs(known, self.partition, self.model.at(0))
        with self._threads():
            graphs.groups(self._record(self.model.at(at), self.samples.samples[which].encode()))
        return graphs

    def _record(self, model: TracedModel, encoded: Encoded) -> Recording:
        return model.record(
            encoded.inputs,
            len(encoded.tokens),
            encoded.first_token,
            parameter_gradients=self.settings.needs_parameter_gradients,
        )


def _label_rows(number: int, labels: Mapping[str, str]) -> Rows:
    """What `labels` says of a sample, whether it can be recorded or not."""
    names = sorted(labels)
    values = np.array([labels[name] for name in names], dtype=object)
    return Rows(len(names), {"sample": number, "label": Names(names, np.arange(len(names))), "value": values})


Shards = Generator[MadeShard, None, None]


class Engine(Protocol):
    """Who makes the shards."""

    def shards(self, study: Study, tasks: Iterator[Task], on_sample: Callable[[int], None]) -> Shards:
        """The shards in the order of their samples, until those of all tasks are in them.

        A task is taken when it is begun: later ones know more graphs. What is left of one is a task again (Task.rest).
        on_sample: told the number of samples done, those of the store included, which never falls
        """
        ...


class Local:
    """One shard after the other in this process, which uses all cores."""

    def shards(self, study: Study, tasks: Iterator[Task], on_sample: Callable[[int], None]) -> Shards:
        """See Engine."""
        for task in tasks:
            rest: Task | None = task
            while rest is not None:
                made = study.make(rest, on_sample)
                yield made
                rest = rest.rest(made)


def dump(
    model: TracedModel,
    samples: Samples,
    out: Path,
    settings: Settings,
    on_sample: Callable[[int], None] = lambda _: None,
    checkpoints: Sequence[Checkpoint] = (),
    engine: Engine | None = None,
    clock: Callable[[], float] = time.monotonic,
    source: Mapping[str, str] = NO_SOURCE,
) -> Summary:
    """Write, or continue, the store `out`.

    on_sample: told the number of samples done, once before the first that is to be made and after each one
    checkpoints: weights that the model takes in turn, all samples with the first, then all with the second; default:
        those it has
    engine: who makes the shards; default: this process
    clock: in seconds; a shard is closed after SHARD_SECONDS
    source: what model and samples were opened from (StudySource.in_manifest), for whoever has to open them again
    Raises ModelError when the model cannot be traced, StoreError when `out` holds something else. A sample that fails
    is stored with its status and reason, and the dump goes on. Interrupted at any moment, the finished shards remain.
    """
    at = AtCheckpoints(model, checkpoints)
    example = first_recording(at.last, samples.samples)
    study = Study(at, samples, settings, out, partition(example), clock, source)
    summary = Summary()
    with StoreWriter(out, study.manifest()) as writer:
        graphs = StoreGraphs(study.partition)
        graphs.read(writer)
        if not writer.manifest.model_files:
            writer.enter_model(save_model(annotate(at.last.model, example), out / MODEL))
        del example  # every value of a graph
        for shard in writer.manifest.shards:
            summary.before += shard.count
            for file in shard.files["samples"]:
                summary.add(writer.read(file).to_pylist())
        on_sample(summary.before)
        tasks = (Task(ids, dict(graphs.numbers)) for ids in _ranges(study, summary.before))
        with closing((engine or Local()).shards(study, tasks, on_sample)) as shards:
            for made in shards:
                numbers = graphs.add(made.graphs, made.new)
                graphs.write(writer)
                writer.enter(made.shard, numbers)
                summary.add(made.rows)
        writer.finish()
    return summary


def _ranges(study: Study, finished: int) -> Iterator[range]:
    """The samples of every shard behind those that are finished."""
    size, n = SHARD_SIZE[study.settings.detail], len(study)
    for first in range(finished, n, size):
        yield range(first, min(first + size, n))


def first_recording(model: TracedModel, samples: list[Sample]) -> Recording:
    """A recording of the first sample that can be recorded: it decides the export and shows the parameters' gates."""
    return_freed_memory()
    reason = "there is none"
    for sample in samples:
        try:
            encoded = sample.encode()
            return model.record(encoded.inputs, len(encoded.tokens), encoded.first_token)
        except SampleError as error:
            reason = str(error)
    raise SampleError(f"no sample can be recorded; the last one: {reason}")


def _non_finite(recording: Recording) -> str:
    """Which tensor's gradient is not finite first, seen from the loss."""
    if not np.isfinite(recording.loss):
        return f"the loss is {recording.loss}"
    bad = [t.name for _, t in recording.vertex_tensors() if not np.isfinite(recording.gradients[t.vertices]).all()]
    return f"gradients of {len(bad)} tensors are NaN or infinite, nearest to the loss: {bad[-1]}"
