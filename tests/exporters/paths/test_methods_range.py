"""The range of numbers: products far outside float32 and float64, denormal derivatives, and float32 against float64."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gradtrace.exporters.kernels.cpu import CPU
from gradtrace.exporters.kernels.interface import NO_EDGE, Places, Suffixes
from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.paths.best_table import best_by_product
from gradtrace.exporters.paths.path_sums import contracted_spread, path_statistics
from gradtrace.exporters.paths.products import MatrixProduct
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.values import Value

from ..taped import finish, leaf, weighted_sum
from .enumerated import Enumerated, Spread, Statistics, log2, log2_sum
from .method_checks import (
    check_best_edges,
    check_contributions,
    check_methods,
    check_same_statistics,
    check_soft_traces,
    close,
    partitions,
    same_spread,
)
from .random_graphs import build

DTYPES = [torch.float32, torch.float64]
STEPS = 300
# in float32 the K best of a product of matrices are chosen among numbers of float32, so a worse one may be by its eps
CHOICE = {torch.float32: 1e-4, torch.float64: 1e-9}


@cache
def long_rnn(kind: str, dtype: torch.dtype) -> Recording:
    """300 steps of an Elman network of two units; `growing` weights cancel, so that only products grow."""
    tape = Tape(dtype)
    weights, size = {"shrinking": ([[1.0, -0.7], [0.4, -0.9]], 0.1), "growing": ([[1.0, -1.0], [1.0, -1.0]], 1e-6)}[
        kind
    ]
    scale = {"shrinking": 0.05, "growing": 16.0}[kind]
    weight = leaf(tape, "weight", scale * np.array(weights))
    bias = leaf(tape, "bias", size * np.array([0.3, -0.5]))
    generator = np.random.default_rng(0)
    state = tape.constant(torch.zeros(1, 2, dtype=dtype))
    for _ in range(STEPS):
        x = tape.constant(torch.from_numpy(size * generator.normal(size=(1, 2))).to(dtype))
        state = tape("Tanh", tape("Add", tape("Add", tape("MatMul", state, weight), x), bias))
    return finish(tape, tape("ReduceSum", state, keepdims=0))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "least", "most"), [("shrinking", -1290, -0.1), ("growing", 1, 1190)])
def test_best_products_of_300_steps(kind: str, least: float, most: float, dtype: torch.dtype) -> None:
    """The smallest is far below 1e-45, the largest far above 1e38; every one is alive and in its place."""
    recording = long_rnn(kind, dtype)
    assert recording.is_finite()
    check_best_edges(recording, Enumerated.of(recording), "product", CHOICE[dtype], keeps=(2,))
    score = best_edges(recording, 1, "product").score[: recording.loss_vertex, 0]
    score = score[np.isfinite(score)]
    assert score.min() < least
    assert score.max() > most
    assert len(score) > 0.99 * recording.loss_vertex


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["shrinking", "growing"])
def test_statistics_of_300_steps(kind: str, dtype: torch.dtype) -> None:
    recording = long_rnn(kind, dtype)
    found = path_statistics(recording)
    for vertex, wanted in enumerate(Enumerated.of(recording).all_statistics()):
        here = Statistics(
            found.log2_paths[vertex],
            Spread(found.products.log2_sum[vertex], found.products.entropy[vertex]),
            found.log2_positive[vertex],
            found.log2_negative[vertex],
        )
        check_same_statistics(here, wanted)
    assert found.log2_paths.max() == pytest.approx(STEPS, abs=2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["shrinking", "growing"])
def test_soft_traces_of_300_steps(kind: str, dtype: torch.dtype) -> None:
    """Gradients that vanish on the way: below float32's range, and in float64 among its denormal numbers."""
    recording = long_rnn(kind, dtype)
    graph = Enumerated.of(recording)
    check_contributions(recording, graph)
    check_best_edges(recording, graph, "soft", CHOICE[dtype], keeps=(2,))
    check_soft_traces(recording, graph, *partitions(recording, seed=0))
    if (kind, dtype) != ("growing", torch.float32):  # there the gradients stop at an exact 0
        smallest = np.abs(recording.gradients[recording.gradients != 0]).min()
        assert smallest < np.finfo(recording.gradients.dtype).tiny


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_long_products_agree_in_float32_and_float64(dtype: torch.dtype) -> None:
    """Of the same vertex; float32 rounds every derivative."""
    for kind in ("shrinking", "growing"):
        score = best_edges(long_rnn(kind, dtype), 1, "product").score[:6, 0]
        reference = best_edges(long_rnn(kind, torch.float64), 1, "product").score[:6, 0]
        np.testing.assert_allclose(score, reference, rtol=0, atol=1e-4)


