"""A small corpus and a training that takes a fraction of a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gradtrace.pipeline.training.training import Run, TrainingConfig, train


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Models this small only wait for each other's threads, on a busy machine for most of the time."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def config(corpus_file: Path) -> TrainingConfig:
    """With dropout, so that repeating a training also repeats what is dropped."""
    return TrainingConfig(
        hyperparameters={"embedding_size": 8, "hidden_size": 8, "layers": 2, "dropout": 0.1},
        corpus=str(corpus_file),
        epochs=6,
        learning_rate=0.02,
        checkpoint_every=10,
    )


@pytest.fixture(scope="session")
def trained(config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An `lstm_lm`; not to be changed."""
    return train(config, tmp_path_factory.mktemp("runs") / "lstm")


@pytest.fixture(scope="session")
def trained_rnn(config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An `rnn_lm`; not to be changed."""
    return train(replace(config, model="rnn_lm"), tmp_path_factory.mktemp("runs") / "rnn")
