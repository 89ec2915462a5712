"""A process that makes shards: what it does, and how the process that began it sees it.

It is told on stdin what to make, and ends, whatever it does, as soon as nobody is there to tell it anything. It says on
stdout READY when it has opened the study, then how far each shard is, and what it is.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from tempfile import TemporaryFile
from threading import Thread
from typing import IO, Any

from ...exporters.models import ModelError
from ...queries.errors import GradtraceError, first_line
from .dump import MadeShard, Task
from .workers import Order, make, prepare

_SERVE = f"import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from {__name__} import serve; serve()"


READY = "ready"


@dataclass(frozen=True)
class Failed:
    """A worker's error, and where it was raised."""

    error: Exception
    where: str


class WorkerProcess:
    """A process that makes shards, as its parent sees it."""

    def __init__(self, order: Order, heard: SimpleQueue[tuple[WorkerProcess, Any]]) -> None:
        """heard: takes what it says, None when it has ended"""
        self.ready = False  # to make a shard
        self.task: Task | None = None
        self.done = 0  # samples of the shard that it makes
        self._errors: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self.tell(sys.path)
        self.tell(order)
        Thread(target=self._listen, args=(heard,), daemon=True).start()

    def make(self, task: Task) -> None:
        """Let it make a shard."""
        self.task, self.done = task, 0
        self.tell(task)

    def tell(self, said: Any) -> None:
        """Send it an object; one that has ended does not hear it."""
        assert self._process.stdin is not None
        with suppress(OSError):
            pickle.dump(said, self._process.stdin)
            self._process.stdin.flush()

    def _listen(self, heard: SimpleQueue[tuple[WorkerProcess, Any]]) -> None:
        assert self._process.stdout is not None
        with suppress(Exception):  # it ended, perhaps within a word, of which pickle may think anything
            while True:
                heard.put((self, pickle.load(self._process.stdout)))
        heard.put((self, None))

    def last_words(self) -> str:
        """How it ended, and the last line that it, or what it calls, wrote to stderr."""
        self._process.kill()
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with exit code {status}"
        return f"ended {how}: {said}"

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            with suppress(OSError):  # bytes that it did not take
                pipe.close()


# In the process itself


def serve() -> None:
    """What the process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches its parent, which ends it
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # where a model may print
    order: Order = pickle.load(sys.stdin.buffer)
    tasks: SimpleQueue[Task] = SimpleQueue()
    Thread(target=_listen, args=(tasks,), daemon=True).start()

    def say(said: object) -> None:
        pickle.dump(said, out)
        out.flush()

    def ready() -> str:
        prepare(order)
        return READY

    def make_next() -> MadeShard:
        task = tasks.get()
        return make(order, task, lambda number: say(number - task.ids.start))

    say(_answer(ready))
    while True:
        say(_answer(make_next))


def _listen(tasks: SimpleQueue[Task]) -> None:
    """Take tasks; end this process, whatever it does, as soon as nobody is there to give any."""
    try:
        while True:
            tasks.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(1)


def _answer(find: Callable[[], object]) -> object:
    """What it finds, or its error."""
    try:
        return find()
    except Exception as error:
        return Failed(_plain(error), traceback.format_exc())


def _plain(error: Exception) -> Exception:
    """The same error, or one that says the same where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        plain = ModelError if isinstance(error, GradtraceError) else RuntimeError
        return plain(str(error) if isinstance(error, GradtraceError) else first_line(error))
    return error
