"""The files of `queries/sql` and their headers: what a statement answers, then one field a line.

-- How many path edges each component receives.
-- grain:  one row per (sample, component)          what a row is; `value` of a macro that is one value
-- reads:  path_edges, nodes                        tables
-- param:  $method varchar = 'greedy'  which paths  name, type, default, meaning
-- unit:   edges
-- tables: edges, best_edges                        of a check: those it is made of, each as $table; or `all`
-- needs:  all                                      of a check: the detail of the stores it is made of
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import takewhile
from math import inf
from operator import index
from typing import Any

from .. import sql
from ..errors import StoreError
from ..methods import one_path_methods

QUERIES, MACROS, VIEWS, CHECKS = "queries", "macros", "views", "checks"
FIELDS = ("grain", "value", "reads", "param", "unit", "tables", "needs")

_FIELD = re.compile(rf"-- ({'|'.join(FIELDS)}): +(.+)")
_CHOICES = re.compile(r"one of ((?:\w+, )+\w+)")
_ONE_PATH = "a method of one path"
_PARAMETER = re.compile(r"\$?(?P<name>\w+) +(?P<type>[\w\[\]]+)(?: = (?P<default>'[^']*'|\S+))? {2,}(?P<text>.+)")


def _boolean(given: object) -> bool:
    return given if isinstance(given, bool) else {"true": True, "false": False}[str(given).lower()]


def _whole(given: Any) -> int:
    return int(given) if isinstance(given, str) else index(given)


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError("a text is wanted")
    return given


_TYPES: dict[str, Callable[[Any], Any]] = {"bigint": _whole, "double": float, "varchar": _text, "boolean": _boolean}
# Numbers of the library count or measure something: none is negative, and none is nan, which is like no number.
_MOST = {"bigint": 2**63, "double": inf, "boolean": 2}


@dataclass(frozen=True)
class Parameter:
    """One `$name` of a statement; `default` is None where a value must be given.

    A text that begins with `one of a, b, c` restricts the values to these, `a method of one path` to such methods.
    """

    name: str
    type: str
    default: str | None
    text: str

    @property
    def choices(self) -> list[str]:
        """The values it may have; none: any."""
        if self.text.startswith(_ONE_PATH):
            return one_path_methods()
        listed = _CHOICES.match(self.text)
        return [] if listed is None else listed[1].split(", ")

    def value(self, given: object) -> Any:
        """The value to bind for what was given, as text or as a Python value; StoreError when it does not fit."""
        choices = self.choices
        if choices and str(given) not in choices:
            raise StoreError(f"parameter {self.name} is one of {', '.join(choices)}, got {given!r}.")
        try:
            value = _TYPES[self.type](given)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise StoreError(f"parameter {self.name} is a {self.type}, got {given!r}.") from error
        if isinstance(value, int | float) and not 0 <= value < _MOST[self.type]:
            raise StoreError(f"parameter {self.name} is a number from 0 on, got {given!r}.")
        return value


@dataclass(frozen=True)
class SqlFile:
    """A file of SQL: what it answers, the other fields of its header, each with its lines, and its text."""

    name: str
    answers: str
    fields: dict[str, list[str]]
    sql: str

    def field(self, name: str) -> str:
        """A field as one text, empty where it is not given."""
        return " ".join(self.fields.get(name, []))

    def names(self, field: str) -> tuple[str, ...]:
        """The names that a field lists."""
        listed = self.field(field).replace(" ", "")
        return tuple(listed.split(",")) if listed else ()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters; StoreError where the header says one in another form."""
        found = [_PARAMETER.fullmatch(line) for line in self.fields.get("param", [])]
        if None in found:
            raise StoreError(f"{self.name}.sql: each param of the header must read `$name type  text`.")
        return tuple(Parameter(**match.groupdict()) for match in found if match is not None)


def read_file(name: str, text: str) -> SqlFile:
    """A file of SQL from its text; a line of the header that starts no field continues what stands before it."""
    answers: list[str] = []
    fields: dict[str, list[str]] = {}
    continued = answers
    for line in takewhile(lambda line: line.startswith("--"), text.splitlines()):
        match = _FIELD.fullmatch(line)
        if match is not None:
            continued = fields.setdefault(match[1], [])
            continued.append(match[2].strip())
        elif continued is answers:
            answers.append(line.removeprefix("--").strip())
        else:
            continued[-1] += " " + line.removeprefix("--").strip()
    return SqlFile(name, " ".join(answers), fields, text)


@cache
def sql_files(kind: str) -> dict[str, SqlFile]:
    """The files of QUERIES, MACROS, VIEWS or CHECKS by name, in alphabetical order."""
    folder = files(sql) if kind == QUERIES else files(sql) / kind
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return {f.name[:-4]: read_file(f.name[:-4], f.read_text(encoding="utf-8")) for f in found}
