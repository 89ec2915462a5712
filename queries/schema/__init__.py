"""The graph store's tables: one place that the writer obeys and the reader trusts, with a sentence for every column.

A table is a list of columns (`columns.py`), each with its sentence; `tables.py` has them all.
"""

from .columns import Column
from .tables import (
    CANCELLING,
    COLUMNS,
    DETAILS,
    DTYPES,
    GRAIN,
    GRAPH_TABLES,
    INVALID,
    MADE_OF,
    NOISE,
    NON_FINITE,
    NULL_KEYS,
    OK,
    ROW_TABLES,
    ROWS,
    SHARD_TABLES,
    TINY,
    columns_on_request,
    table_schema,
    tables_of_view,
    view_schema,
)

__all__ = [
    "CANCELLING",
    "COLUMNS",
    "DETAILS",
    "DTYPES",
    "GRAIN",
    "GRAPH_TABLES",
    "INVALID",
    "MADE_OF",
    "NOISE",
    "NON_FINITE",
    "NULL_KEYS",
    "OK",
    "ROWS",
    "ROW_TABLES",
    "SHARD_TABLES",
    "TINY",
    "Column",
    "columns_on_request",
    "table_schema",
    "tables_of_view",
    "view_schema",
]
