"""What other processes need to make shards, here or on other machines, and the order in which shards come back."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch

from ...exporters.models import ModelError
from ...exporters.recording.parameter_groups import partition
from ...exporters.store.settings import Settings
from .checkpoints import AtCheckpoints
from .dump import MadeShard, Study, Task, first_recording
from .study import StudySource

RETRIES = 5  # of one shard, each after the loss of the worker or the machine that made it
AHEAD = 4  # shards under way or waiting to be entered, for each worker


class EngineError(ModelError):
    """The engine asked for cannot be used. The message says what is missing and what to do."""


@dataclass(frozen=True)
class Order:
    """What a worker on any machine needs to make shards: all of it is plain data.

    workdir: folder that relative paths are seen from
    threads: cores of one shard
    samples, models: fingerprints of the samples and of the model at each checkpoint, as the driver has them
    """

    source: StudySource
    settings: Settings
    store: Path
    workdir: Path
    threads: int
    samples: str
    models: tuple[str, ...]

    @classmethod
    def of(cls, source: StudySource, study: Study, threads: int) -> Order:
        """For the shards of a study that was opened from `source`."""
        models = tuple(study.model.fingerprint_at(i) for i in range(len(study.model)))
        store, samples = study.folder.resolve(), study.samples.fingerprint
        return cls(source, study.settings, store, Path.cwd(), threads, samples, models)


def prepare(order: Order) -> None:
    """Open the study, which the first shard would do otherwise."""
    torch.set_num_threads(order.threads)
    with _at(order.workdir):
        _open(order)


def make(order: Order, task: Task, on_sample: Callable[[int], None] = lambda _: None) -> MadeShard:
    """Make one shard, on whatever machine this is. EngineError when it has other files than the driver."""
    torch.set_num_threads(order.threads)
    with _at(order.workdir):
        study = _open(order)
        n = len(study.samples.samples)
        for checkpoint in range(task.ids.start // n, (task.ids.stop - 1) // n + 1):
            _check_same(study.model.fingerprint_at(checkpoint), order.models[checkpoint], order)
        return study.make(task, on_sample)


@lru_cache(maxsize=1)
def _open(order: Order) -> Study:
    """The study, opened once in each worker process."""
    opened = order.source.open()
    model = AtCheckpoints(opened.traced, opened.checkpoints)
    example = first_recording(model.last, opened.samples.samples)
    _check_same(opened.samples.fingerprint, order.samples, order)
    return Study(model, opened.samples, order.settings, order.store, partition(example))


def _check_same(found: str, wanted: str, order: Order) -> None:
    """Raise EngineError when this machine sees other files than the driver."""
    if found != wanted:
        raise EngineError(
            f"{socket.gethostname()} opened another model or other samples than the driver from {order.source.model} "
            f"and {order.source.samples}. All machines must see the same files, and have the same versions installed."
        )


@contextmanager
def _at(workdir: Path) -> Iterator[None]:
    """In the driver's working folder, which all machines must have."""
    try:
        inside = chdir(workdir)
        inside.__enter__()
    except OSError as error:
        raise EngineError(
            f"{socket.gethostname()} has no folder {workdir}. All machines must see the folder that the dump is run in."
        ) from error
    try:
        yield
    finally:
        inside.__exit__(None, None, None)


@dataclass
class InOrder:
    """Shards made at the same time, handed on in the order of their samples."""

    tasks: Iterator[Task]
    most: int  # that may be under way or waiting
    _begun: deque[int] = field(default_factory=deque)  # first samples of those not handed on yet, in their order
    _made: dict[int, MadeShard] = field(default_factory=dict)  # by first sample

    def next_task(self) -> Task | None:
        """The next shard to begin; None: there is none, or too many wait for the first of them."""
        task = next(self.tasks, None) if len(self._begun) < self.most else None
        if task is not None:
            self._begun.append(task.ids.start)
        return task

    def is_done(self) -> bool:
        """Whether all shards that were begun are handed on."""
        return not self._begun

    def add(self, task: Task, made: MadeShard) -> Task | None:
        """Take a shard that was made; what is left of its task is one more to begin."""
        self._made[task.ids.start] = made
        rest = task.rest(made)
        if rest is not None:
            self._begun.insert(self._begun.index(task.ids.start) + 1, rest.ids.start)
        return rest

    def ready(self) -> Iterator[MadeShard]:
        """Those whose turn has come."""
        while self._begun and self._begun[0] in self._made:
            yield self._made.pop(self._begun.popleft())
