"""MODEL `hf:PATH`: a causal, masked or sequence-to-sequence language model of transformers, and its tokenizer, on disk.

The parameters keep the names that transformers gives them. The loss is computed here from the logits:

causal      a line of text: the mean cross-entropy of every token given those before it
masked      text with masks, TAB, the words behind them: the mean cross-entropy at the masks. Without a mask: that of
            every token but the special ones, of a text of which nothing is hidden
sequences   source TAB target: the mean cross-entropy of every target token given those before it and the source
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...exporters.models import Encoded, ModelError, SampleError, Traceable
from ...queries.errors import first_line

PREFIX = "hf:"
IGNORED = -100  # the label of a position that is no prediction

_CLASSES = {
    "ForCausalLM": "AutoModelForCausalLM",
    "LMHeadModel": "AutoModelForCausalLM",
    "ForMaskedLM": "AutoModelForMaskedLM",
    "ForConditionalGeneration": "AutoModelForSeq2SeqLM",
}
Encoder = Callable[[str], Encoded]


def open_hugging_face(path: Path) -> Traceable:
    """The model in the folder `path`, as `save_pretrained` of model and tokenizer left it.

    Raises ModelError when transformers is not installed, or the folder holds no language model with its tokenizer.
    """
    transformers = _transformers()
    kind = _CLASSES[_architecture(path)]
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = getattr(transformers, kind).from_pretrained(
            path, local_files_only=True, attn_implementation="eager", dtype=torch.float32
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ModelError(f"{path} cannot be loaded by transformers: {first_line(error)}") from error
    model.eval()
    if kind == "AutoModelForSeq2SeqLM":
        model.forward = MethodType(_loss_of_target, model)
        encode: Encoder = partial(_encode_pair, tokenizer, _start(model))
    else:
        model.forward = MethodType(_loss_of_tokens, model)
        encode = partial(_encode_text if kind == "AutoModelForCausalLM" else _encode_masked, tokenizer)
    return Traceable(model, encode, path.resolve().name)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ModelError(
            "hf:PATH needs the package transformers, which is not installed. Say `pip install gradtrace[hf]`."
        ) from error
    return transformers


def _architecture(path: Path) -> str:
    """The ending of the name of the model's class in config.json, a key of _CLASSES."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        names = list(config["architectures"])
    except FileNotFoundError as error:
        raise ModelError(f"{path} holds no config.json: {PREFIX}PATH wants a folder of save_pretrained") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}/config.json does not name the model's architecture ({error!r})") from error
    found = [ending for ending in _CLASSES for name in names if name.endswith(ending)]
    if not found:
        raise ModelError(
            f"{path} holds {', '.join(names) or 'no architecture'}; a causal, masked or sequence-to-sequence language "
            "model is wanted. For other models write file.py:factory with a loss of your own."
        )
    return found[0]


def _start(model: Any) -> int | None:
    """What the decoder of a sequence-to-sequence model reads first."""
    start = getattr(model.config, "decoder_start_token_id", None)
    return start if start is not None else getattr(model.config, "bos_token_id", None)


# The losses, as `forward` of the model: its class's own forward gives the logits


def _loss_of_tokens(self: Any, input_ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of the logits (1 x T x V) at the labels (1 x T)."""
    caching = {"use_cache": False} if hasattr(self.config, "use_cache") else {}
    logits = type(self).forward(self, input_ids=input_ids, **caching).logits
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def _loss_of_target(self: Any, input_ids: Tensor, decoder_input_ids: Tensor, labels: Tensor) -> Tensor:
    """As `_loss_of_tokens`, of a decoder that reads `decoder_input_ids` (1 x U); the encoder reads the source."""
    given = {"input_ids": input_ids, "decoder_input_ids": decoder_input_ids, "use_cache": False}
    logits = type(self).forward(self, **given).logits
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


# From text to inputs


def _encode_text(tokenizer: Any, text: str) -> Encoded:
    """Each token but the last is read, each but the first predicted; special tokens as the tokenizer adds them."""
    ids = _numbers(tokenizer, text)
    if len(ids) < 2:
        raise SampleError(f"the line {text!r} is {len(ids)} token for the model's tokenizer; at least 2 are wanted")
    inputs = {"input_ids": torch.tensor([ids[:-1]]), "labels": torch.tensor([ids[1:]])}
    return Encoded(inputs, tokenizer.convert_ids_to_tokens(ids[:-1]))


def _encode_masked(tokenizer: Any, line: str) -> Encoded:
    text, separator, words = line.partition("\t")
    ids = _numbers(tokenizer, text)
    masks = [i for i, number in enumerate(ids) if number == tokenizer.mask_token_id]
    if masks or separator:
        labels = _labels_at_masks(tokenizer, len(ids), masks, words)
    else:
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        labels = [IGNORED if number in special else number for number in ids]
    if all(label == IGNORED for label in labels):
        raise SampleError(f"the line {line!r} has no token to predict")
    inputs = {"input_ids": torch.tensor([ids]), "labels": torch.tensor([labels])}
    return Encoded(inputs, tokenizer.convert_ids_to_tokens(ids))


def _labels_at_masks(tokenizer: Any, length: int, masks: list[int], words: str) -> list[int]:
    """The numbers of the words behind the masks; each must be one token."""
    targets = tokenizer(words, add_special_tokens=False)["input_ids"]
    if not masks or len(targets) != len(masks):
        found = " ".join(tokenizer.convert_ids_to_tokens(targets)) or "none"
        raise SampleError(
            f"the line has {len(masks)} {tokenizer.mask_token} and {len(targets)} tokens behind the TAB ({found}); "
            f"write text with {tokenizer.mask_token}, TAB, and one token for each"
        )
    labels = [IGNORED] * length
    for mask, target in zip(masks, targets, strict=True):
        labels[mask] = target
    return labels


def _encode_pair(tokenizer: Any, start: int | None, line: str) -> Encoded:
    """The tokens are those of the source, then those that the decoder reads."""
    source, separator, target = line.partition("\t")
    if not separator or not source.strip() or not target.strip():
        raise SampleError(f"the line {line!r} is no pair; write source TAB target")
    if start is None:
        raise SampleError("the model's configuration has no decoder_start_token_id, which its decoder would read first")
    ids = _numbers(tokenizer, source)
    labels = tokenizer(text_target=target)["input_ids"]
    read = [start, *labels[:-1]]
    inputs = {"input_ids": [ids], "decoder_input_ids": [read], "labels": [labels]}
    tokens = tokenizer.convert_ids_to_tokens([*ids, *read])
    return Encoded(
        {n: torch.tensor(x) for n, x in inputs.items()}, tokens, {"input_ids": 0, "decoder_input_ids": len(ids)}
    )


def _numbers(tokenizer: Any, text: str) -> list[int]:
    if not text.strip():
        raise SampleError("the line is empty; a sample is one sentence. Leave empty lines out of the samples file.")
    return list(tokenizer(text)["input_ids"])
