"""Print rows: a table for people, CSV and JSON for programs, Parquet for more of them. Results go to stdout."""

from __future__ import annotations

import shutil
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Literal

import pyarrow as pa

from ..queries.errors import StoreError
from ..queries.show.cells import escaped_lines
from ..queries.show.files import columns_of, parquet_rows, write_csv, write_json
from ..queries.show.shown import Shown
from ..queries.show.text import plain_lines, print_on_terminal

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


def _write_table(rows: pa.Table, file: IO[str]) -> None:
    values = columns_of(rows)
    if file.isatty():
        print_on_terminal(rows.column_names, values, file)
    else:
        file.writelines(f"{line}\n" for line in plain_lines(rows.column_names, values))


def _written(write: Callable[[pa.Table, Path], None]) -> Callable[[pa.Table, IO[str]], None]:
    """A writer of files as one of streams."""

    def copy(rows: pa.Table, file: IO[str]) -> None:
        with TemporaryDirectory(prefix="gradtrace-") as folder:
            path = Path(folder) / "rows"
            write(rows, path)
            with path.open(encoding="utf-8", newline="") as written:
                if file.isatty():
                    file.writelines(map(escaped_lines, written))
                else:
                    shutil.copyfileobj(written, file)

    return copy


def _write_parquet(rows: pa.Table, out: Path | None) -> None:
    import pyarrow.parquet as pq

    rows = parquet_rows(rows)
    if out is not None:
        pq.write_table(rows, out)
    elif sys.stdout.isatty():
        raise StoreError("Parquet is not for terminals: add `--out FILE`, or redirect with `> FILE`.")
    else:
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink)
        sys.stdout.buffer.write(sink.getvalue())
        sys.stdout.buffer.flush()


def print_shown(shown: Shown) -> None:
    """Print an answer as text, its table as wide as the terminal, if stdout is one."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    sys.stdout.write(f"{shown.text(width)}\n")


def print_rows(rows: pa.Table, format: Format, out: Path | None = None) -> None:  # noqa: A002 (the option's name)
    """Write rows in a format to stdout, or to the file `out`.

    'table' is a coloured table on a terminal and aligned text in a pipe, both with four significant digits; the other
    formats keep every digit. Raises StoreError for Parquet on a terminal and for a file that cannot be written.
    """
    write = {"table": _write_table, "csv": _written(write_csv), "json": _written(write_json)}
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
