"""What is known of samples and can group them: the columns of `samples` that hold one value, and their labels."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from ..database.quoting import identifier, quote
from ..errors import StoreError, nearest
from ..schema import SHARD_TABLES

if TYPE_CHECKING:
    from ..database.reader import StoreReader

LABEL, COLUMN = "label.", "sample."
COLUMNS = tuple(
    field.name for field in SHARD_TABLES["samples"] if field.name != "sample" and not pa.types.is_list(field.type)
)


class SampleColumn(NamedTuple):
    """A column or label of samples: its name as asked for, and its value as SQL over `samples as s`."""

    name: str
    sql: str


def labels(store: StoreReader) -> list[str]:
    """The names of all labels that samples of the store carry."""
    return [name for (name,) in store.fetch("select distinct label from labels order by label")]


def labels_said(store: StoreReader) -> str:
    """The labels of a store as the end of an error message."""
    there = labels(store)
    return f"Labels of its samples: {', '.join(there)}." if there else "Its samples have no labels."


def sample_column(store: StoreReader, name: str, others: Collection[str] = ()) -> SampleColumn:
    """The column or label of samples called `name`; 'label.name' and 'sample.name' say which of the two is meant.

    Raises StoreError for a name that is neither, or both; `others` are names that would have been right too.
    """
    there = labels(store)
    label, column = name.removeprefix(LABEL), name.removeprefix(COLUMN)
    is_label, is_column = label in there, column in COLUMNS
    if is_label and is_column:
        raise StoreError(
            f"{name!r} is a column of samples and a label: write '{COLUMN}{name}' for the column, "
            f"'{LABEL}{name}' for the label."
        )
    if is_label:
        return SampleColumn(name, f"sample_label(s.sample, {quote(label)})")
    if is_column:
        return SampleColumn(name, f"s.{identifier(column)}")
    choices = [*others, *COLUMNS]
    raise StoreError(
        f"samples cannot be grouped by {name!r}.{nearest(label, [*choices, *there])} "
        f"Choose among {', '.join(choices)}. {labels_said(store)}"
    )


def values_of(store: StoreReader, column: SampleColumn) -> dict[int, Any]:
    """The column's value of every sample, recorded or not."""
    return dict(store.fetch(f"select s.sample, {column.sql} from samples as s order by s.sample"))
