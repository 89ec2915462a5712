"""Several processes of this machine, and several threads: the store is the same, file by file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import torch

from gradtrace.exporters.store.settings import SHARD_SIZE, Settings
from gradtrace.pipeline.dump import dump as dumping
from gradtrace.pipeline.dump import engine_processes
from gradtrace.pipeline.dump.dump import MadeShard, Study, Task, dump
from gradtrace.pipeline.dump.engine_processes import Processes, _Begin, _Crew
from gradtrace.pipeline.dump.engine_ray import RayEngine
from gradtrace.pipeline.dump.study import StudySource
from gradtrace.pipeline.dump.worker_process import Failed, WorkerProcess
from gradtrace.pipeline.dump.workers import RETRIES, EngineError, InOrder, Order
from gradtrace.queries.manifest import Shard, read_manifest

from ..studies import MODELS, assert_one_line_error, fingerprints, gradtrace, write_lines

GRADTRACE = Path(sys.executable).with_name("gradtrace")
STUDY = Settings("study", methods=("greedy", "product", "soft"), statistics=True)
WIDE = (
    MODELS.replace("(len(WORDS), 5)", "(3000, 64)")
    .replace("(6, len(WORDS))", "(128, 3000)")
    .replace("RNN(5, 6", "RNN(64, 128")
)


@pytest.fixture
def threads() -> Iterator[None]:
    """Torch's number of threads may be changed."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def four_samples_a_shard() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SHARD_SIZE, "study", 4)
        yield


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> StudySource:
    """A model whose operators torch splits over threads; samples of four lengths, and one that is none."""
    folder = tmp_path_factory.mktemp("wide")
    (folder / "wide.py").write_text(WIDE)
    lines = [" ".join(["the", "cat", "sees", "a", "big", "bird"][i % 3 : i % 3 + 1 + i // 4]) for i in range(13)]
    return StudySource(f"{folder / 'wide.py'}:rnn", write_lines(folder / "lines.txt", *lines, ""))


@pytest.fixture(scope="module")
def alone(wide: StudySource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one process on one thread."""
    out = tmp_path_factory.mktemp("alone") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SHARD_SIZE, "study", 4)
        opened = wide.open()
        dump(opened.traced, opened.samples, out, STUDY)
    return out


def files(store: Path) -> dict[str, str]:
    """All files but those that say how long it took."""
    found = fingerprints(store)
    return {name: found[name] for name in found if not name.startswith(("samples/", "manifest"))}


@pytest.mark.usefixtures("threads")
def test_threads_change_nothing(
    wide: StudySource, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(3)
    opened = wide.open()
    dump(opened.traced, opened.samples, tmp_path / "store", STUDY)
    assert torch.get_num_threads() == 3
    assert files(tmp_path / "store") == files(alone)
    monkeypatch.setattr(dumping, "LARGE", 0)  # a large model has all threads
    dump(opened.traced, opened.samples, tmp_path / "large", STUDY)
    assert files(tmp_path / "large") != files(alone)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_ray_changes_nothing(wide: StudySource, alone: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    opened = wide.open()
    dump(opened.traced, opened.samples, tmp_path / "store", STUDY, engine=RayEngine(wide, workers=2))
    assert files(tmp_path / "store") == files(alone)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[WorkerProcess]:
    """The processes that are begun. The first shard of each dump waits until all of them have something to make."""
    found: list[WorkerProcess] = []
    begin, at_once = WorkerProcess.__init__, _Begin.__call__

    def noted(process: WorkerProcess, *arguments: Any) -> None:
        begin(process, *arguments)
        found.append(process)

    def ready(self: _Begin, n: int) -> None:
        at_once(self, n)
        while not all(process.ready for process in found):
            self._crew.hear(wait=True)

    monkeypatch.setattr(WorkerProcess, "__init__", noted)
    monkeypatch.setattr(_Begin, "__call__", ready)
    return found


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.usefixtures("threads")
def test_processes_change_nothing(
    kill: bool,
    wide: StudySource,
    alone: Path,
    tmp_path: Path,
    begun: list[WorkerProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also when one of them is killed within its first shard."""
    own: list[int] = []
    make = Study.make

    def make_here(study: Study, task: Task, on_sample: Callable[[int], None]) -> MadeShard:
        own.append(task.ids.start)
        if kill and own == [4]:
            os.kill(begun[0]._process.pid, signal.SIGKILL)
        return make(study, task, on_sample)

    monkeypatch.setattr(Study, "make", make_here)
    opened = wide.open()
    seen: list[int] = []
    summary = dump(opened.traced, opened.samples, tmp_path / "store", STUDY, seen.append, engine=Processes(wide, 2))
    assert (summary.stored, [sample for sample, _ in summary.failed]) == (13, [13])
    assert own[0] == 4  # the first shard is the other's
    assert 0 not in own
    assert len(begun) == 1 + kill
    assert all(process._process.poll() is not None for process in begun)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 14)
    assert files(tmp_path / "store") == files(alone)


def test_another_model_than_this_process_has(tmp_path: Path, begun: list[WorkerProcess]) -> None:
    """As when its file is changed meanwhile."""
    model = tmp_path / "model.py"
    model.write_text(MODELS)
    source = StudySource(f"{model}:rnn", write_lines(tmp_path / "lines.txt", "the cat", "dog"))
    opened = source.open()
    model.write_text(MODELS.replace("manual_seed(3)", "manual_seed(4)"))
    with pytest.raises(EngineError, match="opened another model or other samples than the driver") as raised:
        dump(opened.traced, opened.samples, tmp_path / "store", Settings("all"), engine=Processes(source, 2))
    assert "in a process that made shards" in raised.value.__notes__[0]
    assert begun[0]._process.poll() is not None
    assert not list((tmp_path / "store").rglob("*.tmp"))


def test_a_command_says_in_one_line_what_another_process_met(tmp_path: Path, begun: list[WorkerProcess]) -> None:
    """A model that can be opened once only."""
    model = tmp_path / "model.py"
    model.write_text('import os\nos.mkdir("opened")\n' + MODELS.replace("from __future__ import annotations", ""))
    lines = write_lines(tmp_path / "lines.txt", "the cat", "dog")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        command = ("dump", f"{model}:rnn", "--samples", lines, "--workers", 2, "--out", "store")
        assert_one_line_error(gradtrace(*command), "cannot be imported: FileExistsError: ", "(model.py, line 2)")
    assert len(begun) == 1


def test_nobody_asked_for_one_that_fails() -> None:
    """The crew that begins where it pays."""
    for asked in (False, True):
        crew = _Crew(InOrder(iter([Task(range(2), {})]), 8), lambda _: None, asked=asked)
        worker = Lost()
        worker.ready, crew._workers = False, [worker]  # type: ignore[list-item]
        failed = Failed(OSError("only once"), "there")
        if asked:
            with pytest.raises(OSError, match="only once"):
                crew._take(worker, failed)  # type: ignore[arg-type]
        else:
            crew._take(worker, failed)  # type: ignore[arg-type]
            assert crew._workers == []
            assert crew.next_task() == Task(range(2), {})


class Lost:
    """A process that is always lost."""

    begins = True

    def __init__(self, *_: object) -> None:
        self.ready, self.task, self.done = self.begins, None, 0

    def make(self, task: Task) -> None:
        self.task = task

    def last_words(self) -> str:
        return "ended by signal SIGKILL: it said nothing"

    def stop(self) -> None:
        pass


def _crew(monkeypatch: pytest.MonkeyPatch, *, begins: bool) -> _Crew:
    monkeypatch.setattr(engine_processes, "WorkerProcess", Lost)
    monkeypatch.setattr(Lost, "begins", begins)
    crew = _Crew(InOrder(iter([Task(range(2), {}), Task(range(2, 4), {})]), 8), lambda _: None, asked=True)
    crew.begin(1, object())  # type: ignore[arg-type]
    return crew


def test_a_shard_that_costs_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = _crew(monkeypatch, begins=True)
    for _ in range(RETRIES):
        crew._take(crew._workers[0], None)
        crew._hand_out()
    with pytest.raises(EngineError, match=r"sample 0 was lost .* 6 times.*SIGKILL: it said nothing\. Where memory"):
        crew._take(crew._workers[0], None)


def test_without_processes_that_can_begin_this_one_goes_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = _crew(monkeypatch, begins=False)
    for _ in range(RETRIES + 1):
        (lost,) = crew._workers
        crew._take(lost, None)
    assert crew._workers == []
    assert crew.next_task() == Task(range(2), {})


class Quick(Lost):
    """A process that has made a shard as soon as it is told to."""

    def __init__(self, _: Order, heard: SimpleQueue[tuple[object, object]]) -> None:
        super().__init__()
        self.heard = heard

    def make(self, task: Task) -> None:
        self.task = task
        self.heard.put((self, MadeShard(Shard(0, task.ids.start, len(task.ids), {}), [], [], [])))


def test_all_shards_are_made_by_others(wide: StudySource, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has nothing to make, and nobody to wait for."""
    monkeypatch.setattr(engine_processes, "WorkerProcess", Quick)
    monkeypatch.setattr(Order, "of", lambda *_: Order(wide, STUDY, Path(), Path(), 1, "", ()))
    tasks = iter([Task(range(i, i + 2), {}) for i in range(6, 26, 2)])

    class Nothing:
        is_large = False

    seen: list[int] = []
    made = list(Processes(wide, 3).shards(Nothing(), tasks, seen.append))  # type: ignore[arg-type]
    assert [shard.shard.first for shard in made] == list(range(6, 26, 2))


class Clock:
    """Goes on by what a sample takes."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("left", "a_sample", "cores", "large", "free", "wanted"),
    [
        (1000, 0.1, 4, False, 9.5, 3),
        (1000, 0.1, 4, False, 2.5, 2),  # there is memory for two
        (1000, 0.1, 4, True, 9.5, None),
        (1000, 0.1, 1, False, 9.5, None),
        (100, 0.1, 4, False, 9.5, None),  # done before others have begun
        (100, 1.0, 4, False, 9.5, 3),
    ],
)
@pytest.mark.usefixtures("threads")
def test_when_it_pays(
    left: int,
    a_sample: float,
    cores: int,
    large: bool,
    free: float,
    wanted: int | None,
    wide: StudySource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_processes, "available_memory", lambda: int(free * 1000))
    monkeypatch.setattr(engine_processes, "peak_memory", lambda: 1000)
    monkeypatch.setattr(Order, "of", lambda *_: Order(wide, STUDY, Path(), Path(), 1, "", ()))

    class Some:
        done = 0
        began: tuple[int, int] | None = None

        def begin(self, n: int, order: Order) -> None:
            self.began = n, order.threads

        def on_own_sample(self) -> None:
            self.done += 1

    class Long:
        is_large = large

        def __len__(self) -> int:
            return left

    crew, clock = Some(), Clock()
    begin = _Begin(Processes(wide, None, 0.0, clock), Long(), crew, cores, 10.0)  # type: ignore[arg-type]
    for number in range(20):
        clock.now += a_sample
        begin.on_sample(number)
    assert crew.began == (None if wanted is None else (wanted, max(1, cores // (wanted + 1))))


def _children(parent: int) -> set[int]:
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return {int(pid) for pid, ppid in map(str.split, found.splitlines()) if int(ppid) == parent}


def _until(true: Callable[[], object], seconds: float = 180.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_runs_on(how: signal.Signals, wide: StudySource, tmp_path: Path) -> None:
    """Ctrl-C, which a terminal sends to all processes, and kill -9 of the one that the user started."""
    assert wide.samples is not None
    lines = write_lines(tmp_path / "lines.txt", *wide.samples.read_text().split("\n")[:13] * 2000)
    command = [GRADTRACE, "dump", wide.model, "--samples", lines, "--detail", "all", "--workers", "3", "--out", "store"]
    ran = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        manifest = tmp_path / "store" / "manifest.json"
        _until(lambda: manifest.exists() and len(_children(ran.pid)) == 2 and read_manifest(tmp_path / "store").shards)
        others = _children(ran.pid)
        if how == signal.SIGINT:
            os.killpg(ran.pid, how)
        else:
            ran.kill()
        _, said = ran.communicate(timeout=60)
        _until(lambda: not any(map(_runs, others)))  # at the latest when they are loaded
    finally:
        ran.kill()
    assert ran.returncode == (130 if how == signal.SIGINT else -how)
    assert "Traceback" not in said
    if how == signal.SIGINT:
        assert said.splitlines()[-1].startswith("interrupted; what was finished is kept")
        assert not list((tmp_path / "store").rglob("*.tmp"))
