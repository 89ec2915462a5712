"""Which tables a statement reads: what is checked before it is answered, and no view reads more."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradtrace.queries import StoreError, open_store
from gradtrace.queries.database.tables_read import TABLES, tables_read
from gradtrace.queries.schema import tables_of_view

OF_BEST_EDGES = {"best_edges", "vertices", "samples", "tensors"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("from stored.best_edges", {"best_edges"}),
        ("from best_edges", OF_BEST_EDGES),
        ('from "best_edges"', OF_BEST_EDGES),
        ("from main.best_edges", OF_BEST_EDGES),
        ("from BEST_EDGES", OF_BEST_EDGES),
        ('from stored."best_edges"', OF_BEST_EDGES),
        ("select stored.src from best_edges as stored", OF_BEST_EDGES),
        ("from stored.best_edges join stored.entries using (sample)", {"best_edges", "entries"}),
        ("from stored.best_edges join entries using (sample)", {"best_edges", "entries", "samples"}),
        ("from trace(0, 1)", OF_BEST_EDGES),
        ("from query_table('stored.best_edges')", set(TABLES)),
        ("select 1", set()),
    ],
)
def test_tables_that_are_read(text: str, wanted: set[str]) -> None:
    assert set(tables_read(text)) == wanted


@pytest.mark.parametrize("table", ["vertices", "tensors", "samples", "best_edges"])
def test_what_a_derived_column_follows_from_is_checked(drawn_path: Path, table: str) -> None:
    for file in [*drawn_path.glob(f"{table}.parquet"), *drawn_path.glob(f"{table}/*/*.parquet")]:
        content = bytearray(file.read_bytes())
        content[len(content) // 3] ^= 1
        file.write_bytes(content)
    assert table in tables_of_view("best_edges")
    with pytest.raises(StoreError, match="damaged"), open_store(drawn_path) as store:
        store.rows("select contribution from best_edges")


def test_files_alone_are_shown_to_users(drawn_path: Path) -> None:
    with open_store(drawn_path) as store:
        files = store.sql("from stored.best_edges")
        assert files.columns == ["method", "sample", "src", "rank", "dst", "slot", "derivative", "score"]
        assert len(files.fetchall()) == len(store.sql("from best_edges").fetchall()) > 0
