"""A store whose dump has not ended says so in every answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradtrace.queries import Store, open_store
from gradtrace.queries.manifest import MANIFEST

from ..pipeline.studies import gradtrace
from .drawing import edit_manifest

SAID = "unfinished store: 2 of 4 samples are in"


@pytest.fixture
def unfinished(drawn_path: Path) -> Path:
    shards = json.loads((drawn_path / MANIFEST).read_text())["shards"]
    edit_manifest(drawn_path, complete=False, shards=shards[:1])
    return drawn_path


COMMANDS = {
    "trace": ("out.bias",),
    "importance": (),
    "sql": ("select 1",),
    "query": ("margins",),
    "info": (),
    "verify": (),
    "stability": (),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_it_once(unfinished: Path, drawn: Store, command: str) -> None:
    ran = gradtrace(command, unfinished, *COMMANDS[command])
    assert (ran.out + ran.err).count(SAID) == 1
    assert ran.err.count(SAID) == 1
    assert "unfinished" not in gradtrace(command, drawn.path, *COMMANDS[command]).err


def test_every_answer_in_python_carries_it(unfinished: Path, drawn: Store) -> None:
    store = open_store(unfinished)
    answers = [store.trace("out.bias"), store.k_best("out.bias"), store.k_best("out.bias")[0]]
    answers += [store.compare(drawn), drawn.compare(store)]
    for answer in answers:
        assert SAID in str(answer)
        assert SAID in answer._repr_html_()
    assert SAID in repr(store)
    assert "unfinished" not in str(drawn.trace("out.bias")) + drawn.trace("out.bias")._repr_html_() + repr(drawn)
