"""Print rows: a table for people, CSV and JSON for programs, Parquet for more of them. Results go to stdout."""

from __future__ import annotations

import csv
import json
import sys
from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa

from ..queries.errors import StoreError
from ..queries.show.text import aligned, cell, is_number

Format = Literal["table", "csv", "json", "parquet"]


def text_table(columns: Mapping[str, Sequence[str]]) -> pa.Table:
    """A table whose columns hold texts.

    It is made of buffers: pyarrow's constructors from Python values first import pandas, where that is installed.
    """
    return pa.Table.from_arrays([_text_column(texts) for texts in columns.values()], list(columns))


def _text_column(texts: Sequence[str]) -> pa.Array:
    encoded = [text.encode() for text in texts]
    ends = array("i", accumulate(map(len, encoded), initial=0))
    return pa.Array.from_buffers(pa.string(), len(encoded), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def _objects(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = rows.to_pylist(maps_as_pydicts="strict")
    return objects


def _csv_cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _write_csv(rows: pa.Table, file: IO[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows.column_names)
    for batch in rows.to_batches():
        writer.writerows(map(_csv_cell, row.values()) for row in _objects(batch))


def _write_json(rows: pa.Table, file: IO[str]) -> None:
    # One object per line inside a list, so that both jq and a person can read it. JSON has no nan: it becomes null.
    objects = ({name: _json_value(value) for name, value in row.items()} for row in _objects(rows))
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False, default=str) for row in objects)
    file.write(f"[\n{lines}\n]\n" if lines else "[]\n")


def _json_value(value: object) -> object:
    return None if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))) else value


def _write_rich(rows: pa.Table, file: IO[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    objects = _objects(rows)
    for name in rows.column_names:
        right = all(is_number(row[name]) or row[name] is None for row in objects)
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in objects:
        table.add_row(*(cell(value) for value in row.values()))
    Console(file=file, markup=False, emoji=False, highlight=False).print(table)


def _write_table(rows: pa.Table, file: IO[str]) -> None:
    if file.isatty():
        _write_rich(rows, file)
    else:
        file.write(aligned(rows.column_names, [list(row.values()) for row in _objects(rows)]) + "\n")


def _write_parquet(rows: pa.Table, out: Path | None) -> None:
    import pyarrow.parquet as pq

    if out is not None:
        pq.write_table(rows, out)
    elif sys.stdout.isatty():
        raise StoreError("Parquet is not for terminals: add `--out FILE`, or redirect with `> FILE`.")
    else:
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink)
        sys.stdout.buffer.write(sink.getvalue())
        sys.stdout.buffer.flush()


def print_rows(rows: pa.Table, format: Format, out: Path | None = None) -> None:  # noqa: A002 (the option's name)
    """Write rows in a format to stdout, or to the file `out`.

    'table' is a coloured table on a terminal and aligned text in a pipe, both with four significant digits; the other
    formats keep every digit. Raises StoreError for Parquet on a terminal and for a file that cannot be written.
    """
    write = {"table": _write_table, "csv": _write_csv, "json": _write_json}
    try:
        if format == "parquet":
            _write_parquet(rows, out)
        elif out is None:
            write[format](rows, sys.stdout)
        else:
            with out.open("w", encoding="utf-8", newline="") as file:
                write[format](rows, file)
    except BrokenPipeError:
        raise  # the reader of the pipe has seen enough; the command line ends quietly
    except OSError as error:
        raise StoreError(f"{out or 'stdout'} cannot be written: {error}.") from error
