"""Whoever makes the shards, in whatever order and however often, the store is the same."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gradtrace.exporters.store.settings import Settings
from gradtrace.pipeline.dump.dump import Local, Shards, Study, Task, dump, first_recording
from gradtrace.pipeline.dump.engine_ray import RayEngine, _cores_each
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import Samples, read_samples
from gradtrace.pipeline.dump.study import StudySource
from gradtrace.pipeline.dump.workers import EngineError, Order, make
from gradtrace.queries import StoreError
from gradtrace.queries.manifest import read_manifest

from ..studies import MODELS, assert_one_line_error, assert_same_tables, fingerprints, gradtrace, write_lines

ALL = Settings("all")  # one shard for each sample
LINES = ("dog", "the cat", "", "a big bird hears us", "dog", "the cat sees me", "a cat", "the dog likes us")


@pytest.fixture(scope="module")
def lines_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LINES: five lengths, one sample that is none."""
    return write_lines(tmp_path_factory.mktemp("lines") / "lines.txt", *LINES)


@pytest.fixture(scope="module")
def lines(rnn: OpenedModel, lines_file: Path) -> Samples:
    """LINES for the Elman RNN."""
    return read_samples(lines_file, rnn.encode)


@pytest.fixture(scope="module")
def wanted(rnn: OpenedModel, lines: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that one process writes, sample after sample."""
    out = tmp_path_factory.mktemp("wanted") / "store"
    dump(rnn.traced, lines, out, ALL)
    return out


class Blind:
    """Takes all tasks at once, so that none knows a graph, and makes the shards from the last to the first."""

    def shards(self, study: Study, tasks: Iterator[Task], on_sample: Callable[[int], None]) -> Shards:
        made = [study.make(task, on_sample) for task in reversed(list(tasks))]
        assert all(shard.new for shard in made if shard.rows[0]["status"] == "ok")
        yield from reversed(made)


class Twice:
    """Makes every shard twice; the first attempt is lost behind its last file."""

    def shards(self, study: Study, tasks: Iterator[Task], on_sample: Callable[[int], None]) -> Shards:
        for task in tasks:
            study.make(task)
            yield study.make(task, on_sample)


@pytest.mark.parametrize("engine", [Blind(), Twice()])
def test_the_order_and_the_number_of_attempts_do_not_matter(
    rnn: OpenedModel, lines: Samples, wanted: Path, in_memory: Path, engine: Blind | Twice
) -> None:
    out = in_memory / "store"
    summary = dump(rnn.traced, lines, out, ALL, engine=engine)
    assert (summary.stored, [number for number, _ in summary.failed]) == (7, [2])
    assert_same_tables(out, wanted)
    listed = {file.path for file in read_manifest(out).table_files()}
    assert {name for name in fingerprints(out) if name.endswith((".parquet", ".tmp"))} == listed


def test_shards_of_several_samples_with_numbers_of_their_own(rnn: OpenedModel, lines: Samples, in_memory: Path) -> None:
    """Two shards that both begin to number graphs at 0; the second shares some with the first."""
    twice = replace(lines, samples=[*lines.samples, *reversed(lines.samples)])
    dump(rnn.traced, twice, in_memory / "wanted", Settings())
    dump(rnn.traced, twice, in_memory / "store", Settings(), engine=Blind())
    assert len(read_manifest(in_memory / "store").shards) == 2
    assert_same_tables(in_memory / "store", in_memory / "wanted")


def test_files_that_do_not_arrive(rnn: OpenedModel, lines: Samples, tmp_path: Path) -> None:
    """As when a worker's machine has another disk in that place."""

    class Elsewhere(Local):
        def shards(self, study: Study, tasks: Iterator[Task], on_sample: Callable[[int], None]) -> Shards:
            yield from super().shards(replace(study, folder=tmp_path / "elsewhere"), tasks, on_sample)

    with pytest.raises(StoreError, match="Choose a folder for --out that all machines share"):
        dump(rnn.traced, lines, tmp_path / "store", ALL, engine=Elsewhere())
    assert read_manifest(tmp_path / "store").shards == []


def an_order(models_file: Path, lines_file: Path, lines: Samples, rnn: OpenedModel, store: Path) -> Order:
    source = StudySource(f"{models_file}:rnn", lines_file)
    first_recording(rnn.traced, lines.samples)  # the fingerprint is of the export, too
    return Order(source, ALL, store, Path.cwd(), 1, lines.fingerprint, (rnn.traced.fingerprint(),))


def test_a_worker_makes_what_this_process_makes(
    models_file: Path, lines_file: Path, lines: Samples, rnn: OpenedModel, wanted: Path, in_memory: Path
) -> None:
    order = an_order(models_file, lines_file, lines, rnn, in_memory / "store")

    class InWorkers:
        def shards(self, study: Study, tasks: Iterator[Task], on_sample: Callable[[int], None]) -> Shards:
            del study, on_sample
            return (make(order, task) for task in tasks)

    dump(rnn.traced, lines, in_memory / "store", ALL, engine=InWorkers())
    assert_same_tables(in_memory / "store", wanted)


@pytest.mark.parametrize("part", [{"samples": "other"}, {"models": ("other",)}, {"workdir": Path("/nowhere/at/all")}])
def test_a_worker_that_sees_other_files_refuses(
    models_file: Path, lines_file: Path, lines: Samples, rnn: OpenedModel, tmp_path: Path, part: dict[str, object]
) -> None:
    order = replace(an_order(models_file, lines_file, lines, rnn, tmp_path), **part)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="All machines must see the"):
        make(order, Task(range(1), {}))
    assert list(tmp_path.iterdir()) == []


