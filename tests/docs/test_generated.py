"""The pages that are made of the code say what it says, and cover it."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import gradtrace
from gradtrace.pipeline.cli import app
from gradtrace.queries.database.library import load_queries
from gradtrace.queries.schema import COLUMNS, GRAIN, GRAPH_TABLES, ROWS, SHARD_TABLES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = _generate()
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", GENERATE.PAGES)
def test_made_pages_are_up_to_date(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == GENERATE.PAGES[page](), "run `make docs`"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_stands_in_the_docs(command: str) -> None:
    section = (DOCS / "commands.md").read_text(encoding="utf-8").split(f"## gradtrace {command}\n")[1].split("\n## ")[0]
    names = {opt for p in COMMANDS[command].params if p.param_type_name == "option" for opt in p.opts}
    assert [name for name in names - {"--help"} if name not in section] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_and_command_is_explained(command: str) -> None:
    assert [p.name for p in COMMANDS[command].params if not p.help] == []
    assert "Example: " in COMMANDS[command].help


def test_every_table_and_column_has_a_sentence() -> None:
    assert list(COLUMNS) == list(ROWS) == list(GRAIN) == [*GRAPH_TABLES, *SHARD_TABLES]
    texts = [*ROWS.values(), *(column.text for columns in COLUMNS.values() for column in columns)]
    assert [text for text in texts if not text.endswith((".", "…")) or text != text.strip()] == []
    assert all(schema.metadata is None and not any(f.metadata for f in schema) for schema in GRAPH_TABLES.values())


def test_every_public_name_is_documented() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    names = [name for name in gradtrace.__all__ if not name.startswith("_")]
    assert [name for name in names if f"## {name}\n" not in page] == []
    assert [name for name in names if not inspect.getdoc(getattr(gradtrace, name))] == []


def test_every_query_is_documented() -> None:
    page = (DOCS / "queries.md").read_text(encoding="utf-8")
    assert [name for name in load_queries() if f"## {name}\n" not in page] == []


def test_every_room_is_named_in_the_architecture() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = [
        p.parent.relative_to(ROOT) for top in ("exporters", "queries", "pipeline") for p in ROOT.glob(f"{top}/**/*.py")
    ]
    assert len(set(rooms)) > 20
    assert [room for room in set(rooms) if f"| `{room}/` |" not in page] == []
