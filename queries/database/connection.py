"""A store opened for reading in DuckDB: views, macros, and nothing else within reach.

Each table has two views: `stored.TABLE`, what the files hold, and `TABLE`, every column of the schema. The statements
of this package read the first where they need no more, for derived columns are joined to every row that is read.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from ..errors import StoreError, first_line
from ..manifest import Manifest, check_sums
from ..schema import COLUMNS, GRAPH_TABLES, ROWS, SHARD_TABLES, columns_on_request, table_schema, tables_of_view
from .definitions import constants, definitions
from .quoting import identifier, listed, pattern, quote, unique_names

MEMORY = "50%"  # of the machine's, or of what its container may use
TIMEOUT = 300.0  # seconds after which SQL that others write is stopped
_LONGEST = 1e8  # three years: clocks count no longer
STORED = "stored"  # the schema of the views that show the files alone
TIMED_OUT = "the SQL was stopped: it took longer than its timeout. Give it more (0 is no limit), or ask for less."
_SHARE_OF_DISK = 2  # of the free disk, one part in this many may be used for what does not fit in memory

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")

_LOST = re.compile(r"\bBIT\b|\bTIME WITH TIME ZONE\b")

_SQL_TYPES = {
    pa.bool_(): "boolean",
    pa.int8(): "tinyint",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "varchar",
}


@contextmanager
def duckdb_errors(what: str, *, whole: bool = True) -> Iterator[None]:
    """Turn an error of DuckDB into a StoreError that starts with `what`; not `whole`, in one line.

    Whole it shows the place in the statement, which is of use to who wrote that.
    """
    try:
        yield
    except duckdb.InterruptException as error:
        raise StoreError(TIMED_OUT) from error
    except RuntimeError as error:
        if "interrupted" not in str(error):
            raise
        raise KeyboardInterrupt from error  # what Ctrl-C becomes while DuckDB works
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise StoreError(f"{what}: it takes more memory or disk than it may use ({first_line(error)}).") from error
    except duckdb.Error as error:
        raise StoreError(f"{what}: {error if whole else first_line(error)}") from error


def _as_arrow_can_hold(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Bits and times with a zone as text: Arrow has no such types, and gets other values in their place."""
    kinds = [str(kind) for kind in relation.types]
    if not any(_LOST.search(kind) for kind in kinds):
        return relation
    columns = zip(relation.columns, kinds, strict=True)
    shown = [f"#{i}{_text_of(kind)} as {identifier(name)}" for i, (name, kind) in enumerate(columns, 1)]
    return relation.select(", ".join(shown))


def _text_of(kind: str) -> str:
    return "::varchar" if _LOST.search(kind) else ""


