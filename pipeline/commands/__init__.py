"""The commands of `gradtrace`, grouped by what they do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import typer


def add(app: typer.Typer, commands: Iterable[Callable[..., Any]]) -> None:
    """Add commands to an application. Their docstrings are the help, each paragraph as wide as the screen."""
    for command in commands:
        paragraphs = (inspect.getdoc(command) or "").split("\n\n")
        app.command(help="\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs))(command)
