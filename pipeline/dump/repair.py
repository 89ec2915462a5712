"""Repair: what is damaged in a store is made again, alone, from the model and the samples that it was dumped from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...exporters.models import ModelError, SampleError
from ...exporters.recording.parameter_groups import partition
from ...exporters.store.annotate import annotate, save_model
from ...exporters.store.graphs import StoreGraphs
from ...exporters.store.settings import Settings
from ...exporters.store.writer import StoreWriter
from ...queries.errors import StoreError
from ...queries.manifest import MANIFEST, MODEL, ListedFile, Manifest, Shard, StoredFiles, read_manifest
from .checkpoints import AtCheckpoints
from .dump import Study, Task, first_recording
from .hugging_face.folder import PREFIX
from .samples import how_chosen
from .study import StudySource


@dataclass(frozen=True)
class Damage:
    """What of a store is not as it was written, each with the reason: shards by number, graph tables, the model."""

    shards: dict[int, str]
    graphs: str
    model: str

    @property
    def n_parts(self) -> int:
        """A shard is one part, the graph tables together are one, the model is one."""
        return len(self.shards) + bool(self.graphs) + bool(self.model)


def find_damage(store: Path, manifest: Manifest) -> Damage:
    """Read every byte of a store. StoreError when shards are lost, which only the manifest knew."""
    lost = manifest.lost()
    if lost:
        raise StoreError(
            f"{store / MANIFEST} is damaged ({lost}). It says what there is to repair: restore it, or dump the store "
            "again into another folder."
        )
    files = StoredFiles(store)
    of_shards = {number: _first(files, shard.all_files()) for number, shard in enumerate(manifest.shards)}
    return Damage(
        {number: reason for number, reason in of_shards.items() if reason},
        _first(files, list(manifest.graph_files.values())),
        _first(files, manifest.model_files),
    )


def _first(files: StoredFiles, listed: Sequence[ListedFile]) -> str:
    return next(filter(None, files.wrong_sums(listed)), "")


def repair(
    store: Path,
    model: str | None = None,
    samples: Path | None = None,
    on_part: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Make what is damaged again: one sentence for each part, none for a healthy store, which is not touched.

    model, samples: where they lie now; default: where the store says that they were
    on_part: told the number of parts made
    Raises StoreError when the manifest is damaged, and when model or samples are not there, or others. A repair that is
    interrupted has changed nothing but what was damaged, and can be run again.
    """
    manifest = read_manifest(store)
    damage = find_damage(store, manifest)
    if not damage.n_parts:
        return []
    study, save = _open(store, manifest, model, samples)
    said = []
    with StoreWriter(store, manifest, damaged=True) as writer:
        if damage.model:
            save(writer)
            said.append(f"the model: {damage.model}")
            on_part(len(said))
        graphs = StoreGraphs(study.partition)
        if not damage.graphs:
            graphs.read(writer)
            graphs.changed = False
        for number, shard in enumerate(manifest.shards):
            if number in damage.shards:
                _make_again(study, writer, graphs, number, rebuilding=bool(damage.graphs))
                said.append(f"shard {number}, samples {_range(shard)}: {damage.shards[number]}")
                on_part(len(said))
            elif damage.graphs:
                _meet(study, writer, graphs, shard)
        if damage.graphs:
            graphs.write(writer)
            said.append(f"the tables of graphs: {damage.graphs}")
            on_part(len(said))
        writer.finish(manifest.complete)
    return said


def _range(shard: Shard) -> str:
    return f"{shard.first} to {shard.first + shard.count - 1}"


