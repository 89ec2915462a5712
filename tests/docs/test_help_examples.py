"""Every example in the help of every command runs as it stands, after a demo: here one of a tiny model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from gradtrace.pipeline.cli import app
from gradtrace.pipeline.demo import PARAMETER

from ..pipeline.studies import gradtrace, write_lines

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
EXAMPLES = [
    paragraph.removeprefix("Example: ")
    for command in COMMANDS.values()
    for paragraph in command.help.split("\n\n")
    if paragraph.startswith("Example: ")
]
THE_DEMO = "gradtrace demo"


def words(example: str) -> list[str]:
    """An example as arguments; a shell would do the redirection."""
    program, *arguments = shlex.split(example.partition(" > ")[0])
    assert program == "gradtrace"
    return arguments


@pytest.fixture(scope="module")
def after_the_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs/demo` in it: checkpoints 0 and 500 of a small LSTM, and its store."""
    folder = tmp_path_factory.mktemp("help")
    corpus = write_lines(folder / "corpus.txt", *(f"the {a} sees the {b} ." for a in "abcdefgh" for b in "ijklmnop"))
    run = folder / "runs" / "demo" / "model"
    sizes = ("-p", "embedding_size=4", "-p", "hidden_size=18", "--batch-size", 1, "--epochs", 9)
    assert gradtrace("train", "lstm_lm", "--corpus", corpus, *sizes, "--out", run).code == 0
    assert gradtrace("dump", run, "--limit", 6, "--out", run.parent / "store").code == 0
    return folder


@pytest.mark.parametrize("example", EXAMPLES)
def test_it_parses(example: str) -> None:
    name, *arguments = words(example)
    COMMANDS[name].make_context(name, arguments)


def test_every_command_has_one() -> None:
    assert {words(example)[0] for example in EXAMPLES} == set(COMMANDS)
    assert any(PARAMETER in example for example in EXAMPLES)
    assert THE_DEMO in EXAMPLES


@pytest.mark.slow
def test_they_run_one_after_the_other(after_the_demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(after_the_demo)
    for example in EXAMPLES:
        if example != THE_DEMO:  # tests/test_readme.py runs it
            ran = gradtrace(*words(example))
            assert ran.code == 0, f"{example}: {ran.err}"
            assert ran.out, example
