"""A folder as a model to trace: its weights, its loss, and its tokenizer as the encoder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ....exporters.models import ModelError, Traceable
from . import adapter, text
from .folder import Architecture, read_architecture
from .losses import give_loss_of_target, give_loss_of_tokens
from .probe import probe, probe_pair
from .weights import load_model

_TOKENIZER = "tokenizer_config.json"


def open_hugging_face(path: Path) -> Traceable:
    """The model in the folder `path`, as `save_pretrained` of model and tokenizer left it, or an adapter of peft.

    Raises ModelError when transformers is not installed, or the folder holds no language model with its tokenizer, or
    not all of it.
    """
    _require_transformers()
    if (path / adapter.SETTINGS).is_file():
        base = adapter.base_folder(path)
        architecture = read_architecture(base)
        model = adapter.load_adapted(path, lambda folder: load_model(folder, architecture.name))
        tokenizer = text.load_tokenizer(path if (path / _TOKENIZER).is_file() else base)
    else:
        architecture = read_architecture(path)
        model = load_model(path, architecture.name)
        tokenizer = text.load_tokenizer(path)
    return Traceable(model, _with_loss(model, architecture, tokenizer), path.resolve().name)


def _require_transformers() -> None:
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise ModelError(
            "hf:PATH needs the package transformers, which is not installed. Say `pip install gradtrace[hf]`."
        ) from error


def _with_loss(model: Any, architecture: Architecture, tokenizer: Any) -> text.Encoder:
    """Give the model its loss, and find the encoder to its inputs."""
    if "sequences" in architecture.kinds:
        pair = probe_pair(model)
        _refuse_unless(pair.target.is_causal, f"the decoder of {architecture.name}")
        give_loss_of_target(model)
        return partial(text.encode_pair, tokenizer, pair)
    probed = probe(model)
    kind = "causal" if probed.is_causal and "causal" in architecture.kinds else "masked"
    _refuse_unless(kind in architecture.kinds, architecture.name)
    give_loss_of_tokens(model)
    return partial(text.encode_text if kind == "causal" else text.encode_masked, tokenizer, probed)


def _refuse_unless(is_sound: bool, what: str) -> None:
    if not is_sound:
        raise ModelError(
            f"{what} sees the tokens that it is to predict: a logit depends on tokens behind its position. Set "
            '"is_decoder": true in config.json if it was trained so, name the class for masked text (…ForMaskedLM), or '
            "write file.py:factory with a loss of your own."
        )
