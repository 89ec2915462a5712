"""Every query file: its header says what the query does, and two routes agree."""

from __future__ import annotations

import pytest

from gradtrace.queries import Store, StoreError
from gradtrace.queries.database.library import Query, load_queries, parse_query

QUERIES = load_queries()


def given(query: Query) -> dict[str, object]:
    return {p.name: "*" if p.type == "varchar" else 0 for p in query.parameters if p.default is None}


def test_there_are_queries() -> None:
    assert len(QUERIES) >= 15


@pytest.mark.parametrize("store", ["drawn_methods", "drawn_parameters"])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_grain_is_unique_and_rows_exist(query: Query, store: str, request: pytest.FixtureRequest) -> None:
    opened: Store = request.getfixturevalue(store)
    rows = opened.query(query.name, **given(query)).to_arrow_table()
    keys = list(zip(*(rows[column].to_pylist() for column in query.grain), strict=True))
    need_more = ("conservation", "compare_methods", "compare_methods_over_samples")
    assert keys or (query.name in need_more and store == "drawn_parameters")
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("sample", [0, 1, 3])
def test_trace_groups_equals_path_edges(drawn: Store, sample: int) -> None:
    stored = drawn.sql(
        "select parameter_group, node, edges, round(weighted_edges, 9) from path_edges "
        f"where sample = {sample} order by all"
    ).fetchall()
    traced = drawn.query("trace_groups", sample=sample).fetchall()
    assert [(*row[:3], round(row[3], 9)) for row in traced] == stored
    assert stored


@pytest.mark.parametrize("sample", [0, 1, 3])
def test_trace_parameters_equals_path_edges_summed_over_a_tensor(drawn: Store, sample: int) -> None:
    stored = drawn.sql(
        "select parameter, node, sum(edges) from path_edges join parameter_groups using (parameter_group) "
        f"where sample = {sample} group by all order by all"
    ).fetchall()
    assert drawn.query("trace_parameters", sample=sample).fetchall() == stored


def test_importance_golden_rows(drawn: Store) -> None:
    rows = drawn.query("importance").filter("sample = 0 and parameter_group = 'lstm.weight.forget_gate'")
    columns = "component, edges, paths, traced, dead, absent, edge_share, mean_edges, path_rate"
    assert rows.select(*columns.split(", ")).fetchall() == [
        ("lstm.cell", 3.0, 2.0, 2, 0, 0, 3 / 11, 1.5, 1.0),
        ("lstm.gates", 3.0, 2.0, 2, 0, 0, 3 / 11, 1.5, 1.0),
        ("lstm.sigmoid", 3.0, 2.0, 2, 0, 0, 3 / 11, 1.5, 1.0),
        ("loss", 2.0, 2.0, 2, 0, 0, 2 / 11, 1.0, 1.0),
    ]
    rows = drawn.query("importance").filter("sample = 0 and parameter_group = 'out.bias' and component <> 'loss'")
    assert rows.select("edges", "paths", "edge_share", "path_rate").distinct().fetchall() == [(0.0, 0.0, 0.0, 0.0)]


def test_importance_by_another_column(drawn: Store) -> None:
    with pytest.raises(StoreError, match=r"column is one of layer, step.*got 'kind'"):
        drawn.query("importance_by", column="kind")


def test_path_statistics_say_when_there_are_none(drawn: Store) -> None:
    rows = drawn.query("path_statistics", parameter="emb*").select("vertex_name", "gradient", "paths", "statistics")
    assert rows.fetchall()[0] == ("emb.weight[0,0]", 1.352, None, "not recorded: dump with --statistics")
    with pytest.raises(StoreError, match=r"no statistics of paths\. Dump again with --statistics"):
        drawn.path_statistics("emb.weight[0,0]")


def test_token_importance_golden_rows(drawn: Store) -> None:
    rows = drawn.query("token_importance", sample="0").filter("parameter_group = 'emb.weight'")
    assert rows.select("step", "token", "edges").fetchall() == [(0, "a", 3.0), (1, "b", 6.0), (None, None, 2.0)]


def test_saturation_and_margins_golden_rows(drawn: Store) -> None:
    saturation = drawn.query("saturation", threshold=0.05).filter("sample = 0")
    assert saturation.select("step", "edges", "saturated", "saturated_share").fetchall() == [
        (0, 2, 1, 0.5),
        (1, 2, 0, 0.0),
    ]
    # Vertex 12 of sample 0 chooses 1.6 over 1.0; 0, 1, 3, 4 and 5 choose too.
    margins = drawn.query("margins", narrow=0.5).filter("sample = 0").select("op_type", "vertices", "narrow_share")
    assert margins.fetchall() == [("MatMul", 6, 3 / 6)]


def test_conservation_holds_in_the_drawing(drawn: Store) -> None:
    rows = drawn.query("conservation").select("tensor", "error").fetchall()
    assert len(rows) == 9
    assert all(error < 1e-12 for _, error in rows)


def test_unknown_queries_and_parameters(drawn: Store) -> None:
    with pytest.raises(StoreError, match="Did you mean importance"):
        drawn.query("importence")
    with pytest.raises(StoreError, match=r"no parameter 'smaple'.*sample, method"):
        drawn.query("trace_groups", smaple=0)
    with pytest.raises(StoreError, match="sample is a bigint, got 'first'"):
        drawn.query("trace_groups", sample="first")
    with pytest.raises(StoreError, match="needs vertex"):
        drawn.query("trace")


@pytest.mark.parametrize(
    "sql",
    [
        "-- Answers.\nselect 1",
        "-- Answers.\n-- grain:  rows\n-- reads:  nodes\n-- unit:   1\nselect 1",
        "-- Answers.\n-- grain:  one row per node\n-- reads:  nodes\n-- param:  $a  what\n-- unit:   1\nselect $a",
        "-- grain:  one row per node\n-- reads:  nodes\n-- unit:   1\nselect 1",
    ],
)
def test_headers_in_another_form_are_refused(sql: str) -> None:
    with pytest.raises(StoreError, match=r"wrong\.sql"):
        parse_query("wrong", sql)
