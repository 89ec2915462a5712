"""A store's Parquet is read unchanged by another engine than the one that gradtrace uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from gradtrace.queries import Store, open_store
from gradtrace.queries.schema import GRAPH_TABLES, SHARD_TABLES, columns_on_request


@pytest.fixture(scope="module")
def store(lstm_store: Path) -> Iterator[Store]:
    with open_store(lstm_store) as opened:
        yield opened


def read(store: Store, table: str) -> pl.DataFrame:
    """A table as Polars reads it from the files that the manifest lists."""
    return pl.read_parquet([store.path / path for path in store.manifest.files(table)], hive_partitioning=False)


@pytest.mark.parametrize("table", [t for t in (*GRAPH_TABLES, *SHARD_TABLES) if t != "labels"])  # there are none
def test_every_table(store: Store, table: str) -> None:
    found, wanted = read(store, table), store.rows(f"select * from stored.{table}")
    left_out = set(wanted.column_names) - set(found.columns)
    assert left_out <= columns_on_request(table)
    assert found.columns == [name for name in wanted.column_names if name not in left_out]
    assert all(wanted[name].null_count == wanted.num_rows for name in left_out)
    assert len(found) == wanted.num_rows > 0
    for name in found.columns:
        assert found[name].to_list() == wanted[name].to_pylist(), name


def test_contributions_follow_from_the_files(store: Store) -> None:
    gradients = read(store, "vertices").select("sample", "gradient", dst="vertex")
    edges = read(store, "best_edges").join(gradients, on=["sample", "dst"], how="left").sort("sample", "src", "rank")
    wanted = store.rows("select contribution from best_edges where method = 'greedy' order by sample, src, rank")
    found = edges.filter(pl.col("method") == "greedy").select(pl.col("derivative") * pl.col("gradient"))
    assert found.to_series().to_list() == wanted["contribution"].to_pylist()


def test_a_question(store: Store) -> None:
    graphs = read(store, "samples").select("sample", "graph")
    edges = read(store, "path_edges").join(graphs, on="sample").join(read(store, "nodes"), on=["graph", "node"])
    found = edges.group_by("parameter_group", "component").agg(pl.col("edges").sum())
    joined = "path_edges join nodes using (graph, node)"
    wanted = store.rows(f"select parameter_group, component, sum(edges) as edges from {joined} group by all")
    assert {(g, c): n for g, c, n in found.iter_rows()} == {
        (row["parameter_group"], row["component"]): row["edges"] for row in wanted.to_pylist()
    }