def _open(
    store: Path, manifest: Manifest, model: str | None, samples: Path | None
) -> tuple[Study, Callable[[StoreWriter], None]]:
    """What the store was dumped from, and a function that writes its model."""
    source = _source(store, manifest, model, samples)
    try:
        opened = source.open()
        at = AtCheckpoints(opened.traced, opened.checkpoints)
        example = first_recording(at.last, opened.samples.samples)
    except (ModelError, SampleError) as error:
        raise StoreError(
            f"{store} cannot be repaired: {error} Say where the model and the samples lie that it was dumped from: "
            "--model MODEL --samples FILE."
        ) from error
    settings = Settings.of_manifest(manifest.settings)
    # a shard is not closed before it has all samples that it had
    study = Study(at, opened.samples, settings, store, partition(example), clock=lambda: 0.0)
    _check_same(store, manifest, study.manifest(), source)
    return study, lambda writer: writer.enter_model(save_model(annotate(at.last.model, example), store / MODEL))


def _source(store: Path, manifest: Manifest, model: str | None, samples: Path | None) -> StudySource:
    """How model and samples are opened.

    A store may come from anyone: code that lies in its own folder is not run because its manifest says so.
    """
    told = manifest.source
    if model is None and "model" not in told:
        raise StoreError(
            f"{store} was dumped from a model in memory, so that it does not say where its model lies. Give --model "
            "MODEL --samples FILE; samples that were in memory, too, cannot be read again."
        )
    if model is None and _is_inside(told["model"], store):
        raise StoreError(
            f"{store} names a model in its own folder, {told['model']}. Whoever made the store made it, too: where you "
            "trust it, give it as --model."
        )
    given = samples if samples is not None else Path(told["samples"]) if "samples" in told else None
    options: dict[str, Any] = {name: value for name, value in told.items() if name not in ("model", "samples")}
    limit, shuffle = how_chosen(str(manifest.samples["fingerprint"]))
    dtype = str(manifest.settings["dtype"])
    return StudySource(model or told["model"], given, dtype, limit=limit, shuffle=shuffle, **options)


def _is_inside(model: str, store: Path) -> bool:
    """Whether MODEL is a file or folder in the store's own folder."""
    path = Path(model.removeprefix(PREFIX).rpartition(":")[0] if ".py:" in model else model.removeprefix(PREFIX))
    return path.resolve().is_relative_to(store.resolve())


def _check_same(store: Path, manifest: Manifest, found: Manifest, source: StudySource) -> None:
    """Refuse to mix: model and samples must be those of the store."""
    for what, option, of_store, given in (
        ("model", "--model MODEL", manifest.model, found.model),
        ("samples", "--samples FILE", manifest.samples, found.samples),
    ):
        if of_store["fingerprint"] != given["fingerprint"]:
            name = source.model if what == "model" else source.samples or source.model
            raise StoreError(
                f"{name} is not the {what} that {store} was dumped from: its fingerprint is {given['fingerprint']}, "
                f"the store's is {of_store['fingerprint']}. Say where those of the store lie: {option}. The store was "
                f"written by gradtrace {manifest.tool_version}."
            )


def _make_again(study: Study, writer: StoreWriter, graphs: StoreGraphs, number: int, rebuilding: bool) -> None:
    """Replace a shard. rebuilding: whether `graphs` are only those met so far, and not all of the store"""
    shard = writer.manifest.shards[number]
    made = study.make(Task(range(shard.first, shard.first + shard.count), dict(graphs.numbers)))
    known = len(graphs.numbers)
    numbers = graphs.add(made.graphs, made.new)
    if not rebuilding and len(graphs.numbers) > known:
        raise StoreError(
            f"{writer.folder} has no graph as that of a sample of shard {number}, made again: gradtrace "
            f"{writer.manifest.tool_version} wrote it. Repair it with that version."
        )
    writer.enter(made.shard, numbers, number)


def _meet(study: Study, writer: StoreWriter, graphs: StoreGraphs, shard: Shard) -> None:
    """Find the graphs that a healthy shard was the first to meet, each by the first sample that has it."""
    for file in shard.files["samples"]:
        rows = writer.read(file).select(["sample", "graph"]).to_pylist()
        for row in rows:
            if row["graph"] is not None and row["graph"] >= len(graphs.numbers):
                met = study.graphs_of(row["sample"], dict(graphs.numbers))
                graphs.add(met.order, met.new)
