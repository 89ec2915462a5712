"""Every operator against ONNX's reference implementation (values) and against autograd of another formula (edges)."""

from __future__ import annotations

import numpy as np
import primitive_cases
import composite_cases
import pytest
from operator_cases import Case
from taped import composed_jacobian, derivative_matrix, finish, weighted_sum

from exporters.conservation import conservation_error
from exporters.edges import total_edges
from exporters.operators.registry import COMPOSITES, PRIMITIVES, WITHOUT_GRADIENT

CASES = [*primitive_cases.CASES, *composite_cases.CASES]
OUTPUTS = [(case, number) for case in CASES for number in range(case.n_outputs)]
# what the reference rounds to float32 on the way, whatever the type of its input
ROUNDED_IN_ONNX = {"Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu"}
IDS = [f"{i}-{case.op_type}-{number}" for i, (case, number) in enumerate(OUTPUTS)]


def test_every_operator_has_a_case() -> None:
    assert {case.op_type for case in CASES} == set(PRIMITIVES) | set(COMPOSITES) | set(WITHOUT_GRADIENT)


@pytest.mark.parametrize(("case", "number"), OUTPUTS, ids=IDS)
def test_value(case: Case, number: int) -> None:
    _, y, _ = case.on_tape(f"y{number}")
    expected = case.expected()[number]
    assert tuple(y.shape) == expected.shape
    assert y.data.is_floating_point() == (expected.dtype.kind == "f")
    rounded = case.op_type in ROUNDED_IN_ONNX
    np.testing.assert_allclose(y.data.detach().numpy(), expected, rtol=1e-10, atol=1e-7 if rounded else 1e-12)


DIFFERENTIABLE = [(i, (c, n)) for i, (c, n) in zip(IDS, OUTPUTS, strict=True) if c.leaves and c.op_type not in WITHOUT_GRADIENT]


@pytest.mark.parametrize(("case", "number"), [pair for _, pair in DIFFERENTIABLE], ids=[i for i, _ in DIFFERENTIABLE])
def test_edges(case: Case, number: int) -> None:
    tape, y, leaves = case.on_tape(f"y{number}")
    if not y.data.is_floating_point():
        assert y.vertices is None
        assert not tape.calls
        return
    expected = case.jacobians(number)
    if y.data.numel() == 0:
        assert all(jacobian.size == 0 for jacobian in expected)
        return
    recording = finish(tape, weighted_sum(tape, y))
    found = composed_jacobian(recording, y, leaves)
    for jacobian, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(jacobian, wanted, rtol=1e-10, atol=1e-10)
    assert conservation_error(recording) < 1e-12
