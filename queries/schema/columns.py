"""What a column of a store's table is: `tables.py` has them all."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa


class Column(NamedTuple):
    """A column of a table: what it says of a row, and whether it may say nothing (null).

    derived_from: the tables that a derived column follows from, beside its own; none for one that is in the files
    on_request: whether files leave it out where nobody asked for it, so that it is null in every row
    """

    name: str
    type: pa.DataType
    text: str
    nullable: bool = True
    derived_from: tuple[str, ...] = ()
    on_request: bool = False

    @property
    def is_stored(self) -> bool:
        """Whether the files have it."""
        return not self.derived_from


def required(name: str, kind: pa.DataType, text: str) -> Column:
    """A column without nulls; its rows are written in less time."""
    return Column(name, kind, text, nullable=False)


def derived(column: Column, *tables: str) -> Column:
    """The same column, not stored but found from these tables by the view."""
    return column._replace(derived_from=tables)


def on_request(name: str, kind: pa.DataType, text: str) -> Column:
    """A column that files may leave out: a null takes as long to write as a small number."""
    return Column(name, kind, text, on_request=True)


def label(name: str, text: str) -> Column:
    """A column of few distinct strings."""
    return required(name, pa.dictionary(pa.int32(), pa.string()), text)


FLOAT = pa.float32()  # stands for the store's dtype; see `table_schema`
OF_FLOAT64 = {FLOAT: pa.float64(), pa.list_(FLOAT): pa.list_(pa.float64())}
