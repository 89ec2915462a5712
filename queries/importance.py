"""Importance: how much of the paths of each parameter group each component carries, per sample and over samples.

Columns, per (sample, parameter_group, component), over the traced parameters of the group:

    edges         path edges in the component          paths       parameters whose path meets the component
    traced, dead, absent                               parameters whose path reaches the loss; that meet a vertex
                                                       without gradient; that have no edge
    edge_share    edges / edges in all components      null where the components are no partition
    mean_edges    edges / traced                       path_rate   paths / traced

and the `weighted_` ones, in which a parameter counts by its absolute gradient. Over samples a column is its mean, with
its standard deviation (`_sd`) and a bootstrap 95 % interval over samples (`_low`, `_high`). `samples` says how many: a
component is left out of samples whose graph does not have it, such as a step behind the end of a short sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import pyarrow as pa

from queries.database import duckdb_errors
from queries.schema import OK, StoreError
from queries.specs import Rule, read_rules
from queries.statistics import summarise_samples

if TYPE_CHECKING:
    import duckdb

    from queries.graph import Graph
    from queries.groups import Groups
    from queries.reader import StoreReader
    from queries.walked_importance import Labelled, WalkedSample

NODE_COLUMNS = ("component", "module", "role", "layer", "step", "op_type")
BY = ("sample", "parameter_group", *NODE_COLUMNS)

_COUNTS = ("edges", "weighted_edges", "paths", "weighted_paths")
_TOTALS = ("traced", "dead", "absent", "traced_gradient_l1")
_SPREAD = (  # the columns that get sd and interval over samples
    *("edges", "paths", "edge_share", "mean_edges", "path_rate"),
    *("weighted_edges", "weighted_paths", "weighted_edge_share", "weighted_mean_edges", "weighted_path_rate"),
)
_MEASURES = (*_SPREAD[:2], "traced", "dead", "absent", *_SPREAD[2:])


class Question(NamedTuple):
    """What importance is asked for: the columns of `by`, and the rules of components and groups given in files."""

    by: tuple[str, ...]
    components: tuple[Rule, ...] | None
    groups: tuple[Rule, ...] | None
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


def _check_by(by: Sequence[str], components: str | Path | None) -> None:
    for column in by:
        if column not in BY:
            raise StoreError(f"importance cannot be grouped by {column!r}. Choose among {', '.join(BY)}.")
    if not by or len(set(by)) < len(by):
        raise StoreError(f"importance needs each column to group by once, got {', '.join(by) or 'none'}.")
    given = [column for column in by if column in NODE_COLUMNS]
    if components is not None and given != ["component"]:
        raise StoreError(
            "with a file of components, group by 'component' and by no other column of operators "
            f"(got {', '.join(by)}); put conditions such as layer and step into the file."
        )


def _samples(store: StoreReader, sample: int | None) -> list[tuple[int, int]]:
    # (sample, graph) of the recorded samples
    if sample is not None:
        return [(sample, store.graph_of(sample).graph)]
    return store.fetch(f"select sample, graph from samples where status = '{OK}' order by sample")


def _stored_counts(store: StoreReader, question: Question) -> pa.Table:
    # The default components, and sums over all: from path_edges, path_counts and path_totals alone.
    keys = ", ".join(("sample", *question.keys))
    group = ", ".join(key for key in ("sample", *question.keys) if key != "component")
    component = "component" in question.keys
    present = "select distinct graph, component from nodes where kind <> 'copies'" if component else "select null"
    paths = "coalesce(c.paths, 0)" if component else "t.traced"
    weighted_paths = "coalesce(c.weighted_paths, 0)" if component else "t.traced_gradient_l1"
    one_sample = "" if question.sample is None else f"and sample = {question.sample:d}"
    of_method = f"where method = $method {one_sample}"
    text = f"""
    with recorded as (
        select sample, graph from samples where status = '{OK}' {one_sample}
    ), totals as (
        select {group}, {", ".join(f"sum({column})::double as {column}" for column in _TOTALS)}
        from path_totals {of_method} group by all
    ), present as (
        {present}
    ), component_edges as (
        select {keys}, sum(edges) as edges, sum(weighted_edges) as weighted_edges
        from path_edges join nodes using (graph, node) {of_method} group by all
    ), component_paths as (
        select {keys}, sum(paths) as paths, sum(weighted_paths) as weighted_paths
        from path_counts {of_method} group by all
    )
    select
        {keys}, coalesce(e.edges, 0) as edges, coalesce(e.weighted_edges, 0) as weighted_edges,
        {paths} as paths, {weighted_paths} as weighted_paths, {", ".join(f"t.{column}" for column in _TOTALS)},
        true as is_partition
    from recorded
    join totals as t using (sample)
    {"join present using (graph)" if component else ""}
    left join component_edges as e using ({keys})
    left join component_paths as c using ({keys})
    """
    return store.rows(text, {"method": question.method})


def _resolve_groups(store: StoreReader, question: Question, graph: Graph) -> tuple[Groups, list[str]]:
    from queries.groups import finest, resolve_groups

    stored = store.finest_groups
    groups = finest(stored) if question.groups is None else resolve_groups(question.groups, stored, graph)
    if groups.overlap and "parameter_group" not in question.by:
        raise StoreError("the parameter groups overlap, so their sum has no meaning: group by 'parameter_group' too.")
    return groups, [group.name for group in stored]


def _walked_counts(store: StoreReader, question: Question) -> pa.Table:
    from queries.components import RuleUse, check_use, members_by_columns, members_by_rules
    from queries.walked_importance import label, walk_sample

    samples = _samples(store, question.sample)
    graphs = [store.graph(graph) for graph in sorted({graph for _, graph in samples})]
    if not graphs:
        raise StoreError(f"{store.path} has no recorded sample yet.")
    groups, finest_names = _resolve_groups(store, question, graphs[0])
    rules = question.components
    use = RuleUse([0] * len(rules or ()), [0] * len(rules or ()))

    @cache
    def labelled_of(graph: int) -> Labelled:
        if rules is None:
            return label(members_by_columns(store.graph(graph), question.columns))
        return label(members_by_rules(store.graph(graph), rules, use))

    if rules is not None:
        for graph in graphs:
            labelled_of(graph.graph)
        check_use(rules, use, graphs)
    tables = []
    for sample, _ in samples:
        key = (question.method, sample, question.columns, rules, question.groups)
        if key not in store.walked:
            store.walked[key] = walk_sample(
                store, sample, question.method, lambda graph: labelled_of(graph.graph), groups, finest_names
            )
        tables.append(_walked_table(sample, store.walked[key], question, groups.names))
    return pa.concat_tables(tables)


def _walked_table(sample: int, walked: WalkedSample, question: Question, names: list[str]) -> pa.Table:
    # One row per (group, component present in the graph); groups are summed where they are not asked for.
    present = np.flatnonzero(walked.present)
    by_group = "parameter_group" in question.by
    counts = {name: getattr(walked, name)[:, present] for name in _COUNTS}
    totals = {name: np.repeat(getattr(walked.totals, name)[:, None], present.size, axis=1) for name in _TOTALS}
    values = counts | totals
    if not by_group:
        values = {name: value.sum(axis=0) for name, value in values.items()}
    n_groups = len(names) if by_group else 1
    columns: dict[str, pa.Array] = {"sample": pa.array(np.full(n_groups * present.size, sample))}
    if by_group:
        columns["parameter_group"] = pa.array([name for name in names for _ in present], pa.string())
    for i, column in enumerate(question.columns):
        kind = pa.int32() if column in ("layer", "step") else pa.string()
        columns[column] = pa.array([walked.labels[c][i] for c in present] * n_groups, kind)
    columns |= {name: pa.array(value.reshape(-1)) for name, value in values.items()}
    columns["is_partition"] = pa.array(np.full(n_groups * present.size, walked.is_partition))
    return pa.table(columns)


def _query(store: StoreReader, table: pa.Table, name: str, text: str) -> pa.Table:
    with duckdb_errors("importance failed"):
        relation = cast("duckdb.DuckDBPyRelation", store.connection.from_arrow(table).query(name, text))
        return relation.to_arrow_table()


def _measures(store: StoreReader, counts: pa.Table, question: Question) -> pa.Table:
    # Shares and rates of each sample's counts.
    keys = ", ".join(("sample", *question.keys))
    group = ", ".join(("sample", *(key for key in question.keys if key == "parameter_group")))
    text = f"""
    select
        {keys}, edges, paths, traced::bigint as traced, dead::bigint as dead, absent::bigint as absent,
        case when bool_and(is_partition) over () then edges / nullif(sum(edges) over g, 0) end as edge_share,
        edges / nullif(traced, 0) as mean_edges,
        paths / nullif(traced, 0) as path_rate,
        weighted_edges, weighted_paths,
        case when bool_and(is_partition) over () then weighted_edges / nullif(sum(weighted_edges) over g, 0) end
            as weighted_edge_share,
        weighted_edges / nullif(traced_gradient_l1, 0) as weighted_mean_edges,
        weighted_paths / nullif(traced_gradient_l1, 0) as weighted_path_rate
    from counts
    window g as (partition by {group})
    """
    return _query(store, counts, "counts", text)


def _over_samples(store: StoreReader, measures: pa.Table, question: Question) -> pa.Table:
    # Mean, sd and interval of every measure over the samples of each row of keys.
    keys = ", ".join(question.keys) or "1"
    text = f"""
    select *, dense_rank() over (order by {keys}) - 1 as row, dense_rank() over (order by sample) - 1 as column
    from measures
    """
    placed = _query(store, measures, "measures", text)
    row, column = placed["row"].to_numpy(), placed["column"].to_numpy()
    shape = (int(row.max()) + 1, int(column.max()) + 1) if row.size else (0, 0)
    _, first = np.unique(row, return_index=True)
    result = {key: placed[key].take(pa.array(first)) for key in question.keys}
    result["samples"] = pa.array(np.bincount(row, minlength=shape[0]))
    for measure in _MEASURES:
        values = np.full(shape, np.nan)
        values[row, column] = placed[measure].cast(pa.float64()).to_numpy()
        summary = summarise_samples(values)
        spread = summary._asdict() if measure in _SPREAD else {"mean": summary.mean}
        for statistic, value in spread.items():
            name = measure if statistic == "mean" else f"{measure}_{statistic}"
            result[name] = pa.array(value, from_pandas=True)
    return pa.table(result)


def importance(
    store: StoreReader,
    by: Sequence[str],
    *,
    components: str | Path | None,
    groups: str | Path | None,
    sample: int | None,
    method: str,
) -> duckdb.DuckDBPyRelation:
    """Importance grouped by the columns `by`, any of `BY`; the module says what its columns mean.

    Columns of operators in place of 'component' divide the operators by them. `components` and `groups` are TOML files,
    see `queries.specs`. With 'sample' in `by` a row is one sample, without it the mean over samples; `sample` restricts
    to one. Raises StoreError for columns, files or samples that do not fit the store.
    """
    _check_by(by, components)
    store.check_method(method)
    question = Question(
        tuple(by),
        None if components is None else read_rules(components, "component"),
        None if groups is None else read_rules(groups, "parameter_group"),
        sample,
        method,
    )
    if sample is not None:
        store.graph_of(sample)
    is_stored = question.components is None and question.groups is None and set(question.columns) <= {"component"}
    counts = _stored_counts(store, question) if is_stored else _walked_counts(store, question)
    rows = _measures(store, counts, question)
    if "sample" not in by:
        rows = _over_samples(store, rows, question)
    first = [column for column in ("sample", "parameter_group", "layer", "step") if column in by]
    rest = [column for column in question.columns if column not in first]
    order = ", ".join([*(f"{column} nulls last" for column in first), "edges desc", *rest])
    return store.connection.from_arrow(rows).select(*by, *rows.column_names[len(by) :]).order(order)
