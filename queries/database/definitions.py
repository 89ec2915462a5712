"""The macros and views a store offers in SQL: files of `queries/sql`, and the constants of the store."""

from __future__ import annotations

import re
from collections.abc import Callable
from graphlib import TopologicalSorter

from ..methods import METHODS, Method
from .headers import MACROS, VIEWS, sql_files
from .quoting import quote

# What `case in_method ... end` holds in the files, by the name of its placeholder.
_OF_METHOD: dict[str, Callable[[Method], str]] = {
    "score": lambda method: method.score,
    "ratio": lambda method: method.ratio,
    "weight": lambda method: method.weight or "null",
    "by_contribution": lambda method: "false" if method.logarithms else "true",
}
_NAMED = re.compile(r"\w+(?=\()|(?<=from |join )\w+")  # what a statement calls, and what it reads


def _cases(sql_of: Callable[[Method], str]) -> str:
    return "\n".join(f"when {quote(method.name)} then {sql_of(method)}" for method in METHODS.values())


def _filled(statement: str) -> str:
    for placeholder, sql_of in _OF_METHOD.items():
        statement = statement.replace("{" + placeholder + "}", _cases(sql_of))
    return statement


def constants(detail: str, first_method: str, n_parameters: int) -> list[str]:
    """The `create macro` statements of what is alike in the whole store.

    The number of parameters is the same in all graphs of a store. As a constant it lets DuckDB skip the rows of
    parameters, which a subquery would not.
    """
    values = {
        "detail": quote(detail),
        "first_method": quote(first_method),
        "n_parameters": f"{n_parameters}::bigint",
    }
    return [f"create macro {name}() as {value}" for name, value in values.items()]


def definitions() -> list[str]:
    """The `create` statements of the files, each behind those of what it calls and reads, which DuckDB looks up."""
    files = sql_files(MACROS) | sql_files(VIEWS)
    needs = {name: files.keys() & set(_NAMED.findall(file.sql)) - {name} for name, file in files.items()}
    return [_filled(files[name].sql) for name in TopologicalSorter(needs).static_order()]
