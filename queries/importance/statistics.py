"""Means over samples, with their spread: samples are what a study draws, so intervals resample samples, never edges.

Samples that are of one sentence, recorded at several checkpoints, were drawn together: `units` says which (S, the
number of the sentence of each sample, from 0 without gaps; None: each sample is its own), and resampling draws these.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
_SEED = 20240229
_ROWS = 256  # rows resampled at a time, to bound memory
_DIGITS = 12  # values that agree to so many digits are tied: sums in another order differ behind them

Floats = NDArray[np.float64]
Units = NDArray[np.int64] | None


class Summary(NamedTuple):
    """Per row (R): the mean over samples, the standard deviation, and the ends of the bootstrap interval."""

    mean: Floats
    sd: Floats  # with n - 1; nan for one sample
    low: Floats
    high: Floats


class Difference(NamedTuple):
    """Per row (R): the mean on either side, right - left, and the ends of the bootstrap interval of that."""

    left: Floats
    right: Floats
    difference: Floats
    low: Floats
    high: Floats
    left_n: NDArray[np.int64]  # samples behind the means
    right_n: NDArray[np.int64]


@lru_cache(maxsize=16)
def _resample(n_samples: int, resamples: int, seed: int) -> Floats:
    # n_samples x resamples: how often each sample was drawn
    drawn = np.random.default_rng(seed).multinomial(n_samples, np.full(n_samples, 1 / n_samples), resamples)
    return np.ascontiguousarray(drawn.T.astype(float))


def means(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The mean of every row's known values, nan where there is none, and their number."""
    known = ~np.isnan(values)
    n = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, values, 0.0).sum(axis=1) / n, n


def _resampled_means(values: Floats, units: Units, resamples: int, seed: int) -> Floats:
    # R x resamples: the mean of each row in each resample, nan where it drew no sample that has a value
    if units is None:
        drawn = _resample(values.shape[1], resamples, seed)
    else:
        drawn = _resample(int(units.max()) + 1, resamples, seed)[units]
    known = ~np.isnan(values)
    if known.all() and units is None:
        resampled: Floats = values @ drawn / values.shape[1]
        return resampled
    with np.errstate(invalid="ignore", divide="ignore"):
        averages: Floats = np.where(known, values, 0.0) @ drawn / (known.astype(float) @ drawn)
    return averages


def _n_units(values: Floats, units: Units) -> NDArray[np.int64]:
    # R: the number of units that have a value
    known = ~np.isnan(values)
    if units is None or not units.size:
        counted: NDArray[np.int64] = known.sum(axis=1)
        return counted
    order = np.argsort(units, kind="stable")
    starts = np.searchsorted(units[order], np.arange(int(units.max()) + 1))
    found: NDArray[np.int64] = np.logical_or.reduceat(known[:, order], starts, axis=1).sum(axis=1)
    return found


def _percentile_ends(values: Floats) -> tuple[Floats, Floats]:
    # of R x resamples; a resample without a value counts for nothing
    ends = (100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2)
    if np.isnan(values).any():
        low, high = np.nanpercentile(values, ends, axis=1)
    else:
        low, high = np.percentile(values, ends, axis=1)
    return low, high


def _intervals(values: Floats, units: Units, resamples: int, seed: int) -> tuple[Floats, Floats]:
    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    spread = np.flatnonzero(_n_units(values, units) > 1)
    for start in range(0, spread.size, _ROWS):
        rows = spread[start : start + _ROWS]
        low[rows], high[rows] = _percentile_ends(_resampled_means(values[rows], units, resamples, seed))
    return low, high


