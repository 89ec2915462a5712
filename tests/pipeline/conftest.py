"""Two small models with their samples, and the stores dumped from them once."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import OpenedModel, open_model
from gradtrace.pipeline.dump.samples import Samples, read_samples

from .studies import MODELS, SENTENCES, write_lines


@pytest.fixture(scope="session")
def models_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's file with the factories `lstm` and `rnn`."""
    path = tmp_path_factory.mktemp("models") / "language_models.py"
    path.write_text(MODELS, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def sentences_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SENTENCES, one per line."""
    return write_lines(tmp_path_factory.mktemp("samples") / "sentences.txt", *SENTENCES)


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 sentences of one grammar, one per line."""
    subjects, verbs, objects = ("the cat", "a dog", "the old bird", "no fish"), ("sees", "hears", "likes"), ("me", "us")
    endings = ("today", "at night", "in the garden", "again", "twice")
    lines = [f"{' '.join(words)} .".capitalize() for words in itertools.product(subjects, verbs, objects, endings)]
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def lstm(models_file: Path) -> OpenedModel:
    """The LSTM in float32."""
    return open_model(f"{models_file}:lstm", "float32")


@pytest.fixture(scope="session")
def rnn(models_file: Path) -> OpenedModel:
    """The Elman RNN in float32."""
    return open_model(f"{models_file}:rnn", "float32")


@pytest.fixture(scope="session")
def sentences(lstm: OpenedModel, sentences_file: Path) -> Samples:
    """SENTENCES, for either model."""
    return read_samples(sentences_file, lstm.encode)


@pytest.fixture(scope="session")
def lstm_store(lstm: OpenedModel, sentences: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every edge of SENTENCES in the LSTM, float32; not to be changed."""
    out = tmp_path_factory.mktemp("stores") / "lstm"
    dump(lstm.traced, sentences, out, Settings("all"))
    return out


@pytest.fixture(scope="session")
def rnn_store(rnn: OpenedModel, sentences: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SENTENCES in the Elman RNN, detail 'parameters', float32; not to be changed."""
    out = tmp_path_factory.mktemp("stores") / "rnn"
    dump(rnn.traced, sentences, out, Settings())
    return out


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where fsync costs nothing, if the machine has one."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)
