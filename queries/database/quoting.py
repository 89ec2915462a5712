"""How texts, names and paths stand in SQL: what a user or a file gives is bound, or stands in a statement by these."""

from __future__ import annotations

from collections.abc import Iterable

_GLOBS = "*?["


def quote(text: str) -> str:
    """`text` as an SQL string; a zero byte, which would end the statement, stands in it as a function."""
    return " || chr(0) || ".join("'" + part.replace("'", "''") + "'" for part in text.split("\0"))


def identifier(name: str) -> str:
    """`name` as the name of a column or table."""
    return '"' + name.replace('"', '""') + '"'


def identifiers(names: Iterable[str]) -> str:
    """Names of columns, with commas."""
    return ", ".join(map(identifier, names))


def pattern(path: str) -> str:
    """The glob that matches the file `path` and no other: what DuckDB is given of files is always a glob."""
    return "".join(f"[{letter}]" if letter in _GLOBS else letter for letter in path)


def listed(texts: Iterable[str]) -> str:
    """Texts as an SQL list of strings."""
    return f"[{', '.join(map(quote, texts))}]"
