"""Rank stability: the coefficients against textbook values and plain definitions, and their rows for a store."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradtrace.queries import Store, StoreError
from gradtrace.queries.importance.statistics import average_ranks, kendalls_w, spearman, split_half

# Siegel 1956, Nonparametric Statistics, chapter 9: three judges without ties, W = .16, and with ties, W = .828.
UNTIED = np.array([[1, 6, 3, 2, 5, 4], [1, 5, 6, 4, 2, 3], [6, 3, 2, 5, 4, 1]], float)
TIED = np.array(
    [
        [1, 4.5, 2, 4.5, 3, 7.5, 6, 9, 7.5, 10],
        [2.5, 1, 2.5, 4.5, 4.5, 8, 9, 6.5, 10, 6.5],
        [2, 1, 4.5, 4.5, 4.5, 4.5, 8, 8, 8, 10],
    ]
)
few_values = arrays(
    float, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=st.sampled_from([0.0, 0.1, 0.3, 7])
)


def test_kendalls_w_of_a_textbook() -> None:
    assert kendalls_w(UNTIED) == pytest.approx(0.162, abs=5e-4)
    assert kendalls_w(TIED) == pytest.approx(0.828, abs=5e-4)


def test_kendalls_w_at_its_ends() -> None:
    alike = np.array([[0.1, 0.5, 0.4], [1, 30, 2], [5, 7, 6]])
    assert kendalls_w(alike) == pytest.approx(1)
    assert kendalls_w(np.array([[1.0, 2, 3], [3, 2, 1]])) == 0
    for values in (np.ones((3, 4)), np.ones((1, 4)), np.ones((3, 1)), np.empty((0, 0))):
        assert np.isnan(kendalls_w(values))


@given(few_values)
def test_kendalls_w_is_its_formula_with_tied_ranks(values: np.ndarray) -> None:
    m, n = values.shape
    ranks = np.array([pd.Series(row).rank() for row in values])
    ties = sum(t**3 - t for row in values for t in np.unique(row, return_counts=True)[1])
    s = ((ranks.sum(axis=0) - ranks.sum() / n) ** 2).sum()
    below = m**2 * (n**3 - n) - m * ties
    wanted = 12 * s / below if m > 1 and n > 1 and below else np.nan
    assert kendalls_w(values) == pytest.approx(wanted, nan_ok=True)


@given(few_values)
def test_average_ranks_are_those_of_pandas(values: np.ndarray) -> None:
    assert average_ranks(values).tolist() == pd.DataFrame(values).rank(axis=1).to_numpy().tolist()


def test_sums_that_differ_by_rounding_are_tied() -> None:
    assert average_ranks(np.array([[0.1 + 0.2, 0.3, 0.0]])).tolist() == [[2.5, 2.5, 1.0]]
    assert average_ranks(np.array([[1e-9, 2e-9, 0.0]])).tolist() == [[2.0, 3.0, 1.0]]


@given(arrays(float, (2, 3, 6), elements=st.sampled_from([0.0, 0.1, 0.3, 0.5, 7])))
def test_spearman_is_the_correlation_of_ranks(values: np.ndarray) -> None:
    for a, b, found in zip(*values, spearman(*values), strict=True):
        constant = len(set(a)) == 1 or len(set(b)) == 1
        wanted = np.nan if constant else np.corrcoef(pd.Series(a).rank(), pd.Series(b).rank())[0, 1]
        assert found == pytest.approx(wanted, nan_ok=True, abs=1e-12)


def test_split_half_draws_from_all_halves() -> None:
    values = np.random.default_rng(5).random((4, 6))
    halves = list(combinations(range(4), 2))
    possible = [spearman(values[list(h)].mean(0)[None], np.delete(values, list(h), 0).mean(0)[None])[0] for h in halves]
    found = split_half(values, halves=400)
    assert set(np.round(found, 9)) == set(np.round(possible, 9))
    assert found.mean() == pytest.approx(np.mean(possible), abs=0.1)
    assert split_half(values, halves=400).tolist() == found.tolist()
    assert split_half(values[:1]).size == 0


def test_split_half_of_samples_that_agree_and_of_noise() -> None:
    draw = np.random.default_rng(1)
    alike = np.arange(8.0) + draw.normal(0, 0.1, (30, 8))
    assert split_half(alike).min() == 1
    noise = split_half(draw.normal(size=(100, 8)))
    assert -0.5 < noise.mean() < 0.5
    assert noise.std() > 0.1


def rows(store: Store, **asked: str | Path | None) -> dict[str, dict[str, object]]:
    return {row["parameter_group"]: row for row in store.stability(**asked).to_arrow_table().to_pylist()}  # type: ignore[arg-type]


def test_rows_of_a_store(drawn: Store) -> None:
    found = rows(drawn)
    assert list(found) == ["emb.weight", "lstm.weight.forget_gate", "lstm.weight.input_gate", "out.bias", "(all)"]
    # Shares of (cell, gates, sigmoid, loss): sample 0: 3 3 3 2 of 11; sample 1: 3 2 2 2 of 9; sample 3: all alike.
    ranked = np.array([[3, 3, 3, 2], [3, 2, 2, 2], [1, 1, 1, 1]])
    embedding = found["emb.weight"]
    assert embedding["kendall_w"] == pytest.approx(kendalls_w(ranked))
    assert (embedding["samples"], embedding["ranked"], embedding["without_paths"], embedding["missing"]) == (3, 4, 0, 0)
    # No path of the bias meets the cell: one component is left, nothing to rank.
    assert (found["out.bias"]["ranked"], found["out.bias"]["without_paths"]) == (1, 3)
    assert found["out.bias"]["kendall_w"] is None
    # Sample 3 traces no input gate: two samples rank.
    assert found["lstm.weight.input_gate"]["samples"] == 2
    shares = drawn.importance(by=["sample", "component"]).order("sample, component").select("edge_share").fetchall()
    assert found["(all)"]["kendall_w"] == pytest.approx(kendalls_w(np.array(shares).reshape(3, 4)))


def test_steps_that_a_sample_lacks_are_not_ranked(drawn: Store) -> None:
    found = rows(drawn, by="step", measure="path_rate")["emb.weight"]
    assert (found["samples"], found["ranked"], found["missing"]) == (3, 2, 1)


def test_one_group_and_groups_of_a_file(drawn: Store, tmp_path: Path) -> None:
    everything = rows(drawn)
    for name in ("emb.weight", "(all)"):
        assert rows(drawn, group=name) == {name: everything[name]}
    file = tmp_path / "g.toml"
    file.write_text(
        "[[parameter_group]]\nname = 'all'\nparameter = '*'\n[[parameter_group]]\nname = 'b'\nparameter = 'out.*'\n"
    )
    found = rows(drawn, groups=file)
    assert set(found) == {"all", "b"}
    assert found["all"]["kendall_w"] == everything["(all)"]["kendall_w"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"by": "sample"}, "told apart by 'sample'. Choose among component"),
        ({"group": "emb"}, "no parameter group 'emb'. Did you mean emb.weight"),
        ({"measure": "share"}, "no measure 'share'. Choose among edges"),
        ({"method": "soft"}, "no paths of method 'soft'"),
    ],
)
def test_wrong_questions(drawn: Store, asked: dict[str, str], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        drawn.stability(**asked)


def test_shares_of_components_that_overlap(drawn: Store, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[[component]]\nname = 'a'\nmodule = 'lstm'\n[[component]]\nname = 'b'\ncomponent = 'lstm.cell'\n")
    with pytest.raises(StoreError, match="edge_share has no meaning"):
        drawn.stability(components=file)
    assert rows(drawn, components=file, measure="path_rate")["emb.weight"]["ranked"] == 2
