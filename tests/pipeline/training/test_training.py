"""Training is repeatable, can be interrupted, and does not overwrite."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradtrace.exporters.models import Encoded, ModelError
from gradtrace.pipeline.corpora.corpora import load_corpus
from gradtrace.pipeline.corpora.vocabulary import Vocabulary
from gradtrace.pipeline.training import training
from gradtrace.pipeline.training.batches import epoch_batches
from gradtrace.pipeline.training.runs import checkpoint_steps
from gradtrace.pipeline.training.training import Run, TrainingConfig, TrainingError, train, unigram_perplexity
from gradtrace.pipeline.zoo._language_model import encode_sentence


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a run, but for the times in its metrics."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "metrics.jsonl" and path.parent.name + path.suffix != "checkpoints.json"
    }


def without_times(run: Run) -> list[Any]:
    return [replace(row, seconds=0.0) for row in run.metrics]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    """Let training stop in update `step`, as Ctrl-C does."""
    update: Callable[..., None] = training._Training.update

    def interrupted(self: Any, number: int, samples: Sequence[Encoded]) -> None:
        if number == step:
            raise error
        update(self, number, samples)

    monkeypatch.setattr(training._Training, "update", interrupted)


def test_what_a_run_holds(trained: Run) -> None:
    assert {path.name for path in trained.folder.iterdir()} == {
        "config.json", "vocabulary.json", "held_out.txt", "metrics.jsonl", "checkpoints"
    }  # fmt: skip
    assert checkpoint_steps(trained.folder) == [0, 10, 20, 30, 40, 42]
    assert trained.steps == 42
    assert trained.first_step == 0
    held_out = load_corpus(trained.config.corpus).held_out
    assert (trained.folder / "held_out.txt").read_text().splitlines() == held_out
    rows = [json.loads(line) for line in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    last = json.loads((trained.folder / "checkpoints" / "step-000042.json").read_text())
    assert [row["step"] for row in rows] == checkpoint_steps(trained.folder)
    assert rows[-1] == last


def test_perplexity_falls_below_that_of_single_words(trained: Run, trained_rnn: Run) -> None:
    for run in (trained, trained_rnn):
        assert run.held_out_perplexity < 0.7 * run.unigram_perplexity < run.metrics[0].held_out_perplexity
        assert math.isclose(math.log(run.held_out_perplexity), run.metrics[-1].held_out_loss)


def test_repeated_bit_for_bit(trained: Run, tmp_path: Path) -> None:
    torch.rand(3)  # whatever else the process draws
    before = torch.get_rng_state()
    again = train(trained.config, tmp_path / "again")
    assert files(again.folder) == files(trained.folder)
    assert without_times(again) == without_times(trained)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_is_another_model(trained: Run, tmp_path: Path) -> None:
    other = train(replace(trained.config, seed=1, epochs=1), tmp_path / "run")
    name = "checkpoints/step-000000.safetensors"
    assert files(other.folder)[name] != files(trained.folder)[name]


@pytest.mark.parametrize("step", [3, 25])
def test_interrupted_and_gone_on_with(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train(trained.config, tmp_path / "run")
    kept = step // 10 * 10
    assert checkpoint_steps(tmp_path / "run")[-1] == kept
    run = train(trained.config, tmp_path / "run")
    assert run.first_step == kept
    assert files(run.folder) == files(trained.folder)
    assert without_times(run) == without_times(trained)


def test_a_finished_run_is_left_alone(trained: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")}
    run = train(trained.config, trained.folder)
    assert run.first_step == run.steps
    assert run.metrics == trained.metrics
    assert {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")} == before


def test_damaged_metrics(trained: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "copy"))
    (folder / "metrics.jsonl").write_text('{"step": 1')
    with pytest.raises(ModelError, match="damaged"):
        train(trained.config, folder)


def test_another_run_is_not_overwritten(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="another run: epochs is 6 there"):
        train(replace(trained.config, epochs=7), trained.folder)
    text = Path(trained.config.corpus).read_text() * 2
    (tmp_path / "longer.txt").write_text(text)
    with pytest.raises(TrainingError, match="other sentences there"):
        train(replace(trained.config, corpus=str(tmp_path / "longer.txt")), trained.folder)


def test_other_folders_are_not_written_to(config: TrainingConfig, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for out in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(TrainingError, match="no training run"):
            train(config, out)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_divergence_stops_and_keeps_the_checkpoints(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update: Callable[..., None] = training._Training.update

    def poisoned(self: Any, number: int, samples: Sequence[Encoded]) -> None:
        if number == 12:
            torch.nn.init.constant_(self.model.decoder.bias, math.nan)
        update(self, number, samples)

    monkeypatch.setattr(training._Training, "update", poisoned)
    with pytest.raises(TrainingError, match=r"nan in update 12.*up to step 10.*learning rate below 0.02"):
        train(config, tmp_path / "run")
    assert checkpoint_steps(tmp_path / "run") == [0, 10]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"vocabulary_size": 2}, "3 or more"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"gradient_clip": math.inf}, "finite"),
        ({"model": "rnnlm"}, "Did you mean rnn_lm"),
        ({"hyperparameters": {"units": 3}}, "no hyperparameter 'units'"),
    ],
)
def test_bad_configurations(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        TrainingConfig(**values)


def test_batches_hold_each_sentence_once_and_like_lengths_together() -> None:
    lengths = [7, 3, 9, 3, 5, 5, 8, 2]
    batches = epoch_batches(lengths, 3, seed=0, epoch=0)
    assert sorted(i for batch in batches for i in batch) == list(range(8))
    assert sorted(sorted(lengths[i] for i in batch) for batch in batches) == [[2, 3, 3], [5, 5, 7], [8, 9]]
    assert epoch_batches(lengths, 3, seed=0, epoch=0) == batches
    assert any(epoch_batches(lengths, 3, seed=0, epoch=epoch) != batches for epoch in range(1, 9))


def test_unigram_perplexity_by_hand() -> None:
    # counts after smoothing: <unk> 1, <eos> 3, a 3 of 7; held out: a, <eos>
    sentence = encode_sentence("a", Vocabulary(("<unk>", "<eos>", "a")))
    assert math.isclose(unigram_perplexity([sentence, sentence], [sentence], 3), 7 / 3)


def test_progress_is_silent_off_a_terminal(
    config: TrainingConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(replace(config, epochs=1), tmp_path / "run")
    assert capsys.readouterr() == ("", "")
