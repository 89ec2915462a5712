"""ScatterElements and ScatterND that add, multiply, or keep the largest or smallest, instead of replacing.

Updates of one place follow on each other: in every round each place meets one of its updates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..operators.copies import places_of_elements, places_of_slices
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value

_REDUCTIONS = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


def _reduced(tape: Tape, operator: str, x: Value, updates: Value, places: Tensor) -> Value:
    """`places`: where in the flattened `x` each element of `updates` belongs."""
    at, flat = places.reshape(-1), tape.integers([-1])
    y, updates = tape("Reshape", x, flat), tape("Reshape", updates, flat)
    for chosen in _rounds(at):
        here, new = tape.constant(at[chosen]), tape("Gather", updates, tape.constant(chosen), axis=0)
        y = tape("ScatterElements", y, here, tape(operator, tape("Gather", y, here, axis=0), new), axis=0)
    return tape("Reshape", y, tape.integers(x.shape))


def _rounds(at: Tensor) -> list[Tensor]:
    """The numbers of the updates in rounds, in none of which a place comes twice."""
    order = torch.argsort(at, stable=True)
    ordered = at[order]
    first = torch.searchsorted(ordered, ordered)  # where each run of equal places begins
    occurrence = torch.empty_like(at)
    occurrence[order] = torch.arange(len(at)) - first
    return [(occurrence == n).nonzero().reshape(-1) for n in range(int(occurrence.max()) + 1 if len(at) else 0)]


def _elements(operator: str) -> Callable[..., Value]:
    def scatter(tape: Tape, x: Value, index: Value, updates: Value, *, reduction: str, axis: int = 0) -> Value:
        del reduction  # it chose the operator
        places = tape.decide_tensor(lambda x, index: places_of_elements(x, index, axis), x, index)
        return _reduced(tape, operator, x, updates, places)

    return scatter


def _slices(operator: str) -> Callable[..., Value]:
    def scatter(tape: Tape, x: Value, index: Value, updates: Value, *, reduction: str) -> Value:
        del reduction
        places = tape.decide_tensor(places_of_slices, x, index)
        return _reduced(tape, operator, x, updates, places)

    return scatter


for _name, _operator in _REDUCTIONS.items():
    composite(f"ScatterElements.{_name}")(_elements(_operator))
    composite(f"ScatterND.{_name}")(_slices(_operator))
