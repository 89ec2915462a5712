"""Rows of the small tables, collected over many samples: a sentence has too few to be worth an Arrow table each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

ENOUGH = 1 << 16  # rows that are worth a table


class Names(NamedTuple):
    """A column of few distinct strings: each row has the number of its name."""

    names: Sequence[str]
    number: NDArray[np.integer[Any]]


class OrNone(NamedTuple):
    """A column of numbers from 0 on; -1 stands for null."""

    number: NDArray[np.integer[Any]]


Column = int | str | NDArray[Any] | Names | OrNone  # one number or string: that of every row


class Rows(NamedTuple):
    """`n` rows of a table by its columns, which all have that many values, or one."""

    n: int
    columns: dict[str, Column]


def as_table(parts: Sequence[Rows]) -> pa.Table:
    """The rows of all parts, which have the same columns."""
    sizes = [part.n for part in parts]
    return pa.table({name: _joined([part.columns[name] for part in parts], sizes) for name in parts[0].columns})


@dataclass
class CollectedRows:
    """Rows of one table in the order in which they were added, each with the same columns."""

    n: int = 0
    _parts: list[Rows] = field(default_factory=list)

    def add(self, rows: Rows) -> None:
        """Take rows in, which must not be changed afterwards."""
        self.n += rows.n
        self._parts.append(rows)

    def table(self) -> pa.Table:
        """All of them as one table."""
        return as_table(self._parts)


def _joined(parts: list[Any], sizes: list[int]) -> pa.Array | NDArray[Any]:
    """One column. sizes: the rows of each part"""
    if isinstance(parts[0], str):
        parts = [Names((name,), np.zeros(n, np.int32)) for name, n in zip(parts, sizes, strict=True)]
    if isinstance(parts[0], Names):
        return _joined_names(parts)
    if isinstance(parts[0], OrNone):
        number = np.concatenate([part.number for part in parts])
        return pa.array(number, mask=number < 0)
    return np.repeat(parts, sizes) if isinstance(parts[0], int) else np.concatenate(parts)


def _joined_names(parts: list[Names]) -> pa.DictionaryArray:
    """One dictionary for all parts, which may number their names differently."""
    number: dict[str, int] = {}
    rows = [
        np.array([number.setdefault(name, len(number)) for name in part.names], np.int32)[part.number] for part in parts
    ]
    return pa.DictionaryArray.from_arrays(np.concatenate(rows), pa.array(number, pa.string()))