def test_cores_are_shared_out() -> None:
    assert _cores_each([8, 8], 2) == 8
    assert _cores_each([8, 8], 3) == 4  # with 5, only one shard would fit on each machine
    assert _cores_each([8, 4], 3) == 4
    assert _cores_each([2], 2) == 1
    assert _cores_each([2], 9) == 1


def test_what_the_command_refuses(
    models_file: Path, lines_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("dump", f"{models_file}:rnn", "--samples", lines_file, "--out", tmp_path / "store")
    for wrong, said in {
        ("--address", "auto"): "it is for --engine ray",
        ("--workers", 0): "greater than or equal to 1",
        ("--engine", "ray", "--workers", 0): "greater than or equal to 1",
        ("--engine", "spark"): "'spark' is not one of",
    }.items():
        ran = gradtrace(*command, *wrong)
        assert (ran.code, ran.out) == (2, "")
        assert said in " ".join(ran.err.split())
    assert not (tmp_path / "store").exists()
    monkeypatch.setitem(sys.modules, "ray", None)
    ran = gradtrace(*command, "--engine", "ray")
    assert_one_line_error(ran, "pip install 'gradtrace[ray]'")
    assert not (tmp_path / "store").exists()


# On a cluster


def some_lines(n: int) -> list[str]:
    """Samples of many lengths."""
    words = ["the", "cat", "sees", "a", "big", "bird", "here", "and", "then", "me"]
    return [" ".join(words[i % 3 : i % 3 + 1 + 5 * i % 7]) for i in range(n)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_on_workers_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)  # all paths are relative: workers see them from where the command ran
    Path("models.py").write_text(MODELS)
    write_lines(Path("lines.txt"), *some_lines(20), "")
    command = ("dump", "models.py:rnn", "--samples", "lines.txt", "--shuffle")
    assert gradtrace(*command, "--out", "wanted").code == 1  # the empty line
    ran = gradtrace(*command, "--out", "store", "--engine", "ray", "--workers", 2)
    assert (ran.code, ran.out) == (1, "store: 20 samples stored\n")
    assert_same_tables(Path("store"), Path("wanted"))
    ran = gradtrace(*command, "--out", "x", "--engine", "ray", "--address", "127.0.0.1:1")
    assert_one_line_error(ran, "no Ray cluster can be reached at '127.0.0.1:1'")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_machine_lost_in_the_middle(models_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines of one core; one is gone after the first shard, with what it was making."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    source = StudySource(f"{models_file}:rnn", write_lines(tmp_path / "lines.txt", *some_lines(12)))
    opened = source.open()
    dump(opened.traced, opened.samples, tmp_path / "wanted", ALL)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        lost = [cluster.add_node(num_cpus=1)]
        cluster.wait_for_nodes()

        def lose(done: int) -> None:
            if done == 1:
                cluster.remove_node(lost.pop(), allow_graceful=False)

        engine = RayEngine(source, cluster.address, workers=2)
        summary = dump(opened.traced, opened.samples, tmp_path / "store", ALL, lose, engine=engine)
    finally:
        cluster.shutdown()
    assert lost == []
    assert (summary.stored, summary.failed) == (12, [])
    assert_same_tables(tmp_path / "store", tmp_path / "wanted")
    listed = {file.path for file in read_manifest(tmp_path / "store").table_files()}
    assert {name for name in fingerprints(tmp_path / "store") if name.endswith((".parquet", ".tmp"))} == listed
