"""Samples of one sentence at several checkpoints are drawn together: a second copy of every sample says nothing new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradtrace.queries import Store, open_store
from gradtrace.queries.importance.sample_measures import units_of
from gradtrace.queries.importance.statistics import (
    paired_difference,
    split_half,
    summarise_samples,
    unpaired_difference,
)

from ..drawing import write_store
from ..drawn_cell import drawn_samples

VALUES = np.random.default_rng(1).normal(size=(5, 12))
VALUES[2, 3:7] = np.nan
OTHERS = VALUES + np.random.default_rng(2).normal(size=VALUES.shape)
TWICE = np.tile(np.arange(VALUES.shape[1]), 2)


def twice(values: np.ndarray) -> np.ndarray:
    return np.tile(values, 2)


def test_copies_do_not_narrow_an_interval() -> None:
    once, found = summarise_samples(VALUES), summarise_samples(twice(VALUES), TWICE)
    np.testing.assert_allclose((found.mean, found.low, found.high), (once.mean, once.low, once.high), rtol=1e-12)
    apart = summarise_samples(twice(VALUES))
    assert (apart.high - apart.low < 0.9 * (found.high - found.low)).all()


def test_nor_that_of_a_difference() -> None:
    for compare, units in ((paired_difference, TWICE), (unpaired_difference, (TWICE, TWICE))):
        once, found = compare(VALUES, OTHERS), compare(twice(VALUES), twice(OTHERS), units)
        np.testing.assert_allclose((found.low, found.high), (once.low, once.high), rtol=1e-12)
        assert (found.left_n == 2 * once.left_n).all()


def test_nor_do_they_make_halves_alike() -> None:
    complete = np.delete(VALUES, 2, axis=0).T
    assert split_half(np.tile(complete, (2, 1)), TWICE).tolist() == pytest.approx(split_half(complete).tolist())
    assert split_half(np.tile(complete, (2, 1))).mean() > split_half(complete).mean()


def test_every_unit_is_drawn_as_a_whole() -> None:
    """Units of unequal size, against drawing them one by one."""
    values, units = VALUES[:1], np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 4])
    drawn = np.random.default_rng(20240229).multinomial(5, np.full(5, 0.2), 2000)
    means = [
        np.mean(np.concatenate([np.tile(values[0, units == unit], times) for unit, times in enumerate(counts)]))
        for counts in drawn
    ]
    found = summarise_samples(values, units)
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(np.percentile(means, (2.5, 97.5))))


def test_one_unit_has_no_interval() -> None:
    found = summarise_samples(VALUES[:1, :3], np.zeros(3, np.int64))
    assert np.isfinite(found.sd).all()
    assert np.isnan((found.low, found.high)).all()


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The drawn samples at two checkpoints that are alike."""
    samples = [
        replace(sample, sample=sample.sample + 4 * i, checkpoint=name)
        for i, name in enumerate(("100", "200"))
        for sample in drawn_samples()
    ]
    return open_store(write_store(tmp_path_factory.mktemp("again") / "store", samples))


def test_importance_over_checkpoints(again: Store, drawn: Store) -> None:
    assert units_of(again, [0, 1, 3, 4, 5, 7]).tolist() == [0, 1, 2, 0, 1, 2]  # type: ignore[union-attr]
    assert units_of(again, [4, 5, 7]) is None
    of_one = again.importance(by=["checkpoint", "parameter_group", "component"]).filter("checkpoint = '200'")
    for end in ("edge_share_low", "edge_share_high"):
        wanted, *found = (
            [value for (value,) in rows.order("parameter_group, component").project(end).fetchall()]
            for rows in (drawn.importance(), again.importance(), of_one)
        )
        assert found == [pytest.approx(wanted), pytest.approx(wanted)]


def test_stability_over_checkpoints(again: Store, drawn: Store) -> None:
    split = "parameter_group, split_half"
    assert again.stability().project(split).fetchall() == drawn.stability().project(split).fetchall()


def test_comparing_two_such_stores(again: Store, drawn: Store, tmp_path: Path) -> None:
    del tmp_path
    found, wanted = again.compare(again), drawn.compare(drawn)
    assert found.design == "paired"
    for column in ("low", "high"):
        assert found.rows[column].to_pylist() == pytest.approx(wanted.rows[column].to_pylist())
