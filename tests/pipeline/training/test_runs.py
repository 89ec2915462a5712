"""Loading a model back from its run."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from gradtrace.exporters.models import ModelError, SampleError
from gradtrace.pipeline.training.runs import checkpoint_path, is_run, load_run, load_tensors, save_tensors
from gradtrace.pipeline.training.training import Run


@pytest.fixture
def copied(trained: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.folder, tmp_path / "copy"))


def test_what_is_a_run(trained: Run, tmp_path: Path) -> None:
    assert is_run(trained.folder)
    assert not is_run(tmp_path)
    assert not is_run(tmp_path / "nothing")
    (tmp_path / "config.json").write_text("[1]")
    assert not is_run(tmp_path)


def test_a_loaded_model_has_the_loss_it_was_saved_with(trained: Run, trained_rnn: Run) -> None:
    for run, name in ((trained, "lstm_lm"), (trained_rnn, "rnn_lm")):
        traceable = load_run(run.folder)
        assert traceable.name == name
        assert not traceable.model.training
        total, count = 0.0, 0
        for line in (run.folder / "held_out.txt").read_text().splitlines():
            encoded = traceable.encode(line)
            total += len(encoded.tokens) * traceable.model(**encoded.inputs).item()
            count += len(encoded.tokens)
        assert math.isclose(total / count, run.metrics[-1].held_out_loss, rel_tol=1e-5)


def test_encoding_with_the_words_of_the_run(trained: Run) -> None:
    encode = load_run(trained.folder).encode
    assert encode("The zebra sees.").tokens == ["<eos>", "the", "<unk>", "sees", "."]
    with pytest.raises(SampleError, match="empty"):
        encode("\n")


def test_checkpoints_by_step_name_and_path(trained: Run) -> None:
    latest = load_run(trained.folder).model.state_dict()
    path = checkpoint_path(trained.folder, 10)
    states = [load_run(trained.folder, name).model.state_dict() for name in ("10", "step-000010", path.name, str(path))]
    for state in states:
        assert all(torch.equal(state[name], value) for name, value in load_tensors(path).items())
    assert not torch.equal(states[0]["decoder.bias"], latest["decoder.bias"])
    assert torch.equal(latest["decoder.bias"], load_tensors(checkpoint_path(trained.folder, 42))["decoder.bias"])


def test_a_missing_checkpoint_names_those_that_exist(trained: Run) -> None:
    for name in ("11", "best", "step-000011"):
        with pytest.raises(ModelError, match=rf"no checkpoint '{name}'. It has steps 0, 10, 20, 30, 40, 42\."):
            load_run(trained.folder, name)


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        load_run(tmp_path / "nothing")
    with pytest.raises(ModelError, match="not a training run"):
        load_run(tmp_path)


def test_a_run_of_another_version(copied: Path) -> None:
    raw = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**raw, "format_version": 99}))
    with pytest.raises(ModelError, match="run format 99; this gradtrace reads 1"):
        load_run(copied)


def test_damaged_runs(copied: Path) -> None:
    path = checkpoint_path(copied, 42)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be read"):
        load_run(copied)
    save_tensors(path, {"decoder.bias": torch.zeros(3)})
    with pytest.raises(ModelError, match="does not fit"):
        load_run(copied)
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(ModelError, match="no checkpoints yet"):
        load_run(copied)
    (copied / "config.json").write_text('{"format": "gradtrace-run", "format_version": 1}')
    with pytest.raises(ModelError, match="damaged"):
        load_run(copied)
