"""The commands that docs/studies.md shows are commands, its Python parses, and its measures and queries exist."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from pipeline.cli import app
from queries.library import load_query

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^(?:\$ )?gradtrace (.*)$", PAGE, re.M)]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_parse(words: list[str]) -> None:
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    context = command.make_context(words[0], words[1:])
    if words[0] == "query":
        load_query(words[2]).bind(dict(value.split("=") for value in context.params["parameter"] or []))


def test_there_are_commands_of_each_kind() -> None:
    assert {"dump", "importance", "stability", "compare", "query"} <= {words[0] for words in COMMANDS}


def test_code_parses() -> None:
    assert len(blocks("python")) == 2
    for block in blocks("python"):
        assert ast.parse(block).body
    (sample,) = blocks("json")
    assert set(json.loads(sample)) == {"text", "labels"}
