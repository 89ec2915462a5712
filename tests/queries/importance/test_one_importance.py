"""One answer to "importance", whichever way it is asked: in SQL, by the command's call, by the walker, over samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from gradtrace.queries import Store, open_store
from gradtrace.queries.importance.sample_measures import MEASURES, NODE_COLUMNS

from ..drawing import GREEDY, WITH_PRODUCT, DrawnSample, write_store
from ..drawn_cell import GROUPS, ONE_STEP_EDGES, drawn_samples, one_step, two_step_edges, two_steps
from ..verify.test_verify_store import random_samples

Row = tuple[Any, ...]
ALL = ("sample", "parameter_group", "component")


def rows_of(relation: Any, keys: Sequence[str], columns: Sequence[str], digits: int = 12) -> dict[Row, Row]:
    """Rows by their keys as texts; numbers to so many digits."""
    found = relation.select(*(f'"{name}"' for name in (*keys, *columns))).fetchall()
    rows = {
        tuple(None if value is None else str(value) for value in row[: len(keys)]): tuple(
            float(f"{value:.{digits}g}") if isinstance(value, float) else value for value in row[len(keys) :]
        )
        for row in found
    }
    assert len(rows) == len(found) > 0
    return rows


def digits_of_entries(store: Store) -> int:
    """How many digits the sums of gradients have that the walker begins with."""
    return 6 if store.manifest.dtype == "float32" else 12


def studies() -> list[DrawnSample]:
    """Sentences at two checkpoints, over two graphs, of which the shorter has no traced path from the input gate."""
    samples = []
    for number, checkpoint in enumerate(("step-10", "step-9")):
        at = 3 * number
        samples += [
            DrawnSample(at, two_steps(), "a b", ["a", "b"], two_step_edges(0, 1, 0.5 + number), checkpoint=checkpoint),
            DrawnSample(at + 1, one_step(), "b", ["b"], ONE_STEP_EDGES, checkpoint=checkpoint),
            DrawnSample(at + 2, two_steps(), "c a", ["c", "a"], two_step_edges(2, 0, 3.0), checkpoint=checkpoint),
        ]
    return samples


@pytest.fixture(scope="module", params=["drawn", "checkpoints", "float32"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Stores of several graphs, each traced by two methods."""
    path = tmp_path_factory.mktemp("stores") / request.param
    samples = drawn_samples() if request.param == "drawn" else studies()
    dtype = "float32" if request.param == "float32" else "float64"
    return open_store(write_store(path, samples, dtype=dtype, methods=WITH_PRODUCT))


@pytest.fixture(params=[*WITH_PRODUCT])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_query_equals_the_call(store: Store, method: str) -> None:
    called = rows_of(store.importance(by=ALL, method=method), ALL, MEASURES)
    assert rows_of(store.query("importance", method=method), ALL, MEASURES) == called
    in_graph = rows_of(
        store.sql(
            "select distinct s.sample, g.parameter_group, n.component from samples s "
            "join nodes n using (graph), parameter_groups g where n.kind <> 'copies'"
        ),
        ALL,
        (),
    )
    assert called.keys() == in_graph.keys()


def test_a_group_without_traced_paths_has_counts_and_no_shares(store: Store, method: str) -> None:
    found = rows_of(store.query("importance", method=method), ALL, MEASURES)
    assert any(edges == 0 and traced > 0 for edges, _, traced, *_ in found.values())
    nothing = [row for row in found.values() if row[MEASURES.index("traced")] == 0]
    assert nothing
    for row in nothing:
        values = dict(zip(MEASURES, row, strict=True))
        assert (values["edges"], values["paths"], values["weighted_edges"]) == (0, 0, 0)
        assert {values[name] for name in MEASURES if "share" in name or "mean" in name or "rate" in name} == {None}


def test_the_walker_equals_the_query(store: Store, method: str, tmp_path: Path) -> None:
    """Groups of a file are counted again by the walker, though they are the stored ones."""
    file = tmp_path / "groups.toml"
    entries = ((g.name, g.parameter, g.slice) for g in GROUPS)
    file.write_text(
        "".join(
            f'[[parameter_group]]\nname = "{name}"\nparameter = "{parameter}"\n'
            + (f'slice = "{slice_}"\n' if slice_ else "")
            for name, parameter, slice_ in entries
        )
    )
    walked, digits = store.importance(by=ALL, groups=file, method=method), digits_of_entries(store)
    wanted = rows_of(store.query("importance", method=method), ALL, MEASURES, digits)
    assert rows_of(walked, ALL, MEASURES, digits) == wanted


@pytest.mark.parametrize("column", NODE_COLUMNS)
def test_importance_by_equals_the_walker(store: Store, method: str, column: str) -> None:
    by, columns = (
        ("sample", "parameter_group", column),
        ("edges", "weighted_edges", "edge_share", "weighted_edge_share"),
    )
    digits = digits_of_entries(store)
    walked = rows_of(store.importance(by=by, method=method), by, columns, digits)
    keys = ("sample", "parameter_group", "value")
    assert rows_of(store.query("importance_by", column=column, method=method), keys, columns, digits) == walked


def test_sums_over_groups_and_components(store: Store, method: str) -> None:
    parts = rows_of(store.importance(by=ALL, method=method), ALL, ("edges", "paths", "traced"))
    whole = rows_of(store.importance(by="sample", method=method), ("sample",), ("edges", "paths", "traced"))
    for (sample,), (edges, paths, traced) in whole.items():
        own = {key: row for key, row in parts.items() if key[0] == sample}
        assert edges == sum(row[0] for row in own.values())
        assert paths == traced == sum({key[1]: row[2] for key, row in own.items()}.values())


def test_over_training_equals_the_call(store: Store, method: str) -> None:
    by, columns = ("checkpoint", "parameter_group", "component"), ("samples", "edge_share", "weighted_edge_share")
    called = rows_of(store.importance(by=by, method=method), by, columns)
    assert rows_of(store.query("importance_over_training", method=method), by, columns) == called


def test_methods_compared_equal_the_call(store: Store) -> None:
    sides = {name: rows_of(store.importance(by=ALL, method=name), ALL, ("edge_share",)) for name in WITH_PRODUCT}
    keys = (*ALL, "method", "other")
    found = rows_of(store.query("compare_methods"), keys, ("edge_share", "other_share"))
    assert {key[3:] for key in found} == {(GREEDY, "product")}
    assert {key[:3]: row for key, row in found.items()} == {
        key: (share, sides["product"][key][0]) for key, (share,) in sides[GREEDY].items()
    }


def test_methods_compared_over_samples_equal_the_call(store: Store) -> None:
    by = ("parameter_group", "component")
    sides = {
        name: rows_of(store.importance(by=by, method=name), by, ("samples", "edge_share")) for name in WITH_PRODUCT
    }
    columns = ("samples", "edge_share", "other_share")
    found = rows_of(store.query("compare_methods_over_samples"), by, columns)
    assert found == {key: (*row, sides["product"][key][1]) for key, row in sides[GREEDY].items()}


@given(random_samples())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_stores(tmp_path_factory: pytest.TempPathFactory, samples: list[DrawnSample]) -> None:
    path = tmp_path_factory.mktemp("random") / "store"
    store = open_store(write_store(path, samples, methods=WITH_PRODUCT))
    for method in WITH_PRODUCT:
        test_the_query_equals_the_call(store, method)
        test_importance_by_equals_the_walker(store, method, "component")
        test_over_training_equals_the_call(store, method)
