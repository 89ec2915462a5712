"""Importance: how much of the paths of each parameter group each component carries, per sample and over samples.

Columns, per (sample, parameter_group, component), over the traced parameters of the group:

    edges         path edges in the component          paths       parameters whose path meets the component
    traced, dead, absent                               parameters whose path reaches the loss; that meet a vertex
                                                       without gradient; that have no edge
    edge_share    edges / edges in all components      null where the components are no partition
    mean_edges    edges / traced                       path_rate   paths / traced

and the `weighted_` ones, in which a parameter counts by its absolute gradient. Over samples a column is its mean, with
its standard deviation (`_sd`) and a bootstrap 95 % interval over samples (`_low`, `_high`). `samples` says how many: a
component is left out of samples whose graph does not have it, such as a step behind the end of a short sentence. The
interval draws sentences: samples of one sentence at several checkpoints are drawn together.
Grouped by a column or a label of samples, a row is one group of samples, and its statistics are over that group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..database.quoting import identifier, identifiers
from ..errors import StoreError
from .sample_columns import LABEL, SampleColumn, sample_column
from .sample_measures import BY, MEASURES, SPREAD, codes, derived, importance_question, sample_measures, units_of
from .statistics import Units, means, summarise_samples

_SPREAD_OF = ("sd", "low", "high")
_SPREADS = tuple(f"{measure}_{name}" for measure in SPREAD for name in _SPREAD_OF)
_COLUMNS = ("samples", *MEASURES, *_SPREADS)

if TYPE_CHECKING:
    import duckdb

    from ..database.reader import StoreReader


def _check_by(by: Sequence[str]) -> None:
    if not by or len(set(by)) < len(by):
        raise StoreError(f"importance needs each column to group by once, got {', '.join(map(str, by)) or 'none'}.")


def _check_names(by: Sequence[str]) -> None:
    taken = {name.lower(): name for name in _COLUMNS}
    for name in by:
        other = taken.setdefault(name.lower(), name)
        if other != name or name in _COLUMNS:
            raise StoreError(
                f"{name!r} would be a column of the answer beside {other!r}, which SQL cannot tell from it: "
                f"write '{LABEL}{name}' for the label."
            )


def _with_sample_columns(store: StoreReader, rows: pa.Table, columns: Sequence[SampleColumn]) -> pa.Table:
    if not columns:
        return rows
    values = ", ".join(f"{column.sql} as {identifier(column.name)}" for column in columns)
    return derived(store, rows, "measured", f"select {values}, m.* from measured as m join samples as s using (sample)")


class _Statistics:
    """The columns over samples, filled group of samples by group of samples."""

    def __init__(self, n_rows: int) -> None:
        self.samples = np.zeros(n_rows, np.int64)
        self.mean = {measure: np.full(n_rows, np.nan) for measure in MEASURES}
        self.spread = {column: np.full(n_rows, np.nan) for column in _SPREADS}

    def fill(self, rows: NDArray[np.int64], values: dict[str, NDArray[np.float64]], units: Units) -> None:
        """values: of each measure, rows x samples of one group, nan where a sample lacks it."""
        for measure in MEASURES:
            if measure not in SPREAD:
                self.mean[measure][rows], _ = means(values[measure])
        summary = summarise_samples(np.concatenate([values[measure] for measure in SPREAD]), units)
        for i, measure in enumerate(SPREAD):
            own = slice(i * rows.size, (i + 1) * rows.size)
            self.mean[measure][rows] = summary.mean[own]
            for name in _SPREAD_OF:
                self.spread[f"{measure}_{name}"][rows] = getattr(summary, name)[own]

    def columns(self) -> dict[str, pa.Array]:
        """All columns, a measure's statistics beside each other."""
        columns = {"samples": pa.array(self.samples)}
        for measure in MEASURES:
            columns[measure] = pa.array(self.mean[measure], from_pandas=True)
            for name in _SPREAD_OF if measure in SPREAD else ():
                columns[f"{measure}_{name}"] = pa.array(self.spread[f"{measure}_{name}"], from_pandas=True)
        return columns


def _over_samples(store: StoreReader, measured: pa.Table, keys: Sequence[str], grouping: Sequence[str]) -> pa.Table:
    # Mean, sd and interval of every measure, per row of `keys`, over the samples that are alike in `grouping`.
    _, first, row = np.unique(codes(measured, keys), return_index=True, return_inverse=True)
    group, sample = codes(measured, grouping), measured["sample"].to_numpy()
    found = {measure: measured[measure].cast(pa.float64()).to_numpy() for measure in MEASURES}
    statistics = _Statistics(first.size)
    by_group = np.argsort(group, kind="stable")
    for inside in np.split(by_group, np.flatnonzero(np.diff(group[by_group])) + 1):
        rows, i = np.unique(row[inside], return_inverse=True)
        samples, j = np.unique(sample[inside], return_inverse=True)
        values = {}
        for measure in MEASURES:
            values[measure] = np.full((rows.size, samples.size), np.nan)
            values[measure][i, j] = found[measure][inside]
        statistics.samples[rows] = np.bincount(i, minlength=rows.size)
        statistics.fill(rows, values, units_of(store, samples.tolist()))
    return pa.table({key: measured[key].take(pa.array(first)) for key in keys} | statistics.columns())


def importance(
    store: StoreReader,
    by: str | Sequence[str],
    *,
    components: str | Path | None,
    groups: str | Path | None,
    sample: int | None,
    method: str,
) -> duckdb.DuckDBPyRelation:
    """Importance grouped by the columns `by`, any of `sample_measures.BY`, columns of `samples` and labels of theirs.

    The module says what its columns mean. Columns of operators in place of 'component' divide the operators by them.
    `components` and `groups` are TOML files, see `selectors`. With 'sample' in `by` a row is one sample, without it
    the mean over the samples, of each group of samples if `by` names any of their columns; `sample` restricts to one.
    Raises StoreError for columns, files or samples that do not fit the store.
    """
    by = [by] if isinstance(by, str) else list(by)
    _check_by(by)
    columns = [sample_column(store, name, BY) for name in by if name not in BY]
    _check_names(by)
    inside = [name for name in by if name in BY]
    question = importance_question(store, inside, components, groups, sample, method)
    rows = _with_sample_columns(store, sample_measures(store, question), columns)
    grouping = [column.name for column in columns]
    if "sample" not in by:
        rows = _over_samples(store, rows, by, grouping)
    rest = [column for column in rows.column_names if column not in by]
    return store.connection.from_arrow(rows).select(identifiers([*by, *rest])).order(_order(by, grouping))


def _order(by: Sequence[str], grouping: Sequence[str]) -> str:
    # Groups of samples by their value, as numbers where they are, then structure, then the largest first.
    placed = [column for column in ("sample", *grouping, "parameter_group", "layer", "step") if column in by]
    names = map(identifier, placed)
    first = [f"try_cast({name} as double) nulls last, {name} nulls last" for name in names]
    return ", ".join([*first, "edges desc", *(identifier(column) for column in by if column not in placed)])
