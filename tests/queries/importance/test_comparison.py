"""Comparisons of two stores and of two groups of samples, and the agreement of methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradtrace.queries import Store, StoreError, compare, open_store
from gradtrace.queries.importance.comparison import Comparison
from gradtrace.queries.importance.statistics import paired_difference, unpaired_difference

from ..drawing import DrawnSample, Op, edit_manifest, write_store
from ..drawn_cell import drawn_samples

Change = Callable[[DrawnSample], DrawnSample]


def store_of(path: Path, samples: list[DrawnSample]) -> Store:
    return open_store(write_store(path, samples))


def turned(sample: DrawnSample) -> DrawnSample:
    """The sample under other weights: its carry and output change."""
    return replace(sample, edges=[e._replace(d=e.d * (3.0 if e.src in (12, 16) else 0.5)) for e in sample.edges])


def row(found: Comparison, **keys: Any) -> dict[str, Any]:
    (only,) = [r for r in found.to_arrow().to_pylist() if all(r[k] == v for k, v in keys.items())]
    return only


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The drawn samples, in another order, under other weights."""
    samples = [replace(turned(s), sample=i) for i, s in enumerate(reversed(drawn_samples()))]
    path = write_store(tmp_path_factory.mktemp("other") / "turned", samples)
    edit_manifest(path, samples={"source": "other.txt", "fingerprint": "another", "count": 4})
    return open_store(path)


def shares(store: Store, group: str, component: str) -> dict[str, float]:
    """edge_share by the text of the sample."""
    asked = store.importance(by=["text", "sample", "parameter_group", "component"])
    asked = asked.filter(f"parameter_group = '{group}' and component = '{component}'")
    return dict(asked.select("text", "edge_share").fetchall())


def test_stores_of_the_same_texts_are_paired_by_text(drawn: Store, other: Store) -> None:
    found = drawn.compare(other)
    assert (found.design, found.left, found.right, found.notes) == ("paired", "store", "turned", ())
    group, component = "lstm.weight.forget_gate", "lstm.cell"
    left, right = shares(drawn, group, component), shares(other, group, component)
    assert left != right
    pairs = [np.array([[side[text] for text in sorted(left)]]) for side in (left, right)]
    wanted = np.mean(list(right.values())) - np.mean(list(left.values()))
    got = row(found, parameter_group=group, component=component)
    assert got["difference"] == pytest.approx(wanted)
    assert got["difference"] == pytest.approx(got["right"] - got["left"])
    assert got["low"] <= got["difference"] <= got["high"]
    differences = (pairs[1] - pairs[0])[0]
    assert (got["low"], got["high"]) == pytest.approx((differences.min(), differences.max()))
    assert (got["left_samples"], got["right_samples"], got["design"], got["only"]) == (3, 3, "paired", None)
    assert str(found).startswith("edge_share of greedy paths, paired: turned (right) - store (left)")


def test_a_store_does_not_differ_from_itself(drawn: Store) -> None:
    found = compare(drawn.path, drawn)
    assert found.design == "paired"
    assert {(r["difference"], r["low"], r["high"]) for r in found.to_arrow().to_pylist()} == {(0, 0, 0)}


def test_the_same_file_is_paired_by_number_even_without_texts(tmp_path: Path) -> None:
    sides = [
        store_of(tmp_path / name, [replace(change(s), text=None) for s in drawn_samples()])  # type: ignore[arg-type]
        for name, change in (("a", lambda s: s), ("b", turned))
    ]
    assert sides[0].compare(sides[1]).design == "paired"


def test_repeated_texts_are_paired_in_their_order(tmp_path: Path) -> None:
    first, second, _, _ = drawn_samples()
    repeated = [replace(first, text="same"), replace(second, text="same")]
    sides = [store_of(tmp_path / "a", repeated), store_of(tmp_path / "b", repeated)]
    found = row(sides[0].compare(sides[1]), parameter_group="emb.weight", component="lstm.cell")
    assert (found["low"], found["high"]) == (0, 0)


def test_a_sample_that_one_side_lacks_leaves_pairs(tmp_path: Path, drawn: Store) -> None:
    samples = drawn_samples()
    samples[1] = replace(samples[1], status="non-finite")
    found = drawn.compare(store_of(tmp_path / "b", samples))
    assert found.design == "paired"
    assert found.notes == ("Samples recorded on one side only, left out: 1.",)
    assert row(found, parameter_group="out.bias", component="loss")["left_samples"] == 2


def test_other_samples_are_unpaired(tmp_path: Path) -> None:
    first, second, _, short = drawn_samples()
    left = store_of(tmp_path / "a", [first, second])
    right = store_of(tmp_path / "b", [replace(first, text="z", sample=0), replace(short, sample=1)])
    edit_manifest(right.path, samples={"source": "other.txt", "fingerprint": "another", "count": 2})
    found = left.compare(open_store(right.path))
    assert (found.design, found.notes) == ("unpaired", ())
    got = row(found, parameter_group="emb.weight", component="lstm.cell")
    a, b = (
        [shares(side, "emb.weight", "lstm.cell")[t] for t in ts] for side, ts in ((left, ["a b", "c a"]), (right, "zb"))
    )
    assert got["difference"] == pytest.approx(np.mean(b) - np.mean(a))
    assert (got["low"], got["high"]) == pytest.approx((min(b) - max(a), max(b) - min(a)))


def test_texts_on_both_sides_of_other_samples_are_told(tmp_path: Path) -> None:
    first, second, _, short = drawn_samples()
    left = store_of(tmp_path / "a", [first, second])
    samples = [first, replace(short, sample=1)]
    right = write_store(tmp_path / "b", samples)
    edit_manifest(right, samples={"source": "other.txt", "fingerprint": "another", "count": 2})
    found = left.compare(open_store(right))
    assert found.design == "unpaired"
    assert found.notes == ("Unpaired, though the sides share 1 texts: they do not hold the same samples.",)


