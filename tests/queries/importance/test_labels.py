"""Samples grouped by their labels and columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradtrace.queries import Store, StoreError, open_store
from gradtrace.queries.importance.statistics import summarise_samples

from ..drawing import write_store
from ..drawn_cell import drawn_samples

LABELS = [
    {"condition": "singular", "correct": "true", "status": "seen"},
    {"condition": "plural", "it's": "quoted"},
    {"condition": "plural"},  # not recorded
    {"condition": "singular"},
]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The drawn samples with labels; sample 3 is of another checkpoint."""
    samples = [
        replace(sample, labels=labels, checkpoint="100" if sample.sample < 3 else "2000")
        for sample, labels in zip(drawn_samples(), LABELS, strict=True)
    ]
    return open_store(write_store(tmp_path_factory.mktemp("labelled") / "store", samples))


def test_labels_of_samples(labelled: Store, drawn: Store) -> None:
    found = labelled.sql("select sample_label(sample, 'condition'), checkpoint from samples order by sample").fetchall()
    assert found == [("singular", "100"), ("plural", "100"), ("plural", "100"), ("singular", "2000")]
    assert all(check.ok for check in labelled.verify())
    assert drawn.sql("select sample_label(sample, 'condition') from samples where sample = 0").fetchall() == [(None,)]


@pytest.mark.parametrize("name", ["condition", "label.condition"])
def test_a_row_is_a_group_of_samples(labelled: Store, name: str) -> None:
    one = labelled.importance(by=["sample", "component"]).filter("component = 'lstm.cell'")
    share = dict(one.select("sample", "edge_share").fetchall())
    asked = labelled.importance(by=[name, "component"]).filter("component = 'lstm.cell'")
    assert asked.columns[:3] == [name, "component", "samples"]
    statistics = "edge_share", "edge_share_sd", "edge_share_low", "edge_share_high"
    plural, singular = asked.select(f'"{name}"', "samples", *statistics).fetchall()
    assert plural == ("plural", 1, share[1], None, None, None)
    wanted = summarise_samples(np.array([[share[0], share[3]]]))
    assert singular == pytest.approx(("singular", 2, *(value[0] for value in wanted)))


def test_groups_of_samples_are_those_of_a_study_of_their_own(labelled: Store, tmp_path: Path) -> None:
    alone = [replace(s, sample=i) for i, s in enumerate(s for s in drawn_samples() if s.sample in (0, 3))]
    with open_store(write_store(tmp_path / "store", alone)) as store:
        wanted = store.importance().order("parameter_group, component").fetchall()
    by = ["condition", "parameter_group", "component"]
    found = labelled.importance(by=by).filter("condition = 'singular'").order("parameter_group, component").fetchall()
    assert [row[1:] for row in found] == wanted


def test_samples_without_the_label_are_a_group(labelled: Store) -> None:
    rows = labelled.importance(by=["correct"]).select("correct", "samples", "traced").fetchall()
    traced = dict(labelled.importance(by=["sample"]).select("sample", "traced").fetchall())
    assert rows == [("true", 1, traced[0]), (None, 2, (traced[1] + traced[3]) / 2)]
    assert labelled.importance(by=["it's"]).select('"it\'s"', "samples").fetchall() == [("quoted", 1), (None, 2)]


@pytest.mark.parametrize(
    ("column", "rows"),
    [
        ("n_tokens", [(1, 1), (2, 2)]),
        ("sample.status", [("ok", 3)]),
        ("checkpoint", [("100", 2), ("2000", 1)]),
        ("text", [("a b", 1), ("b", 1), ("c a", 1)]),
    ],
)
def test_columns_of_samples(labelled: Store, column: str, rows: list[tuple[object, int]]) -> None:
    assert labelled.importance(by=[column]).select(f'"{column}"', "samples").fetchall() == rows


def test_labels_beside_samples_and_the_walkers_columns(labelled: Store) -> None:
    found = labelled.importance(by=["step", "sample", "condition"]).select("step", "sample", "condition", "edges")
    plain = labelled.importance(by=["sample", "step"]).select("step", "sample", "edges").fetchall()
    assert {(step, sample, edges) for step, sample, _, edges in found.fetchall()} == set(plain)
    assert {row[1:3] for row in found.fetchall()} == {(0, "singular"), (1, "plural"), (3, "singular")}


def test_names_that_are_nothing_or_two_things(labelled: Store, drawn: Store) -> None:
    with pytest.raises(StoreError, match=r"'status' is a column of samples and a label: write 'sample\.status'"):
        labelled.importance(by=["status"])
    with pytest.raises(
        StoreError, match=r"Did you mean condition.*Labels of its samples: condition, correct, it's, st"
    ):
        labelled.importance(by=["label.conditon"])
    with pytest.raises(StoreError, match=r"cannot be grouped by 'condition'.*Its samples have no labels"):
        drawn.importance(by=["condition"])
    with pytest.raises(StoreError, match="cannot be grouped by 'tokens'"):
        drawn.importance(by=["tokens"])


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (["samples"], "'samples' would be a column of the answer beside 'samples'.*write 'label.samples'"),
        (["Edges", "component"], "'Edges' would be a column of the answer beside 'edges'"),
        (["edge_share_low"], "'edge_share_low' would be a column"),
        (["Component", "component"], "'component' would be a column of the answer beside 'Component'"),
        (["sample", "SAMPLE"], "'SAMPLE' would be a column of the answer beside 'sample'"),
    ],
)
def test_labels_called_like_a_column_of_the_answer(named: Store, by: list[str], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        named.importance(by=by)


def test_such_labels_by_their_full_name(named: Store) -> None:
    found = named.importance(by=["label.samples", "label.Component", "component"])
    assert found.columns[:4] == ["label.samples", "label.Component", "component", "samples"]
    assert set(found.project('"label.samples", "label.Component"').fetchall()) == {("few", "x"), ("many", "y")}
    assert named.importance(by="Component").project('"Component", samples').fetchall() == [("x", 2), ("y", 1)]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The drawn samples with labels called like columns of the answer."""
    few = {"samples": "few", "Edges": "1", "edge_share_low": "1", "Component": "x", "SAMPLE": "1"}
    many = {**few, "samples": "many", "Component": "y"}
    samples = [replace(s, labels=many if s.sample == 1 else few) for s in drawn_samples()]
    return open_store(write_store(tmp_path_factory.mktemp("named") / "store", samples))


def test_no_recorded_sample(tmp_path: Path) -> None:
    samples = [replace(s, sample=i) for i, s in enumerate(s for s in drawn_samples() if s.status != "ok")]
    with open_store(write_store(tmp_path / "store", samples)) as store:
        for ask in (store.importance, lambda: store.importance(by="layer"), store.stability):
            with pytest.raises(StoreError, match="has no recorded sample"):
                ask()
