"""Importance: golden rows, custom components and groups against following every path, and statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradtrace.queries import Store, StoreError
from gradtrace.queries.importance.statistics import summarise_samples

from ..drawing import DrawnSample
from ..drawn_cell import drawn_samples

ALL = ("sample", "parameter_group", "component")


def rows(store: Store, *columns: str, **asked: Any) -> list[tuple[Any, ...]]:
    return store.importance(**asked).select(*columns).fetchall()


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def brute_force(
    samples: list[DrawnSample], groups: dict[str, list[int]], component_of: Callable[[DrawnSample, int], set[str]]
) -> dict[tuple[int, str, str], tuple[float, ...]]:
    """Follow every path and count: (sample, group, component) -> edges, paths, weighted edges, weighted paths."""
    counts: dict[tuple[int, str, str], list[float]] = defaultdict(lambda: [0.0] * 4)
    for s in samples:
        if s.status != "ok":
            continue
        for name, vertices in groups.items():
            for theta in vertices:
                path, end = s.path(theta)
                if end != "loss":
                    continue
                weight, met = abs(s.gradient[theta]), [component_of(s, v) for v in path]
                for component in set().union(*met):
                    edges = sum(component in c for c in met)
                    for i, add in enumerate((edges, 1, edges * weight, weight)):
                        counts[s.sample, name, component][i] += add
    return {key: tuple(round(value, 9) for value in values) for key, values in counts.items()}


def counted(store: Store, by: tuple[str, ...] = ALL, **asked: Any) -> dict[tuple[Any, ...], tuple[float, ...]]:
    columns = ("edges", "paths", "weighted_edges", "weighted_paths")
    found = rows(store, *by, *columns, by=by, **asked)
    return {row[: len(by)]: tuple(round(x, 9) for x in row[len(by) :]) for row in found if row[len(by)] > 0}


FINEST = {
    "emb.weight": [0, 1, 2],
    "lstm.weight.forget_gate": [3, 4],
    "lstm.weight.input_gate": [5, 6],
    "out.bias": [7],
}


def test_default_components_equal_following_every_path(drawn: Store) -> None:
    wanted = brute_force(drawn_samples(), FINEST, lambda s, v: {s.graph.nodes[s.graph.node_of(v)].component})
    assert counted(drawn) == wanted


@pytest.mark.parametrize("column", ["component", "module", "role", "layer", "step", "op_type"])
def test_columns_of_operators_equal_following_every_path(drawn: Store, column: str) -> None:
    wanted = brute_force(drawn_samples(), FINEST, lambda s, v: {getattr(s.graph.nodes[s.graph.node_of(v)], column)})
    assert counted(drawn, ("sample", "parameter_group", column)) == wanted


def test_the_walker_agrees_with_the_stored_counts(drawn: Store, tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.toml",
        "".join(
            f'[[component]]\nname = "{c}"\ncomponent = "{c}"\n'
            for c in ("lstm.gates", "lstm.sigmoid", "lstm.cell", "loss")
        ),
    )
    columns = (*ALL, "edges", "paths", "traced", "dead", "absent", "edge_share", "mean_edges", "path_rate")
    assert sorted(rows(drawn, *columns, by=ALL, components=file)) == sorted(rows(drawn, *columns, by=ALL))


CUSTOM = """
[[component]]
name = "unit 1"
component = ["lstm.gates", "lstm.sigmoid"]
slice = "1"

[[component]]
name = "cells"
op_type = "Add"

[[component]]
name = "cells"
component = "loss"

[[component]]
name = "second step"
module = "lst*"
step = [1, 2]

[[parameter_group]]
name = "first column"
parameter = "lstm.*"
slice = "..., 0"

[[parameter_group]]
name = "row and bias"
parameter = "lstm.weight"
slice = "1:"

