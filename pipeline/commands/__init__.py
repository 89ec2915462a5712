"""The commands of `gradtrace`, grouped by what they do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ...queries import Store


def open_to_ask(path: Path, *, check: bool = True) -> Store:
    """Open a store for a command to ask, and say on stderr that it is unfinished where it is."""
    from ...queries import open_store

    store = open_store(path, check=check)
    if store.manifest.unfinished:
        typer.echo(store.manifest.unfinished, err=True)
    return store


def add(app: typer.Typer, commands: Iterable[Callable[..., Any]]) -> None:
    """Add commands to an application. Their docstrings are the help, each paragraph as wide as the screen."""
    for command in commands:
        paragraphs = (inspect.getdoc(command) or "").split("\n\n")
        app.command(help="\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs))(command)
