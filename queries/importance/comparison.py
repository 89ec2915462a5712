"""Differences in importance between two stores, or between two groups of samples of one store.

The sides are *paired* when they hold the same samples, that is the same texts: two stores of one file of samples, or
one store in which every sample was recorded under both checkpoints. Then the difference is taken sample by sample and
the interval resamples pairs. Else it is *unpaired*: each side's samples are resampled on their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import StoreError
from ..show.files import columns_of
from ..show.shown import Layout, Shown
from .sample_columns import sample_column, values_of
from .sample_measures import BY, Matrix, importance_question, measure_matrix, units_of
from .statistics import Units, paired_difference, unpaired_difference

if TYPE_CHECKING:
    from ..database.reader import StoreReader

_SHOWN_VALUES = 12  # values of a label that an error lists
_COLUMNS = {"left_n": "left_samples", "right_n": "right_samples"}
_NUMBERS = ("layer", "step")

Between = str | tuple[object, object, object]


class Side(NamedTuple):
    """One side of a comparison: what it is called, its measures, and the text of each of its samples by number."""

    name: str
    matrix: Matrix
    texts: dict[int, str | None]  # all samples of the side, recorded or not
    source: str | None  # fingerprint of the file of samples, where the sides may be the same file
    units: Units  # of the matrix's samples


class Pairing(NamedTuple):
    """Which columns of the two sides' matrices belong together, where the sides are paired, and what to say of it."""

    columns: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    notes: list[str]


