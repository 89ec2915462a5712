"""The files in data/components fit their models: every rule finds something, and the parts are a partition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from families import corpus_name

from exporters.traced_model import TorchModel
from pipeline.corpora import load_corpus
from pipeline.dump import Settings, dump
from pipeline.sources import read_samples
from pipeline.vocabulary import build_vocabularies
from pipeline.zoo import family, make_hyperparameters
from queries import open_store

FOLDER = Path(__file__).parents[2] / "data" / "components"
SMALL = {"embedding_size": 4, "hidden_size": 4}
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm_gates": ("lstm_lm", SMALL),
    "gru_gates": ("gru_lm", SMALL),
    "lstm_paths": ("lstm_cell_lm", SMALL),
    "rational_states": ("rational_lm", SMALL),
    "attention": ("attention_nmt", SMALL),
    "transformer_lm": ("transformer_lm", {"hidden_size": 8, "heads": 2, "feed_forward_size": 8}),
    "transformer_heads": ("transformer_lm", {"feed_forward_size": 8, "layers": 1}),
    "transformer_nmt": ("transformer_nmt", {"hidden_size": 8, "heads": 2, "feed_forward_size": 8}),
    "text_cnn": ("text_cnn", {"embedding_size": 4, "filters": 3}),
}
PARTIAL = {"transformer_heads", "lstm_gates"}  # name some operators only


def test_every_file_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_components_and_groups(file: str, tmp_path: Path) -> None:
    name, hyperparameters = FILES[file]
    task = family(name).task
    lines = load_corpus(corpus_name(name, 40), task.layout).train
    vocabularies = build_vocabularies(task.layout, lines, 60)
    torch.manual_seed(0)
    model = family(name).build(*map(len, vocabularies), make_hyperparameters(name, hyperparameters))
    (tmp_path / "samples.txt").write_text(min(lines, key=len) + "\n", encoding="utf-8")
    samples = read_samples(tmp_path / "samples.txt", lambda line: task.encode(line, *vocabularies))
    dump(TorchModel(model, torch.float32, name), samples, tmp_path / "store", Settings())
    spec = FOLDER / f"{file}.toml"
    with open_store(tmp_path / "store") as store:
        rows = store.importance(by=["component"], components=spec, groups=spec).to_arrow_table().to_pylist()
    assert sum(row["edges"] for row in rows) > 0
    shares = [row["edge_share"] for row in rows]
    assert (None in shares) == (file in PARTIAL)
    if file not in PARTIAL:
        assert sum(shares) == pytest.approx(1)
