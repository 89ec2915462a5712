"""A few families of the table in docs/coverage.md, one for each way in which a model can be unlike the others."""

from __future__ import annotations

import pytest

from .families import PER_LENGTH, REFUSED, WORKS, rows

EXPECTED = {
    "Marian": WORKS,  # sinusoids that no gradient reaches
    "Mixtral": WORKS,  # experts that a router chooses
    "GPT-OSS": WORKS,  # the same with biases, and attention sinks
    "ProphetNet": PER_LENGTH,  # two streams of attention in the decoder
    "XGLM": WORKS,  # constants as wide as the numbers of the model
    "BLOOM": WORKS,  # a backward of its own
    "RecurrentGemma": REFUSED,  # the same, which is no derivative
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_family(name: str) -> None:
    found = list(rows([name]))
    assert [row.status for row in found] == [EXPECTED[name]], found


@pytest.mark.slow
def test_a_factory() -> None:
    """Whisper reads sound and is no folder that `hf:` opens."""
    assert {row.family: row.status for row in rows(["Whisper"])} == {"Whisper": REFUSED, "Whisper, by a factory": WORKS}
