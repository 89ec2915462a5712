"""The files in data/components fit their models: every rule finds something, and the parts are a partition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.samples import read_samples
from gradtrace.queries import open_store

from .families import CASES, alike, trial

FOLDER = Path(__file__).parents[3] / "data" / "components"
FIRST = dict(reversed(CASES))  # the first case of each family
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm_gates": ("lstm_lm", FIRST["lstm_lm"]),
    "gru_gates": ("gru_lm", FIRST["gru_lm"]),
    "lstm_paths": ("lstm_cell_lm", FIRST["lstm_cell_lm"]),
    "rational_states": ("rational_lm", FIRST["rational_lm"]),
    "attention": ("attention_nmt", FIRST["attention_nmt"]),
    "transformer_lm": ("transformer_lm", FIRST["transformer_lm"]),
    "transformer_heads": ("transformer_lm", {"feed_forward_size": 8, "layers": 1}),
    "transformer_nmt": ("transformer_nmt", FIRST["transformer_nmt"]),
    "text_cnn": ("text_cnn", FIRST["text_cnn"]),
}
PARTIAL = {"transformer_heads", "lstm_gates"}  # name some operators only


def test_every_file_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(FILES)


def dumped(name: str, hyperparameters: dict[str, Any], folder: Path) -> Path:
    """A store of one line of the family's corpus."""
    tried = trial(name, hyperparameters)
    (folder / "samples.txt").write_text(alike(tried)[0] + "\n", encoding="utf-8")
    samples = read_samples(folder / "samples.txt", tried.encode)
    dump(TorchModel(tried.model.float(), torch.float32, name), samples, folder / "store", Settings())
    return folder / "store"


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_components_and_groups(file: str, tmp_path: Path) -> None:
    spec = FOLDER / f"{file}.toml"
    with open_store(dumped(*FILES[file], tmp_path)) as store:
        rows = store.importance(by=["component"], components=spec, groups=spec).to_arrow_table().to_pylist()
    assert sum(row["edges"] for row in rows) > 0
    shares = [row["edge_share"] for row in rows]
    assert (None in shares) == (file in PARTIAL)
    if file not in PARTIAL:
        assert sum(shares) == pytest.approx(1)


def test_heads_of_any_number(tmp_path: Path) -> None:
    """The file of heads says of two heads of four units what slices written for them say."""
    store_path = dumped(*FILES["transformer_lm"], tmp_path)
    by_hand = tmp_path / "by_hand.toml"
    by_hand.write_text(BY_HAND, encoding="utf-8")
    by = ["parameter_group", "component"]
    found = []
    with open_store(store_path) as store:
        for spec in (FOLDER / "transformer_heads.toml", by_hand):
            rows = store.importance(by=by, components=spec, groups=spec).to_arrow_table().to_pylist()
            found.append({(row["parameter_group"], row["component"]): (row["edges"], row["paths"]) for row in rows})
    assert found[0] == found[1]
    assert {component for _, component in found[0]} == {"head 0", "head 1"}


BY_HAND = "".join(
    f"""
[[component]]
name = "head {i}"
role = ["scores", "weights", "context"]
slice = ":, {i}"

[[parameter_group]]
name = "head {i}"
parameter = ["*.self_attention.query.*", "*.self_attention.key.*", "*.self_attention.value.*"]
slice = "{4 * i}:{4 * i + 4}"

[[parameter_group]]
name = "head {i}"
parameter = "*.self_attention.output.weight"
slice = ":, {4 * i}:{4 * i + 4}"
"""
    for i in range(2)
)
