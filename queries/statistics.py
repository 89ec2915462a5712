"""Means over samples, with their spread: samples are what a study draws, so intervals resample samples, never edges."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
_SEED = 20240229
_ROWS = 256  # rows resampled at a time, to bound memory


class Summary(NamedTuple):
    """Per row (R): the mean over samples, the standard deviation, and the ends of the bootstrap interval."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]  # with n - 1; nan for one sample
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@lru_cache(maxsize=4)
def _resample(n_samples: int, resamples: int, seed: int) -> NDArray[np.float64]:
    # resamples x n_samples: how often each sample was drawn
    return (
        np.random.default_rng(seed).multinomial(n_samples, np.full(n_samples, 1 / n_samples), resamples).astype(float)
    )


def _interval(
    values: NDArray[np.float64], drawn: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = ~np.isnan(values)
    totals = drawn @ np.where(known, values, 0.0).T  # resamples x R
    counts = drawn @ known.T.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = totals / counts  # nan where a resample drew no sample that has a value
    ends = (100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2)
    low, high = np.nanpercentile(means, ends, axis=0)
    return low, high


def summarise_samples(values: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = _SEED) -> Summary:
    """Mean, standard deviation and percentile-bootstrap 95 % interval of `values` (R x n_samples) over samples.

    A nan is a sample that has no such value and is left out of its row. Rows with fewer than two values have no spread:
    their sd, low and high are nan. The same seed gives the same interval, whatever the other rows are.
    (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.)
    """
    known = ~np.isnan(values)
    n = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=1) / n
        deviations = np.where(known, values - mean[:, None], 0.0)
        sd = np.sqrt((deviations**2).sum(axis=1) / (n - 1))
    low, high = np.full(n.size, np.nan), np.full(n.size, np.nan)
    spread = np.flatnonzero(n > 1)
    drawn = _resample(values.shape[1], resamples, seed) if spread.size else np.empty((0, 0))
    for start in range(0, spread.size, _ROWS):
        rows = spread[start : start + _ROWS]
        low[rows], high[rows] = _interval(values[rows], drawn)
    return Summary(mean, np.where(n > 1, sd, np.nan), low, high)
