"""gradtrace from Python: dump, export and record, with all that the commands of these names offer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from ..exporters.models import Encoded, ModelError, SampleError, Traceable
from ..exporters.recording.recorder import Recording
from ..exporters.recording.traced_model import CHECKS, SOME, Check
from ..exporters.store.annotate import annotate, save_model
from ..exporters.store.settings import Settings
from ..queries.errors import GradtraceError, nearest
from ..queries.methods import GREEDY, METHODS
from ..queries.schema import DETAILS, DTYPES
from ..queries.store import Store, open_store
from .dump.dump import Engine, first_recording
from .dump.dump import dump as write_store
from .dump.estimate import Estimate, estimate
from .dump.models import open_live
from .dump.samples import Samples, make_samples, read_samples
from .dump.study import OpenedStudy, StudySource
from .zoo import LOSS

if TYPE_CHECKING:
    import onnx

Model = nn.Module | Traceable | str | Path
Inputs = Mapping[str, Any] | Encoded | str
SampleSource = Iterable[Inputs] | str | Path | None
Encoder = Callable[[str], Encoded]


@dataclass(frozen=True)
class Dumped:
    """What `dump` did.

    path:     the store
    stored:   samples that the store holds, those of an earlier call included
    failed:   the number of each sample that was not recorded, with the reason
    before:   samples that were there before this call
    estimate: of a dry run, what the store would hold and cost; nothing was written
    """

    path: Path
    stored: int = 0
    failed: tuple[tuple[int, str], ...] = ()
    before: int = 0
    estimate: Estimate | None = None

    def open(self) -> Store:
        """The store, opened. Raises StoreError after a dry run."""
        return open_store(self.path)


@torch.inference_mode(False)
@torch.enable_grad()
def dump(
    model: Model,
    samples: SampleSource,
    out: str | Path,
    *,
    encode: Encoder | None = None,
    detail: Literal["study", "parameters", "all"] = "parameters",
    keep: int = 2,
    method: str | Sequence[str] = GREEDY,
    statistics: bool = False,
    dtype: Literal["float32", "float64"] = "float32",
    limit: int | None = None,
    shuffle: int | None = None,
    checkpoint: str | None = None,
    checkpoints: str | None = None,
    objective: str = LOSS,
    parameter_vertices: bool = True,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    workers: int | None = None,
    check: Check = SOME,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Dumped:
    """Record every sample's gradients and write its gradient graph to the store `out`, or continue that store.

    model:   a torch module whose `forward(**inputs)` returns one scalar, of which a copy is traced in eval mode; a
             Traceable; or what the command takes: a run's folder, 'file.py:factory', 'hf:FOLDER', an .onnx file's path
    samples: dicts from input name to tensor with a batch axis of size 1 (`text`, `tokens`, `first_token` and `labels`
             may stand beside, as in a .jsonl file); Encoded ones; texts, with `encode` or a model that has an encoder;
             the path of a .txt, .jsonl or .npz file; None: the held-out samples of a run
    detail:  study: the best edges of the activations that parameters' paths visit; parameters: those of every vertex;
             all: every edge
    keep:    best edges kept for each vertex; 2 tell the margin
    method:  'greedy', 'product', 'soft', or several of them
    statistics: whether number, sum and entropy of all paths of every vertex are stored
    limit:   only the first samples     shuffle: a seed; the samples are put in a random order first
    checkpoint, checkpoints, objective: of a training run, which weights, and which scalar
    parameter_vertices: whether value and gradient of parameters are stored too
    engine:  'local': this machine; 'ray': the cluster at `address`
    workers: processes that make shards at the same time, each of which opens the model again; None: one per core on a
             cluster, and here where the model has less than 50 million parameters, memory allows it, and it saves time.
             A model or samples in memory stay in this process
    check:   whose gradients are compared with torch's, beside the first of each shape: 'all', 'some' (one in twenty),
             'new' (no others); the losses always are
    dry_run: write nothing, and say what would be written (`Dumped.estimate`)
    progress: called with the number of samples done

    Raises ModelError when the model cannot be traced, SampleError when there is no sample, StoreError when `out` holds
    something else. A sample that fails is stored with its status and listed in `failed`; the dump goes on.
    Interrupted at any moment, the finished shards remain, and the same call goes on.
    """
    for name, number, least in (("limit", limit, 1), ("shuffle", shuffle, 0)):
        if number is not None and (type(number) is not int or number < least):
            raise GradtraceError(f"{name} is {number!r}; a whole number from {least} on, or None, is wanted.")
    _choose("check", check, CHECKS)
    methods = (method,) if isinstance(method, str) else tuple(dict.fromkeys(method))
    settings = _settings(detail, dtype, keep, methods, statistics, parameter_vertices)
    asked = StudySource("", None, dtype, checkpoint, checkpoints, objective, limit, shuffle, check)
    began = monotonic()
    opened, source = _open(model, samples, encode, asked)
    chosen = _engine(engine, source, address, workers, began)
    if dry_run:
        times = max(len(opened.checkpoints), 1)
        return Dumped(Path(out), estimate=estimate(opened.traced, opened.samples, settings, times, workers or 1))
    done = progress or _silent
    given = source.in_manifest() if source is not None else {}
    found = write_store(
        opened.traced, opened.samples, Path(out), settings, done, opened.checkpoints, chosen, source=given
    )
    return Dumped(Path(out), found.stored, tuple(found.failed), found.before)


@torch.inference_mode(False)
@torch.enable_grad()
def export(
    model: Model,
    samples: SampleSource,
    out: str | Path | None = None,
    *,
    encode: Encoder | None = None,
    dtype: Literal["float32", "float64"] = "float32",
    checkpoint: str | None = None,
    objective: str = LOSS,
) -> onnx.ModelProto:
    """Export a model to ONNX, each node annotated with its component, and compare it with torch on the first sample.

    model, samples, encode, checkpoint, objective: see `dump`     out: the .onnx file to write; None: none
    Raises ModelError when the model cannot be exported, or the export computes something else than torch.
    """
    asked = StudySource("", None, dtype, checkpoint, objective=objective)
    opened, _ = _open(model, samples, encode, asked)
    recording = first_recording(opened.traced, opened.samples.samples)
    annotated = annotate(opened.traced.model, recording)
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        save_model(annotated, Path(out))
    return annotated


@torch.inference_mode(False)
@torch.enable_grad()
def record(
    model: Model,
    sample: Inputs,
    *,
    encode: Encoder | None = None,
    dtype: Literal["float32", "float64"] = "float32",
    checkpoint: str | None = None,
    objective: str = LOSS,
) -> Recording:
    """One sample's lowered graph with every value and every gradient; the export is compared with torch first.

    model, encode, checkpoint, objective: see `dump`     sample: one of those that `dump` takes
    The answer has `.loss`, `.value(name)` and `.gradient(name)`, arrays in the tensors' shapes.
    Raises ModelError when the model cannot be traced, SampleError when the sample does not fit.
    """
    asked = StudySource("", None, dtype, checkpoint, objective=objective)
    opened, _ = _open(model, [sample], encode, asked)
    encoded = opened.samples.samples[0].encode()
    return opened.traced.record(encoded.inputs, len(encoded.tokens), encoded.first_token)


def _silent(done: int) -> None:
    del done


def _settings(
    detail: str, dtype: str, keep: int, methods: tuple[str, ...], statistics: bool, parameter_vertices: bool
) -> Settings:
    """Raises GradtraceError for a word that is none of those to choose among."""
    _choose("detail", detail, DETAILS)
    _choose("dtype", dtype, DTYPES)
    for method in methods:
        _choose("method", method, tuple(METHODS))
    if not methods or not 1 <= keep <= 64:
        raise GradtraceError(f"got {len(methods)} methods and keep={keep}; at least one, and 1 to 64, are wanted.")
    return Settings(detail, dtype, keep, methods, statistics, parameter_vertices)


def _choose(what: str, got: str, known: Sequence[str]) -> None:
    """GradtraceError unless `got` is one of the words known."""
    if got not in known:
        raise GradtraceError(f"there is no {what} {got!r}.{nearest(got, list(known))} Choose among {', '.join(known)}.")


def _open(
    model: Model, samples: SampleSource, encode: Encoder | None, asked: StudySource
) -> tuple[OpenedStudy, StudySource | None]:
    """Model and samples; and where both are on disk, how they can be opened again on another machine."""
    file = None if samples is None else Path(samples) if isinstance(samples, str | Path) else samples
    if not isinstance(model, str | Path):
        _check_live(asked, file)
        opened = open_live(model, asked.dtype, encode, asked.check)
        return OpenedStudy(opened.traced, (), _samples(file, opened.encode, asked)), None
    if encode is not None:
        raise ModelError(f"encode was given for {model}, which has its own encoder, or takes inputs by name.")
    if file is None or isinstance(file, Path):
        source = replace(asked, model=str(model), samples=file)
        return source.open(), source
    source = replace(asked, model=str(model))
    opened = source.open_model()
    return OpenedStudy(opened.traced, source.taken_checkpoints(), _samples(file, opened.encode, asked)), None


def _samples(given: Path | Iterable[Inputs] | None, encode: Encoder | None, asked: StudySource) -> Samples:
    if isinstance(given, Path):
        return read_samples(given, encode, asked.limit, asked.shuffle)
    return make_samples(given or (), encode, asked.limit, asked.shuffle)


def _check_live(asked: StudySource, file: object) -> None:
    """Refuse what only models on disk have."""
    if file is None:
        raise SampleError("no samples were given; only a training run on disk brings samples along")
    for name, given, default in (
        ("checkpoint", asked.checkpoint, None),
        ("checkpoints", asked.checkpoints, None),
        ("objective", asked.objective, LOSS),
    ):
        if given != default:
            raise ModelError(f"{name} was given; a live model has the weights and the scalar that it has.")


def _engine(
    name: str, source: StudySource | None, address: str | None, workers: int | None, began: float
) -> Engine | None:
    """Who makes the shards; None: this process. began: when the study began to be opened"""
    _choose("engine", name, ("local", "ray"))
    if workers is not None and (type(workers) is not int or workers < 1):
        raise GradtraceError(f"workers is {workers!r}; a whole number from 1 on, or None, is wanted.")
    if source is None and (name == "ray" or (workers or 1) > 1):
        given = "engine='ray'" if name == "ray" else f"workers={workers}"
        raise ModelError(
            f"{given} was given with a model or samples in memory, which other processes cannot open. "
            "Give the path of a model and of a samples file."
        )
    if name == "ray":
        from .dump.engine_ray import RayEngine

        assert source is not None
        return RayEngine(source, address, workers)
    if address is not None:
        raise GradtraceError("address is for engine='ray', which was not given.")
    if source is None or workers == 1:
        return None
    from .dump.engine_processes import Processes

    return Processes(source, workers, began)
