"""Rows of small tables: collected over samples they are the table that each sample's rows would make on their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradtrace.exporters.store import shard
from gradtrace.exporters.store.rows import CollectedRows, Names, OrNone, Rows, as_table
from gradtrace.exporters.store.shard import ShardWriter

NAMES = (["a", "b", "c"], ["c", "d"])


def rows(sample: int, n: int) -> Rows:
    """Of a sample that has names of its own in its own order."""
    number = np.arange(n) % len(NAMES[sample % 2])
    columns = {"sample": sample, "method": "soft" if sample > 1 else "greedy", "name": Names(NAMES[sample % 2], number)}
    step = OrNone(np.arange(n, dtype=np.int32) - 1)
    return Rows(n, {**columns, "step": step, "paths": np.arange(n) / 2, "value": np.array(["x"] * n, dtype=object)})


def plain(sample: int, n: int) -> list[dict[str, object]]:
    names, method = NAMES[sample % 2], "soft" if sample > 1 else "greedy"
    keys = {"sample": sample, "method": method}
    return [
        {**keys, "name": names[i % len(names)], "step": i - 1 if i else None, "paths": i / 2, "value": "x"}
        for i in range(n)
    ]


def test_joined_rows_are_those_of_every_part() -> None:
    sizes = [3, 0, 4, 1]
    collected = CollectedRows()
    for sample, n in enumerate(sizes):
        collected.add(rows(sample, n))
    assert collected.n == sum(sizes)
    assert collected.table().to_pylist() == [row for sample, n in enumerate(sizes) for row in plain(sample, n)]
    one_by_one = pa.concat_tables([as_table([rows(sample, n)]) for sample, n in enumerate(sizes) if n])
    assert collected.table().to_pylist() == one_by_one.to_pylist()


@pytest.mark.parametrize(("enough", "tables"), [(1, [5, 7, 2]), (6, [12, 2]), (100, [14])])
def test_a_shard_writes_them_when_there_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enough: int, tables: list[int]
) -> None:
    """Memory holds no more than that, and the file has the rows of all samples in order."""
    monkeypatch.setattr(shard, "ENOUGH", enough)
    made = ShardWriter(tmp_path, 0, "float32")
    sizes, first = (5, 7, 2), 0
    for sample, n in enumerate(sizes):
        nodes = np.arange(first, first + n, dtype=np.int32)
        names = {"label": Names(NAMES[0], nodes % 3), "value": np.array([str(node) for node in nodes], dtype=object)}
        made.write("labels", Rows(n, {"sample": sample, **names}))
        first += n
    (file,) = made.finish()["labels"]
    parquet = pq.ParquetFile(tmp_path / file.path)
    assert [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)] == tables
    assert file.rows == sum(sizes)
    assert parquet.read()["value"].to_pylist() == [str(i) for i in range(sum(sizes))]
    assert parquet.read()["sample"].to_pylist() == [0] * 5 + [1] * 7 + [2] * 2


def test_what_was_collected_is_not_lost_when_a_shard_is_given_up(tmp_path: Path) -> None:
    """Nothing is: no file appears."""
    made = ShardWriter(tmp_path, 0, "float32")
    made.write("labels", Rows(1, {"sample": 0, "label": "a", "value": "b"}))
    made.discard()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
