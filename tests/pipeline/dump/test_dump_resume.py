"""A dump that is interrupted, at any moment and in any way, and run again ends with the tables of an uninterrupted
one.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gradtrace.exporters.store.shard import ShardWriter
from gradtrace.exporters.store.writer import StoreWriter
from gradtrace.pipeline.dump.dump import Settings, Summary, dump
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import Samples, read_samples
from gradtrace.queries import StoreError, open_store
from gradtrace.queries.manifest import MANIFEST, Shard, check_sums, read_manifest

from ..studies import assert_one_line_error, assert_same_tables, gradtrace, rows, write_lines

ALL = Settings("all")  # one shard for each sample
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def two(rnn: OpenedModel, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Two samples, of two shapes: a graph is added in the second shard."""
    return read_samples(write_lines(tmp_path_factory.mktemp("two") / "two.txt", "the cat", "dog"), rnn.encode)


@pytest.fixture(scope="module")
def uninterrupted(rnn: OpenedModel, two: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of those samples."""
    out = tmp_path_factory.mktemp("uninterrupted") / "store"
    dump(rnn.traced, two, out, ALL)
    return out


class StopError(Exception):
    """Raised in the middle of a dump."""


@contextmanager
def at_call(number: int, error: BaseException) -> Iterator[None]:
    """While active, raise `error` at the n-th fsync, rename or write of rows."""
    calls = iter(range(number + 1))

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(calls, None) == number:
                raise error
            return original(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((os, "fsync"), (Path, "replace"), (pq.ParquetWriter, "write_table")):
            patch.setattr(owner, name, counted(getattr(owner, name)))
        yield


def stopped_at(number: int, run: Callable[[], Summary]) -> bool:
    """Run with an error raised at the n-th call; False when the dump has fewer calls."""
    with at_call(number, StopError("stopped")):
        try:
            run()
        except StopError:
            return True
    return False


def leftovers(store: Path) -> list[str]:
    """Files that a finished or interrupted and continued store must not hold."""
    listed = {file.path for file in read_manifest(store).all_files()} | {MANIFEST, "model.onnx", ".lock"}
    return [
        path.relative_to(store).as_posix()
        for path in store.rglob("*")
        if (path.is_file() and path.relative_to(store).as_posix() not in listed)
        or (path.name.startswith("shard=") and not any(path.iterdir()))
    ]


def assert_readable_in_between(store: Path, wanted: Path, verify: bool = True) -> None:
    """What is finished is whole, and equals the same samples of the uninterrupted store."""
    if not (store / MANIFEST).exists():
        return
    finished = sum(shard.count for shard in read_manifest(store).shards)
    with open_store(store) as opened:
        assert opened.rows("select count(*) as n from samples")["n"].to_pylist() == [finished]
        assert opened.rows("select count(distinct sample) as n from edges")["n"].to_pylist() == [finished]
        if verify and finished:
            assert [check for check in opened.verify() if not check.ok] == []
    for table in ("samples", "edges", "best_edges", "path_edges"):
        assert rows(store, table).equals(rows(wanted, table).slice(0, rows(store, table).num_rows)), table


def sampled(step: int) -> list[Any]:
    """Numbers of calls: every `step`-th, and more as slow tests."""
    return [pytest.param(n, marks=[] if n % step == 0 else pytest.mark.slow) for n in range(120) if n % step % 3 == 0]


@pytest.mark.parametrize("number", sampled(13))
def test_an_error_at_any_moment(
    rnn: OpenedModel, two: Samples, uninterrupted: Path, in_memory: Path, number: int
) -> None:
    out = in_memory / "store"
    stopped = stopped_at(number, lambda: dump(rnn.traced, two, out, ALL))
    assert stopped or number > 100
    assert_readable_in_between(out, uninterrupted, verify=number % 13 == 0)
    summary = dump(rnn.traced, two, out, ALL)
    assert (summary.stored, summary.failed) == (2, [])
    assert_same_tables(out, uninterrupted)
    assert leftovers(out) == []


@pytest.mark.slow
def test_killed_at_any_moment(models_file: Path, rnn: OpenedModel, uninterrupted: Path, in_memory: Path) -> None:
    """kill -9 at every 13th call (by hand: every one), in processes of their own; then the same command."""
    step = 13
    samples = write_lines(in_memory / "two.txt", "the cat", "dog")
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "tests.pipeline.dump.killed_dumps",
        f"{models_file}:rnn",
        samples,
        in_memory,
        str(step),
    ]
    ran = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True, check=True)
    *killed, finished = sorted(in_memory.glob("killed-*"))
    assert int(ran.stdout) == len(killed) > 90 / step
    assert_same_tables(finished, uninterrupted)
    for number, out in enumerate(killed):
        assert_readable_in_between(out, uninterrupted, verify=number % 5 == 2)
        dump(rnn.traced, read_samples(samples, rnn.encode), out, ALL)
        assert_same_tables(out, uninterrupted)
        assert leftovers(out) == []


@pytest.mark.slow
def test_killed_at_random_moments(models_file: Path, in_memory: Path) -> None:
    """By hand: at a hundred, twenty of them commands of their own."""
    samples = write_lines(in_memory / "some.txt", *(f"the {'big ' * i}cat" for i in range(6)))
    command = [sys.executable, "-m", "tests.pipeline.dump.killed_at_random", f"{models_file}:rnn", samples, in_memory]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    ran = subprocess.run([*command, "5", "1"], cwd=ROOT, env=one_thread, capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert found.pop("wrong") == [], ran.stderr
    assert sum(found.values()) == 5


def test_stopped_again_and_again(rnn: OpenedModel, sentences: Samples, in_memory: Path) -> None:
    dump(rnn.traced, sentences, in_memory / "wanted", ALL)
    out = in_memory / "store"
    before = []
    for number in (30, 55, 40, 70, 60):
        stopped_at(number, lambda: dump(rnn.traced, sentences, out, ALL))
        before.append(len(read_manifest(out).shards))
    assert before == sorted(before)
    dump(rnn.traced, sentences, out, ALL)
    assert_same_tables(out, in_memory / "wanted")
    assert leftovers(out) == []


def test_a_finished_dump_writes_nothing_new(
    rnn: OpenedModel, two: Samples, uninterrupted: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(uninterrupted, tmp_path / "store"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    summary = dump(rnn.traced, two, out, ALL)
    assert (summary.before, summary.stored) == (2, 2)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before
    assert_same_tables(out, uninterrupted)


def test_the_first_sample_of_another_shape_than_the_lost_ones(
    models_file: Path, rnn: OpenedModel, in_memory: Path
) -> None:
    """A continued dump exports again, with other shapes known: the graphs keep their numbers."""
    from gradtrace.pipeline.dump.models import open_model

    path = write_lines(in_memory / "s.txt", "", "dog", "the cat sees me", "", "a bird", "the dog likes us", "a cat")
    samples = read_samples(path, rnn.encode)
    dump(open_model(f"{models_file}:rnn", "float32").traced, samples, in_memory / "wanted", ALL)
    out = in_memory / "store"
    for number in (60, 90):
        model = open_model(f"{models_file}:rnn", "float32")
        assert stopped_at(number, lambda model=model: dump(model.traced, samples, out, ALL))  # type: ignore[misc]
    summary = dump(open_model(f"{models_file}:rnn", "float32").traced, samples, out, ALL)
    assert [number for number, _ in summary.failed] == [0, 3]
    assert_same_tables(out, in_memory / "wanted")


def test_sound_between_graph_tables_and_manifest(rnn: OpenedModel, two: Samples, in_memory: Path) -> None:
    """The graph tables of the next shard are written beside those that the manifest lists, which stay as they are."""
    seen = []
    enter = StoreWriter.enter

    def entering(self: StoreWriter, shard: Shard, graphs: Sequence[int]) -> None:
        listed = read_manifest(self.folder)
        check_sums(self.folder, listed, listed.all_files())
        unlisted = {path.name for path in self.folder.glob("nodes*.parquet")} - set(listed.graph_paths())
        seen.append((len(listed.shards), len(listed.graph_files), len(unlisted)))
        if listed.shards:
            with open_store(self.folder) as opened:
                assert [check for check in opened.verify() if not check.ok] == []
        enter(self, shard, graphs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoreWriter, "enter", entering)
        dump(rnn.traced, two, in_memory / "store", ALL)
    assert seen == [(0, 0, 1), (1, 5, 1)]
    assert read_manifest(in_memory / "store").graph_files["nodes"].path == "nodes.parquet"
    assert leftovers(in_memory / "store") == []


def test_two_dumps_into_one_folder(rnn: OpenedModel, two: Samples, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    refused: list[str] = []

    def second(_: int) -> None:
        with pytest.raises(StoreError) as error:
            dump(rnn.traced, two, out, ALL)
        refused.append(str(error.value))

    dump(rnn.traced, two, out, ALL, on_sample=second)
    assert len(refused) >= 2
    assert all(f"another dump is writing {out}" in message for message in refused)
    assert_same_tables(out, uninterrupted)


def test_a_dump_that_began_while_another_made_the_store(
    rnn: OpenedModel, lstm: OpenedModel, two: Samples, uninterrupted: Path, tmp_path: Path
) -> None:
    """The second saw an empty folder, then the first wrote its whole store, then the second got the lock."""
    out = tmp_path / "store"
    flock = fcntl.flock
    with pytest.MonkeyPatch.context() as patch:

        def late(*arguments: Any) -> None:
            patch.setattr(fcntl, "flock", flock)
            dump(rnn.traced, two, out, ALL)
            flock(*arguments)

        patch.setattr(fcntl, "flock", late)
        with pytest.raises(StoreError, match="holds another dump"):
            dump(lstm.traced, two, out, ALL)
    assert_same_tables(out, uninterrupted)


def test_ctrl_c(models_file: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    samples = write_lines(tmp_path / "two.txt", "the cat", "dog")
    with at_call(80, KeyboardInterrupt()):
        ran = gradtrace("dump", f"{models_file}:rnn", "--samples", samples, "--out", out, "--detail", "all")
    assert ran.code == 130
    assert ran.out == ""
    assert ran.err == "interrupted; what was finished is kept: run the same command again to go on\n"
    assert len(read_manifest(out).shards) == 1
    assert_readable_in_between(out, uninterrupted)
    ran = gradtrace("dump", f"{models_file}:rnn", "--samples", samples, "--out", out, "--detail", "all")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{out}: 2 samples stored (1 samples were there before)\n"
    assert_same_tables(out, uninterrupted)


def test_a_disk_that_is_full_at_any_moment(
    rnn: OpenedModel, two: Samples, uninterrupted: Path, in_memory: Path
) -> None:
    for number in (0, 5, 20, 41, 55, 80):
        out = in_memory / f"store-{number}"
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        wanted: type[Exception] = OSError if number == 0 else StoreError
        with pytest.raises(wanted, match="No space left on device"), at_call(number, full):
            dump(rnn.traced, two, out, ALL)
        assert_readable_in_between(out, uninterrupted)
        assert [path for path in out.rglob("*.tmp") if path.is_file()] == []
        dump(rnn.traced, two, out, ALL)
        assert_same_tables(out, uninterrupted)


def test_a_disk_that_is_really_full(
    models_file: Path, sentences_file: Path, small_disk: Path, lstm_store: Path
) -> None:
    out = small_disk / "store"
    command = ("dump", f"{models_file}:lstm", "--samples", sentences_file, "--out", out, "--detail", "all")
    ran = gradtrace(*command)
    assert_one_line_error(ran, "No space left on device", str(out))
    finished = len(read_manifest(out).shards)
    assert 0 < finished < 4
    assert_readable_in_between(out, lstm_store)
    assert [path for path in out.rglob("*.tmp") if path.is_file()] == []
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    ran = gradtrace(*command)
    assert (ran.code, ran.err) == (0, "")
    assert f"({finished} samples were there before)" in ran.out
    assert_same_tables(out, lstm_store)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a part of the store."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a disk of limited size cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_shard_given_up_lets_go_of_every_file(in_memory: Path, uninterrupted: Path) -> None:
    """Also when not even closing a file succeeds, as on a full disk."""

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def close(self) -> None:
            self.file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    writer = ShardWriter(in_memory, 0, "float32")
    for table in ("samples", "edges"):
        writer.write(table, pq.read_table(uninterrupted / table / "shard=00000" / "part-0.parquet"))
    for part in writer._all_parts():
        part._file = Full(part._file)  # type: ignore[assignment]
    writer.discard()
    assert [path for path in in_memory.rglob("*") if path.is_file()] == []
