"""A short run of the fuzzer; `python -m tests.fuzz --seconds 600 --seed 1` is a long one."""

from __future__ import annotations

import pytest

from . import fuzz_steps
from .fuzz import Found, fuzz
from .fuzz_steps import STEPS, Step


def test_random_modules() -> None:
    found = fuzz(seconds=600, seed=11, most=8)
    assert found.failures == 0
    assert found.recordings >= 20
    assert found.edges > 1000


@pytest.mark.parametrize(
    ("name", "scalars"),
    [
        ("clamp", fuzz_steps._clamp(-1, 1, closed=False)),  # right but for its bounds
        ("maximum", STEPS["minimum"].scalars),
        ("detach", STEPS["mul"].scalars),
    ],
)
def test_the_fuzzer_sees_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, scalars: fuzz_steps.OfScalars
) -> None:
    """One step alone, its oracle replaced: of several weights, some tell."""
    for other in [other for other in STEPS if other != name]:
        monkeypatch.delitem(STEPS, other)
    monkeypatch.setitem(STEPS, name, Step(STEPS[name].torch, scalars))
    found: Found = fuzz(seconds=600, seed=5, most=1)
    assert found.failures > 0
    assert "FAILED" in capsys.readouterr().out