def _scaled_down(dtype: torch.dtype, *factors: float) -> Recording:
    """A product of matrices, then Mul by each factor."""
    tape = Tape(dtype)
    x, w = leaf(tape, "x", np.array([[1.0, -2.0]])), leaf(tape, "w", np.array([[0.5, 1.5], [2.0, -0.3]]))
    y: Value = tape("MatMul", x, w)
    for factor in factors:
        y = tape("Mul", y, tape.number(factor))
    return finish(tape, tape("ReduceSum", y, keepdims=0))


TINY = {torch.float32: 3e-42, torch.float64: 3e-320}


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormal_derivatives(dtype: torch.dtype) -> None:
    """One denormal derivative keeps everything alive; with two the gradients are 0 and the products are not."""
    tiny = TINY[dtype]
    once = _scaled_down(dtype, tiny)
    assert 0 < np.abs(once.gradients[:6]).max() < np.finfo(once.gradients.dtype).tiny
    check_methods(once)
    twice = _scaled_down(dtype, tiny, tiny)
    check_methods(twice)
    assert not twice.gradients[:6].any()
    assert best_edges(twice, 1, "soft").dead(slice(6)).all()
    assert np.isfinite(best_edges(twice, 1, "product").score[:6, 0]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormal_operands_of_a_matrix_product(dtype: torch.dtype) -> None:
    """The derivatives of each operand are the other's numbers: some denormal, some not, some zero."""
    tiny = TINY[dtype]
    tape = Tape(dtype)
    x = leaf(tape, "x", np.array([[1.0, tiny, 0.0], [tiny, 3 * tiny, 0.0]]))
    w = leaf(tape, "w", np.array([[tiny, 2.0], [1.0, -2 * tiny], [tiny, 0.0]]))
    recording = finish(tape, weighted_sum(tape, tape("MatMul", x, w)))
    check_methods(recording)


@pytest.mark.parametrize("factor", [1e30, 1e-30])
def test_single_precision_scores_are_those_of_the_stored_derivatives(factor: float) -> None:
    """A score is the target's score and log2 of the derivative in float64, so that paths can be added up again."""
    tape = Tape(torch.float32)
    generator = np.random.default_rng(3)
    x, w = leaf(tape, "x", generator.normal(size=(3, 4))), leaf(tape, "w", factor * generator.normal(size=(4, 5)))
    y = tape("MatMul", tape("Tanh", x), w)
    recording = finish(tape, weighted_sum(tape, tape("MatMul", y, tape("Transpose", y, perm=[1, 0]))))
    best = best_edges(recording, 2, "product")
    suffix = np.where(np.arange(recording.n_vertices) == recording.loss_vertex, 0.0, best.score[:, 0])
    some = best.target >= 0
    wanted = suffix[best.target[some]] + np.log2(np.abs(best.derivative[some], dtype=np.float64))
    assert some.sum() > 100
    np.testing.assert_allclose(best.score[some], wanted, rtol=0, atol=1e-11)


def test_single_precision_of_every_kind() -> None:
    """Numbers that float32 holds exactly: nothing may depend on the dtype."""
    leaves = [[1, -1, 2, 0] * 4, [1, 2, -2, 1, 0, 1, -1, 2] * 2]
    for name in ("matmul", "square", "batched", "recurrent", "where", "row maxima"):
        for method in ("product", "soft"):
            single, double = (
                best_edges(build([(name, 0, 1), ("mul", 0, 1)], leaves, dtype), 3, method) for dtype in DTYPES
            )
            np.testing.assert_array_equal(single.target, double.target)
            np.testing.assert_array_equal(single.slot, double.slot)
            np.testing.assert_allclose(single.score, double.score, rtol=0, atol=1e-5)


# The kernels alone, where no model leads: scores of any exponent, and derivatives over most of their dtype's range

Floats = NDArray[np.float64]
Case = tuple[Floats, Floats]


@st.composite
def contractions(draw: st.DrawFn, exponent: int) -> Case:
    """Scores left : Z x X (logarithms) and derivatives right : Z x Y up to 2 ** exponent, zeros among both."""
    n_z, n_x, n_y = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    score = st.one_of(st.just(-np.inf), st.integers(-2500, 2500), st.integers(-150, 0), st.integers(-3, 0))
    size = st.one_of(st.none(), st.integers(-exponent, exponent), st.integers(-3, 3))
    left = np.array([draw(score) for _ in range(n_z * n_x)], dtype=np.float64).reshape(n_z, n_x)
    drawn = [(draw(size), draw(st.sampled_from([1.0, -1.0, 1.25]))) for _ in range(n_z * n_y)]
    right = np.array([0.0 if power is None else sign * 2.0**power for power, sign in drawn])
    return left, right.reshape(n_z, n_y)


def _suffixes(left: Floats) -> Suffixes:
    """Targets (z, x), one operator's outputs, with products that are powers of two."""
    n = left.size
    power = np.where(np.isfinite(left), left, 0).reshape(-1).astype(np.int64)
    high = np.where(np.isfinite(left), 0.5, 0.0).reshape(-1)
    residue = np.array([pow(2, int(p) % 61, 2**61 - 1) for p in power], np.int64)
    mantissas = np.stack([high, np.zeros(n), np.full(n, 0.5)], axis=1)
    wholes = np.stack([power + 1, residue, np.ones(n, np.int64)], axis=1)
    return Suffixes(mantissas, wholes, np.array([[0], [n], [0]]), 0, 0)


def _check_contraction(case: Case, dtype: type[np.floating]) -> None:
    left, right = case
    right = right.astype(dtype)
    n_z, n_x = left.shape
    vertex = np.arange(n_x * right.shape[1]).reshape(n_x, -1)
    product = MatrixProduct(vertex, left, right, np.arange(n_x), np.arange(n_z) * n_x, distinct=True)
    nothing = Places(np.full((1, 1), -np.inf), np.zeros((1, 1), dtype), np.full((1, 1), NO_EDGE))
    for keep in (1, 2, 3):
        best = best_by_product(CPU, _suffixes(left), nothing, product, CPU.largest_of_rows(right), keep)
        for x in range(left.shape[1]):
            for y in range(right.shape[1]):
                sizes = [float(left[z, x]) + log2(float(right[z, y])) for z in range(len(left))]
                wanted = sorted(sizes, reverse=True)[:keep]
                found = [sizes[z] for z in best[x, :, y] if z >= 0]
                assert len({int(z) for z in best[x, :, y] if z >= 0}) == len(wanted)
                assert all(map(close, sorted(found, reverse=True), wanted)), (x, y)
                exact = [Fraction(0)] * n_z
                for z in range(n_z):
                    if left[z, x] > -np.inf:
                        exact[z] = Fraction(2) ** int(left[z, x]) * abs(Fraction(float(right[z, y])))
                order = sorted(range(n_z), key=lambda z: (-exact[z], z))[:keep]
                if any(exact) and max(left[:, x]) > -np.inf:
                    assert best[x, :, y].tolist() == order + [-1] * (keep - len(order)), (x, y)


def _check_spread(case: Case) -> None:
    left, right = case[0], np.abs(case[1])
    entropy = np.where(np.isneginf(left), 0.0, 0.5)
    total, found = contracted_spread(CPU, left, entropy, right)
    for x in range(left.shape[1]):
        for y in range(right.shape[1]):
            sizes = [float(left[z, x]) + log2(float(right[z, y])) for z in range(len(left))]
            whole = log2_sum(sizes)
            terms = [2.0 ** (s - whole) * (0.5 - (s - whole)) for s in sizes if s > -np.inf]
            assert same_spread((total[x, y], found[x, y]), Spread(whole, sum(terms)), 1e-8)


@settings(max_examples=150, deadline=None)
@given(contractions(exponent=100))
def test_contractions_in_float32(case: Case) -> None:
    _check_contraction(case, np.float32)


@settings(max_examples=150, deadline=None)
@given(contractions(exponent=900))
def test_contractions_in_float64(case: Case) -> None:
    _check_contraction(case, np.float64)


@settings(max_examples=150, deadline=None)
@given(contractions(exponent=900))
def test_spreads_of_contractions(case: Case) -> None:
    _check_spread(case)
