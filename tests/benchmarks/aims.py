"""What tracing costs beside training: every figure over that of torch's own forward and backward in the same run.

    python tests/benchmarks/aims.py [ROW ...] [--sentences N]

Prints a Markdown table; without a ROW all of them, each in a process of its own, so that its memory is its own. A
*step* is torch's forward and backward of the same model on the same sample with the same threads. Weights and words are
random, which leaves the least to prune. `--sentences` is for the row `sentences`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measuring import Size, SmallModel, Subject, gpt2, lstm, machine, median_seconds, peak_memory, seconds
from plain import networkx_walk, torch_edges

from gradtrace.exporters.edges.blocks import total_edges
from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.paths.counted import study_edges
from gradtrace.exporters.paths.in_blocks import EdgesInBlocks
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.store.sample import sample_tables
from gradtrace.exporters.store.settings import Settings
from gradtrace.pipeline.dump.dump import MadeShard, Task, dump
from gradtrace.queries import open_store
from gradtrace.queries.schema import MADE_OF

AUTHORS = Size(words=10_000, units=1_000, tokens=20)
MIDDLE = Size(words=2_000, units=200, tokens=20)
SMALL = Size(words=100, units=16, tokens=8)  # networkx has one object for each edge


class Row(NamedTuple):
    """One line of the table. steps: seconds over those of a step"""

    work: str
    steps: float | None
    beside: str


def study() -> Iterator[Row]:
    """The author's model, detail study."""
    subject = lstm(AUTHORS)
    yield from _stages(subject, Settings("study"))
    recording = subject.record()
    found = best_edges(recording, 1).traced()
    wanted, took = torch_edges(recording), seconds(lambda: torch_edges(recording))
    same = float(np.mean(found == wanted))
    yield Row("the same edges found by plain torch", took / subject.step, f"{same:.2%} of the targets are the same")


def small() -> Iterator[Row]:
    """Small models, sentences of mixed length, detail study: one process, and as many as there are cores."""
    for model in (SmallModel("lstm_lm"), SmallModel("transformer_lm")):
        step, sentences = model.step(), 200
        with tempfile.TemporaryDirectory() as folder:
            alone = model.seconds_a_sentence(Path(folder), sentences, workers=1)
            together = model.seconds_a_sentence(Path(folder), sentences, workers=None)
        lengths = f"{model.SHORTEST} to {model.LONGEST} tokens"
        yield Row(f"**small {model.name}, {lengths}, detail study**: a step", 1.0, f"{step * 1e3:.2f} ms")
        yield Row("a sentence recorded, traced and written, one process", alone / step, f"{alone * 1e3:.1f} ms")
        yield Row("the same, a process for each core", together / step, f"{together * 1e3:.1f} ms")


def parameters() -> Iterator[Row]:
    """The author's model, detail parameters."""
    yield from _stages(lstm(AUTHORS), Settings("parameters"))


def all_edges() -> Iterator[Row]:
    """Every edge of two sizes: the memory beside the model's own must not grow with their number."""
    for tokens in (20, 40):
        subject = lstm(MIDDLE._replace(tokens=tokens))
        before, settings = peak_memory(), Settings("all")
        made, took = _written(subject, settings)
        files = [file for table in ("edges", *MADE_OF["edges"]) for file in made.shard.files[table]]
        n = total_edges(subject.record())
        size = sum(file.bytes for file in files) / (n * len(made.rows))
        yield Row(
            f"{subject.name}: {n:,} edges written",
            took / subject.step,
            f"{n / took / 1e6:.1f} M edges/s, {size:.2f} bytes/edge, {peak_memory() - before:,.0f} MiB more",
        )


def gpt2_study() -> Iterator[Row]:
    """The shape of GPT-2 small, detail study."""
    subject = gpt2(tokens=64)
    yield from _stages(subject, Settings("study"), repeats=1)


def importance() -> Iterator[Row]:
    """A stored sample of the author's size, asked for the importance of every component for every group."""
    subject = lstm(AUTHORS)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "store"
        source = subject.study(out, Settings("study"))
        dump(subject.model, source.samples, out, source.settings)
        with open_store(out) as store:
            traced = store.sql("select sum(traced) from path_totals").fetchall()[0][0]
            took = median_seconds(lambda: store.importance(by=["parameter_group", "component"]).to_arrow_table())
    yield Row(f"importance of {traced:,.0f} stored traces", took / subject.step, f"{took:.2f} s")


def networkx() -> Iterator[Row]:
    """A straightforward graph of objects, at a size that it can still do."""
    subject = lstm(SMALL)
    recording = subject.record()
    walked, _ = networkx_walk(recording)
    slow = seconds(lambda: networkx_walk(recording))
    fast = median_seconds(lambda: best_edges(recording, 1))
    yield Row(f"{subject.name}: networkx, {walked:,} edges walked", slow / subject.step, f"{slow:.2f} s")
    yield Row(f"{subject.name}: traced edges of every vertex", fast / subject.step, f"{slow / fast:,.0f} times as fast")


