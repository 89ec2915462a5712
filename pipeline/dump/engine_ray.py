"""The dump on several machines: every shard is a Ray task. All machines share the store's folder, under one path.

A task writes files of its own, so that it can be run again at any moment, even while an attempt that was given up for
lost still writes; nothing is finished before the driver, which alone holds the store, enters it.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ...exporters.models import ModelError, SampleError
from ...exporters.recording.parameter_groups import partition
from ...exporters.store.settings import Settings
from ...queries.errors import StoreError
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


@dataclass(frozen=True)
class RayEngine:
    """Shards made at the same time by the workers of a Ray cluster.

    source:  what the study was opened from
    address: of a running cluster; None: one is started on this machine, for this dump
    workers: shards under way at the same time; None: one for each core of the cluster
    Raises EngineError when Ray is not installed.
    """

    source: StudySource
    address: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        _ray()  # before anything is opened

    def shards(self, study: Study, tasks: Iterator[Task], on_sample: Callable[[int], None]) -> Iterator[MadeShard]:
        """See Engine. `on_sample` is not called: how far the samples of a shard are is known to its worker only.

        Raises EngineError when the cluster cannot be reached, or a shard is lost with its worker again and again.
        """
        del on_sample
        with _cluster(self.address, self.workers) as ray:
            cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
            workers = self.workers or sum(cores)
            order = Order(
                self.source,
                study.settings,
                study.folder.resolve(),
                Path.cwd(),
                _cores_each(cores, workers),
                study.samples.fingerprint,
                tuple(study.model.fingerprint_at(i) for i in range(len(study.model))),
            )
            make = ray.remote(num_cpus=order.threads, max_retries=RETRIES)(_make)
            ordered = ray.put(order)
            yield from _in_order(ray, lambda task: make.remote(ordered, task), tasks, workers)


def _in_order(ray: Any, start: Callable[[Task], Any], tasks: Iterator[Task], workers: int) -> Iterator[MadeShard]:
    """Keep `workers` tasks under way; hand on what they made in the order of the samples."""
    under_way: dict[Any, Task] = {}
    made: dict[int, MadeShard] = {}  # by first sample
    begun: deque[int] = deque()  # first samples of the shards that are not handed on yet, in their order
    try:
        while True:
            while len(under_way) < workers and len(begun) < AHEAD * workers:
                task = next(tasks, None)
                if task is None:
                    break
                under_way[start(task)] = task
                begun.append(task.ids.start)
            if not begun:
                return
            (done,), _ = ray.wait(list(under_way), num_returns=1)
            task = under_way.pop(done)
            made[task.ids.start] = _result(ray, done)
            rest = task.rest(made[task.ids.start])
            if rest is not None:
                under_way[start(rest)] = rest
                begun.insert(begun.index(task.ids.start) + 1, rest.ids.start)
            while begun and begun[0] in made:
                yield made.pop(begun.popleft())
    finally:
        for reference in under_way:
            with suppress(Exception):  # the cluster may be gone
                ray.cancel(reference, force=True)


def _result(ray: Any, reference: Any) -> MadeShard:
    """What a task returned, or the error it ended with."""
    try:
        made: MadeShard = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ModelError | SampleError | StoreError | OSError):
            raise error.cause from None  # one line says it
        if not isinstance(error.cause, ray.exceptions.RayError):
            raise  # with the traceback of the worker
        raise EngineError(
            f"a worker could not begin: {_first_line(error.cause)} All machines must have gradtrace installed, in the "
            "same version."
        ) from error
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"a shard was lost with its worker {RETRIES + 1} times, the last time: {_first_line(error)} Where memory "
            "is short, give fewer --workers. Run the same command again to go on."
        ) from error
    return made


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _make(order: Order, task: Task) -> MadeShard:
    """Make one shard, on whatever machine this is."""
    torch.set_num_threads(order.threads)
    with _at(order.workdir):
        study = _open(order)
        n = len(study.samples.samples)
        for checkpoint in range(task.ids.start // n, (task.ids.stop - 1) // n + 1):
            _check_same(study.model.fingerprint_at(checkpoint), order.models[checkpoint], order)
        return study.make(task)


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


def _cores_each(cores: list[int], workers: int) -> int:
    """The most cores that each of `workers` can have on machines with so many cores; 1 where there are not enough."""
    fit = [each for each in range(1, max(cores) + 1) if sum(n // each for n in cores) >= workers]
    return max(fit, default=1)


def _ray() -> Any:
    """The module, imported only when it is asked for. Raises EngineError when it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers otherwise
    try:
        import ray
    except ImportError as error:
        raise EngineError(
            "--engine ray needs Ray, which is not installed: pip install 'gradtrace[ray]', on every machine."
        ) from error
    return ray


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[Any]:
    """Ray, connected to a cluster that is left when the dump ends."""
    ray = _ray()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
        else:
            _check_answers(address)
            ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineError(
            f"no Ray cluster can be reached at {address!r}: {_first_line(error)} Start one with "
            "`ray start --head`, or leave --address out to use this machine."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise OSError when nothing listens at HOST:PORT; Ray would try for many minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
