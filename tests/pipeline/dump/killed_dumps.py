"""Run by test_dump_resume: dumps into FOLDER/killed-000, ..., each killed with SIGKILL at a later call that touches the
disk, until one of them finishes. Prints how many were killed.

The model is exported once; then each dump is a fork of this process, which has to run with one thread.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import OpenedModel, open_model
from gradtrace.pipeline.dump.samples import Samples, read_samples

from ...exported_once import exported_once


def main(model: str, samples_file: str, folder: str, step: str) -> None:
    """Fork, kill, and count."""
    opened = open_model(model, "float32")
    samples = read_samples(Path(samples_file), opened.encode)
    for sample in samples.samples:
        opened.traced.record(sample.encode().inputs)
    killed = 0
    while True:
        child = os.fork()
        if child == 0:
            _killed_dump(opened, samples, Path(folder) / f"killed-{killed:03d}", killed * int(step))
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        killed += 1
    assert os.WEXITSTATUS(status) == 0
    sys.stdout.write(str(killed))


def _killed_dump(opened: OpenedModel, samples: Samples, out: Path, number: int) -> None:
    """Dump, and be killed before the n-th fsync, rename or write of rows."""
    calls = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            return original(*arguments, **options)

        return call

    for owner, name in ((os, "fsync"), (Path, "replace"), (pq.ParquetWriter, "write_table")):
        setattr(owner, name, counted(getattr(owner, name)))
    status = 1
    try:
        dump(opened.traced, samples, out, Settings("all"))
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    with exported_once():
        main(*sys.argv[1:])
