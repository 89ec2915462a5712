"""The measures of importance of every sample: what its paths count, and the shares and rates of that.

`queries.importance.importance` says what the columns mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..components.selectors import Selector, read_selectors
from ..database.connection import duckdb_errors
from ..errors import StoreError
from ..methods import GREEDY
from ..schema import OK
from .statistics import Units

if TYPE_CHECKING:
    import duckdb

    from ..components.parameter_groups import ParameterGroups
    from ..database.graph import Graph
    from ..database.reader import StoreReader
    from .recounted import CountedSample, Labelled

NODE_COLUMNS = ("component", "module", "role", "layer", "step", "op_type")
BY = ("sample", "parameter_group", *NODE_COLUMNS)
SPREAD = (  # the measures that get sd and interval over samples
    *("edges", "paths", "edge_share", "mean_edges", "path_rate"),
    *("weighted_edges", "weighted_paths", "weighted_edge_share", "weighted_mean_edges", "weighted_path_rate"),
)
MEASURES = (*SPREAD[:2], "traced", "dead", "absent", *SPREAD[2:])

_COUNTS = ("edges", "weighted_edges", "paths", "weighted_paths")
_TOTALS = ("traced", "dead", "absent", "traced_gradient_l1")


class ImportanceQuestion(NamedTuple):
    """What is asked for: the columns of `BY` that divide a sample, and the selectors of files."""

    by: tuple[str, ...]
    components: tuple[Selector, ...] | None
    groups: tuple[Selector, ...] | None
    sample: int | None
    method: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `by` that divide the graph."""
        return tuple(column for column in self.by if column in NODE_COLUMNS)

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of one sample's rows, beside the sample."""
        return tuple(column for column in self.by if column != "sample")


def importance_question(
    store: StoreReader,
    by: Sequence[str],
    components: str | Path | None = None,
    groups: str | Path | None = None,
    sample: int | None = None,
    method: str = GREEDY,
) -> ImportanceQuestion:
    """A question about a store, with the TOML files it names read.

    Raises StoreError for a sample or method the store lacks, a file that is wrong, and components of a file that are
    to be divided by other columns of operators.
    """
    given = [column for column in by if column in NODE_COLUMNS]
    if components is not None and given != ["component"]:
        raise StoreError(
            "with a file of components, group by 'component' and by no other column of operators "
            f"(got {', '.join(by)}); put conditions such as layer and step into the file."
        )
    store.check_method(method)
    if sample is not None:
        store.graph_of(sample)
    return ImportanceQuestion(
        tuple(by),
        None if components is None else read_selectors(components, "component"),
        None if groups is None else read_selectors(groups, "parameter_group"),
        sample,
        method,
    )


def _samples(store: StoreReader, sample: int | None) -> list[tuple[int, int]]:
    # (sample, graph) of the recorded samples
    if sample is not None:
        return [(sample, store.graph_of(sample).graph)]
    return store.fetch(f"select sample, graph from samples where status = '{OK}' order by sample")


def _stored_measures(store: StoreReader, question: ImportanceQuestion) -> pa.Table:
    # The default components, and sums over all: from path_edges, path_counts and path_totals alone.
    values: dict[str, object] = {
        "method": question.method,
        "by_group": "parameter_group" in question.keys,
        "column": "component" if "component" in question.keys else None,
        "sample": question.sample,
    }
    given = "in_by_group := $by_group, in_column := $column, in_sample := $sample"
    return store.rows(f"from sample_importance($method, {given})", values)


def _resolve_groups(
    store: StoreReader, question: ImportanceQuestion, graph: Graph
) -> tuple[ParameterGroups, list[str]]:
    from ..components.parameter_groups import finest, resolve_groups

    stored = store.finest_groups
    groups = finest(stored) if question.groups is None else resolve_groups(question.groups, stored, graph)
    if groups.overlap and "parameter_group" not in question.by:
        raise StoreError("the parameter groups overlap, so their sum has no meaning: group by 'parameter_group' too.")
    return groups, [group.name for group in stored]


def _counted_again(store: StoreReader, question: ImportanceQuestion, samples: list[tuple[int, int]]) -> pa.Table:
    from ..components.components import SelectorUse, check_use, members_by_columns, members_by_selectors
    from .recounted import count_sample, label

    graphs = [store.graph(graph) for graph in sorted({graph for _, graph in samples})]
    groups, finest_names = _resolve_groups(store, question, graphs[0])
    selectors = question.components
    use = SelectorUse([0] * len(selectors or ()), [0] * len(selectors or ()))

    @cache
    def labelled_of(graph: int) -> Labelled:
        if selectors is None:
            return label(members_by_columns(store.graph(graph), question.columns))
        return label(members_by_selectors(store.graph(graph), selectors, use))

    if selectors is not None:
        for graph in graphs:
            labelled_of(graph.graph)
        check_use(selectors, use, graphs)
    tables = []
    for sample, _ in samples:
        key = (question.method, sample, question.columns, selectors, question.groups)
        if key not in store.counted:
            store.counted[key] = count_sample(
                store, sample, question.method, lambda graph: labelled_of(graph.graph), groups, finest_names
            )
        tables.append(_counts_table(sample, store.counted[key], question, groups.names))
    return pa.concat_tables(tables)