def test_components_of_one_side_only(tmp_path: Path, drawn: Store) -> None:
    samples = drawn_samples()
    for graph in {id(s.graph): s.graph for s in samples}.values():
        graph.nodes[2] = Op(**{**graph.nodes[2]._asdict(), "component": "lstm.memory"})
        if graph.graph == 0:
            graph.nodes[6] = Op(**{**graph.nodes[6]._asdict(), "component": "lstm.memory"})
    found = drawn.compare(store_of(tmp_path / "renamed", samples))
    missing = row(found, parameter_group="emb.weight", component="lstm.cell")
    assert (missing["right"], missing["difference"], missing["low"], missing["only"]) == (None, None, None, "store")
    assert missing["left"] == pytest.approx(np.mean(list(shares(drawn, "emb.weight", "lstm.cell").values())))
    added = row(found, parameter_group="emb.weight", component="lstm.memory")
    assert (added["left"], added["right"], added["only"]) == (None, pytest.approx(missing["left"]), "renamed")
    assert found.notes == (
        "Rows that only store has, null in renamed: 4.",
        "Rows that only renamed has, null in store: 4.",
    )


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Every sample under two checkpoints, with a label that alternates."""
    samples = []
    for checkpoint, change in (("100", lambda s: s), ("2000", turned)):
        for s in drawn_samples():
            labels = {"condition": "plural" if s.sample % 2 else "singular"}
            samples.append(replace(change(s), sample=len(samples), labels=labels, checkpoint=checkpoint))
    return store_of(tmp_path_factory.mktemp("studied") / "store", samples)


def test_checkpoints_of_a_store_are_paired_like_two_stores(studied: Store, drawn: Store, other: Store) -> None:
    found = studied.compare(between="checkpoint=100,2000")
    assert (found.design, found.left, found.right) == ("paired", "checkpoint=100", "checkpoint=2000")
    wanted = drawn.compare(other)
    numbers = ["left", "right", "difference", "low", "high"]
    keys = [("parameter_group", "ascending"), ("component", "ascending")]
    for name in numbers:
        left, right = (table.to_arrow().sort_by(keys)[name].to_pylist() for table in (found, wanted))
        assert left == [None if x is None else pytest.approx(x, abs=1e-12) for x in right]


def test_conditions_are_unpaired(studied: Store) -> None:
    found = studied.compare(between=("condition", "singular", "plural"), by=["component"], measure="mean_edges")
    assert found.design == "unpaired"
    asked = studied.importance(by=["condition", "component"]).select("condition", "component", "mean_edges")
    means = {(condition, component): value for condition, component, value in asked.fetchall()}
    for got in found.to_arrow().to_pylist():
        assert got["left"] == pytest.approx(means["singular", got["component"]])
        assert got["right"] == pytest.approx(means["plural", got["component"]])
        assert got["low"] is None  # one sentence is plural, and that at two checkpoints


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "compare either two stores"),
        ({"between": "condition"}, "wanted NAME=VALUE,VALUE"),
        ({"between": "condition=singular"}, "wanted NAME=VALUE,VALUE"),
        ({"between": "condition=singular,singular"}, "give two different values"),
        ({"between": "conditoin=a,b"}, "Did you mean condition.*Labels of its samples: condition"),
        ({"between": "condition=singular,dual"}, r"condition = dual\. Its values are singular, plural\."),
        ({"between": "message=a,b"}, "It is null for all"),
        ({"between": "condition=singular,plural", "by": ["sample"]}, "parameter_group, component.*got sample"),
        ({"between": "condition=singular,plural", "measure": "share"}, "no measure 'share'"),
        ({"between": "condition=singular,plural", "method": "soft"}, "no paths of method 'soft'"),
    ],
)
def test_wrong_questions(studied: Store, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        studied.compare(**asked)


def test_an_interval_of_a_difference_covers_it_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    left, right = draw.normal(1, 2, (300, 40)), draw.normal(1.5, 1, (300, 30))
    found = unpaired_difference(left, right, resamples=1000)
    assert 0.88 < ((found.low <= 0.5) & (found.high >= 0.5)).mean() < 0.99
    shared = draw.normal(0, 5, (300, 40))  # what pairs have in common makes no interval wider
    paired = paired_difference(left + shared, left + shared + draw.normal(0.5, 0.5, left.shape), resamples=1000)
    assert 0.88 < ((paired.low <= 0.5) & (paired.high >= 0.5)).mean() < 0.99
    assert (paired.high - paired.low).mean() < (found.high - found.low).mean()


def test_pairs_that_are_incomplete() -> None:
    nan = np.nan
    left = np.array([[1.0, 2.0, nan], [nan, nan, nan], [1.0, nan, nan]])
    right = np.array([[2.0, 4.0, 9.0], [1.0, 2.0, 3.0], [5.0, 6.0, 7.0]])
    found = paired_difference(left, right)
    assert found.difference.tolist()[::2] == [1.5, 4.0]
    assert found.right.tolist() == [3.0, 2.0, 5.0]
    assert found.left_n.tolist() == [2, 0, 1]
    assert np.isnan(found.low[1:]).all()


def test_a_comparison_prints(studied: Store) -> None:
    found = studied.compare(between="condition=singular,plural")
    assert "<caption>edge_share of greedy paths, unpaired" in found._repr_html_()
    assert len(found.to_pandas()) == found.to_arrow().num_rows == 16
