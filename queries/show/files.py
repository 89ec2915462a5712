"""Rows as CSV, JSON and Parquet, with every digit; and as values that a table can show, whatever their type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ..database.quoting import identifier, quote

if TYPE_CHECKING:
    import duckdb

# What a spreadsheet would take for a formula, and what is a number all the same.
_FORMULA, _NUMBER = r"^[=+\-@\t\r\n]", r"^[+\-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+\-]?[0-9]+)?$"


def _parts(kind: pa.DataType) -> Iterator[pa.DataType]:
    """A type and all types within it."""
    yield kind
    for i in range(kind.num_fields):
        yield from _parts(kind.field(i).type)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _in_csv(value: str, kind: pa.DataType) -> str:
    if pa.types.is_nested(kind):
        return f"to_json({_finite(value, kind)})::varchar"
    if not _is_text(kind):
        return value
    text = f"{value}::varchar"
    is_formula = f"regexp_matches({text}, {quote(_FORMULA)}) and not regexp_matches({text}, {quote(_NUMBER)})"
    return f"if({is_formula}, {quote(chr(39))} || {text}, {text})"


def _finite(value: str, kind: pa.DataType, depth: int = 0) -> str:
    """JSON has no nan and no infinity: they become null, in lists, objects and maps too."""
    if pa.types.is_floating(kind):
        return f"if(isfinite({value}), {value}, null)"
    if not any(map(pa.types.is_floating, _parts(kind))):
        return value
    item = f"x{depth}"
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"list_transform({value}, lambda {item}: {_finite(item, kind.value_type, depth + 1)})"
    if pa.types.is_map(kind):
        entry = f"struct_pack(key := {item}.key, value := {_finite(f'{item}.value', kind.item_type, depth + 1)})"
        return f"map_from_entries(list_transform(map_entries({value}), lambda {item}: {entry}))"
    if pa.types.is_struct(kind):
        fields = [(kind.field(i).name, kind.field(i).type) for i in range(kind.num_fields)]
        packed = [f"{identifier(n)} := {_finite(f'struct_extract({value}, {quote(n)})', k, depth)}" for n, k in fields]
        return f"if({value} is null, null, struct_pack({', '.join(packed)}))"
    return f"{value}::varchar"


def _for_parquet(value: str, kind: pa.DataType) -> str:
    """What Parquet cannot hold stands in it as text."""
    has_none = any(pa.types.is_interval(part) or pa.types.is_union(part) for part in _parts(kind))
    has_empty = pa.types.is_nested(kind) and any(map(pa.types.is_null, _parts(kind)))
    return f"{value}::varchar" if has_none or has_empty else value


def _is_plain(kind: pa.DataType) -> bool:
    # Python has a value for each of these, whatever it is.
    return (
        _is_text(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_null(kind)
        or pa.types.is_decimal(kind)
        or (pa.types.is_list(kind) and _is_plain(kind.value_type))
        or (pa.types.is_struct(kind) and all(_is_plain(kind.field(i).type) for i in range(kind.num_fields)))
        or (pa.types.is_map(kind) and _is_text(kind.key_type) and _is_plain(kind.item_type))
    )


def _for_table(value: str, kind: pa.DataType) -> str:
    return value if _is_plain(kind) else f"{value}::varchar"


def _relation(rows: pa.Table, value_of: Callable[[str, pa.DataType], str]) -> duckdb.DuckDBPyRelation:
    # value_of: (name of a column in SQL, its type) -> what is written of it
    import duckdb

    connection = duckdb.connect()
    connection.execute("set enable_progress_bar = false")
    relation = connection.from_arrow(rows)
    names = map(identifier, relation.columns)
    return relation.select(", ".join(f"{value_of(n, k)} as {n}" for n, k in zip(names, rows.schema.types, strict=True)))


def _with(rows: pa.Table, value_of: Callable[[str, pa.DataType], str]) -> pa.Table:
    if all(value_of("v", kind) == "v" for kind in rows.schema.types):
        return rows
    return _relation(rows, value_of).to_arrow_table()


def columns_of(rows: pa.Table) -> list[list[object]]:
    """The values of each column of a table; those that Python has no values for, such as dates after 9999, as text."""
    return [column.to_pylist(maps_as_pydicts="strict") for column in _with(rows, _for_table).columns]


def write_csv(rows: pa.Table, path: Path) -> None:
    """Write rows as CSV; lists and maps stand in it as JSON, and texts that begin like a formula behind an apostrophe.

    A spreadsheet computes what begins with = + - @ or a tab, whoever wrote it. Numbers stay numbers.
    """
    _relation(rows, _in_csv).write_csv(str(path), header=True)


def write_json(rows: pa.Table, path: Path) -> None:
    """Write rows as one JSON list, an object a line, so that both jq and a person can read it."""
    _relation(rows, _finite).query("rows", f"copy (from rows) to {quote(str(path))} (format json, array true)")


def parquet_rows(rows: pa.Table) -> pa.Table:
    """The rows as Parquet can hold them: intervals and unions as text."""
    return _with(rows, _for_parquet)
