"""A store opened for reading in DuckDB: a view per table, the macros, and nothing else within reach."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from ..errors import StoreError
from ..manifest import Manifest
from ..schema import COLUMNS, GRAPH_TABLES, ROWS, SHARD_TABLES, table_schema
from .macros import constants, macros
from .quoting import identifier, identifiers, quote

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
def duckdb_errors(what: str) -> Iterator[None]:
    """Turn an error of DuckDB into a StoreError that starts with `what`."""
    try:
        yield
    except duckdb.Error as error:
        raise StoreError(f"{what}: {error}") from error


def read_relation(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """The rows of a relation; errors that appear while reading raise StoreError."""
    with duckdb_errors("the SQL failed"):
        return relation.to_arrow_table()


def scan(store: Path, files: list[str], table: str) -> str:
    """What to put behind `from` to read these files of a table, given relative to the store.

    The files do not hold the same number twice: `score` is that of the macro.
    """
    paths = ", ".join(quote(str(store / file)) for file in files)
    rows = f"read_parquet([{paths}], hive_partitioning = false)"
    if table != "best_edges":
        return rows
    return f"(select * replace (score(method, contribution, score) as score) from {rows})"


def sql_type(kind: pa.DataType) -> str:
    """What DuckDB calls a type of the schema."""
    if pa.types.is_dictionary(kind):
        return sql_type(kind.value_type)
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"map({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    return _SQL_TYPES[kind]


def _view(store: Path, manifest: Manifest, table: str) -> str:
    files = manifest.files(table)
    schema = table_schema(table, manifest.dtype)
    if files:
        columns = identifiers(schema.names)
        return f"create view {table} as select {columns} from {scan(store, files, table)}"
    columns = ", ".join(f"null::{sql_type(f.type)} as {identifier(f.name)}" for f in schema)
    return f"create view {table} as select {columns} where false"


def _lock(connection: duckdb.DuckDBPyConnection, store: Path) -> None:
    # The order matters: once external access is off, the list of folders cannot be changed.
    spill = Path(tempfile.gettempdir()) / f"gradtrace-{os.getpid()}"
    connection.execute(f"set temp_directory = {quote(str(spill))}")
    connection.execute("set python_enable_replacements = false")
    connection.execute(f"set allowed_directories = [{quote(str(store))}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def connect(store: Path, manifest: Manifest) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the views and macros of the store at the absolute path `store`, and access to it only.

    Raises StoreError when a file cannot be read or lacks a column.
    """
    connection = duckdb.connect()
    connection.execute("set enable_progress_bar = false")  # it goes to stdout, into the rows, unless it is told not to
    with duckdb_errors(f"{store} is damaged, `gradtrace verify {store}` says where"):
        views = [_view(store, manifest, table) for table in (*GRAPH_TABLES, *SHARD_TABLES)]
        for statement in [*macros(of_tables=False), *views]:
            connection.execute(statement)
        ((n_parameters,),) = connection.execute("select coalesce(max(n_parameters), 0) from graphs").fetchall()
        settings = manifest.settings
        known = constants(str(settings["detail"]), settings["methods"][0], n_parameters)
        for statement in [*known, *macros(of_tables=True)]:
            connection.execute(statement)
    _lock(connection, store)
    return connection


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
