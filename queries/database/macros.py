"""The macros a store offers in SQL: the files of `queries/sql/macros`, and the constants of the store."""

from __future__ import annotations

import re
from collections.abc import Callable
from graphlib import TopologicalSorter

from ..methods import METHODS, Method
from .headers import MACROS, SqlFile, sql_files
from .quoting import quote

# What `case in_method ... end` holds in the files, by the name of its placeholder.
_OF_METHOD: dict[str, Callable[[Method], str]] = {
    "score": lambda method: method.score,
    "ratio": lambda method: method.ratio,
    "weight": lambda method: method.weight or "null",
    "by_contribution": lambda method: "false" if method.logarithms else "true",
}


def _cases(sql_of: Callable[[Method], str]) -> str:
    return "\n".join(f"when {quote(method.name)} then {sql_of(method)}" for method in METHODS.values())


def _filled(statement: str) -> str:
    for placeholder, sql_of in _OF_METHOD.items():
        statement = statement.replace("{" + placeholder + "}", _cases(sql_of))
    return statement


def _in_order(files: dict[str, SqlFile]) -> list[SqlFile]:
    # DuckDB looks up what a macro calls when it is created.
    calls = {name: files.keys() & set(re.findall(r"(\w+)\(", file.sql)) - {name} for name, file in files.items()}
    return [files[name] for name in TopologicalSorter(calls).static_order()]


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


def macros(*, of_tables: bool) -> list[str]:
    """The `create macro` statements of the files: those that read tables, or are made of such, or the others."""
    return [_filled(file.sql) for file in _in_order(sql_files(MACROS)) if _is_of_tables(file) == of_tables]


def _is_of_tables(file: SqlFile) -> bool:
    return "grain" in file.fields or "reads" in file.fields
