"""The queries about methods and paths, on a dump of all methods with statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import Samples
from gradtrace.queries import Store, StoreError, open_store

PAIRS = (("greedy", "product"), ("greedy", "soft"), ("product", "soft"))


@pytest.fixture(scope="module")
def methods(rnn: OpenedModel, sentences: Samples, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The Elman RNN traced by every method, with the statistics of its paths."""
    out = tmp_path_factory.mktemp("methods") / "store"
    dump(rnn.traced, sentences, out, Settings(methods=("greedy", "product", "soft"), statistics=True))
    return open_store(out)


KEY = ["sample", "parameter_group", "component"]


def shares(store: Store) -> pd.DataFrame:
    """edge_share by (sample, parameter_group, component), a column per method."""
    sides = [
        store.importance(by=KEY, method=method).df().set_index(KEY)["edge_share"].rename(method)
        for method in ("greedy", "product", "soft")
    ]
    return pd.concat(sides, axis=1)


def test_compare_methods(methods: Store) -> None:
    wanted = shares(methods)
    found = methods.query("compare_methods").df().set_index(["method", "other"])
    assert sorted(found.index.unique()) == sorted(PAIRS)
    assert (wanted["greedy"] != wanted["product"]).any()
    for a, b in PAIRS:
        told = found.loc[(a, b)].set_index(KEY).sort_index()
        sides = wanted.sort_index()
        pd.testing.assert_series_equal(told["edge_share"], sides[a], check_names=False)
        pd.testing.assert_series_equal(told["other_share"], sides[b], check_names=False)
        for key, rows in sides.groupby(level=[0, 1]):
            met = rows[(rows > 0).any(axis=1)]
            ranks = met.round(12).rank()
            assert told.loc[key, "distance"].to_numpy() == pytest.approx((met[a] - met[b]).abs().sum() / 2)
            constant = ranks[a].nunique() == 1 or ranks[b].nunique() == 1
            correlation = np.nan if constant else np.corrcoef(ranks[a], ranks[b])[0, 1]
            assert told.loc[key, "correlation"].to_numpy() == pytest.approx(correlation, nan_ok=True)


def test_compare_methods_over_samples(methods: Store) -> None:
    group = ["parameter_group", "component"]
    one = methods.query("compare_methods").df()
    found = methods.query("compare_methods_over_samples").df().set_index(["method", "other"])
    sides = {
        name: methods.importance(by=group, method=name).df().set_index(group) for name in ("greedy", "product", "soft")
    }
    for a, b in PAIRS:
        told = found.loc[(a, b)].set_index(group).sort_index()
        for name, column in ((a, "edge_share"), (b, "other_share")):
            wanted = sides[name].sort_index()
            pd.testing.assert_series_equal(told[column], wanted["edge_share"], check_names=False)
            pd.testing.assert_series_equal(told["samples"], wanted["samples"], check_names=False)
        of_pair = one[(one["method"] == a) & (one["other"] == b)].drop_duplicates(["sample", "parameter_group"])
        for column in ("distance", "correlation"):
            means = of_pair.groupby("parameter_group")[column].mean()
            for name, mean in means.items():
                assert told.loc[name, column].to_numpy() == pytest.approx(mean, nan_ok=True)


def test_path_statistics(methods: Store) -> None:
    rows = methods.query("path_statistics", parameter="rnn.weight_hh_l0", sample=1).to_arrow_table().to_pylist()
    assert len(rows) == 36
    for row in rows:
        assert row["statistics"] == "recorded"
        assert abs(row["gradient"]) <= row["products"] * (1 + 1e-4)
        assert 1 <= row["effective_paths"] <= row["paths"] * (1 + 1e-9)
        assert max(row["largest_positive"] or 0, -(row["largest_negative"] or 0)) <= row["products"] * (1 + 1e-9)
        assert (row["largest_negative"] or 0) <= 0 <= (row["largest_positive"] or 0)
    assert any(row["largest_negative"] for row in rows)
    same = methods.path_statistics("rnn.weight_hh_l0[3,2]", sample=1)
    (row,) = [row for row in rows if row["vertex_name"] == "rnn.weight_hh_l0[3,2]"]
    for name in ("vertex", "gradient", "paths", "products", "effective_paths", "largest_positive", "largest_negative"):
        assert getattr(same, name) == pytest.approx(row[name])
    assert methods.path_statistics(row["vertex"], 1) == same


def test_a_query_for_statistics_says_why_there_are_none(methods: Store, rnn_store: Path) -> None:
    (row,) = methods.query("path_statistics", parameter="rnn.no_such").to_arrow_table().to_pylist()
    assert {name for name, value in row.items() if value is not None} == {"statistics"}
    assert row["statistics"].startswith("no vertex of rnn.no_such is stored: a wrong name")
    with open_store(rnn_store) as store:
        rows = store.query("path_statistics", parameter="decoder.bias").to_arrow_table().to_pylist()
    assert {(row["paths"], row["statistics"]) for row in rows} == {(None, "not recorded: dump with --statistics")}


def test_path_statistics_of_the_loss_and_of_nothing(methods: Store) -> None:
    ((loss,),) = methods.fetch("select loss_vertex from graphs where graph = 0")
    found = methods.path_statistics(loss)
    assert (found.paths, found.products, found.effective_paths) == (1, 1, 1)
    assert (found.largest_positive, found.largest_negative) == (1, None)
    with pytest.raises(StoreError, match="has no vertex"):
        methods.path_statistics(loss + 1)
    with pytest.raises(StoreError, match="has no edge in sample 0"):
        methods.path_statistics("embedding.weight[6,0]")  # bird


def test_links_and_spans_of_every_method(rnn: OpenedModel, sentences: Samples, tmp_path: Path) -> None:
    """Every edge is stored, so that `verify` counts them again under every method: path by path, or along all edges."""
    out = tmp_path / "store"
    dump(rnn.traced, sentences, out, Settings("all", methods=("greedy", "product", "soft")))
    with open_store(out) as store:
        checks = {check.name: check for check in store.verify()}
        assert [check for check in checks.values() if not check.ok] == []
        for method in ("greedy", "product", "soft"):
            for table in ("path_links", "path_spans"):
                assert f"{table}: equal what the walker counts from the edges, {method}" in checks
        for found, wanted in store.sql(
            "select sum(s.paths), sum(t.traced) from path_totals as t "
            "join (select method, sample, parameter_group, sum(paths) as paths from path_spans group by all) as s "
            "using (method, sample, parameter_group) group by method"
        ).fetchall():
            assert found == pytest.approx(wanted, rel=1e-9) != 0
        # paths run forward in time: the most likely way is the shortest one, but some of a recurrent network go on
        reach = "select min(end_step - entry_step), max(end_step - entry_step) from path_spans group by method"
        found = store.sql(reach).fetchall()
        assert [low for low, _ in found] == [0] * len(found), found
        assert all(high > 0 for _, high in found), found
