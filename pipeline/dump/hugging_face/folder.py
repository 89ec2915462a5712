"""What a folder of `save_pretrained` says of itself, read before transformers is asked to load anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ....exporters.models import ModelError

PREFIX = "hf:"
Kind = Literal["causal", "masked", "sequences"]

# transformers' own tables of its language models; a class that stands in several is of the first kind here
_TABLES: dict[Kind, str] = {
    "sequences": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "causal": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "masked": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
}
_OF_ONE_S_OWN = "write file.py:factory with a loss of your own"


class Architecture(NamedTuple):
    """The class of transformers that a folder's model has, and the kinds of language model it can be."""

    name: str
    kinds: list[Kind]


def read_json(path: Path) -> dict[str, Any]:
    """A file of the folder; ModelError when it is no JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{path.parent} holds no {path.name}: {PREFIX}PATH wants a folder of save_pretrained"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({type(error).__name__}); save the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} is no JSON object but {type(found).__name__}; save the model again")
    return found


def read_architecture(path: Path) -> Architecture:
    """The model's class, by the config.json of the folder `path`.

    Raises ModelError for a quantised model, and one that is no language model of transformers' own code.
    """
    config = read_json(path / "config.json")
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "") if isinstance(quantised, dict) else ""
        raise ModelError(
            f"{path} is quantised ({method or 'quantization_config'}), and the numbers of quantised weights have no "
            "gradients; the folder of the model before quantisation is wanted"
        )
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ModelError(
            f'{path}/config.json does not name the model\'s architecture: "architectures" is {json.dumps(names)}; a '
            f"list of one class is wanted{_suggestion(config.get('model_type'))}"
        )
    tables = {kind: _classes(table) for kind, table in _TABLES.items()}
    for name in names:
        kinds = [kind for kind, table in tables.items() if name in table]
        if kinds:
            return Architecture(name, kinds)
    raise ModelError(f"{path} holds {', '.join(names)}{_why_not(names, config)}")


def _classes(table: str) -> set[str]:
    return {name for names in _table(table).values() for name in ([names] if isinstance(names, str) else names)}


def _table(name: str) -> dict[str, Any]:
    from transformers.models.auto import modeling_auto

    return dict(getattr(modeling_auto, name))


def _suggestion(model_type: object) -> str:
    """The classes of the configuration's type, as something to write into it."""
    found = [_table(table)[model_type] for table in _TABLES.values() if model_type in _table(table)]
    return f', such as "architectures": {json.dumps(found[:1])}' if found else ""


def _why_not(names: list[str], config: dict[str, Any]) -> str:
    if config.get("auto_map"):
        return (
            ", which transformers has not: its code lies in the folder (auto_map), and code of a folder is never run. "
            f"Read it, then {_OF_ONE_S_OWN}"
        )
    if any(name in _classes("MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES") for name in names):
        return f", which reads sound; a model that reads text is wanted. For this one {_OF_ONE_S_OWN}"
    return f"; a causal, masked or sequence-to-sequence language model is wanted. For other models {_OF_ONE_S_OWN}"
