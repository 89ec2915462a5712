"""From a line of text to a model's inputs, by the tokenizer of its folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ....exporters.models import Encoded, ModelError, SampleError
from ....queries.errors import first_line
from .losses import IGNORED
from .probe import Probed, ProbedPair
from .weights import no_talk

Encoder = Callable[[str], Encoded]
_SPACE = "▁"  # what sentencepiece writes for a space, known even to one without a model


def load_tokenizer(path: Path) -> Any:
    """The tokenizer in `path`; ModelError where there is none, or one whose code lies in the folder."""
    import transformers

    try:
        with no_talk():
            found = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers, sentencepiece and transformers raise types of their own
        raise _no_tokenizer(path, f"transformers says {type(error).__name__}: {first_line(error)}") from error
    if not set(found.get_vocab()) - set(found.get_added_vocab()) - {_SPACE}:
        raise _no_tokenizer(path, "transformers makes up one that knows special tokens only")
    return found


def _no_tokenizer(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path} holds no tokenizer ({reason}); save the model's tokenizer there (tokenizer.save_pretrained)"
    )


def encode_text(tokenizer: Any, probed: Probed, text: str) -> Encoded:
    """Each token but the last is read, each but the first predicted; special tokens as the tokenizer adds them."""
    ids = _numbers(tokenizer, text)
    if len(ids) < 2:
        raise SampleError(f"the line {text!r} is {len(ids)} token for the model's tokenizer; at least 2 are wanted")
    _check_known(tokenizer, ids[:-1], probed.read)
    _check_known(tokenizer, ids[1:], probed.predicted)
    inputs = {"input_ids": torch.tensor([ids[:-1]]), "labels": torch.tensor([ids[1:]])}
    return Encoded(inputs, tokenizer.convert_ids_to_tokens(ids[:-1]))


def encode_masked(tokenizer: Any, probed: Probed, line: str) -> Encoded:
    """Every token is read; the words behind the masks are predicted, or every token of a text without."""
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
    _check_known(tokenizer, ids, probed.read)
    _check_known(tokenizer, labels, probed.predicted)
    inputs = {"input_ids": torch.tensor([ids]), "labels": torch.tensor([labels])}
    return Encoded(inputs, tokenizer.convert_ids_to_tokens(ids))


def _labels_at_masks(tokenizer: Any, length: int, masks: list[int], words: str) -> list[int]:
    """The numbers of the words behind the masks; each must be one token."""
    mask = tokenizer.mask_token
    if mask is None:
        raise SampleError(
            "the line has a TAB, behind which stand the words of masks, and the model's tokenizer has no mask token; "
            "write text without TAB, or name the mask_token in tokenizer_config.json"
        )
    targets = tokenizer(words, add_special_tokens=False)["input_ids"]
    if not masks or len(targets) != len(masks):
        found = " ".join(tokenizer.convert_ids_to_tokens(targets)) or "none"
        raise SampleError(
            f"the line has {len(masks)} {mask} and {len(targets)} tokens behind the TAB ({found}); write text with "
            f"{mask}, TAB, and one token for each"
        )
    labels = [IGNORED] * length
    for position, target in zip(masks, targets, strict=True):
        labels[position] = target
    return labels


def encode_pair(tokenizer: Any, probed: ProbedPair, line: str) -> Encoded:
    """The tokens are those of the source, then those that the decoder reads."""
    source, separator, target = line.partition("\t")
    if not separator or not source.strip() or not target.strip():
        raise SampleError(f"the line {line!r} is no pair; write source TAB target")
    ids = _numbers(tokenizer, source)
    labels = list(tokenizer(text_target=target)["input_ids"])
    if not ids or not labels:
        raise SampleError(f"the line {line!r} has a side without any token for the model's tokenizer")
    read = [labels[-1] if probed.start is None else probed.start, *labels[:-1]]
    _check_known(tokenizer, ids, probed.source)
    _check_known(tokenizer, read, probed.target.read)
    _check_known(tokenizer, labels, probed.target.predicted)
    inputs = {"input_ids": [ids], "decoder_input_ids": [read], "labels": [labels]}
    tokens = tokenizer.convert_ids_to_tokens([*ids, *read])
    return Encoded(
        {n: torch.tensor(x) for n, x in inputs.items()}, tokens, {"input_ids": 0, "decoder_input_ids": len(ids)}
    )


def _numbers(tokenizer: Any, text: str) -> list[int]:
    if not text.strip():
        raise SampleError("the line is empty; a sample is one sentence. Leave empty lines out of the samples file.")
    return list(tokenizer(text)["input_ids"])


def _check_known(tokenizer: Any, numbers: Sequence[int], known: int) -> None:
    """Raise SampleError for a token that the tokenizer numbers beyond the tokens of the model."""
    beyond = next((number for number in numbers if number >= known), None)
    if beyond is not None:
        raise SampleError(
            f"the token {tokenizer.convert_ids_to_tokens(beyond)!r} has number {beyond} in the tokenizer, and the "
            f"model knows {known} tokens: it is another model's tokenizer, or the model was not resized "
            "(resize_token_embeddings)"
        )
