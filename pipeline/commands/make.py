"""Commands that make something: demo, train, export, dump, repair, upgrade, convert."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...queries.methods import GREEDY, METHODS
from ...queries.show.cells import escaped
from . import add, open_to_ask
from .train import generate, train, zoo

if TYPE_CHECKING:
    from ..dump.dump import Engine, Summary
    from ..dump.study import StudySource

MODEL_HELP = "A training run's folder, file.py:factory, hf:FOLDER of a transformers model, or an .onnx file."
SAMPLES_HELP = "Sentences (.txt, one per line), or inputs as .jsonl or .npz."


class Detail(StrEnum):
    """How much of the gradient graph a store holds."""

    study = "study"
    parameters = "parameters"
    all = "all"


class DType(StrEnum):
    """The precision of recording and store."""

    float32 = "float32"
    float64 = "float64"


class Checked(StrEnum):
    """Which samples' gradients are compared with torch's."""

    all = "all"
    some = "some"
    new = "new"


class Form(StrEnum):
    """What a store is converted to."""

    parquet = "parquet"


class EngineName(StrEnum):
    """Who makes the shards of a store."""

    local = "local"
    ray = "ray"


Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Checkpoint = Annotated[str | None, typer.Option(help="A step, name or path of a checkpoint; default: the latest.")]
SampleFile = Annotated[Path | None, typer.Option(help=f"{SAMPLES_HELP} Default: a run's held-out sentences.")]
Objective = Annotated[
    str, typer.Option(help="What is traced: loss, or a run's other objective (agreement: prefix TAB right TAB wrong).")
]
Precision = Annotated[DType, typer.Option("--dtype", help="float64 for exact work; takes twice the space.")]


def _method(name: str) -> str:
    if name not in METHODS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, METHODS))}.")
    return name


def export(
    model: Model,
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    samples: SampleFile = None,
    checkpoint: Checkpoint = None,
    objective: Objective = "loss",
    dtype: Precision = DType.float32,
) -> None:
    """Export a model to ONNX, each node annotated with its component, and compare it with torch on a real sample.

    Reads MODEL and the samples; writes the file --out. An export with another loss or another gradient of any parameter
    is refused.

    Example: gradtrace export runs/demo/model --out runs/demo/lstm.onnx
    """
    from ...exporters.store.annotate import annotate, save_model
    from ..dump.dump import first_recording
    from ..dump.study import StudySource

    opened = StudySource(model, samples, dtype.value, checkpoint, objective=objective).open()
    recording = first_recording(opened.traced, opened.samples.samples)
    out.parent.mkdir(parents=True, exist_ok=True)
    annotated = annotate(opened.traced.model, recording)
    save_model(annotated, out)
    n_parameters = sum(t.kind == "parameter" for t in recording.tape.tensors)
    typer.echo(
        f"{escaped(str(out))}: {len(annotated.graph.node)} nodes, {n_parameters} parameter tensors; "
        f"{len(recording.tape.calls)} primitive operators on the first sample, loss {recording.loss:.6g}"
    )


def dump(
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder of the graph store; the same command continues it.")],
    samples: SampleFile = None,
    detail: Annotated[
        Detail,
        typer.Option(
            help="study: the best edges of the activations that parameters' paths visit; parameters: those of every "
            "vertex; all: every edge."
        ),
    ] = Detail.parameters,
    keep: Annotated[int, typer.Option(min=1, max=64, help="Best edges kept per vertex; 2 tell the margin.")] = 2,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(METHODS),
            parser=_method,
            autocompletion=lambda: list(METHODS),
            help=f"{'; '.join(f'{m.name}: {m.summary}' for m in METHODS.values())}. Give it again for several; "
            f"default: {GREEDY}.",
        ),
    ] = None,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Store, for every vertex, number, sum and entropy of all its paths.")
    ] = False,
    dtype: Precision = DType.float32,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first samples.")] = None,
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="Put the samples in a random order first; see --seed.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Decides the order of --shuffle; default 0.")] = None,
    checkpoint: Checkpoint = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(help="Of a training run: all samples at each of these, as in 0,100,500; or all of them."),
    ] = None,
    objective: Objective = "loss",
    parameter_vertices: Annotated[
        bool, typer.Option(help="Store the value and gradient of parameters too, not only of activations.")
    ] = True,
    engine: Annotated[
        EngineName, typer.Option(help="local: on this machine; ray: shards at the same time, on a cluster.")
    ] = EngineName.local,
    address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster, HOST:PORT or auto; default: start one here.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that make shards at the same time, each of which opens MODEL; default: one per core on a "
            "cluster, and here where MODEL has less than 50 million parameters, memory allows it, and it saves time.",
        ),
    ] = None,
    check: Annotated[
        Checked,
        typer.Option(
            help="Whose gradients are compared with torch's, beside the first of each shape: all, some (one sample in "
            "twenty, at random), new (no others). The losses always are."
        ),
    ] = Checked.some,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print vertices, edges, bytes and time; write nothing.")
    ] = False,
) -> None:
    """Record every sample's gradients and write its gradient graph to a store.

    Reads MODEL and the samples; writes the folder --out, a STORE for the other commands. An interrupted dump goes on
    when the same command is run again. It exits with 1 when a sample could not be recorded, or its gradients are not
    torch's; the others are stored.

    Example: gradtrace dump runs/demo/model --limit 5 --dry-run --out runs/demo/study

    Example: gradtrace dump runs/demo/model --limit 5 --detail study --out runs/demo/study
    """
    from ...exporters.store.settings import Settings
    from ..dump.dump import dump as write
    from ..dump.estimate import estimate
    from ..dump.study import StudySource
    from ..progress import progress

    order = _order(shuffle, seed)
    source = StudySource(model, samples, dtype.value, checkpoint, checkpoints, objective, limit, order, check.value)
    chosen = _engine(engine, source, address, workers)
    methods = tuple(dict.fromkeys(method or [GREEDY]))
    settings = Settings(detail.value, dtype.value, keep, methods, statistics, parameter_vertices)
    opened = source.open()
    n_checkpoints = max(len(opened.checkpoints), 1)
    if dry_run:
        typer.echo(estimate(opened.traced, opened.samples, settings, n_checkpoints, workers or 1))
        return
    with progress("dump", len(opened.samples.samples) * n_checkpoints) as advance:
        given = source.in_manifest()
        summary = write(opened.traced, opened.samples, out, settings, advance, opened.checkpoints, chosen, source=given)
    _report(summary, out)


def _order(shuffle: bool, seed: int | None) -> int | None:
    """The seed of a random order, None for the order of the file."""
    if seed is not None and not shuffle:
        raise typer.BadParameter("it decides the order of --shuffle, which was not given", param_hint="--seed")
    return (seed or 0) if shuffle else None


def _engine(name: EngineName, source: StudySource, address: str | None, workers: int | None) -> Engine | None:
    """Who makes the shards; None: this process."""
    if name is EngineName.ray:
        from ..dump.engine_ray import RayEngine

        return RayEngine(source, address, workers)
    if address is not None:
        raise typer.BadParameter("it is for --engine ray, which was not given", param_hint="--address")
    if workers == 1:
        return None
    from ..dump.engine_processes import Processes

    return Processes(source, workers)


def repair(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A graph store: the folder that `dump` wrote.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Where the MODEL of the dump lies now; default: as the store says.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Where the samples of the dump lie now; default: as the store says.")
    ] = None,
) -> None:
    """Make again what is damaged in a store, and nothing else: shards, the tables of graphs, the model.

    Reads every byte of STORE, and where one is not as it was written, the MODEL and the samples that the store was
    dumped from; they must be the same. It runs the model's code, as the dump did: repair stores of your own, or say
    which model by --model. A healthy store is not touched.

    Example: gradtrace repair runs/demo/store
    """
    from ...queries.manifest import read_manifest
    from ..dump.repair import repair as make_again

    repaired = make_again(store, model, samples)
    for part in repaired:
        typer.echo(f"repaired {escaped(part)}")
    manifest = read_manifest(store)
    state = "" if manifest.complete else "; its dump is not finished: the command that began it goes on"
    what = f"{len(repaired)} parts made again" if len(repaired) != 1 else "1 part made again"
    typer.echo(f"{escaped(str(store))}: {what if repaired else 'healthy, every byte is as it was written'}{state}")


def upgrade(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A finished store of format 2, of gradtrace 0.1.0.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new store; default: beside STORE, its name with -format3.")
    ] = None,
) -> None:
    """Write a store that an earlier version wrote again, in the format that this version reads.

    Reads STORE and leaves it as it is; writes the folder --out. Every number is the same. An interrupted upgrade goes
    on when the same command is run again. A store of this format is not touched.

    Example: gradtrace upgrade runs/demo/store
    """
    from ...exporters.store.upgrade import upgrade as write
    from ...queries.manifest import FORMAT_VERSION, read_format_2
    from ..progress import progress

    new = out or store.with_name(f"{store.resolve().name}-format{FORMAT_VERSION}")
    old = read_format_2(store)
    with progress("upgrade", len(old.shards) if old else 0) as advance:
        written = write(store, new, advance)
    if written:
        typer.echo(f"{escaped(str(new))}: the store of {escaped(str(store))} in this format; the old one is as it was")
    else:
        typer.echo(f"{escaped(str(store))}: of format version {FORMAT_VERSION} already, there is nothing to upgrade")


def convert(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A graph store: the folder that `dump` wrote.")],
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    to: Annotated[
        Form, typer.Option(help="parquet: every table with all columns of docs/store.md, and edges as rows.")
    ],
) -> None:
    """Write a store in a form that other programs read: Polars, Spark, Dask, pandas.

    Reads STORE and leaves it as it is; writes the folder --out. Files of a store hold no column that follows from
    others, and matrix products as matrices; here every table is plain Parquet: TABLE.parquet, or TABLE/shard-*.parquet
    with a file for each shard of samples. It takes about ten times the space in detail all.

    Example: gradtrace convert runs/demo/store --to parquet --out runs/demo/parquet
    """
    from ..interchange.parquet import convert_to_parquet
    from ..progress import progress

    writers = {Form.parquet: convert_to_parquet}
    with open_to_ask(store) as opened, progress("convert", len(opened.manifest.shards)) as advance:
        n_files = writers[to](opened, out, advance)
    typer.echo(f"{escaped(str(out))}: {n_files} files of {to.value}")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the run, the exported model and the store.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Everything once on the bundled default: train, export, dump, trace, importance. A few minutes on two cores.

    Reads nothing; writes the run `model`, the file `model.onnx` and the store `store` to the folder --out. The same
    command continues an interrupted demo.

    Example: gradtrace demo
    """
    from ..demo import run

    run(out)


def _report(summary: Summary, out: Path) -> None:
    kept = f" ({summary.before} samples were there before)" if summary.before else ""
    typer.echo(f"{escaped(str(out))}: {summary.stored} samples stored{kept}")
    for sample, reason in summary.failed:
        typer.echo(f"sample {sample} is {escaped(reason)}", err=True)
    if summary.failed:
        counted = "1 sample was" if len(summary.failed) == 1 else f"{len(summary.failed)} samples were"
        typer.echo(f"{counted} not recorded, for the reasons above", err=True)
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    add(app, (demo, train, zoo, generate, export, dump, repair, upgrade, convert))
