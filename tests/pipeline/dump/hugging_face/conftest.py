"""Folders of tiny models: made once, copied before anything is changed in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ....coverage.folders import BOTH, DECODER, ENCODER, GPT, T5, save_family

SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHeadModel", GPT),
    "llama": ("LlamaForCausalLM", {**DECODER, "tie_word_embeddings": False}),
    "bert": ("BertForMaskedLM", ENCODER),
    "bart": ("BartForConditionalGeneration", BOTH),
    "mbart": ("MBartForConditionalGeneration", {**BOTH, "decoder_start_token_id": None}),
    "marian": ("MarianMTModel", BOTH),
    "t5": ("T5ForConditionalGeneration", T5),
}
Folders = Callable[[str], Path]


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The folder of a model of SETTINGS, which nobody may change."""

    @cache
    def folder(name: str) -> Path:
        path = tmp_path_factory.mktemp(name)
        save_family(path, *SETTINGS[name])
        return path

    return folder


@pytest.fixture
def copied(untouched: Folders, tmp_path: Path) -> Folders:
    """A copy of it."""
    return lambda name: Path(shutil.copytree(untouched(name), tmp_path / name))
