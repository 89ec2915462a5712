"""Cases of the scatters that add, multiply, or keep the largest or smallest; places come twice, and not at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .operator_cases import Array, Case, Formula, case, normal

COMBINE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "mul": torch.mul,
    "max": torch.maximum,
    "min": torch.minimum,
}
COLUMNS = np.array([[0, 0, -1], [3, 1, 0], [2, 2, 2]])  # in each row of a 3 x 4 matrix
ROWS = np.array([[1], [1], [-1]])
PLACES = np.array([[[0, 1], [0, 1]], [[2, 0], [1, 3]]])


def _elements(reduction: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def formula(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        for row, column in itertools.product(*map(range, index.shape)):
            place = row, int(index[row, column])
            x = _changed(x, place, COMBINE[reduction](x[place], updates[row, column]))
        return x

    return formula


def _slices(reduction: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def formula(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        for at in itertools.product(*map(range, index.shape[:-1])):
            place = tuple(index[at].tolist())
            x = _changed(x, place, COMBINE[reduction](x[place], updates[at]))
        return x

    return formula


def _changed(x: Tensor, place: tuple[int, ...], value: Tensor) -> Tensor:
    x = x.clone()
    x[place] = value
    return x


def _case(op_type: str, reduction: str, index: Array, updates: Array, formula: Formula) -> Case:
    attributes = {"reduction": reduction, **({"axis": 1} if op_type == "ScatterElements" else {})}
    nodes = [(op_type, ["x0", "x1", "x2"], ["y0"], attributes)]
    return case(f"{op_type}.{reduction}", [normal(3, 4), index, updates], formula, nodes=nodes)


CASES: list[Case] = [
    found
    for reduction in COMBINE
    for found in (
        _case("ScatterElements", reduction, COLUMNS, normal(3, 3, seed=1), _elements(reduction)),
        _case("ScatterND", reduction, ROWS, normal(3, 4, seed=2), _slices(reduction)),
        _case("ScatterND", reduction, PLACES, normal(2, 2, seed=3), _slices(reduction)),
    )
]
