"""`gradtrace convert`: plain Parquet with every documented column, for engines that know no views."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from gradtrace.pipeline.interchange import parquet
from gradtrace.pipeline.interchange.parquet import convert_to_parquet
from gradtrace.queries import StoreError, open_store
from gradtrace.queries.schema import COLUMNS, GRAIN, GRAPH_TABLES, MADE_OF

from .studies import assert_one_line_error, fingerprints, gradtrace


def files(out: Path, table: str) -> str:
    return str(out / (f"{table}.parquet" if table in GRAPH_TABLES else f"{table}/shard-*.parquet"))


def test_every_table_is_its_view(lstm_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_ROWS", 1000)
    before, done = fingerprints(lstm_store), list[int]()
    with open_store(lstm_store) as store:
        n_files = convert_to_parquet(store, tmp_path / "out", done.append)
        assert fingerprints(lstm_store) == before
        assert len(list((tmp_path / "out").rglob("*.parquet"))) == n_files
        assert done == list(range(1, len(store.manifest.shards) + 1))
        made_of = {name for names in MADE_OF.values() for name in names}
        for table in COLUMNS.keys() - made_of - {"labels"}:  # there are none
            order = ", ".join(GRAIN[table])
            wanted = store.rows(f"select * from {table} order by {order}")
            found = pl.read_parquet(files(tmp_path / "out", table)).sort(GRAIN[table], nulls_last=True)
            assert found.columns == wanted.column_names == [column.name for column in COLUMNS[table]]
            assert len(found) == wanted.num_rows > 0, table
            for name in found.columns:
                assert found[name].to_list() == wanted[name].to_pylist(), (table, name)
        (first, *_) = (tmp_path / "out" / "edges").iterdir()
        assert pq.read_metadata(first).row_group(0).num_rows <= 2048  # written as they are found


def test_the_command(rnn_store: Path, tmp_path: Path) -> None:
    ran = gradtrace("convert", rnn_store, "--to", "parquet", "--out", tmp_path / "out")
    assert (ran.code, ran.out.startswith(str(tmp_path / "out"))) == (0, True)
    assert not (tmp_path / "out" / "edges").exists()  # a store of the best ones has none
    assert pl.read_parquet(tmp_path / "out" / "best_edges" / "*.parquet")["contribution"].null_count() == 0
    again = gradtrace("convert", rnn_store, "--to", "parquet", "--out", tmp_path / "out")
    assert_one_line_error(again, "is not empty")
    inside = gradtrace("convert", rnn_store, "--to", "parquet", "--out", rnn_store / "out")
    assert_one_line_error(inside, "Choose another folder")
    assert gradtrace("convert", rnn_store, "--to", "csv", "--out", tmp_path / "new").code == 2


def test_a_failure_leaves_nothing(rnn_store: Path, tmp_path: Path) -> None:
    def fail(done: int) -> None:
        raise StoreError(f"no room after {done}")

    (tmp_path / "out").mkdir()
    with open_store(rnn_store) as store, pytest.raises(StoreError, match="no room"):
        convert_to_parquet(store, tmp_path / "out", fail)
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]