@dataclass(frozen=True)
class Comparison(Shown):
    """Differences right - left of one measure, a row per combination of the columns it was grouped by.

    `rows`: these columns; left, right: means over samples; difference, low, high: right - left with its bootstrap 95 %
    interval; left_samples, right_samples: how many are behind the means; design: 'paired' or 'unpaired'; only: the side
    that has such a row at all where the other lacks it, whose mean is null. Sorted by |difference| within the first
    column. `notes` says what a reader must know beside that.
    """

    left: str
    right: str
    measure: str
    method: str
    design: str
    rows: pa.Table
    notes: tuple[str, ...]
    unfinished: str = ""

    def title(self) -> str:
        """What is compared, in one line."""
        return (
            f"{self.measure} of {self.method} paths, {self.design}: {self.right} (right) - {self.left} (left), "
            "bootstrap 95 % interval over samples"
        )

    def _layout(self) -> Layout:
        return Layout(self.title(), self.notes, self.rows.column_names, columns_of(self.rows))

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table."""
        return self.rows

    def to_pandas(self) -> Any:
        """The rows as a pandas frame; needs pandas, which the extra `gradtrace[pandas]` installs."""
        return self.rows.to_pandas()


def _texts(store: StoreReader) -> dict[int, str | None]:
    return dict(store.fetch("select sample, text from samples order by sample"))


def _store_side(store: StoreReader, name: str, matrix: Matrix) -> Side:
    source = str(store.manifest.samples.get("fingerprint"))
    return Side(name, matrix, _texts(store), source, units_of(store, matrix.samples))


def _parsed(between: Between) -> tuple[str, str, str]:
    if isinstance(between, str):
        name, equals, values = between.partition("=")
        parts = [value.strip() for value in values.split(",")]
        if not equals or len(parts) != 2 or not all(parts):
            raise StoreError(f"got {between!r} to compare between, wanted NAME=VALUE,VALUE: condition=singular,plural.")
        between = (name.strip(), parts[0], parts[1])
    if len(between) != 3:
        raise StoreError(f"got {between!r} to compare between, wanted a name and two values of it.")
    between = (str(between[0]), str(between[1]), str(between[2]))
    if between[1] == between[2]:
        raise StoreError(f"both sides are {between[0]} = {between[1]}: give two different values.")
    return between


def _group_sides(store: StoreReader, between: Between, matrix: Matrix) -> list[Side]:
    # Two sides of one store: the samples with either value.
    name, *wanted = _parsed(between)
    value_of = values_of(store, sample_column(store, name))
    texts = _texts(store)
    known = {sample: str(found) for sample, found in value_of.items() if found is not None}
    sides = []
    for value in wanted:
        inside = {sample: text for sample, text in texts.items() if known.get(sample) == value}
        chosen = [i for i, sample in enumerate(matrix.samples) if sample in inside]
        if not chosen:
            raise StoreError(f"no recorded sample has {name} = {value}. {_values_said(value_of, matrix.samples)}")
        part = Matrix(matrix.rows, [matrix.samples[i] for i in chosen], matrix.values[:, chosen])
        sides.append(Side(f"{name}={value}", part, inside, None, units_of(store, part.samples)))
    return sides


def _values_said(value_of: dict[int, Any], samples: list[int]) -> str:
    known = list(dict.fromkeys(str(value_of[sample]) for sample in samples if value_of[sample] is not None))
    if not known:
        return "It is null for all of them."
    more = f" and {len(known) - _SHOWN_VALUES} more" if len(known) > _SHOWN_VALUES else ""
    return f"Its values are {', '.join(known[:_SHOWN_VALUES])}{more}."


def _keys(side: Side, *, by_number: bool) -> dict[int, tuple[str | int | None, int]]:
    # What each sample of a side is known by: its number, or its text and how often that stood before.
    seen: Counter[str | int | None] = Counter()
    keys = {}
    for sample, text in side.texts.items():
        name = sample if by_number else text
        keys[sample] = (name, seen[name])
        seen[name] += 1
    return keys


def _pair(left: Side, right: Side) -> Pairing:
    by_number = left.source is not None and left.source == right.source
    keys = [_keys(side, by_number=by_number) for side in (left, right)]
    known = by_number or None not in {*left.texts.values(), *right.texts.values()}
    if not known or set(keys[0].values()) != set(keys[1].values()):
        shared = {text for text in left.texts.values() if text is not None} & set(right.texts.values())
        said = f"Unpaired, though the sides share {len(shared)} texts: they do not hold the same samples."
        return Pairing(None, [said] if known and shared else [])
    in_left, in_right = (
        {of[sample]: i for i, sample in enumerate(side.matrix.samples)}
        for of, side in zip(keys, (left, right), strict=True)
    )
    both = [key for key in in_left if key in in_right]
    dropped = len(in_left) + len(in_right) - 2 * len(both)
    notes = [f"Samples recorded on one side only, left out: {dropped}."] if dropped else []
    left_columns, right_columns = (np.array([of[key] for key in both], np.int64) for of in (in_left, in_right))
    return Pairing((left_columns, right_columns), notes)


def _aligned_values(side: Side, rows: list[tuple[Any, ...]]) -> NDArray[np.float64]:
    # The side's values of these rows, nan where it has no such row.
    place = {row: i for i, row in enumerate(side.matrix.rows)}
    values = np.full((len(rows), len(side.matrix.samples)), np.nan)
    there = [i for i, row in enumerate(rows) if row in place]
    values[there] = side.matrix.values[[place[rows[i]] for i in there]]
    return values


def _compare_sides(left: Side, right: Side, by: Sequence[str]) -> tuple[str, pa.Table, list[str]]:
    rows = list(dict.fromkeys([*left.matrix.rows, *right.matrix.rows]))
    on_left, on_right = _aligned_values(left, rows), _aligned_values(right, rows)
    pairing = _pair(left, right)
    if pairing.columns is None:
        design, found = "unpaired", unpaired_difference(on_left, on_right, (left.units, right.units))
    else:
        design = "paired"
        of_left, of_right = pairing.columns
        units = None if left.units is None else np.unique(left.units[of_left], return_inverse=True)[1]
        found = paired_difference(on_left[:, of_left], on_right[:, of_right], units)
    there = [~np.isnan(value).all(axis=1) for value in (on_left, on_right)]
    only = [left.name if a and not b else right.name if b and not a else None for a, b in zip(*there, strict=True)]
    columns: dict[str, pa.Array] = {}
    for i, name in enumerate(by):
        columns[name] = pa.array([row[i] for row in rows], pa.int32() if name in _NUMBERS else pa.string())
    for name, value in found._asdict().items():
        columns[_COLUMNS.get(name, name)] = pa.array(value, from_pandas=True)
    columns |= {"design": pa.array([design] * len(rows), pa.string()), "only": pa.array(only, pa.string())}
    notes = [
        f"Rows that only {side.name} has, null in {other.name}: {only.count(side.name)}."
        for side, other in ((left, right), (right, left))
        if side.name in only
    ]
    return design, _sorted(pa.table(columns), by), [*pairing.notes, *notes]


def _sorted(rows: pa.Table, by: Sequence[str]) -> pa.Table:
    size = pc.abs(rows["difference"])
    first = [(by[0], "ascending")] if len(by) > 1 else []
    keys = [
        *first,
        ("size", "descending"),
        *((column, "ascending") for column in by if (column, "ascending") not in first),
    ]
    return rows.append_column("size", size).sort_by(keys).drop_columns(["size"])


def compare(
    store: StoreReader,
    other: StoreReader | None,
    between: Between | None,
    *,
    by: str | Sequence[str],
    measure: str,
    method: str,
    components: str | Path | None,
    groups: str | Path | None,
) -> Comparison:
    """The difference in a measure of importance between `store` (left) and `other` (right), or between two values.

    between: 'condition=singular,plural', or the three as a tuple: a label or column of samples and the values of the
    left and the right side. `by`: columns of `sample_measures.BY` beside 'sample'. Rows that one side lacks are kept,
    with null for it. Raises StoreError for names and values that the stores do not have, and where not exactly one of
    `other` and `between` is given.
    """
    if (other is None) == (between is None):
        raise StoreError("compare either two stores, or one store between two values: condition=singular,plural.")
    by = [by] if isinstance(by, str) else by
    wrong = [column for column in by if column not in BY[1:]]
    if wrong or not by or len(set(by)) < len(by):
        raise StoreError(
            f"a comparison has each of {', '.join(BY[1:])} once to group by, got {', '.join(by) or 'none'}."
        )
    stores = [store] if other is None else [store, other]
    matrices = [
        measure_matrix(s, importance_question(s, ("sample", *by), components, groups, method=method), measure)
        for s in stores
    ]
    if between is not None:
        left, right = _group_sides(store, between, matrices[0])
    else:
        paths = [s.path for s in stores]
        names = [path.name if paths[0].name != paths[1].name else str(path) for path in paths]
        left, right = map(_store_side, stores, names, matrices)
    design, rows, notes = _compare_sides(left, right, by)
    return Comparison(left.name, right.name, measure, method, design, rows, tuple(notes))
