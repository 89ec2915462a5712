"""A shard's files: parts of a large table in order, errors of the writing threads, nothing left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradtrace.exporters.store import shard
from gradtrace.exporters.store.shard import ShardWriter, renumber_graphs
from gradtrace.queries.manifest import Shard, StoredFile, file_sum
from gradtrace.queries.schema import table_schema


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "PART_ROWS", 100)


def edges(first: int, n: int) -> pa.Table:
    """Edges of vertices first, first + 1, ... of one sample."""
    src = np.arange(first, first + n)
    schema = table_schema("edges", "float32")
    columns: dict[str, Any] = {name: np.zeros(n) for name in schema.names}
    return pa.table({**columns, "src": src, "dst": src + 1, "derivative": src / 7}).select(schema.names).cast(schema)


def read(folder: Path, files: list[StoredFile]) -> pa.Table:
    return pa.concat_tables([pq.read_table(folder / file.path, partitioning=None) for file in files])


def test_parts_follow_each_other(tmp_path: Path) -> None:
    blocks = [edges(first, 30) for first in range(0, 600, 30)]
    made = ShardWriter(tmp_path, 3, "float32")
    for block in blocks:
        made.write("edges", block)
    made.write("vertices", _vertices(5))
    files = made.finish()
    assert [file.rows for file in files["edges"]] == [120] * 5
    assert [Path(file.path).name.split(".")[0] for file in files["edges"]] == [f"part-{i}" for i in range(5)]
    assert read(tmp_path, files["edges"]).equals(pa.concat_tables(blocks))
    assert [file.bytes for file in files["edges"]] == [(tmp_path / f.path).stat().st_size for f in files["edges"]]
    assert [file.rows for file in files["vertices"]] == [5]
    assert [file.sha256 for file in files["edges"]] == [file_sum(tmp_path / f.path) for f in files["edges"]]


def test_pages_carry_checksums(tmp_path: Path) -> None:
    """A changed byte is an error to whoever reads the pages, not another number."""
    made = ShardWriter(tmp_path, 0, "float32")
    made.write("edges", edges(0, 50))
    (file,) = made.finish()["edges"]
    path = tmp_path / file.path
    data = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(edges(0, 1).schema.get_field_index("derivative"))
    end = column.data_page_offset + column.total_compressed_size
    silent = []
    for at in range(end - 30, end):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            pq.read_table(path, page_checksum_verification=True, partitioning=None)
            silent.append(at)
        except (pa.ArrowException, OSError):
            pass
    assert silent == []


def test_parts_are_renumbered(tmp_path: Path) -> None:
    made = ShardWriter(tmp_path, 0, "float32")
    for first in range(0, 300, 60):
        made.write("samples", _samples(first, 60))
        made.write("edges", edges(first, 60))
    shard = Shard(0, 0, 1, made.finish())
    renumbered = renumber_graphs(tmp_path, shard, [7], "float32").files
    found = read(tmp_path, renumbered["samples"])
    assert set(found["graph"].to_pylist()) == {7}
    assert found.drop_columns("graph").equals(read(tmp_path, shard.files["samples"]).drop_columns("graph"))
    assert renumbered["edges"] == shard.files["edges"]  # whose files say nothing of graphs


class Full:
    """A file that takes no more than some bytes, as on a full disk."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self.file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 200, 1000])
def test_an_error_of_a_thread_reaches_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    create = pq.ParquetWriter

    def full(file: Any, *arguments: Any, **options: Any) -> pq.ParquetWriter:
        return create(pa.PythonFile(Full(file, room), "w"), *arguments, **options)

    made = ShardWriter(tmp_path, 0, "float32")
    monkeypatch.setattr(pq, "ParquetWriter", full)
    with pytest.raises(OSError, match="No space left"):
        _write_all(made)
    made.discard()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_rows_of_another_type_are_an_error_at_the_latest_when_it_is_finished(tmp_path: Path) -> None:
    made = ShardWriter(tmp_path, 0, "float32")
    made.write("edges", edges(0, 10))
    made.write("edges", edges(10, 10).drop_columns("slot"))
    with pytest.raises(ValueError, match="slot"):
        made.finish()
    made.discard()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_little_waits_to_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows do not pile up in memory when the disk is slower than the sweep."""
    monkeypatch.setattr(shard, "_AHEAD", 3 * edges(0, 60).nbytes)
    made = ShardWriter(tmp_path, 0, "float32")
    for first in range(0, 6000, 60):
        made.write("edges", edges(first, 60))
        assert sum(size for _, size in made._waiting) <= 3 * edges(0, 60).nbytes
    assert sum(file.rows for file in made.finish()["edges"]) == 6000


def _write_all(made: ShardWriter) -> None:
    for first in range(0, 3000, 60):
        made.write("edges", edges(first, 60))
    made.finish()


def _samples(first: int, n: int) -> pa.Table:
    schema = table_schema("samples", "float32")
    columns = {field.name: pa.nulls(n, field.type) for field in schema}
    return pa.table({**columns, "sample": range(first, first + n), "graph": pa.repeat(0, n)}, schema=schema)


def _vertices(n: int) -> pa.Table:
    schema = table_schema("vertices", "float32")
    columns = {f.name: pa.nulls(n, f.type) if f.nullable else np.zeros(n) for f in schema}
    return pa.table(columns).cast(schema)
