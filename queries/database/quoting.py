"""How texts and names stand in SQL. Nothing that a user or a file gives is pasted into a statement otherwise."""

from __future__ import annotations

from collections.abc import Iterable


def quote(text: str) -> str:
    """`text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as the name of a column or table."""
    return '"' + name.replace('"', '""') + '"'


def identifiers(names: Iterable[str]) -> str:
    """Names of columns, with commas."""
    return ", ".join(map(identifier, names))
