"""What the tests of the pipeline share: small models in a file of one's own, stores compared row for row, the command
line run in this process.
"""

from __future__ import annotations

import hashlib
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from gradtrace.pipeline.cli import main
from gradtrace.queries.manifest import read_manifest
from gradtrace.queries.schema import GRAPH_TABLES, SHARD_TABLES, table_schema

MODELS = '''"""Two language models with 19 words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradtrace import Encoded, Traceable

WORDS = ["<unk>", "<eos>", *"the a cat dog bird sees hears likes me us and or old big now here then".split()]


class LanguageModel(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), 5)
        self.rnn = layer
        self.decoder = nn.Linear(6, len(WORDS))

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        hidden, _ = self.rnn(self.embedding(input_ids))
        return nn.functional.cross_entropy(self.decoder(hidden).flatten(0, 1), targets.flatten())


def encode(text: str) -> Encoded:
    tokens = text.split()
    ids = [WORDS.index(token) if token in WORDS else 0 for token in tokens]
    inputs = {"input_ids": torch.tensor([[1, *ids]]), "targets": torch.tensor([[*ids, 1]])}
    return Encoded(inputs, ["<eos>", *tokens])


def lstm() -> Traceable:
    torch.manual_seed(3)
    return Traceable(LanguageModel(nn.LSTM(5, 6, num_layers=2, batch_first=True)), encode, "lstm")


def rnn() -> Traceable:
    torch.manual_seed(3)
    return Traceable(LanguageModel(nn.RNN(5, 6, num_layers=2, batch_first=True)), encode, "rnn")
'''

SENTENCES = ("the cat sees me", "dog", "a big bird hears us and me", "the dog likes us")


def write_lines(path: Path, *lines: str) -> Path:
    """A file of samples."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def rows(store: Path, table: str) -> pa.Table:
    """All finished rows of a table, in the order of the manifest; samples without their seconds."""
    manifest = read_manifest(store)
    empty = table_schema(table, manifest.dtype).empty_table()
    parts = [empty, *(pq.read_table(store / file) for file in manifest.files(table))]
    found = pa.concat_tables(parts, promote_options="default")  # files leave columns out
    return found.drop_columns(["seconds"]) if "seconds" in found.column_names else found


_NUMBERS = ("sample", "graph")


def assert_same_tables(found: Path, wanted: Path, samples: tuple[int, int] | None = None, but: str = "") -> None:
    """Two stores hold the same rows, or the same of one sample in each; `but`: a table that may differ."""
    for table in (*GRAPH_TABLES, *SHARD_TABLES):
        left, right = rows(found, table), rows(wanted, table)
        if table == but or (samples is not None and table in GRAPH_TABLES):
            continue
        if samples is not None:
            left, right = (
                of_sample(part, number).drop_columns([name for name in _NUMBERS if name in part.column_names])
                for part, number in zip((left, right), samples, strict=True)
            )
        assert left.num_rows == right.num_rows, table
        assert left.combine_chunks().unify_dictionaries().equals(right.combine_chunks().unify_dictionaries()) or (
            repr(left.to_pylist()) == repr(right.to_pylist())  # nan equals nan
        ), table


def of_sample(table: pa.Table, number: int) -> pa.Table:
    """The rows of one sample."""
    return table.filter(pa.compute.equal(table["sample"], number))


def fingerprints(folder: Path) -> dict[str, str]:
    """Every file below a folder with a hash of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def gradtrace(*arguments: Any) -> Ran:
    """Run the command line in this process. Anything but a clean end, a traceback above all, raises."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    code: Any = 0
    with patch.object(sys, "argv", ["gradtrace", *map(str, arguments)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    out.flush()
    out.seek(0)
    return Ran(int(code or 0), out.read(), err.getvalue())


def assert_one_line_error(ran: Ran, *words: str) -> None:
    """The command failed with exit code 1 and one line on stderr that holds these words."""
    assert ran.code == 1, ran
    assert ran.out == ""
    assert ran.err.startswith("error: "), ran.err
    assert ran.err.count("\n") == 1, ran.err
    for word in words:
        assert word in ran.err, ran.err
