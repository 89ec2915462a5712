"""The query library: the questions of `queries/sql`, and their parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..errors import StoreError, nearest
from .headers import QUERIES, Parameter, SqlFile, read_file, sql_files

_GRAIN = re.compile(r"one row per (?:\((?P<many>[\w, ]+)\)|(?P<one>\w+))")


@dataclass(frozen=True)
class Query:
    """A query file: what it answers, what one row of it is, the tables it reads, its parameters and its unit."""

    name: str
    answers: str
    grain: tuple[str, ...]
    reads: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    unit: str
    sql: str

    def bind(self, given: Mapping[str, object]) -> dict[str, Any]:
        """A value for every parameter: what was given, else its default; StoreError for unknown or missing ones."""
        names = [p.name for p in self.parameters]
        for name in given:
            if name not in names:
                takes = f"It takes {', '.join(names)}." if names else "It takes none."
                raise StoreError(f"query {self.name} has no parameter {name!r}. {takes}")
        values = {}
        for parameter in self.parameters:
            if parameter.name in given:
                values[parameter.name] = parameter.value(given[parameter.name])
            elif parameter.default is not None:
                values[parameter.name] = parameter.value(parameter.default.strip("'"))
            else:
                raise StoreError(f"query {self.name} needs {parameter.name}: {parameter.text}.")
        return values


def grain(file: SqlFile) -> tuple[str, ...]:
    """The columns that make a row of a file's answer unique; StoreError where its header does not say them."""
    match = _GRAIN.match(file.field("grain"))
    if match is None:
        raise StoreError(f"{file.name}.sql: the header must give its grain as `one row per (column, ...)`.")
    return tuple((match["many"] or match["one"]).replace(" ", "").split(","))


def _query(file: SqlFile) -> Query:
    if not file.answers or not file.names("reads") or not file.field("unit"):
        raise StoreError(f"{file.name}.sql: the header must say what it answers, grain, reads and unit.")
    return Query(
        file.name, file.answers, grain(file), file.names("reads"), file.parameters, file.field("unit"), file.sql
    )


def parse_query(name: str, text: str) -> Query:
    """A query from the text of its file; a header that lacks a field or says it in another form raises StoreError."""
    return _query(read_file(name, text))


@cache
def load_queries() -> dict[str, Query]:
    """Every query file by its name, in alphabetical order."""
    return {name: _query(file) for name, file in sql_files(QUERIES).items()}


def load_query(name: str) -> Query:
    """One query file by its name; an unknown name raises StoreError with the nearest ones."""
    queries = load_queries()
    if name not in queries:
        raise StoreError(f"there is no query {name!r}.{nearest(name, list(queries))} `gradtrace queries` lists all.")
    return queries[name]
