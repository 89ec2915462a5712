"""A folder of the package peft: a base model in another folder, and what was trained beside it (LoRA and its kin)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ....exporters.models import ModelError
from ....queries.errors import first_line
from .folder import read_json
from .weights import check_complete, no_talk

SETTINGS = "adapter_config.json"


def base_folder(path: Path) -> Path:
    """The folder of the base model of the adapter in `path`, written as seen from here or from the adapter's folder."""
    name = read_json(path / SETTINGS).get("base_model_name_or_path")
    if isinstance(name, str) and name:
        for folder in (Path(name), path / name):
            if (folder / "config.json").is_file():
                return folder
    raise ModelError(
        f"{path} is an adapter of the model {name!r}, which is no folder of save_pretrained here. Save the base model "
        f"on disk, and write its folder as base_model_name_or_path into {path / SETTINGS}."
    )


def load_adapted(path: Path, load_base: Callable[[Path], Any]) -> Any:
    """The base model with the adapter in `path` upon it, in eval mode; its parameters are those of both.

    Raises ModelError when peft is not installed, for adapters that put tokens before the text, and unless the files
    hold the whole adapter.
    """
    try:
        import peft
    except ImportError as error:
        raise ModelError(
            f"{path} is an adapter, which needs the package peft, which is not installed. Say `pip install "
            "gradtrace[peft]`, or merge the adapter (merge_and_unload) and save the whole model."
        ) from error
    settings = read_json(path / SETTINGS)
    if settings.get("megatron_config"):
        raise ModelError(
            f"{path / SETTINGS} names modules to import (megatron_config), which is not done; leave it out"
        )
    base = load_base(base_folder(path))
    try:
        with no_talk():
            config = peft.PeftConfig.from_pretrained(str(path), local_files_only=True)
            if config.is_prompt_learning:
                raise ModelError(
                    f"{path} is an adapter of type {config.peft_type.value}, whose trained tokens before the text have "
                    "no words; adapters within layers, such as LoRA, are wanted"
                )
            model = peft.PeftModel.from_pretrained(base, str(path), config=config, local_files_only=True)
            stored = set(peft.load_peft_weights(str(path), device="cpu", local_files_only=True))
            wanted = set(peft.get_peft_model_state_dict(model, save_embedding_layers=False))
    except ModelError:
        raise
    except Exception as error:  # peft, safetensors, torch and pickle raise types of their own
        raise ModelError(f"{path} cannot be loaded by peft: {type(error).__name__}: {first_line(error)}") from error
    check_complete(path, model, wanted - stored, stored - wanted)
    return model.eval()
