"""Operators said to be linear have derivatives that the numbers of their inputs do not change: they are found once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gradtrace.exporters import operators as _primitives  # noqa: F401  registers them
from gradtrace.exporters.operators import elementwise, reduces
from gradtrace.exporters.operators.registry import PRIMITIVES

LINEAR = sorted(name for name, primitive in PRIMITIVES.items() if primitive.facts.linear)
UNARY = {"Neg"}


def derivatives(name: str, inputs: list[Tensor]) -> list[Tensor]:
    primitive = PRIMITIVES[name]
    if primitive.kind == "reduces":
        return [reduces.derivative(primitive.compute, inputs[0], [torch.tensor([1])], {"keepdims": 0})]
    operands = inputs[:1] if name in UNARY else inputs
    return elementwise.derivatives(primitive.compute, list(operands), list(range(len(operands))))


def test_there_are_some() -> None:
    assert {"Add", "Sub", "Neg", "ReduceSum", "ReduceMean"} <= set(LINEAR)
    assert not {"Mul", "Div", "Max", "ReduceMax", "ReduceProd", "Tanh"} & set(LINEAR)


@pytest.mark.parametrize("name", LINEAR)
def test_other_numbers_change_nothing(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    first, other = ([torch.randn(3, 4, generator=draw) for _ in range(2)] for _ in range(2))
    first[0][0] = 0
    for found, wanted in zip(derivatives(name, first), derivatives(name, other), strict=True):
        assert torch.equal(found, wanted)
