"""`verify` finds nothing in a sound store, and every damage we know how to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradtrace.queries import Store, open_store
from gradtrace.queries.manifest import read_manifest, write_manifest

from ..drawing import Drawn, DrawnGraph, DrawnSample, Edge, Group, Op, stored_file, write_store
from ..drawn_cell import drawn_samples


def failures(path: Path) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in open_store(path, check=False).verify() if not check.ok]


def rewrite(path: Path, table: str, change: Callable[[list[dict[str, Any]]], None], shard: int = 0) -> None:
    """Change rows of a table, so that files and manifest fit and only the content is wrong."""
    manifest = read_manifest(path)
    file = manifest.graph_files[table] if table in manifest.graph_files else manifest.shards[shard].files[table][0]
    old = pq.read_table(path / file.path)
    rows = old.to_pylist()
    change(rows)
    pq.write_table(type(old).from_pylist(rows, schema=old.schema), path / file.path)
    vars(file).update(vars(stored_file(path, path / file.path, len(rows))))
    write_manifest(path, manifest)


@pytest.mark.parametrize("store", ["drawn", "drawn_parameters"])
def test_a_sound_store(store: str, request: pytest.FixtureRequest) -> None:
    opened: Store = request.getfixturevalue(store)
    checks = opened.verify()
    assert [check for check in checks if not check.ok] == []
    assert len(checks) > 25


def test_a_float32_store(tmp_path: Path) -> None:
    assert failures(write_store(tmp_path / "store", drawn_samples(), dtype="float32")) == []


def _set(**values: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[0].update(values)


def _drop(rows: list[dict[str, Any]]) -> None:
    del rows[0]


def _repeat(rows: list[dict[str, Any]]) -> None:
    rows.insert(0, rows[0])


@pytest.mark.parametrize(
    ("table", "change", "failed"),
    [
        ("best_edges", _repeat, "best_edges: one row per"),
        ("best_edges", _set(dst=0), "best_edges: edges lead"),
        ("best_edges", _set(rank=5), "best_edges: ranks run"),
        ("best_edges", _set(derivative=0.01), "best_edges: rank 1 is the best"),
        ("best_edges", _drop, "best_edges: ranks run"),
        ("edges", _set(derivative=0.7), "edges: the contributions of every vertex sum"),
        ("edges", _drop, "edges: the contributions of every vertex sum"),
        ("edges", _set(dst=0), "edges: edges lead"),
        ("vertices", _set(gradient=float("nan")), "edges: the contributions of every vertex sum"),
        ("vertices", _set(gradient=9.0), "edges: the contributions of every vertex sum"),
        ("vertices", lambda rows: rows.pop(), "best_edges: vertices has the gradient of every target"),
        ("entries", _set(paths=2.0), "entries: equal what the walker counts"),
        ("entries", _set(gradient_l1=2.0), "entries: equal what the walker counts"),
        ("path_edges", _set(edges=8.0), "path_edges: equal what the walker counts"),
        ("path_edges", _drop, "path_edges: equal what the walker counts"),
        ("path_edges", _set(edges=8.0), "path_links: with the edges that enter"),
        ("path_links", _set(edges=8.0), "path_links: with the edges that enter"),
        ("path_links", _set(weighted_edges=8.0), "path_links: with the edges that enter"),
        ("path_links", _set(from_node=7), "path_links: equal what the walker counts"),
        ("path_links", _set(edges=0.0), "path_links: with the edges that enter"),
        ("path_links", _drop, "path_links: with the edges that enter"),
        ("path_links", _repeat, "path_links: one row per"),
        ("path_spans", _set(paths=8.0), "path_spans: by the token they lead from"),
        ("path_spans", _set(weighted_paths=8.0), "path_spans: by the token they lead from"),
        ("path_spans", _set(entry_step=None), "path_spans: by the token they lead from"),
        ("path_spans", _set(end_step=None), "path_spans: equal what the walker counts"),
        ("path_spans", _set(paths=0.0), "path_spans: by the token they lead from"),
        ("path_spans", _drop, "path_spans: by the token they lead from"),
        ("path_spans", _repeat, "path_spans: one row per"),
        ("path_counts", _set(paths=8.0), "path_counts: equal what the walker counts"),
        ("path_totals", _set(dead=8), "path_totals: parameters = traced + dead + absent"),
        ("path_totals", _set(traced=1, dead=1), "path_totals: equal what the walker counts"),
        ("path_totals", _drop, "path_totals: parameters = traced"),
        ("samples", _set(graph=None), "samples: recorded ones have a graph"),
        ("samples", _drop, "samples: those of the manifest"),
        ("tensors", _set(first_vertex=3), "tensors: vertices are numbered"),
        ("tensors", _set(name="other"), "tensors: parameters come first and are alike"),
        ("parameter_groups", _set(size=9), "parameter_groups: their sizes"),
        ("graphs", _set(conservation_error=0.5), "graphs: conservation"),
        ("graphs", _set(conservation_error=float("nan")), "graphs: conservation"),
    ],
)
def test_wrong_rows_are_found(
    drawn_path: Path, table: str, change: Callable[[list[dict[str, Any]]], None], failed: str
) -> None:
    rewrite(drawn_path, table, change)
    found = failures(drawn_path)
    assert any(failure.startswith(failed) for failure in found), found


@pytest.mark.parametrize("damage", ["missing", "shorter", "zeros", "zeroed data", "other columns", "no rows counted"])
def test_damaged_files_are_rows(drawn_path: Path, damage: str) -> None:
    file = drawn_path / "best_edges/shard=00000/part-0.parquet"
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "shorter":
        file.write_bytes(data[:-1])
    elif damage == "zeros":
        file.write_bytes(bytes(len(data)))
    elif damage == "zeroed data":
        file.write_bytes(data[:4] + bytes(600) + data[604:])
    elif damage == "other columns":
        pq.write_table(pq.read_table(file).drop_columns("slot"), file)
        _fit_manifest(drawn_path, file)
    else:
        manifest = read_manifest(drawn_path)
        manifest.shards[0].files["best_edges"][0].rows += 1
        write_manifest(drawn_path, manifest)
    found = failures(drawn_path)
    assert found
    assert "best_edges/shard=00000" in found[0]


def _fit_manifest(path: Path, file: Path) -> None:
    manifest = read_manifest(path)
    (stored,) = manifest.shards[0].files["best_edges"]
    vars(stored).update(vars(stored_file(path, file, stored.rows)))
    write_manifest(path, manifest)


@st.composite
def random_samples(draw: st.DrawFn) -> list[DrawnSample]:
    """Samples of a random graph: 4 parameter elements in two groups, up to 12 activations, edges with small numbers."""
    n = draw(st.integers(2, 12))
    components = ["a", "b", "c"]
    nodes = [Op("Op", "elementwise", draw(st.sampled_from(components)), step=i % 2) for i in range(n)]
    tensors = [Drawn("w", "parameter", (2, 2)), *(Drawn(f"t{i}", "activation", (1,), i) for i in range(n - 1))]
    groups = [Group("w.first", "w", "0:1", 0, 2), Group("w.second", "w", "1:2, :", 2, 2)]
    graph = DrawnGraph(0, [*tensors, Drawn("loss", "loss", (), n - 1)], nodes, groups)
    pairs = [(src, dst) for src in range(3 + n) for dst in range(max(4, src + 1), 4 + n)]
    samples = []
    for sample in range(draw(st.integers(1, 2))):
        chosen = draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1, max_size=40))
        edges = [Edge(src, dst, draw(st.integers(-2, 2)), draw(st.integers(0, 1))) for src, dst in chosen]
        samples.append(DrawnSample(sample, graph, "text", ["x", "y"], edges))
    return samples


@given(random_samples())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_stores_are_sound(tmp_path_factory: pytest.TempPathFactory, samples: list[DrawnSample]) -> None:
    path = write_store(tmp_path_factory.mktemp("random") / "store", samples)
    assert failures(path) == []
    store = open_store(path)
    for s in samples:
        for theta in range(4):
            traced = store.trace(f"w[{theta // 2},{theta % 2}]", s.sample)
            wanted, end = s.path(theta)
            assert [hop["vertex"] for hop in traced.hops[1:]] == wanted
            assert traced.end == end
    by_component = store.importance(by=["sample", "component"]).to_arrow_table()
    for s in samples:
        paths = [path for theta in range(4) for path, end in [s.path(theta)] if end == "loss"]
        mask = np.array(by_component["sample"]) == s.sample
        assert np.array(by_component["edges"])[mask].sum() == sum(map(len, paths))
