"""A shard closes after a number of samples or a minute, whichever is first; where it ends says nothing of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradtrace.exporters.store.settings import SHARD_SECONDS, Settings
from gradtrace.pipeline.dump.dump import MadeShard, Shards, Study, Task, dump
from gradtrace.pipeline.dump.engine_ray import _in_order
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import Samples, read_samples
from gradtrace.queries import open_store
from gradtrace.queries.manifest import read_manifest

from ..studies import assert_same_tables, write_lines

STUDY = Settings("study")
LINES = (
    "dog",
    "the cat",
    "",
    "a big bird hears us",
    "a dog",
    "the cat sees me",
    "a cat",
    "the dog likes us",
    "me",
    "cat",
)


class Clock:
    """Goes on by a number of seconds whenever it is looked at."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 1000.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


class InsteadOfRay:
    """What `_in_order` needs of Ray: tasks run at once, and are ready from the last to the first."""

    def wait(self, references: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        assert num_returns == 1
        return references[-1:], references[:-1]

    def get(self, reference: tuple[int, MadeShard]) -> MadeShard:
        return reference[1]


class Workers:
    """An engine as `RayEngine` is, in this process: shards are made ahead, and arrive in another order."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.numbers = iter(range(1000))

    def shards(self, study: Study, tasks: Iterator[Task], on_sample: Callable[[int], None]) -> Shards:
        del on_sample

        class Made(tuple[int, MadeShard]):
            __hash__ = object.__hash__

        def start(task: Task) -> Made:
            return Made((next(self.numbers), study.make(task)))

        yield from _in_order(InsteadOfRay(), start, tasks, self.workers)


@pytest.fixture(scope="module")
def lines(rnn: OpenedModel, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """LINES for the Elman RNN: one shard of a study, were it not for the clock."""
    return read_samples(write_lines(tmp_path_factory.mktemp("lines") / "lines.txt", *LINES), rnn.encode)


@pytest.fixture(scope="module")
def wanted(rnn: OpenedModel, lines: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their store, made in no time."""
    out = tmp_path_factory.mktemp("wanted") / "store"
    dump(rnn.traced, lines, out, STUDY, clock=lambda: 0.0)
    return out


def ranges(store: Path) -> list[tuple[int, int]]:
    """First sample and number of samples of every shard."""
    return [(shard.first, shard.count) for shard in read_manifest(store).shards]


def test_without_haste_a_shard_has_its_number_of_samples(wanted: Path) -> None:
    assert ranges(wanted) == [(0, 10)]


@pytest.mark.parametrize(
    ("seconds", "shards"),
    [
        (SHARD_SECONDS, [(i, 1) for i in range(10)]),
        (SHARD_SECONDS / 3, [(0, 3), (3, 3), (6, 3), (9, 1)]),
        (SHARD_SECONDS / 10, [(0, 10)]),
        (SHARD_SECONDS / 9, [(0, 9), (9, 1)]),
    ],
)
def test_a_minute_closes_a_shard(
    rnn: OpenedModel, lines: Samples, wanted: Path, in_memory: Path, seconds: float, shards: list[tuple[int, int]]
) -> None:
    done: list[int] = []
    dump(rnn.traced, lines, in_memory / "store", STUDY, done.append, clock=Clock(seconds))
    assert ranges(in_memory / "store") == shards
    assert_same_tables(in_memory / "store", wanted)
    assert done == sorted(done)
    assert done[-1] == 10
    with open_store(in_memory / "store") as store:
        assert [check for check in store.verify() if not check.ok] == []


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("detail", ["all", "parameters", "study"])
def test_workers_that_are_slow(rnn: OpenedModel, lines: Samples, in_memory: Path, workers: int, detail: str) -> None:
    settings = Settings(detail)
    dump(rnn.traced, lines, in_memory / "wanted", settings)
    clock = Clock(SHARD_SECONDS / 3)
    dump(rnn.traced, lines, in_memory / "store", settings, engine=Workers(workers), clock=clock)
    found = ranges(in_memory / "store")
    assert [first for first, _ in found] == [sum(count for _, count in found[:i]) for i in range(len(found))]
    assert max(count for _, count in found) <= 3
    assert_same_tables(in_memory / "store", in_memory / "wanted")


class StopError(Exception):
    """Raised in the middle of a dump."""


@pytest.mark.parametrize("stop", [1, 4, 7, 9])
def test_continued_at_another_pace(rnn: OpenedModel, lines: Samples, wanted: Path, in_memory: Path, stop: int) -> None:
    def until(done: int) -> None:
        if done == stop:
            raise StopError

    out = in_memory / "store"
    with pytest.raises(StopError):
        dump(rnn.traced, lines, out, STUDY, until, clock=Clock(SHARD_SECONDS / 2))
    before = stop // 2 * 2 if stop % 2 else stop - 2
    assert ranges(out) == [(first, 2) for first in range(0, before, 2)]
    summary = dump(rnn.traced, lines, out, STUDY, clock=Clock(SHARD_SECONDS / 3))
    assert (summary.before, summary.stored) == (before, 9)
    assert ranges(out)[-1][0] + ranges(out)[-1][1] == 10
    assert_same_tables(out, wanted)