def read_relation(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """The rows of a relation, their columns by unique names; errors that appear while reading raise StoreError."""
    with duckdb_errors("the SQL failed"):
        rows = _as_arrow_can_hold(relation).to_arrow_table()
    return rows.rename_columns(unique_names(rows.column_names))


def scan(store: Path, files: Sequence[str]) -> str:
    """What to put behind `from` to read these files of a table, given relative to the store."""
    return f"read_parquet({listed(pattern(str(store / file)) for file in files)}, hive_partitioning = false)"


def sql_type(kind: pa.DataType) -> str:
    """What DuckDB calls a type of the schema."""
    if pa.types.is_dictionary(kind):
        return sql_type(kind.value_type)
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    return _SQL_TYPES[kind]


def _create_stored_view(connection: duckdb.DuckDBPyConnection, store: Path, manifest: Manifest, table: str) -> None:
    """The columns of the files of a table, as the view of its name in the schema `stored`; null what they leave out."""
    files = manifest.files(table)
    schema = table_schema(table, manifest.dtype)
    left_out = set(schema.names)
    if files:
        left_out = columns_on_request(table)
        if left_out:  # alike in all files of a store
            left_out -= set(connection.sql(f"from {scan(store, files[:1])}").columns)
    columns = ", ".join(_null(f) if f.name in left_out else identifier(f.name) for f in schema)
    rows = f"from {scan(store, files)}" if files else "where false"
    connection.execute(f"create view {STORED}.{table} as select {columns} {rows}")


def _null(column: pa.Field) -> str:
    return f"null::{sql_type(column.type)} as {identifier(column.name)}"


def _lock(connection: duckdb.DuckDBPyConnection, store: Path, manifest: Manifest, spill: Path) -> None:
    """Shut off everything but the files of the tables. Nothing of the store has been read so far."""
    files = [str(store / file.path) for file in manifest.table_files()]
    room = shutil.disk_usage(spill).free // _SHARE_OF_DISK
    settings = {
        "enable_progress_bar": "false",  # it goes to stdout, into the rows, unless it is told not to
        "memory_limit": quote(MEMORY),
        "threads": "1",  # several would add floating-point numbers in another order each time
        "temp_directory": quote(str(spill)),
        "max_temp_directory_size": quote(f"{room >> 10} KiB"),
        "parquet_metadata_cache": "true",  # a statement may name a table in several views
        "python_enable_replacements": "false",
        "autoload_known_extensions": "false",
        # a file and the pattern that means it alone; once external access is off, the list cannot be changed
        "allowed_paths": listed(dict.fromkeys(path for file in files for path in (file, pattern(file)))),
        "allowed_configs": "['max_execution_time', 'threads']",
        "enable_external_access": "false",
        "lock_configuration": "true",
    }
    for name, value in settings.items():
        connection.execute(f"set {name} = {value}")


def connect(store: Path, manifest: Manifest, spill: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the views and macros of the store at the absolute path `store`, and access to it only.

    spill: a folder for what does not fit in memory
    Raises StoreError when a file cannot be read or lacks a column.
    """
    check_sums(store, manifest, manifest.stored_files("graphs"))
    connection = duckdb.connect()
    with duckdb_errors(f"{store} is damaged, `gradtrace verify {store}` says where", whole=False):
        _lock(connection, store, manifest, spill)
        connection.execute(f"create schema {STORED}")
        for table in (*GRAPH_TABLES, *SHARD_TABLES):
            try:
                _create_stored_view(connection, store, manifest, table)
            except duckdb.Error:  # it looks at the end of a file; that file is checked as a whole when it is asked
                check_sums(store, manifest, manifest.stored_files(table))
                raise
        ((n_parameters,),) = connection.execute("select coalesce(max(n_parameters), 0) from stored.graphs").fetchall()
        settings = manifest.settings
        known = constants(str(settings["detail"]), settings["methods"][0], n_parameters)
        whole = [
            f"create view {table} as from {STORED}.{table}" for table in COLUMNS if tables_of_view(table) == [table]
        ]
        for statement in [*known, *whole, *definitions()]:
            connection.execute(statement)
    return connection


def check_timeout(timeout: float) -> None:
    """Raise StoreError for what is no number of seconds."""
    if not 0 <= timeout <= _LONGEST:
        raise StoreError(f"got a timeout of {timeout}, wanted seconds, such as {TIMEOUT:.0f}; 0 is no limit.")


def limited(connection: duckdb.DuckDBPyConnection, timeout: float) -> duckdb.DuckDBPyConnection:
    """Another connection to the same database, which stops each statement after `timeout` seconds; 0: it stops none."""
    check_timeout(timeout)
    cursor = connection.cursor()
    cursor.execute(f"set max_execution_time = {math.ceil(timeout * 1000)}")
    return cursor


def memory_limit(connection: duckdb.DuckDBPyConnection) -> int:
    """The bytes that DuckDB may hold at once, of what it counts."""
    ((said,),) = connection.execute("select current_setting('memory_limit')").fetchall()
    number, unit = said.split()
    return int(float(number) * 1024 ** _UNITS.index(unit))


def describe(connection: duckdb.DuckDBPyConnection) -> None:
    """Put what the schema says of tables and columns on the views, as comments; this takes 11 ms."""
    comments = [f"comment on view {table} is {quote(text)}" for table, text in ROWS.items()]
    for table, columns in COLUMNS.items():
        comments += [f'comment on column {table}."{column.name}" is {quote(column.text)}' for column in columns]
    connection.execute(";".join(comments))


def select_statement(connection: duckdb.DuckDBPyConnection, text: str) -> duckdb.Statement:
    """The one SELECT that `text` consists of; any other text raises StoreError."""
    with duckdb_errors("the SQL cannot be read"):
        statements = connection.extract_statements(text)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        got = ", ".join(s.type.name.replace("_STATEMENT", "") for s in statements) or "nothing"
        raise StoreError(f"a store answers exactly one SELECT statement, got {got}. Stores are read-only.")
    return statements[0]
