"""The dump on several machines: every shard is a Ray task. All machines share the store's folder, under one path.

A task writes files of its own, so that it can be run again at any moment, even while an attempt that was given up for
lost still writes; nothing is finished before the driver, which alone holds the store, enters it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ...exporters.models import ModelError, SampleError
from ...queries.errors import StoreError
from .dump import MadeShard, Shards, Study, Task
from .study import StudySource
from .workers import AHEAD, RETRIES, EngineError, InOrder, Order, make


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

    def shards(self, study: Study, tasks: Iterator[Task], on_sample: Callable[[int], None]) -> Shards:
        """See Engine. `on_sample` is called once for each shard: how far it is is known to its worker only.

        Raises EngineError when the cluster cannot be reached, or a shard is lost with its worker again and again.
        """
        with _cluster(self.address, self.workers) as ray:
            cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
            workers = self.workers or sum(cores)
            order = Order.of(self.source, study, _cores_each(cores, workers))
            remote = ray.remote(num_cpus=order.threads, max_retries=RETRIES)(make)
            ordered = ray.put(order)
            with closing(_in_order(ray, lambda task: remote.remote(ordered, task), tasks, workers)) as shards:
                for made in shards:
                    yield made
                    on_sample(made.shard.first + made.shard.count)


def _in_order(ray: Any, start: Callable[[Task], Any], tasks: Iterator[Task], workers: int) -> Shards:
    """Keep `workers` tasks under way; hand on what they made in the order of the samples."""
    under_way: dict[Any, Task] = {}
    order = InOrder(tasks, AHEAD * workers)
    try:
        while True:
            while len(under_way) < workers and (task := order.next_task()) is not None:
                under_way[start(task)] = task
            if order.is_done():
                return
            (done,), _ = ray.wait(list(under_way), num_returns=1)
            task = under_way.pop(done)
            rest = order.add(task, _result(ray, done))
            if rest is not None:
                under_way[start(rest)] = rest
            yield from order.ready()
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
