"""What a tape did, so that further samples of its graph can be run without asking the rules again.

A step is one call of torch. What does not vary between samples is not among them. A guard is a question whose answer
decided how the graph goes on, such as whether a mask hides anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .values import Value

NONE = -1  # in place of the number of an input that is left out


class Step(NamedTuple):
    """values[output] = compute(*values[inputs], **attributes). checked: whether its shape may vary with the sample"""

    compute: Callable[..., Tensor]
    inputs: tuple[int, ...]
    attributes: dict[str, Any]
    output: int
    checked: bool


class Pick(NamedTuple):
    """The vertices of values[output] are repeats(*inputs, **attributes); of an input its vertices or its data."""

    repeats: Callable[..., Tensor]
    inputs: tuple[int, ...]
    attributes: dict[str, Any]
    output: int


class Guard(NamedTuple):
    """find(*values[inputs]) must be `found`."""

    find: Callable[..., Any]
    inputs: tuple[int, ...]
    found: Any

    def holds(self, data: list[Tensor | None]) -> bool:
        """Whether it is, given the data of every value."""
        now = self.find(*(data[number] if number >= 0 else None for number in self.inputs))
        if isinstance(self.found, Tensor):
            return torch.equal(now, self.found)
        return bool(now == self.found)


@dataclass
class Log:
    """Everything a tape did, in order.

    values: all that were made     steps: those whose outputs vary, and the guards between them     picks: see `Pick`
    """

    values: list[Value] = field(default_factory=list)
    steps: list[Step | Guard] = field(default_factory=list)
    picks: list[Pick] = field(default_factory=list)

    def hold(self, value: Value) -> Value:
        """Give a value its number."""
        value.number = len(self.values)
        self.values.append(value)
        return value


def numbers(values: tuple[Value | None, ...]) -> tuple[int, ...]:
    """The numbers of values."""
    return tuple(NONE if value is None else value.number for value in values)


def no_gradient(find: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same without a gradient."""

    def found(*data: Tensor | None) -> Tensor:
        with torch.no_grad():
            return find(*data).detach()

    return found
