"""The statistics over samples, with scipy as their oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import stats

from gradtrace.queries.importance.statistics import (
    LEVEL,
    average_ranks,
    kendalls_w,
    paired_difference,
    spearman,
    summarise_samples,
    unpaired_difference,
)

Floats = NDArray[np.float64]

# few distinct values, so that many are tied
tied = arrays.arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(3, 7)), elements=st.integers(-3, 3))


def random(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).gamma(2.0, size=shape)


def interval(values: tuple[Floats, ...], statistic: object, paired: bool = False) -> tuple[float, float]:
    """Scipy's percentile interval, of so many resamples that its ends are nearly exact."""
    found = stats.bootstrap(
        values,
        statistic,
        n_resamples=40_000,
        confidence_level=LEVEL,
        method="percentile",
        paired=paired,
        rng=np.random.default_rng(1),
    )
    return found.confidence_interval.low, found.confidence_interval.high


def assert_ends_agree(found: tuple[float, float], wanted: tuple[float, float]) -> None:
    """Within what 2,000 resamples leave open: a few hundredths of the interval's width."""
    assert np.abs(np.subtract(found, wanted)).max() < 0.06 * (wanted[1] - wanted[0])


@given(tied)
@settings(max_examples=60, deadline=None)
def test_ranks_share_their_mean_where_values_are_tied(values: Floats) -> None:
    assert np.array_equal(average_ranks(values), stats.rankdata(values, axis=1))


@given(tied)
@settings(max_examples=60, deadline=None)
def test_kendalls_w_is_friedmans_statistic(values: Floats) -> None:
    """W = chi^2 / (m (n - 1)), both corrected for ties."""
    m, n = values.shape
    if m < 3 or all(len(set(row)) == 1 for row in values):
        return  # scipy wants three judges; and all tied is no agreement to be had
    chi2, _ = stats.friedmanchisquare(*values.T)
    assert kendalls_w(values) == pytest.approx(chi2 / (m * (n - 1)), rel=1e-9)


@given(tied)
@settings(max_examples=60, deadline=None)
def test_spearmans_correlation(values: Floats) -> None:
    left, right = values[:1], values[1:2]
    if len(set(left[0])) == 1 or len(set(right[0])) == 1:
        assert np.isnan(spearman(left, right)).all()
        return
    assert spearman(left, right)[0] == pytest.approx(stats.spearmanr(left[0], right[0]).statistic, abs=1e-12)


def test_means_and_deviations() -> None:
    values = random(2, 5, 12)
    values[1, 3:] = np.nan
    found = summarise_samples(values)
    assert found.mean == pytest.approx(np.nanmean(values, axis=1))
    assert found.sd == pytest.approx(stats.tstd(values, axis=1, nan_policy="omit"))


@pytest.mark.parametrize("n", [8, 30, 200])
def test_the_interval_of_a_mean(n: int) -> None:
    values = random(n, 1, n)
    found = summarise_samples(values)
    assert_ends_agree((found.low[0], found.high[0]), interval((values[0],), np.mean))


def test_the_interval_of_a_paired_difference() -> None:
    left = random(3, 1, 40)
    right = left + 0.3 + random(4, 1, 40)
    found = paired_difference(left, right)
    wanted = interval((left[0], right[0]), lambda x, y, axis=-1: (y - x).mean(axis=axis), paired=True)
    assert_ends_agree((found.low[0], found.high[0]), wanted)


def test_the_interval_of_an_unpaired_difference() -> None:
    left, right = random(5, 1, 30), random(6, 1, 50) + 0.5
    found = unpaired_difference(left, right)
    wanted = interval((left[0], right[0]), lambda x, y, axis=-1: y.mean(axis=axis) - x.mean(axis=axis))
    assert_ends_agree((found.low[0], found.high[0]), wanted)
