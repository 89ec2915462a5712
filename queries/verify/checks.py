"""What must hold of a store's rows: the files of `queries/sql/checks`, each a count of the rows that break it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..database.headers import CHECKS, SqlFile, sql_files
from ..schema import CANCELLING, GRAIN, NOISE, NULL_KEYS, TINY

_TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


class RowCheck(NamedTuple):
    """A check by name: a statement that counts the rows which break it, and its values."""

    name: str
    sql: str
    values: dict[str, Any]


def _checks_of(file: SqlFile, dtype: str) -> Iterator[RowCheck]:
    # one, or one of each table
    listed = file.names("tables")
    for table in GRAIN if listed == ("all",) else listed or ("",):
        grain = list(GRAIN.get(table, ()))
        known = {"tolerance": _TOLERANCE[dtype], "table": f"stored.{table}", "grain": grain}
        known["never_null"] = [column for column in grain if column not in NULL_KEYS]
        known |= {"noise": NOISE[dtype], "tiny": TINY[dtype], "cancelling": list(CANCELLING)}
        name = file.answers.replace("{table}", table).replace("{grain}", ", ".join(grain))
        yield RowCheck(name, file.sql, {parameter.name: known[parameter.name] for parameter in file.parameters})


def row_checks(detail: str, dtype: str) -> list[RowCheck]:
    """The checks of a store of this detail and dtype; conservation holds to 1e-9 in float64, to 1e-4 in float32."""
    files = [file for file in sql_files(CHECKS).values() if file.field("needs") in ("", detail)]
    return [check for file in files for check in _checks_of(file, dtype)]
