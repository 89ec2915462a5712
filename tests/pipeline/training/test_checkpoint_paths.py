"""The k best paths of a sample at one of several checkpoints, recorded again."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradtrace.pipeline.dump.checkpoints import Checkpoint
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import open_model
from gradtrace.pipeline.dump.recompute import recorded_edges
from gradtrace.pipeline.dump.samples import read_samples
from gradtrace.pipeline.training.runs import checkpoint_path, checkpoint_steps
from gradtrace.pipeline.training.training import Run
from gradtrace.queries import open_store


@pytest.mark.slow
def test_a_sample_is_recorded_again_at_its_checkpoint(trained: Run, tmp_path: Path) -> None:
    folder = trained.folder
    files = [checkpoint_path(folder, step) for step in checkpoint_steps(folder)[:2]]
    opened = open_model(str(folder), "float64")
    samples = read_samples(folder / "held_out.txt", opened.encode, 2)
    settings = {"methods": ("product", "soft"), "dtype": "float64"}
    checkpoints = [Checkpoint(file.stem, file) for file in files]
    for detail in ("all", "parameters"):
        dump(opened.traced, samples, tmp_path / detail, Settings(detail, **settings), checkpoints=checkpoints)  # type: ignore[arg-type]
    start, sample = "lstm.weight_hh_l0[1,2]", 3  # the second sample at the second checkpoint
    with open_store(tmp_path / "all") as complete, open_store(tmp_path / "parameters") as kept:
        wanted = complete.k_best(start, sample, k=30)
        assert len(kept.k_best(start, sample, k=30)) < 30
        more = recorded_edges(kept, sample, str(folder), folder / "held_out.txt")
        found = kept.k_best(start, sample, k=30, more=more)
        assert found.summary.equals(wanted.summary)
        assert not found.summary.equals(complete.k_best(start, sample - 2, k=30).summary)
