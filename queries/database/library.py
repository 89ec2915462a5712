"""The query files of `queries/sql`: their headers, their parameters, and how a text becomes a parameter's value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import takewhile
from typing import Any

from .. import sql
from ..errors import StoreError
from .names import nearest

_FIELD = re.compile(r"-- (grain|reads|param|unit): +(.+)")
_GRAIN = re.compile(r"one row per (?:\((?P<many>[\w, ]+)\)|(?P<one>\w+))")
_CHOICES = re.compile(r"one of ((?:\w+, )+\w+)")
_PARAMETER = re.compile(r"\$(?P<name>\w+) +(?P<type>\w+)(?: = (?P<default>'[^']*'|\S+))? {2,}(?P<text>.+)")


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_TYPES: dict[str, Callable[[str], Any]] = {"bigint": int, "double": float, "varchar": str, "boolean": _boolean}


@dataclass(frozen=True)
class Parameter:
    """One `$name` of a query file; `default` is None where a value must be given.

    A text that begins with `one of a, b, c` restricts the values to these.
    """

    name: str
    type: str
    default: str | None
    text: str

    def value(self, given: object) -> Any:
        """The value to bind for what was given, as text or as a Python value; StoreError when it does not fit."""
        choices = _CHOICES.match(self.text)
        if choices is not None and str(given) not in choices[1].split(", "):
            raise StoreError(f"parameter {self.name} is {choices[0]}, got {given!r}.")
        if not isinstance(given, str):
            return given
        try:
            return _TYPES[self.type](given)
        except (ValueError, KeyError) as error:
            raise StoreError(f"parameter {self.name} is a {self.type}, got {given!r}.") from error


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


def _read_header(sql: str) -> tuple[str, dict[str, list[str]]]:
    # What the query answers, and its fields; a line that starts no field continues what stands before it.
    answers: list[str] = []
    fields: dict[str, list[str]] = {"grain": [], "reads": [], "param": [], "unit": []}
    continued = answers
    for line in takewhile(lambda line: line.startswith("--"), sql.splitlines()):
        match = _FIELD.fullmatch(line)
        if match is not None:
            continued = fields[match[1]]
            continued.append(match[2].strip())
        elif continued is answers:
            answers.append(line.removeprefix("--").strip())
        else:
            continued[-1] += " " + line.removeprefix("--").strip()
    return " ".join(answers), fields


def parse_query(name: str, sql: str) -> Query:
    """Read the header of a query file; a header that lacks a field or says it in another form raises StoreError."""
    answers, fields = _read_header(sql)
    grain = _GRAIN.match(" ".join(fields["grain"]))
    parameters = [_PARAMETER.fullmatch(line) for line in fields["param"]]
    if not answers or grain is None or not fields["reads"] or not fields["unit"] or None in parameters:
        raise StoreError(f"{name}.sql: the header must give grain, reads, unit, and each param as `$name type  text`.")
    return Query(
        name=name,
        answers=answers,
        grain=tuple((grain["many"] or grain["one"]).replace(" ", "").split(",")),
        reads=tuple(" ".join(fields["reads"]).replace(" ", "").split(",")),
        parameters=tuple(Parameter(**p.groupdict()) for p in parameters if p is not None),
        unit=" ".join(fields["unit"]),
        sql=sql,
    )


@cache
def load_queries() -> dict[str, Query]:
    """Every query file by its name, in alphabetical order."""
    found = sorted((f for f in files(sql).iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return {f.name[:-4]: parse_query(f.name[:-4], f.read_text(encoding="utf-8")) for f in found}


def load_query(name: str) -> Query:
    """One query file by its name; an unknown name raises StoreError with the nearest ones."""
    queries = load_queries()
    if name not in queries:
        raise StoreError(f"there is no query {name!r}.{nearest(name, list(queries))} `gradtrace queries` lists all.")
    return queries[name]
