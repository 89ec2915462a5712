"""Every operator against ONNX's reference implementation (values) and against autograd of another formula (edges)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradtrace.exporters.edges.conservation import conservation_error
from gradtrace.exporters.operators.registry import COMPOSITES, DOMAIN, PRIMITIVES, WITHOUT_GRADIENT
from gradtrace.exporters.tape.tape import Tape

from ..lowering import attention_cases, composite_cases, control_flow_cases, lowering_cases
from ..taped import all_edges, composed_jacobian, derivative_matrix, finish, leaf, operator_of, weighted_sum
from . import primitive_cases, scatter_cases
from .operator_cases import Case

TABLES = (primitive_cases, composite_cases, lowering_cases, attention_cases, control_flow_cases, scatter_cases)
CASES: list[Case] = [case for table in TABLES for case in table.CASES]
OUTPUTS = [(case, number) for case in CASES for number in range(case.n_outputs)]
# what the reference rounds to float32 on the way, whatever the type of its input
ROUNDED_IN_ONNX = {"Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu"}
IDS = [f"{i}-{case.op_type}-{number}" for i, (case, number) in enumerate(OUTPUTS)]


def test_every_operator_has_a_case() -> None:
    """Those of ONNX: its reference knows no others."""
    known = set(PRIMITIVES) | set(COMPOSITES) | set(WITHOUT_GRADIENT)
    assert {case.op_type for case in CASES} == {name for name in known if not name.startswith(f"{DOMAIN}.")}


@pytest.mark.parametrize(("case", "number"), OUTPUTS, ids=IDS)
def test_value(case: Case, number: int) -> None:
    _, y, _ = case.on_tape(f"y{number}")
    expected = case.expected()[number]
    assert tuple(y.shape) == expected.shape
    assert y.data.is_floating_point() == (expected.dtype.kind == "f")
    rounded = case.op_type in ROUNDED_IN_ONNX
    np.testing.assert_allclose(y.data.detach().numpy(), expected, rtol=1e-10, atol=1e-7 if rounded else 1e-12)


DIFFERENTIABLE = [
    (i, (c, n)) for i, (c, n) in zip(IDS, OUTPUTS, strict=True) if c.leaves and c.op_type not in WITHOUT_GRADIENT
]


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


PRIMITIVE = [(i, c) for i, (c, _) in DIFFERENTIABLE if c.op_type in PRIMITIVES]


@pytest.mark.parametrize("case", [case for _, case in PRIMITIVE], ids=[i for i, _ in PRIMITIVE])
def test_a_primitive_is_one_operator(case: Case) -> None:
    """Its edges, and nothing else, scattered into a matrix are its Jacobian; a copy has none."""
    tape, y, leaves = case.on_tape()
    if y.vertices is None or y.data.numel() == 0:
        assert len(tape.calls) <= 1
        return
    (call,) = tape.calls
    assert call.output is y
    recording = finish(tape, weighted_sum(tape, y))
    edges = all_edges(recording)
    mine = operator_of(recording)[edges.dst] == call.order
    per_slot = {slot: int((edges.slot[mine] == slot).sum()) for slot in range(len(case.inputs))}
    if call.primitive.kind == "copies":
        assert not mine.any()
        assert tape.n_vertices == sum(x.data.numel() for x in leaves) + y.data.numel() + 1  # those of the weighted sum
        return
    matrix = derivative_matrix(recording)[y.vertices.reshape(-1).numpy()]
    for x, wanted in zip(leaves, case.jacobians(0), strict=True):
        assert x.vertices is not None
        found = matrix[:, x.vertices.reshape(-1).numpy()].reshape(wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)
    fans = {slot: _fan_out(case, slot, y.data.numel()) if slot in case.leaves else 0 for slot in per_slot}
    assert per_slot == fans


def _fan_out(case: Case, slot: int, size: int) -> int:
    """The number of edges of one slot, from the shapes alone."""
    x = case.inputs[slot]
    assert x is not None
    if PRIMITIVES[case.op_type].kind == "contracts":
        first = case.inputs[0]
        assert first is not None
        return size * first.shape[-1]  # every output element reads K elements of either operand
    return x.size if PRIMITIVES[case.op_type].kind == "reduces" else size


def test_negative_pads_cut_off() -> None:
    """ONNX allows them; its reference does not."""
    tape = Tape(torch.float64)
    x = leaf(tape, "x", np.arange(12.0).reshape(3, 4))
    y = tape("Pad", x, tape.integers([-1, 2, 0, -3]), tape.number(7.0))
    assert y.data.tolist() == [[7.0, 7.0, 4.0], [7.0, 7.0, 8.0]]
    assert y.vertices is not None
    assert y.vertices.tolist() == [[-1, -1, 4], [-1, -1, 8]]


LOWERED = {
    "Softmax": ["Sub", "Exp", "ReduceSum", "Div"],
    "LogSoftmax": ["Sub", "Exp", "ReduceSum", "Log", "Sub"],
    "ReduceLogSumExp": ["Sub", "Exp", "ReduceSum", "Log", "Add"],
}


@pytest.mark.parametrize("op_type", LOWERED)
def test_the_subtracted_maximum_is_a_constant(op_type: str) -> None:
    tape = Tape(torch.float64)
    tape(op_type, leaf(tape, "x", np.arange(6.0).reshape(2, 3)))
    calls = [call for call in tape.calls if call.primitive.kind != "copies"]
    assert [call.primitive.name for call in calls] == LOWERED[op_type]
    assert [x is not None and x.vertices is not None for x in calls[0].inputs] == [True, False]


@pytest.mark.parametrize("op_type", ["Clip", "Max", "Mean", "Min", "Sum"])
def test_an_operator_that_returns_its_input_has_a_gradient_of_its_own(op_type: str) -> None:
    tape = Tape(torch.float64)
    x = leaf(tape, "x", np.arange(1.0, 4.0))
    y = tape(op_type, x)
    recording = finish(tape, weighted_sum(tape, tape("Mul", x, y)))
    assert y.vertices is not None
    np.testing.assert_allclose(recording.gradients[:3], 2 * recording.gradients[y.vertices.numpy()], rtol=1e-12)
    assert conservation_error(recording) < 1e-12