def sentences(n: int) -> Iterator[Row]:
    """Many sentences of the author's model in one dump: time and memory of the second half beside the first."""
    subject = lstm(AUTHORS)
    ticks = [time.perf_counter()]
    memory = []

    def tick(done: int) -> None:
        ticks.append(time.perf_counter())
        memory.append(peak_memory())
        if done % 100 == 0:
            sys.stderr.write(f"{done} sentences, {memory[-1]:,.0f} MiB\n")

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "store"
        source = subject.study(out, Settings("study"), n)
        dump(subject.model, source.samples, out, source.settings, tick)
        size = sum(path.stat().st_size for path in out.glob("*/shard=*/*"))
        with open_store(out) as store:
            asked = median_seconds(lambda: store.importance(by=["component"]).to_arrow_table(), 3)
    each = np.diff(ticks)[-n:]
    first, second = each[: n // 2].mean(), each[n // 2 :].mean()
    grown = memory[-1] - memory[len(memory) // 2]
    yield Row(
        f"{n:,} sentences in one dump, each",
        float(np.mean(each)) / subject.step,
        f"second half {second / first:.2f} of the first, {grown:+,.0f} MiB from half-way on (peak {memory[-1]:,.0f}), "
        f"{size / n / 1e6:.1f} MB/sentence",
    )
    yield Row("importance over all of them", asked / subject.step, f"{asked:.2f} s")


def _stages(subject: Subject, settings: Settings, repeats: int = 3) -> Iterator[Row]:
    """Recording, sweep, all rows, and the sample written."""
    yield from _stages_in_memory(subject, settings, repeats)  # whose arrays are freed by now
    made, took = _written(subject, settings)
    n_rows = sum(file.rows for file in made.shard.all_files()) / len(made.rows)
    n_bytes = sum(file.bytes for file in made.shard.all_files()) / len(made.rows)
    yield Row(
        "a sample recorded, traced and written",
        took / subject.step,
        f"{n_rows / took / 1e6:.1f} M rows/s, {n_bytes / 1e6:.1f} MB, peak {peak_memory():,.0f} MiB",
    )


def _stages_in_memory(subject: Subject, settings: Settings, repeats: int = 3) -> Iterator[Row]:
    """Recording, sweep, all rows."""
    groups = subject.groups()
    recording = subject.record(settings.needs_parameter_gradients)

    def sweep() -> None:
        if settings.detail == "study":
            study_edges(recording, settings.keep, groups.partition.group_of)
        else:
            for _ in EdgesInBlocks(recording, settings.keep, groups.partition.group_of).of_parameters():
                pass

    def rows() -> None:
        for _ in sample_tables(recording, groups, 0, settings):
            pass

    def record() -> Recording:
        return subject.record(settings.needs_parameter_gradients)

    calls: list[tuple[str, Callable[[], object]]] = [
        ("recorded", record),
        (f"best {settings.keep} edges found", sweep),
        ("all rows made", rows),
    ]
    size = f"{recording.n_parameters:,} parameters, {recording.n_vertices:,} vertices"
    yield Row(f"**{subject.name}, detail {settings.detail}**: a step", 1.0, f"{subject.step:.3f} s; {size}")
    for work, call in calls:
        yield Row(work, median_seconds(call, repeats) / subject.step, "")


def _written(subject: Subject, settings: Settings, n: int = 3) -> tuple[MadeShard, float]:
    """A shard of `n` samples, and the seconds of one behind the first, whose graph is new and is measured."""
    ticks = []
    with tempfile.TemporaryDirectory() as folder:
        study = subject.study(Path(folder) / "store", settings, n)
        made = study.make(Task(range(n), {}), lambda _: ticks.append(time.perf_counter()))
    return made, float(np.median(np.diff(ticks)))


ROWS: dict[str, Callable[[], Iterator[Row]]] = {
    "small": small,
    "study": study,
    "parameters": parameters,
    "all": all_edges,
    "gpt2": gpt2_study,
    "importance": importance,
    "networkx": networkx,
}


def main() -> None:
    """Print the rows asked for, or run this program once for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join([*ROWS, "sentences"]))
    parser.add_argument("--sentences", type=int, default=100, metavar="N")
    given = parser.parse_args()
    unknown = set(given.rows) - {*ROWS, "sentences"}
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join([*ROWS, 'sentences'])}")
    if not given.rows:
        sys.stdout.write(f"{machine()}\n\n| work | in steps | |\n|---|---|---|\n")
        sys.stdout.flush()
        for name in [*ROWS, "sentences"]:
            subprocess.run([sys.executable, __file__, name, "--sentences", str(given.sentences)], check=True)
        return
    for name in given.rows:
        for row in sentences(given.sentences) if name == "sentences" else ROWS[name]():
            steps = "" if row.steps is None else f"{row.steps:,.2g}" if row.steps < 10 else f"{row.steps:,.0f}"
            sys.stdout.write(f"| {row.work} | {steps} | {row.beside} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
