"""What the pages of docs/ show exists: commands with their options, queries with their parameters, links.

A command is a line `gradtrace …` of a block of shell, or `$ gradtrace …` of a block that shows output.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest
import typer

from gradtrace.pipeline.cli import app
from gradtrace.queries.database.library import load_query

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.S | re.M)


class Block(NamedTuple):
    """A fenced block of a page: its language, '' for output, and its text."""

    page: Path
    language: str
    text: str


def blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in one of the languages."""
    found = [Block(page, language, text) for page in PAGES for _, language, text in _FENCE.findall(page.read_text())]
    return [block for block in found if block.language in languages]


def commands() -> Iterator[tuple[Path, list[str]]]:
    """Every command of every page, as arguments; what follows a pipe or a redirection is not ours."""
    for page, language, text in blocks("sh", ""):
        prompt = r"(?:\$ )?" if language == "sh" else r"\$ "
        for line in re.findall(rf"^{prompt}gradtrace (.*)$", text.replace("\\\n", " "), re.M):
            yield page, list(takewhile(lambda word: word not in ("|", ">", "&&"), shlex.split(line, comments=True)))


COMMANDS = [pytest.param(words, id=f"{page.stem}: {' '.join(words)}") for page, words in commands()]


def of_page(*languages: str) -> list[object]:
    """The blocks as cases of a test."""
    return [pytest.param(block.text, id=f"{block.page.stem} {i}") for i, block in enumerate(blocks(*languages))]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_parse(words: list[str]) -> None:
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    context = command.make_context(words[0], words[1:])
    if words[0] == "query":
        load_query(words[2]).bind(dict(value.split("=", 1) for value in context.params["parameter"] or []))


@pytest.mark.parametrize("text", of_page("python"))
def test_python_parses(text: str) -> None:
    assert ast.parse(text).body


@pytest.mark.parametrize("text", of_page("json"))
def test_json_parses(text: str) -> None:
    assert json.loads(text)


@pytest.mark.parametrize("text", of_page("sql"))
def test_sql_parses(text: str) -> None:
    assert duckdb.extract_statements(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_exist(page: Path) -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", page.read_text()) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


def test_the_pages_show_commands_of_each_kind() -> None:
    assert {page.stem for page in PAGES} >= {"families", "operators", "paths", "studies"}
    shown = {words[0] for _, words in commands()}
    assert shown >= {"dump", "importance", "stability", "compare", "query", "trace", "train"}
    assert len(blocks("python")) >= 2
    assert blocks("json")