[[parameter_group]]
name = "row and bias"
parameter = "head.bias"
"""


def _custom_component(s: DrawnSample, vertex: int) -> set[str]:
    node = s.graph.nodes[s.graph.node_of(vertex)]
    first = s.graph.firsts[s.graph.owner[vertex]]
    found = set()
    if node.component in ("lstm.gates", "lstm.sigmoid") and vertex - first == 1:
        found.add("unit 1")
    if node.op_type == "Add" or node.component == "loss":
        found.add("cells")
    if node.step == 1:
        found.add("second step")
    return found


def test_custom_components_and_groups_equal_following_every_path(drawn: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "custom.toml", CUSTOM)
    groups = {"first column": [3, 5], "row and bias": [5, 6, 7]}
    assert counted(drawn, components=file) == brute_force(drawn_samples(), FINEST, _custom_component)
    assert counted(drawn, components=file, groups=file) == brute_force(drawn_samples(), groups, _custom_component)
    totals = rows(drawn, "parameter_group", "traced", "dead", "absent", by=ALL, sample=0, groups=file)
    assert set(totals) == {("first column", 2, 0, 0), ("row and bias", 2, 1, 0)}


def test_shares_are_only_given_over_a_partition(drawn: Store, tmp_path: Path) -> None:
    overlapping = write(tmp_path / "o.toml", CUSTOM)
    assert set(rows(drawn, "edge_share", by=ALL, components=overlapping)) == {(None,)}
    halves = write(
        tmp_path / "p.toml",
        '[[component]]\nname = "lstm"\nmodule = "lstm"\n[[component]]\nname = "loss"\ncomponent = "loss"\n',
    )
    shares = rows(drawn, "component", "edge_share", by=ALL, components=halves, sample=0)
    assert ("lstm", 9 / 11) in shares
    whole = sum(share for (share,) in rows(drawn, "edge_share", by=["parameter_group", "step"], sample=0))
    assert whole == pytest.approx(4)


def test_groups_are_summed_where_they_are_not_asked_for(drawn: Store, tmp_path: Path) -> None:
    found = rows(drawn, "component", "edges", "paths", "traced", "dead", by=["sample", "component"], sample=0)
    assert found == [
        ("lstm.cell", 7.0, 5.0, 6, 1),
        ("lstm.gates", 7.0, 5.0, 6, 1),
        ("lstm.sigmoid", 7.0, 5.0, 6, 1),
        ("loss", 6.0, 6.0, 6, 1),
    ]
    assert rows(drawn, "edges", "paths", "edge_share", by=["sample"], sample=0) == [(27.0, 6.0, 1.0)]
    overlap = write(
        tmp_path / "g.toml",
        '[[parameter_group]]\nname = "a"\nparameter = "*"\n[[parameter_group]]\nname = "b"\nparameter = "out.*"\n',
    )
    with pytest.raises(StoreError, match="overlap"):
        drawn.importance(by=["component"], groups=overlap)


def test_a_mean_over_samples(drawn: Store) -> None:
    asked = drawn.importance(by=["parameter_group", "component"]).filter("component = 'loss' and traced > 1.1")
    found = asked.select("parameter_group", "samples", "edges", "edges_sd", "edges_low", "edges_high").fetchall()
    # emb.weight has 2, 2 and 1 traced parameters in samples 0, 1 and 3.
    edges = np.array([2.0, 2.0, 1.0])
    (embedding,) = [row for row in found if row[0] == "emb.weight"]
    assert embedding[1] == 3
    assert embedding[2] == pytest.approx(edges.mean())
    assert embedding[3] == pytest.approx(edges.std(ddof=1))
    assert (embedding[4], embedding[5]) == (1.0, 2.0)


def test_a_step_is_averaged_over_the_samples_that_have_it(drawn: Store) -> None:
    assert rows(drawn, "step", "samples", by=["step"]) == [(0, 3), (1, 2), (None, 3)]


def test_one_sample_has_no_spread(drawn: Store) -> None:
    assert set(rows(drawn, "samples", "edges_sd", "edges_low", sample=0)) == {(1, None, None)}


def test_importance_without_gradients_of_parameters(drawn_parameters: Store, tmp_path: Path) -> None:
    whole = write(tmp_path / "w.toml", '[[parameter_group]]\nname = "lstm"\nparameter = "lstm.*"\n')
    assert rows(drawn_parameters, "edges", "traced", by=["sample", "parameter_group"], groups=whole, sample=0) == [
        (15.0, 3)
    ]
    cut = write(tmp_path / "c.toml", '[[parameter_group]]\nname = "lstm"\nparameter = "lstm.*"\nslice = ":, 0"\n')
    with pytest.raises(StoreError, match="needs the gradient of every parameter"):
        drawn_parameters.importance(groups=cut)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"by": ["samples"]}, "cannot be grouped by 'samples'"),
        ({"by": []}, "got none"),
        ({"by": ["sample", "sample"]}, "each column to group by once"),
        ({"sample": 2}, "not recorded"),
        ({"sample": 99}, "no sample 99"),
        ({"method": "soft"}, "no paths of method 'soft'"),
        ({"components": "nowhere.toml"}, "cannot be read as TOML"),
    ],
)
def test_wrong_questions(drawn: Store, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        drawn.importance(**asked)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[component]", "cannot be read as TOML"),
        ("", r"has no \[\[component\]\] entry"),
        ("[[components]]\nname = 'a'", "no table 'components'"),
        ("[[component]]\nmodule = 'lstm'", "needs a name"),
        ("[[component]]\nname = 'a'", "has no condition"),
        ("[[component]]\nname = 'a'\nmodul = 'lstm'", "no key 'modul'. Did you mean module"),
        ("[[component]]\nname = 'a'\nlayer = 'first'", "layer must be a whole number"),
        ("[[component]]\nname = 'a'\nmodule = 3", "module must be a text"),
        ("[[component]]\nname = 'a'\nmodule = []", "empty list"),
        ("[[component]]\nname = 'a'\nmodule = 'lstmm'", "matches no operator.*module.*lstm"),
        ("[[component]]\nname = 'a'\nmodule = 'lstm'\nop_type = 'Mul'", "all together match none"),
        ("[[component]]\nname = 'a'\nmodule = 'lstm'\nslice = '0, 1'", r"2 items, but gates_0 has shape \[2\]"),
        ("[[component]]\nname = 'a'\nmodule = 'lstm'\nslice = '7'", "selects nothing"),
        ("[[component]]\nname = 'a'\nmodule = 'lstm'\nslice = '1;2'", "the item '1;2'"),
        ("[[component]]\nname = 'a'\nmodule = 'lstm'\nslice = '..., ...'", r"more than one `\.\.\.`"),
        ("[[component]]\nname = 'a'\nmodule = 'lstm'\nslice = '::0'", "step of 0"),
        ("[[component]]\nname = 'a'\nmodule = 'lstm'\nslice = 3", "slice must be a text"),
    ],
)
def test_wrong_component_files(drawn: Store, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        drawn.importance(components=write(tmp_path / "c.toml", text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'a'\nparameter = 'lstm.wieght'", "matches no parameter. Did you mean lstm.weight"),
        ("name = 'a'\nparameter = 'lstm.*'\nslice = '5:'", r"selects nothing of lstm.weight \[2, 2\]"),
        ("name = 'a'\nparameter = 'lstm.*'\nslice = '0,0,0'", r"3 items, but lstm.weight has shape \[2, 2\]"),
        ("name = 'a'\nslice = '0'", "has no condition"),
        ("name = 'a'\nparameter = 'lstm.*'\nmodule = 'x'", "no key 'module'"),
    ],
)
def test_wrong_group_files(drawn: Store, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        drawn.importance(groups=write(tmp_path / "g.toml", f"[[parameter_group]]\n{text}\n"))


def test_components_of_a_file_stand_alone(drawn: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="with a file of components"):
        drawn.importance(by=["layer"], components=write(tmp_path / "c.toml", CUSTOM))


def test_the_interval_resamples_samples() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0], [1.0, np.nan, 3.0, np.nan], [7.0, *[np.nan] * 3]])
    summary = summarise_samples(values)
    assert summary.mean.tolist() == [2.5, 5.0, 2.0, 7.0]
    assert summary.sd[:3] == pytest.approx([np.std([1, 2, 3, 4], ddof=1), 0, np.sqrt(2)])
    assert np.isnan([summary.sd[3], summary.low[3], summary.high[3]]).all()
    assert summary.low[0] <= 1.75 < 3.25 <= summary.high[0]
    assert (summary.low[1], summary.high[1]) == (5.0, 5.0)
    assert summary.low[0] == summarise_samples(values[:1]).low[0]


def test_the_interval_covers_the_mean_of_a_normal_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(10, 2, (300, 40))
    summary = summarise_samples(draws, resamples=1000)
    covered = ((summary.low <= 10) & (summary.high >= 10)).mean()
    assert 0.88 < covered < 0.99


def test_no_rows_make_no_statistics() -> None:
    assert summarise_samples(np.empty((0, 0))).mean.size == 0
