"""docs/coverage.md says what became of every function in the tables, and says it rightly."""

from __future__ import annotations

import re

import pytest
import torch

from .functions import CASES, TABLES
from .generate import FUNCTIONS, PAGE, read, section
from .trying import PER_LENGTH, WORKS, attempt

ROWS = read(section(PAGE.read_text(encoding="utf-8"), FUNCTIONS))
ROWS.pop("function")
IN_GROUPS = 8


def test_every_function_stands_on_the_page() -> None:
    assert sum(len(cases) for cases in TABLES.values()) == len(CASES) >= 600
    assert list(ROWS) == list(CASES)


def test_a_refusal_says_why() -> None:
    """Nothing is wrong and nothing crashes; what is refused is refused in one line that says what to do."""
    assert {row[1] for row in ROWS.values()} <= {WORKS, PER_LENGTH, "refused"}
    assert all(bool(row[2]) == (row[1] == "refused") for row in ROWS.values())
    assert not [name for name, row in ROWS.items() if re.search(r"Traceback|DispatchError|OpOverload", row[2])]


def test_most_work() -> None:
    assert sum(row[1] in (WORKS, PER_LENGTH) for row in ROWS.values()) >= 570


def _every(number: int, status: str) -> list[str]:
    return [name for name, row in ROWS.items() if row[1] == status][::number]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shard", range(3))
def test_some_of_those_that_work(shard: int, dtype: torch.dtype) -> None:
    names = _every(24, WORKS)[shard::3]
    assert len(names) >= 5
    for first in range(0, len(names), IN_GROUPS):
        group = names[first : first + IN_GROUPS]
        assert attempt([CASES[name] for name in group], dtype) == WORKS, group


@pytest.mark.slow
def test_some_that_are_refused() -> None:
    for name in _every(12, "refused"):
        assert attempt([CASES[name]], torch.float32).startswith("refused: "), name
