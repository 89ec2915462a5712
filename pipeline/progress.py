"""Progress on stderr: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

EVERY = 30.0  # seconds between two lines where there is no terminal
RECENT = 50  # calls that the rate is taken over


@dataclass
class Rate:
    """How fast it goes of late: the first samples of a dump, whose graphs are new, take longer than the rest."""

    total: int
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    said: str = ""
    _ticks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT + 1))

    def add(self, done: int, said: str = "") -> None:
        """Take note of the number done so far; what was done before the first call took no time."""
        self.done, self.said = done, said
        self._ticks.append((self.clock(), done))

    def __str__(self) -> str:
        said = f", {self.said}" if self.said else ""
        if not self._ticks or self.done == self._ticks[0][1]:
            return f"{self.done}/{self.total}{said}"
        since, before = self._ticks[0]
        rate = (self.done - before) / max(self._ticks[-1][0] - since, 1e-9)
        left = (self.total - self.done) / rate
        return f"{self.done}/{self.total}, {rate:.3g}/s, {_duration(left)} left{said}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class Advance(Protocol):
    """Told how far it is: the number done so far, and what else there is to say."""

    def __call__(self, done: int, said: str = "", /) -> None: ...


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Call what it yields with the number done so far, first with what was done before."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    rate = Rate(total)
    if not console.is_terminal:
        yield _lines(title, rate)
        return
    columns = (TextColumn(title), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(str(rate), total=total)

        def advance(done: int, said: str = "", /) -> None:
            rate.add(done, said)
            bar.update(task, completed=done, description=str(rate))

        yield advance


def _lines(title: str, rate: Rate) -> Advance:
    """Writes a line when the last one is EVERY seconds old."""
    written = rate.clock()

    def advance(done: int, said: str = "", /) -> None:
        nonlocal written
        rate.add(done, said)
        if rate.clock() - written >= EVERY:
            written = rate.clock()
            sys.stderr.write(f"{title} {rate}\n")
            sys.stderr.flush()

    return advance
