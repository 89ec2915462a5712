"""What a model does with a few tokens: whether later ones reach earlier ones, and what its decoder reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....exporters.models import ModelError
from ....queries.errors import first_line
from .losses import logits_of

_LENGTH = 6
_SOURCE = 5  # another length, so that the embeddings of the two texts are told apart
_CUT = 3  # the logits before it must not depend on the tokens from it on


class Probed(NamedTuple):
    """What a probe has shown.

    read, predicted: how many tokens the model knows as inputs, and as outputs
    is_causal: whether logits have no gradient at all with respect to the tokens behind their position
    """

    read: int
    predicted: int
    is_causal: bool


class ProbedPair(NamedTuple):
    """What a probe has shown of an encoder and a decoder.

    source: how many tokens the encoder knows
    target: what is said of the decoder
    start: the number of the token that the decoder reads before the target; None for the target's own last, as in mBART
    """

    source: int
    target: Probed
    start: int | None


def probe(model: Any) -> Probed:
    """A model of one text."""
    embedding = model.get_input_embeddings()
    with _failures_told(model), _embedded(embedding) as embedded:
        logits = logits_of(model, input_ids=_tokens(model, _LENGTH))
    return Probed(_rows(embedding), logits.shape[-1], not _reaches_back(logits, embedded))


def probe_pair(model: Any) -> ProbedPair:
    """A model of two texts, as it trains: its class shifts the labels for the decoder."""
    decoder = model.get_decoder()
    embedding = decoder.get_input_embeddings() if hasattr(decoder, "get_input_embeddings") else decoder.embed_tokens
    source, labels = _tokens(model, _SOURCE), _tokens(model, _LENGTH)
    with _failures_told(model):
        read = _shifted(model, source, labels)
        with _embedded(embedding) as embedded:
            logits = logits_of(model, input_ids=source, decoder_input_ids=read)
    start, *others = read[0].tolist()
    if others != labels[0, :-1].tolist():
        raise ModelError(
            f"{type(model).__name__} does not shift its labels by one for its decoder, as models of sequences do; "
            "write file.py:factory with a loss of your own"
        )
    target = Probed(_rows(embedding), logits.shape[-1], not _reaches_back(logits, embedded))
    return ProbedPair(_rows(model.get_input_embeddings()), target, None if start == int(labels[0, -1]) else start)


def _shifted(model: Any, source: Tensor, labels: Tensor) -> Tensor:
    """What the decoder reads when `labels` are to be predicted: by the class's own function, or by its forward."""
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        made: Tensor = model.prepare_decoder_input_ids_from_labels(labels=labels)
        return made
    read: list[Tensor] = []

    def look(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        read.append(named["input_ids"] if "input_ids" in named else arguments[0])

    handle = model.get_decoder().register_forward_pre_hook(look, with_kwargs=True)
    try:
        model(input_ids=source, labels=labels)
    finally:
        handle.remove()
    return read[-1]


def _tokens(model: Any, length: int) -> Tensor:
    """Numbers of tokens that mean nothing to the model, as far as it has as many: 1 x length."""
    config = model.config
    special = {getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "eos", "decoder_start", "mask")}
    usual = [n for n in range(_rows(model.get_input_embeddings())) if n not in special][:length]
    return torch.tensor([[*usual, *[0] * length][:length]])


def _rows(embedding: Any) -> int:
    return int(embedding.weight.shape[0])


@contextmanager
def _failures_told(model: Any) -> Iterator[None]:
    try:
        with torch.enable_grad():
            yield
    except Exception as error:  # whatever a model raises
        reason = f"{type(error).__name__}: {first_line(error).rstrip('.')}"
        raise ModelError(
            f"{type(model).__name__} failed on a probe of {_LENGTH} tokens: {reason}. Its config.json may lack "
            "settings, such as decoder_start_token_id."
        ) from error


@contextmanager
def _embedded(embedding: nn.Module) -> Iterator[list[Tensor]]:
    """While active, the embeddings of texts of _LENGTH tokens are leaves, added to the list yielded."""
    leaves: list[Tensor] = []

    def look(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if _LENGTH not in arguments[0].shape:
            return None
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()  # CTRL scales it in place

    handle = embedding.register_forward_hook(look)
    try:
        yield leaves
    finally:
        handle.remove()


def _reaches_back(logits: Tensor, embedded: list[Tensor]) -> bool:
    """Whether a logit has a gradient with respect to a token behind its position."""
    weights = torch.arange(logits.shape[-1], device=logits.device).cos()  # a plain sum can be 0 by symmetry
    earlier = (logits[:, :_CUT] * weights).sum()
    for leaf, gradient in zip(embedded, torch.autograd.grad(earlier, embedded, allow_unused=True), strict=True):
        if gradient is not None:
            axis = list(leaf.shape).index(_LENGTH)  # XLNet has the batch behind it
            if bool((gradient.narrow(axis, _CUT, _LENGTH - _CUT).abs() > 0).any()):
                return True
    return False