def _counts_table(sample: int, counted: CountedSample, question: ImportanceQuestion, names: list[str]) -> pa.Table:
    # One row per (group, component present in the graph); groups are summed where they are not asked for.
    present = np.flatnonzero(counted.present)
    by_group = "parameter_group" in question.by
    counts = {name: getattr(counted, name)[:, present] for name in _COUNTS}
    totals = {name: np.repeat(getattr(counted.totals, name)[:, None], present.size, axis=1) for name in _TOTALS}
    values = counts | totals
    if not by_group:
        values = {name: value.sum(axis=0) for name, value in values.items()}
    n_groups = len(names) if by_group else 1
    named = [name for name in names for _ in present] if by_group else [None] * present.size
    columns: dict[str, pa.Array] = {
        "sample": pa.array(np.full(n_groups * present.size, sample)),
        "parameter_group": pa.array(named, pa.string()),
    }
    for i, column in enumerate(question.columns):
        kind = pa.int32() if column in ("layer", "step") else pa.string()
        columns[column] = pa.array([counted.labels[c][i] for c in present] * n_groups, kind)
    columns |= {name: pa.array(value.reshape(-1)) for name, value in values.items()}
    columns["is_partition"] = pa.array(np.full(n_groups * present.size, counted.is_partition))
    return pa.table(columns)


def derived(store: StoreReader, table: pa.Table, name: str, text: str) -> pa.Table:
    """The answer of a statement over `table`, under that name, and the store's own tables."""
    store.check_tables(text)
    with duckdb_errors("importance failed"):
        relation = cast("duckdb.DuckDBPyRelation", store.connection.from_arrow(table).query(name, text))
        return relation.to_arrow_table()


def sample_measures(store: StoreReader, question: ImportanceQuestion) -> pa.Table:
    """One row per (sample, *question.keys): the columns MEASURES of each recorded sample that has such a row.

    Raises StoreError where the files' selectors do not fit the store, and where no sample is recorded.
    """
    is_stored = question.components is None and question.groups is None and set(question.columns) <= {"component"}
    samples = _samples(store, question.sample)
    if not samples:
        raise StoreError(
            f"{store.path} has no recorded sample; `gradtrace info {store.path}` counts those that failed."
        )
    if is_stored:
        measured = _stored_measures(store, question)
    else:
        counts = _counted_again(store, question, samples)
        measured = derived(store, counts, "counts", "from importance_measures('counts')")
    return measured.select(["sample", *question.keys, *MEASURES])


def units_of(store: StoreReader, samples: Sequence[int]) -> Units:
    """Which of the samples are of one sentence, see `statistics`: a store has it again at every checkpoint."""
    number: dict[tuple[str | None, int], int] = {}
    units = np.array([number.setdefault(store.sentences[sample], len(number)) for sample in samples], np.int64)
    return units if len(number) < len(samples) else None


def codes(table: pa.Table, keys: Sequence[str]) -> NDArray[np.int64]:
    """A number per combination of the keys' values, nulls being a value too: one per row."""
    numbers = np.zeros(table.num_rows, np.int64)
    for key in keys:
        encoded = table[key].combine_chunks().dictionary_encode(null_encoding="encode")
        numbers = numbers * len(encoded.dictionary) + encoded.indices.to_numpy()
    return numbers


class Matrix(NamedTuple):
    """One measure of every sample: R rows, each a value per key, and S samples."""

    rows: list[tuple[Any, ...]]  # R, in no particular order
    samples: list[int]  # S, ascending
    values: NDArray[np.float64]  # R x S: nan where the sample has no such row, or no value in it


def measure_matrix(store: StoreReader, question: ImportanceQuestion, measure: str) -> Matrix:
    """One measure of `sample_measures` with its samples side by side.

    Raises StoreError for an unknown measure, and for shares of components that are no partition.
    """
    if measure not in MEASURES:
        raise StoreError(f"there is no measure {measure!r}. Choose among {', '.join(MEASURES)}.")
    table = sample_measures(store, question)
    found = table[measure].cast(pa.float64()).to_numpy()
    if measure.endswith("edge_share") and found.size and np.isnan(found).all() and np.any(table["edges"].to_numpy()):
        raise StoreError(
            f"the components overlap or leave operators out, so that {measure} has no meaning. "
            "Ask for another measure, such as mean_edges or path_rate."
        )
    _, first, row = np.unique(codes(table, question.keys), return_index=True, return_inverse=True)
    samples, column = np.unique(table["sample"].to_numpy(), return_inverse=True)
    values = np.full((first.size, samples.size), np.nan)
    values[row, column] = found
    keys = [table[key].take(pa.array(first)).to_pylist() for key in question.keys]
    return Matrix(list(zip(*keys, strict=True)), samples.tolist(), values)
