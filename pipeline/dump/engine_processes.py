"""The dump by several processes of this machine: a sample of a small model keeps one core busy, however many there are.

The process that was started makes shards too. The others open the study again and end when it ends, in whatever way.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any

import torch

from ...exporters.onnx_graph.limits import available_memory
from ...exporters.recording.memory import peak_memory
from .dump import MadeShard, Shards, Study, Task
from .study import StudySource
from .worker_process import READY, Failed, WorkerProcess
from .workers import AHEAD, RETRIES, EngineError, InOrder, Order

_IMPORTS = 3.0  # seconds until a process has loaded what it needs
_PAYS = 2.0  # times that what is left must take longer than a process takes to begin
_BEGINNING = -1  # in place of a shard's first sample, of a process that has none yet
_WARM = 4  # samples before the time that one takes is known: the first have new graphs


@dataclass(frozen=True)
class Processes:
    """Shards made by this process and by others beside it.

    source:  what the study is opened from
    workers: processes, this one counted; None: others are begun for a model that is not large, as many as there are
        cores and memory for, when what is left takes longer than they take to begin
    began:   when the study began to be opened, by `clock`; default: now
    """

    source: StudySource
    workers: int | None = None
    began: float = field(default_factory=time.monotonic)
    clock: Callable[[], float] = time.monotonic

    def shards(self, study: Study, tasks: Iterator[Task], on_sample: Callable[[int], None]) -> Shards:
        """See Engine. EngineError when a shard is lost with its process again and again."""
        cores = torch.get_num_threads()
        order = InOrder(tasks, AHEAD * (self.workers or cores))
        with ExitStack() as at_end:
            at_end.callback(torch.set_num_threads, cores)
            crew = at_end.enter_context(_Crew(order, on_sample, asked=self.workers is not None))
            begin = _Begin(self, study, crew, cores, self.clock() - self.began + _IMPORTS)
            if self.workers is not None:
                begin(self.workers - 1)
            while True:
                crew.hear()
                yield from order.ready()
                task = crew.next_task()
                if task is not None:
                    crew.add(task, study.make(task, begin.on_sample))
                elif order.is_done():
                    return
                else:
                    crew.hear(wait=True)


class _Begin:
    """Begins the other processes, at once or when it pays."""

    def __init__(self, engine: Processes, study: Study, crew: _Crew, cores: int, opening: float) -> None:
        """opening: seconds until a process makes its first sample"""
        self._engine, self._study, self._crew, self._cores, self._opening = engine, study, crew, cores, opening
        self._waits = engine.workers is None and cores > 1 and not study.is_large
        self._times: deque[float] = deque(maxlen=_WARM)  # at which this process finished samples
        # now, not within a shard: it takes the weights of each checkpoint
        self._order = Order.of(engine.source, study, 1)

    def __call__(self, n: int) -> None:
        """Begin n processes, which share the cores with this one."""
        self._waits = False
        threads = max(1, self._cores // (n + 1))
        torch.set_num_threads(threads)
        self._crew.begin(n, replace(self._order, threads=threads))

    def on_sample(self, number: int) -> None:
        """This process has finished a sample; `number` counts those of its own shard too, and is not needed."""
        del number
        self._crew.on_own_sample()
        if self._waits:
            self._times.append(self._engine.clock())
            if len(self._times) == _WARM and self._left() > _PAYS * self._opening:
                self(min(self._cores, 1 + available_memory() // peak_memory()) - 1)

    def _left(self) -> float:
        """Seconds that this process would take for the rest."""
        a_sample = (self._times[-1] - self._times[0]) / (_WARM - 1)
        return a_sample * (len(self._study) - self._crew.done)


class _Crew:
    """The other processes, what each makes, and what is still to be made. Use as a context manager: it ends them."""

    def __init__(self, order: InOrder, on_sample: Callable[[int], None], *, asked: bool) -> None:
        """asked: whether somebody asked for them; otherwise those that cannot open the study are done without"""
        self._asked = asked
        self._order = order
        self._on_sample = on_sample
        self._heard: SimpleQueue[tuple[WorkerProcess, Any]] = SimpleQueue()
        self._workers: list[WorkerProcess] = []
        self._rests: deque[Task] = deque()
        self._lost: deque[Task] = deque()  # for other processes than this one, which may be lost in the same way
        self._losses: Counter[int] = Counter()  # by first sample
        self._told: Order | None = None
        self._before: int | None = None
        self._finished = 0  # samples of the shards that are made
        self._own = 0  # samples of the shard that this process makes
        self.done = 0

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.stop()

    def begin(self, n: int, order: Order) -> None:
        """Begin n processes."""
        self._told = order
        self._workers += [WorkerProcess(order, self._heard) for _ in range(n)]
        self._hand_out()

    def next_task(self) -> Task | None:
        """What this process is to make next; None: nothing, or others have to finish first."""
        if self._lost and not self._workers:
            return self._lost.popleft()
        return self._next()

    def _next(self) -> Task | None:
        task = self._rests.popleft() if self._rests else self._order.next_task()
        if self._before is None and task is not None:
            self._before = task.ids.start
        return task

    def on_own_sample(self) -> None:
        """This process has finished a sample."""
        self._own += 1
        self.hear()
        self._say()

    def add(self, task: Task, made: MadeShard) -> None:
        """Take a shard that this process has made."""
        self._own = 0
        self._add(task, made)

    def _add(self, task: Task, made: MadeShard) -> None:
        self._finished += made.shard.count
        rest = self._order.add(task, made)
        if rest is not None:
            self._rests.append(rest)

    def hear(self, *, wait: bool = False) -> None:
        """Take what the others have said, and give those that are idle something to make. wait: for one to speak"""
        self._hand_out()
        with suppress(Empty):
            while True:
                self._take(*self._heard.get(block=wait))
                wait = False
                self._hand_out()

    def _hand_out(self) -> None:
        for worker in self._workers:
            if worker.ready and worker.task is None:
                task = self._lost.popleft() if self._lost else self._next()
                if task is None:
                    return
                worker.make(task)

    def _take(self, worker: WorkerProcess, said: Any) -> None:
        if isinstance(said, Failed) and not worker.ready and not self._asked:
            self._workers.remove(worker)
            worker.stop()
        elif isinstance(said, Failed):
            said.error.add_note(f"in a process that made shards:\n{said.where}")
            raise said.error
        elif said is None:
            self._replace(worker)
        elif said == READY:
            worker.ready = True
        elif isinstance(said, MadeShard):
            assert worker.task is not None
            task, worker.task, worker.done = worker.task, None, 0
            self._add(task, said)
        else:
            worker.done = said
            self._say()

    def _replace(self, worker: WorkerProcess) -> None:
        """A process has ended: another one makes its shard again. Those that cannot even begin are done without."""
        self._workers.remove(worker)
        said = worker.last_words()
        worker.stop()
        first = _BEGINNING if worker.task is None else worker.task.ids.start
        self._losses[first] += 1
        if worker.task is not None:
            self._lost.append(worker.task)
        if self._losses[first] <= RETRIES:
            assert self._told is not None
            self._workers.append(WorkerProcess(self._told, self._heard))
        elif first != _BEGINNING:
            raise EngineError(
                f"the shard of sample {first} was lost with its process {RETRIES + 1} times, the last of which {said}. "
                "Where memory is short, give fewer --workers. Run the same command again to go on."
            )

    def _say(self) -> None:
        under_way = self._own + sum(worker.done for worker in self._workers)
        self.done = max(self.done, (self._before or 0) + self._finished + under_way)
        self._on_sample(self.done)
