"""Rank stability: do the samples agree which components matter most?

Kendall's W asks every sample to rank the components and says how far the rankings agree: 1 where all are alike, 0 where
there is no agreement (Kendall and Babington Smith 1939, corrected for ties). Split-half stability asks whether a mean
over samples would rank them alike again: it parts the samples at random into halves, ranks the components by their
means in either half, and correlates the two rankings (Spearman); `split_half` is the mean of 200 such splits, its
interval holds the middle 95 % of them.

Components that carry nothing in any sample are no items: that all samples put them last would count as agreement.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..errors import StoreError, nearest
from .sample_measures import NODE_COLUMNS, Matrix, importance_question, measure_matrix, units_of
from .statistics import LEVEL, kendalls_w, split_half

if TYPE_CHECKING:
    import duckdb

    from ..database.reader import StoreReader

OVERALL = "(all)"  # the row of all parameters together

_SCHEMA = pa.schema(
    [
        ("parameter_group", pa.string()),
        ("samples", pa.int64()),
        ("ranked", pa.int64()),
        ("without_paths", pa.int64()),
        ("missing", pa.int64()),
        *((name, pa.float64()) for name in ("kendall_w", "split_half", "split_half_low", "split_half_high")),
    ]
)


def _row(store: StoreReader, group: str, matrix: Matrix) -> dict[str, Any]:
    # matrix: components of one parameter group
    there = ~np.isnan(matrix.values).all(axis=0)
    complete = matrix.values[:, there]
    everywhere = ~np.isnan(complete).any(axis=1)
    carries = everywhere & (np.nan_to_num(complete) != 0).any(axis=1)
    ranked = complete[carries].T
    splits = split_half(ranked, units_of(store, np.array(matrix.samples)[there].tolist()))
    low, high = np.percentile(splits, (50 * (1 - LEVEL), 50 * (1 + LEVEL))) if splits.size else (np.nan, np.nan)
    return {
        "parameter_group": group,
        "samples": ranked.shape[0],
        "ranked": ranked.shape[1],
        "without_paths": int((everywhere & ~carries).sum()),
        "missing": int((~everywhere).sum()),
        "kendall_w": kendalls_w(ranked),
        "split_half": splits.mean() if splits.size else np.nan,
        "split_half_low": low,
        "split_half_high": high,
    }


def _by_group(matrix: Matrix) -> dict[str, Matrix]:
    names = [str(row[0]) for row in matrix.rows]
    rows = {name: [i for i, other in enumerate(names) if other == name] for name in sorted(set(names))}
    return {
        name: Matrix([matrix.rows[i] for i in own], matrix.samples, matrix.values[own]) for name, own in rows.items()
    }


def _chosen(groups: dict[str, Matrix], group: str | None) -> dict[str, Matrix]:
    if group is None:
        return groups
    if group not in groups:
        raise StoreError(
            f"there is no parameter group {group!r}.{nearest(group, list(groups))} There are {', '.join(groups)}."
        )
    return {group: groups[group]}


def stability(
    store: StoreReader,
    by: str,
    group: str | None,
    measure: str,
    *,
    method: str,
    components: str | Path | None,
    groups: str | Path | None,
) -> duckdb.DuckDBPyRelation:
    """Kendall's W and split-half stability of the ranks of components, by a measure, over the recorded samples.

    One row per parameter group, then, unless groups come from a file, one of all parameters together, '(all)'; or the
    row of one `group`. `by` is a column of operators that divides them, such as 'component'. samples: how many rank;
    ranked: how many components; without_paths: components that carry nothing in any sample; missing: components that
    some sample lacks (a step behind the end of a short sentence), which are not ranked either. A statistic is null for
    fewer than two samples or two ranked components. Raises StoreError for a column, group, measure, method or file that
    does not fit the store.
    """
    if by not in NODE_COLUMNS:
        raise StoreError(f"components cannot be told apart by {by!r}. Choose among {', '.join(NODE_COLUMNS)}.")

    def values(*columns: str) -> Matrix:
        return measure_matrix(
            store, importance_question(store, ("sample", *columns), components, groups, method=method), measure
        )

    rows = []
    if group != OVERALL:
        rows += [_row(store, *item) for item in _chosen(_by_group(values("parameter_group", by)), group).items()]
    if group == OVERALL or (group is None and groups is None):  # groups of a file may overlap, or leave parameters out
        rows.append(_row(store, OVERALL, values(by)))
    columns = {
        field.name: pa.array([row[field.name] for row in rows], field.type, from_pandas=True) for field in _SCHEMA
    }
    return store.connection.from_arrow(pa.table(columns))
