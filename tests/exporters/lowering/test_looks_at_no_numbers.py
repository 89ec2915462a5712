"""A rule that looks at numbers other than through the tape would have what it saw of one sample hold for the next."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from gradtrace.exporters import lowering

FOLDER = Path(lowering.__file__).parent
OF_SHAPE = {"dim", "numel", "dtype", "is_floating_point"}


def looks(source: str) -> list[int]:
    """The lines in which the numbers of a Value are read."""
    tree = ast.parse(source)
    fine = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in OF_SHAPE}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "data" and id(node) not in fine
    ]


def test_a_look_is_found() -> None:
    assert looks("x.data.dim()\nint(x.data)\ny = x.data.amax(1)") == [2, 3]


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_no_rule_does(file: Path) -> None:
    assert looks(file.read_text()) == []
