"""The losses, as `forward` of a model: its class's own forward gives the logits."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from ....exporters.models import SampleError

IGNORED = -100  # the label of a position that is no prediction

# how configurations call the number of positions
_LIMITS = (
    "max_position_embeddings",
    "max_decoder_position_embeddings",
    "max_encoder_position_embeddings",
    "max_seq_len",
)


def give_loss_of_tokens(model: Any) -> None:
    """Let `model(input_ids, labels)`, both 1 x T, be the mean cross-entropy at the labels, in nats."""
    _give(model, _loss_of_tokens)


def give_loss_of_target(model: Any) -> None:
    """Let `model(input_ids, decoder_input_ids, labels)` be that of a decoder; the encoder reads `input_ids`, 1 x S."""
    _give(model, _loss_of_target)


def _give(model: Any, loss: Callable[..., Tensor]) -> None:
    model.forward = MethodType(loss, model)


def _loss_of_tokens(self: Any, input_ids: Tensor, labels: Tensor) -> Tensor:
    return _cross_entropy(logits_of(self, input_ids=input_ids), labels)


def _loss_of_target(self: Any, input_ids: Tensor, decoder_input_ids: Tensor, labels: Tensor) -> Tensor:
    return _cross_entropy(logits_of(self, input_ids=input_ids, decoder_input_ids=decoder_input_ids), labels)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def logits_of(model: Any, **inputs: Tensor) -> Tensor:
    """By the forward of the model's class: 1 x T x V.

    Raises SampleError for a text that is longer than the model's positions.
    """
    caching = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    model.config.return_dict = True
    try:
        logits: Tensor = type(model).forward(model, **inputs, **caching).logits
    except (IndexError, RuntimeError) as error:
        limits = [getattr(model.config, name) for name in _LIMITS if isinstance(getattr(model.config, name, None), int)]
        longest = max(int(text.shape[1]) for text in inputs.values())
        reserved = 1 + (getattr(model.config, "pad_token_id", None) or 0)  # RoBERTa's begin behind that of padding
        if not limits or longest + reserved <= min(limits):
            raise
        raise SampleError(
            f"the text is {longest} tokens long, and the model has {min(limits)} positions; shorten the text"
        ) from error
    return logits
