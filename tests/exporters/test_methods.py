"""Product, soft and the statistics of paths against plain Python: random graphs full of ties, and their corners."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from method_checks import check_methods
from random_graphs import STEPS, Program, build, programs

SOME = [[1, -1, 2, 0, 1, 1, -2, 2, 0, 0, 1, -1, 2, 1, 1, -1], [0, 1, -1, 2, 2, 1, 0, 1, -1, 1, 2, -2, 1, 0, 1, 1]]


@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize("before", [[], [("mul", 0, 1)], [("rows", 0, 0)]], ids=["first", "after mul", "after rows"])
def test_every_step(name: str, before: list[tuple[str, int, int]]) -> None:
    check_methods(build([*before, (name, 0, 1), ("mul", 0, 1)], SOME))


@settings(max_examples=40, deadline=None)
@given(programs(max_steps=3))
def test_random_graphs(program: Program) -> None:
    check_methods(build(*program))
