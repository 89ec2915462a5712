"""A method is one entry of a table: with a made-up one added, a store traced by it answers every question."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradtrace.queries import Store, StoreError, open_store
from gradtrace.queries.database.library import load_queries
from gradtrace.queries.methods import BY_PRODUCT, BY_SHARE, GREEDY, METHODS, Method, method_of_ranking

from .drawing import DrawnSample, Edge, Methods, write_store
from .drawn_cell import drawn_samples
from .verify.test_verify_store import failures, rewrite

HALVED = Method(
    "halved",
    "the largest product of halved derivatives, which prefers short paths",
    logarithms=True,
    all_paths=False,
    score="score",
    ratio="pow(2, runner_up - best)",
    weight="derivative / 2",
)


def _half(edge: Edge) -> float:
    return edge.d / 2


MADE: Methods = {GREEDY: None, HALVED.name: _half}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the made-up method, which is in the table while it is asked."""
    monkeypatch.setitem(METHODS, HALVED.name, HALVED)
    return write_store(tmp_path / "store", drawn_samples(), methods=MADE)


@pytest.fixture
def store(path: Path) -> Store:
    return open_store(path)


def recorded() -> list[DrawnSample]:
    return [sample for sample in drawn_samples() if sample.status == "ok"]


def test_its_traces(store: Store) -> None:
    longer = 0
    for sample in recorded():
        for vertex in range(8):
            name = sample.graph.tensors[sample.graph.owner[vertex]].name
            traced = store.trace(store.graph_of(sample.sample).vertex_name(vertex), sample.sample, HALVED.name)
            wanted, end = sample.path(vertex, _half)
            assert ([hop["vertex"] for hop in traced.hops[1:]], traced.end) == (wanted, end), name
            longer += len(sample.path(vertex)[0]) > len(wanted)
    assert longer, "it takes other paths than greedy"


def test_its_importance(store: Store) -> None:
    found = store.importance(by="sample", method=HALVED.name).select("sample", "edges", "traced").fetchall()
    for sample, edges, traced in found:
        (drawn,) = [s for s in recorded() if s.sample == sample]
        paths = [path for vertex in range(8) for path, end in [drawn.path(vertex, _half)] if end == "loss"]
        assert (edges, traced) == (sum(map(len, paths)), len(paths))
    by_step = store.importance(by=["sample", "step"], method=HALVED.name)  # by the walker
    assert by_step.filter("edges > 0").fetchall()


def test_its_checks(store: Store, path: Path) -> None:
    assert failures(path) == []
    assert any(HALVED.name in check.name for check in store.verify())


def test_a_wrong_score_is_found(path: Path) -> None:
    rewrite(path, "best_edges", lambda rows: _of_method(rows, "score", 0.3))
    assert any("scores of products over paths continue" in failure for failure in failures(path))


def test_a_wrong_path_is_found(path: Path) -> None:
    rewrite(path, "path_edges", lambda rows: _of_method(rows, "edges", 9.0))
    assert any("path_edges: equal what the walker counts" in f and HALVED.name in f for f in failures(path))


def _of_method(rows: list[dict[str, object]], column: str, value: float) -> None:
    next(row for row in rows if row["method"] == HALVED.name)[column] = value


def test_every_query_takes_it(store: Store) -> None:
    for query in load_queries().values():
        if "method" in {p.name for p in query.parameters}:
            given = {p.name: 0 for p in query.parameters if p.default is None}
            assert store.query(query.name, method=HALVED.name, **given).fetchall(), query.name
    pairs = store.query("compare_methods").select("method", "other").distinct().fetchall()
    assert pairs == [(GREEDY, HALVED.name)]


def test_margins_are_of_the_method(store: Store) -> None:
    assert store.sql(
        "select margin('halved', -1, -2), margin('greedy', -4, 1), margin('halved', -1, null)"
    ).fetchall() == [(0.5, 0.75, 1.0)]


def test_a_method_of_all_paths_is_refused_where_one_path_is_asked(store: Store) -> None:
    with pytest.raises(StoreError, match=r"method is one of greedy, product, halved, got 'soft'"):
        store.query("token_importance", method="soft")


def test_k_best_paths_have_their_methods() -> None:
    assert (method_of_ranking(BY_PRODUCT), method_of_ranking(BY_SHARE)) == ("product", "soft")
