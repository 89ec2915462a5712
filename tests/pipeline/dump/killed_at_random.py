"""kill -9 at random moments: `python -m tests.pipeline.dump.killed_at_random MODEL SAMPLES FOLDER KILLS [NEW [SEED]]`.

Each dump goes into a folder of its own and is killed; what is left is opened and checked; then the same dump
completes it, and the tables must be those of an uninterrupted one. A dump is a fork of this process, whose model has
been exported (it has to run with one thread); the last NEW of them are commands of their own, killed while they start
too. Prints, as JSON, how many were killed before there was a manifest, how many left an unfinished store, how many a
finished one, and what was wrong.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import OpenedModel, open_model
from gradtrace.pipeline.dump.samples import Samples, read_samples
from gradtrace.queries import open_store
from gradtrace.queries.manifest import MANIFEST, read_manifest

from ..studies import assert_same_tables

ALL = Settings("all")  # a shard for each sample


def main(model: str, samples_file: str, folder: str, kills: str, new: str = "0", seed: str = "0") -> None:
    """Kill, check, complete, compare, and count."""
    opened = open_model(model, "float32")
    samples = read_samples(Path(samples_file), opened.encode)
    for sample in samples.samples:
        opened.traced.record(sample.encode().inputs)
    wanted = Path(folder) / "wanted"
    command = [sys.executable, "-m", "gradtrace", "dump", model, "--samples", samples_file, "--detail", "all", "--out"]
    drawn = random.Random(int(seed))
    lasts = {False: _timed(lambda: _forked(lambda: _dump(opened, samples, wanted)))}
    if int(new):
        lasts[True] = _timed(
            lambda: subprocess.run([*command, str(Path(folder) / "new")], check=True, capture_output=True)
        )
    found: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(int(kills)):
        out = Path(folder) / f"killed-{number:03d}"
        is_new = number >= int(kills) - int(new)
        begin = (
            (
                lambda out=out: (
                    subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid
                )
            )
            if is_new
            else (lambda out=out: _begun(lambda: _dump(opened, samples, out)))
        )
        was_killed = _killed(begin(), drawn.uniform(0, lasts[is_new]))
        found[_state(out) if was_killed else "ended before it was killed"] += 1
        for step in (
            lambda out=out: _check(out, wanted),
            lambda out=out: _dump(opened, samples, out),
            lambda out=out: _check(out, wanted, complete=True),
        ):
            wrong += [f"{out.name}: {said}" for said in [_forked(step)] if said]
    sys.stdout.write(json.dumps({**found, "wrong": wrong}, indent=1) + "\n")


def _timed(run: Callable[[], object]) -> float:
    started = time.monotonic()
    run()
    return time.monotonic() - started


def _begun(run: Callable[[], None]) -> int:
    """A fork that runs this and ends."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _forked(run: Callable[[], None]) -> str:
    """Run in a fork: what went wrong, '' for nothing."""
    _, status = os.waitpid(_begun(run), 0)
    return "" if status == 0 else f"ended with {status}"


def _killed(child: int, after: float) -> bool:
    """Kill a process after so many seconds, unless it has ended by then."""
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _dump(opened: OpenedModel, samples: Samples, out: Path) -> None:
    dump(opened.traced, samples, out, ALL)


def _state(out: Path) -> str:
    if not (out / MANIFEST).exists():
        return "no manifest yet"
    return "finished" if read_manifest(out).complete else "unfinished"


def _check(out: Path, wanted: Path, complete: bool = False) -> None:
    """A store that was killed can be opened, and has whole samples only; a completed one is that of no kill."""
    if not (out / MANIFEST).exists():
        assert not complete
        return
    manifest = read_manifest(out)
    with open_store(out) as store:
        failed = [check for check in store.verify() if not check.ok]
        assert failed == [] or not manifest.complete, failed
        for check in failed:
            assert "unfinished" in f"{check}" or "not finished" in f"{check}", check
        table = "edges" if manifest.n_samples else "samples"
        (n,) = store.rows(f"select count(distinct sample) as n from {table}")["n"].to_pylist()
        assert n == manifest.n_samples, (n, manifest.n_samples)
    if complete:
        assert manifest.complete
        assert_same_tables(out, wanted)


if __name__ == "__main__":
    main(*sys.argv[1:])