def summarise_samples(values: Floats, units: Units = None, resamples: int = RESAMPLES, seed: int = _SEED) -> Summary:
    """Mean, standard deviation and percentile-bootstrap 95 % interval of `values` (R x n_samples) over samples.

    A nan is a sample that has no such value and is left out of its row. Rows with fewer than two values have no spread:
    their sd, low and high are nan; low and high also with fewer than two units. The same seed gives the same interval,
    whatever the other rows are.
    (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.)
    """
    mean, n = means(values)
    deviations = np.where(np.isnan(values), 0.0, values - mean[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        sd = np.sqrt((deviations**2).sum(axis=1) / (n - 1))
    return Summary(mean, np.where(n > 1, sd, np.nan), *_intervals(values, units, resamples, seed))


def paired_difference(
    left: Floats, right: Floats, units: Units = None, resamples: int = RESAMPLES, seed: int = _SEED
) -> Difference:
    """Right - left (R x n_pairs each) with its percentile-bootstrap 95 % interval over pairs.

    A pair that lacks a value on one side is left out of its row, so that the means differ by the mean difference; where
    no pair is complete, each side's mean is that of its own values. Rows with fewer than two pairs have no interval:
    nan. (Efron and Tibshirani 1993, chapters 8 and 13.)
    """
    difference = right - left
    incomplete = np.isnan(difference)
    mean, n = means(difference)
    left_out = incomplete & (n > 0)[:, None]
    left_mean, left_n = means(np.where(left_out, np.nan, left))
    right_mean, right_n = means(np.where(left_out, np.nan, right))
    return Difference(left_mean, right_mean, mean, *_intervals(difference, units, resamples, seed), left_n, right_n)


def unpaired_difference(
    left: Floats,
    right: Floats,
    units: tuple[Units, Units] = (None, None),
    resamples: int = RESAMPLES,
    seed: int = _SEED,
) -> Difference:
    """Mean of right (R x m) - mean of left (R x n) with its percentile-bootstrap 95 % interval.

    The two sides are resampled on their own. A nan is a sample that has no such value and is left out of its row. Rows
    with fewer than two values on a side have no interval: nan. (Efron and Tibshirani 1993, chapters 8 and 13.)
    """
    left_mean, left_n = means(left)
    right_mean, right_n = means(right)
    low, high = np.full(len(left), np.nan), np.full(len(left), np.nan)
    spread = np.flatnonzero((_n_units(left, units[0]) > 1) & (_n_units(right, units[1]) > 1))
    for start in range(0, spread.size, _ROWS):
        rows = spread[start : start + _ROWS]
        means_left = _resampled_means(left[rows], units[0], resamples, seed)
        differences = _resampled_means(right[rows], units[1], resamples, seed + 1) - means_left
        low[rows], high[rows] = _percentile_ends(differences)
    return Difference(left_mean, right_mean, right_mean - left_mean, low, high, left_n, right_n)


def average_ranks(values: Floats) -> Floats:
    """The ranks, from 1, of every row's values (R x n); tied ones share the mean of their ranks.

    Values that agree to 12 digits of their row's largest are tied.
    """
    if values.shape[1] == 0:
        return np.empty(values.shape)
    largest = np.abs(values).max(axis=1, keepdims=True)
    rounded = np.round(values / np.where(largest > 0, largest, 1.0), _DIGITS)
    order = np.argsort(rounded, axis=1, kind="stable")
    ordered = np.take_along_axis(rounded, order, axis=1)
    place = np.arange(values.shape[1])
    edge = np.ones((len(values), 1), np.bool_)
    differs = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(np.hstack([edge, differs]), place, 0), axis=1)
    behind = np.where(np.hstack([differs, edge]), place, values.shape[1])
    last = np.minimum.accumulate(behind[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks


def kendalls_w(values: Floats) -> float:
    """Kendall's coefficient of concordance of m judges (rows) on n items (columns), corrected for ties.

    W = 12 S / (m^2 (n^3 - n) - m sum T), with S the squared deviations of the items' rank sums from their mean and
    T = sum (t^3 - t) over each judge's ties of t items. 1: all rank alike; 0: no agreement; nan for fewer than two
    judges or items, and where every judge ties all items. (Kendall and Babington Smith 1939, The problem of m
    rankings.)
    """
    m, n = values.shape
    if m < 2 or n < 2:
        return float("nan")
    ranks = average_ranks(values)
    s = ((ranks.sum(axis=0) - m * (n + 1) / 2) ** 2).sum()
    # sum over ranks of (rank - mean)^2 is (n^3 - n - T) / 12 for every judge, whatever his ties are
    spread = ((ranks - (n + 1) / 2) ** 2).sum()
    return float(s / (m * spread)) if spread > 0 else float("nan")


def spearman(left: Floats, right: Floats) -> Floats:
    """Spearman's rank correlation of each row of `left` with that of `right` (R x n both), average ranks for ties.

    nan for a row that is constant on one side, or has fewer than two values. (Spearman 1904.)
    """
    a, b = average_ranks(left), average_ranks(right)
    middle = (left.shape[1] + 1) / 2
    a, b = a - middle, b - middle
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation: Floats = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return correlation


def split_half(values: Floats, units: Units = None, halves: int = 200, seed: int = _SEED) -> Floats:
    """How alike two random halves of the samples rank the items: a Spearman correlation per split.

    values: m samples x n items. Each split puts half of the units (rounded down) in one half and the rest in the other,
    and ranks the items by their means. Empty for fewer than two units; a split whose half ties all items is left out.
    """
    n_units = len(values) if units is None else int(units.max(initial=-1)) + 1
    if n_units < 2 or values.shape[1] < 2:
        return np.empty(0)
    shuffled = np.random.default_rng(seed).random((halves, n_units)).argsort(axis=1)
    first = (shuffled < n_units // 2).astype(float)  # halves x m: 1 where the sample is in the first half
    first = first if units is None else first[:, units]
    size = first.sum(axis=1, keepdims=True)
    correlations = spearman(first @ values / size, (1 - first) @ values / (len(values) - size))
    known: Floats = correlations[~np.isnan(correlations)]
    return known
