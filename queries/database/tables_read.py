"""Which tables of a store a statement can read, told from its words: more than it does read, never fewer."""

from __future__ import annotations

import re
from functools import cache

from ..schema import GRAPH_TABLES, SHARD_TABLES, tables_of_view
from .headers import MACROS, sql_files

TABLES = (*GRAPH_TABLES, *SHARD_TABLES)

_WORD = re.compile(r"\w+")
_STORED = re.compile(r"\bstored\.(\w+)")  # a view of the files of one table; other views of its name read more
# what can name a table or a file in a text that is made up while the statement runs
_BY_TEXT = re.compile(r"query|query_table|json_execute_serialized_sql|glob|\w*parquet\w*|read_\w+|sniff_\w+")


@cache
def _of_given_table() -> re.Pattern[str]:
    """A macro that reads the table whose name it is given, called with anything but a plain name."""
    names = [name for name, file in sql_files(MACROS).items() if "query_table(" in file.sql]
    return re.compile(rf"\b({'|'.join(names)})\b(?!\s*\(\s*'?\w+'?\s*\))")


@cache
def _of_macros() -> dict[str, frozenset[str]]:
    """The tables that each macro reads, in itself or in others: its header says them."""
    return {name.lower(): frozenset(file.names("reads")) for name, file in sql_files(MACROS).items()}


def tables_read(text: str) -> list[str]:
    """The tables whose files the statement `text` may read, in the order of the schema; all of them where in doubt.

    A table is read by its name alone, whatever stands around it: views and macros are this package's own, and SQL has
    no other way to write a name. Where names can be put together of texts, nothing is known.
    """
    if any(map(_BY_TEXT.fullmatch, _WORD.findall(text.lower()))) or _of_given_table().search(text.lower()):
        return list(TABLES)
    stored = set(_STORED.findall(text.lower()))
    words = set(_WORD.findall(_STORED.sub(" ", text.lower())))
    macros = _of_macros()
    of_views = [tables_of_view(table) for table in TABLES if table in words]
    read = stored.union(*of_views, *(macros[word] for word in words & macros.keys()))
    return [table for table in TABLES if table in read]
