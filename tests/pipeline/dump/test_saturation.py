"""Saturated gates are found whatever operator makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gradtrace as gt


class Gated(nn.Module):
    """One gate per unit, half of them far out where it is flat."""

    def __init__(self, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.gate = gate
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 4))
        self.bias = nn.Parameter(torch.tensor([0.0, 0.1, 40.0, -40.0]))

    def forward(self, x: Tensor) -> Tensor:
        return (self.gate(x * self.weight + self.bias) * x).sum()


@pytest.mark.parametrize(
    ("gate", "op_type", "is_gate"),
    [
        (torch.sigmoid, "Sigmoid", True),
        (nn.functional.hardsigmoid, "HardSigmoid", True),
        (torch.tanh, "Tanh", False),
        (nn.functional.softsign, None, None),
        (torch.erf, "Erf", False),
    ],
    ids=["sigmoid", "hardsigmoid", "tanh", "softsign", "erf"],
)
def test_half_of_the_gates_are_flat(
    gate: Callable[[Tensor], Tensor], op_type: str | None, is_gate: bool | None, tmp_path: Path
) -> None:
    dumped = gt.dump(Gated(gate), [{"x": torch.full((1, 4), 0.3)}], tmp_path / "s")
    with dumped.open() as store:
        found = store.query("saturation").project("op_type, gate, edges, saturated").fetchall()
    # torch writes softsign out as x / (1 + |x|), which no operator of its own saturates
    assert found == ([] if op_type is None else [(op_type, is_gate, 4, 2)])
