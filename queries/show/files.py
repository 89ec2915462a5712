"""Rows as CSV and JSON, written by DuckDB with every digit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ..database.quoting import identifier, quote

if TYPE_CHECKING:
    import duckdb


def _as_text(value: str, kind: pa.DataType) -> str:
    return f"to_json({value})::varchar" if pa.types.is_nested(kind) else value


def _finite(value: str, kind: pa.DataType) -> str:
    # JSON has no nan and no infinity: they become null.
    if pa.types.is_floating(kind):
        return f"if(isfinite({value}), {value}, null)"
    if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        return f"list_transform({value}, lambda x: {_finite('x', kind.value_type)})"
    return value


def _relation(rows: pa.Table, value_of: Callable[[str, pa.DataType], str]) -> duckdb.DuckDBPyRelation:
    # value_of: (name of a column in SQL, its type) -> what is written of it
    import duckdb

    connection = duckdb.connect()
    connection.execute("set enable_progress_bar = false")
    relation = connection.from_arrow(rows)
    names = map(identifier, relation.columns)
    return relation.select(", ".join(f"{value_of(n, k)} as {n}" for n, k in zip(names, rows.schema.types, strict=True)))


def write_csv(rows: pa.Table, path: Path) -> None:
    """Write rows as CSV; lists and maps stand in it as JSON."""
    _relation(rows, _as_text).write_csv(str(path), header=True)


def write_json(rows: pa.Table, path: Path) -> None:
    """Write rows as one JSON list, an object a line, so that both jq and a person can read it."""
    _relation(rows, _finite).query("rows", f"copy (from rows) to {quote(str(path))} (format json, array true)")
