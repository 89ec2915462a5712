"""`gradtrace train`, `zoo` and `generate`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gradtrace.exporters.models import ModelError, SampleError
from gradtrace.pipeline.cli import app
from gradtrace.pipeline.corpora.grammars import GENERATORS
from gradtrace.pipeline.training.runs import read_config
from gradtrace.pipeline.zoo import family_names


def run(*words: str) -> str:
    """What a command prints; its errors are raised."""
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_training_with_hyperparameters(tmp_path: Path) -> None:
    sizes = ["-p", "layers=2", "-p", "hidden_size=6", "-p", "embedding_size=5"]
    options = ["--corpus", "agreement:40", "--epochs", "1"]
    printed = run("train", "gru_lm", *sizes, *options, "--out", str(tmp_path / "run"))
    assert "held-out perplexity" in printed
    assert "checkpoints at steps 0, " in printed
    config = read_config(tmp_path / "run")["config"]
    assert config["hyperparameters"] == {"embedding_size": 5, "hidden_size": 6, "layers": 2, "dropout": 0.0}


def test_training_on_parallel_files(tmp_path: Path) -> None:
    (tmp_path / "src.en").write_text("the cat sleeps .\nthe dog sleeps .\n" * 10)
    (tmp_path / "tgt.fr").write_text("le chat dort .\nle chien dort .\n" * 10)
    corpus = f"{tmp_path / 'src.en'},{tmp_path / 'tgt.fr'}"
    run("train", "attention_nmt", "--corpus", corpus, "--epochs", "1", "--out", str(tmp_path / "run"))
    names = {path.name for path in (tmp_path / "run").glob("vocabulary*")}
    assert names == {"vocabulary.source.json", "vocabulary.target.json"}
    assert (tmp_path / "run" / "held_out.txt").read_text().splitlines()[0] == "the dog sleeps .\tle chien dort ."


def test_what_train_refuses(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Did you mean gru_lm"):
        run("train", "gr_lm", "--out", str(tmp_path / "run"))
    with pytest.raises(ModelError, match=r"'unit'.*It has embedding_size"):
        run("train", "gru_lm", "-p", "unit=3", "--out", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_zoo_lists_families_hyperparameters_and_tasks() -> None:
    printed = run("zoo")
    for name in family_names():
        assert f"{name}: " in printed
    printed = run("zoo", "transformer_lm")
    assert printed.startswith("transformer_lm: language modelling\n")
    assert "-p norm=pre" in printed
    assert "one of sinusoidal, learned" in printed
    assert "objectives: loss, agreement" in printed


def test_generating_samples() -> None:
    assert run("generate", "translation", "--count", "5", "--seed", "2").splitlines() == GENERATORS["translation"](5, 2)
    with pytest.raises(SampleError, match="Did you mean agreement"):
        run("generate", "agrement")
