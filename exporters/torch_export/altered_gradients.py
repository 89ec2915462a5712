"""Embeddings whose gradients torch alters by the tokens read, so that one sample's comparison says nothing of the next.

The gradient of the token `padding_idx` is left out; with `scale_grad_by_freq` a gradient is divided by how often its
token comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..models import ExportDifferenceError, SampleError


@contextmanager
def altered_gradients(model: nn.Module) -> Iterator[list[str]]:
    """While active, forward passes of `model` add to the list yielded the embeddings that alter their gradients."""
    found: list[str] = []
    names = {module: name for name, module in model.named_modules() if isinstance(module, nn.Embedding)}

    def look(embedding: Any, arguments: tuple[Tensor, ...]) -> None:
        padding = embedding.padding_idx
        if embedding.scale_grad_by_freq or (padding is not None and bool((arguments[0] == padding).any())):
            found.append(names[embedding])

    handles = [embedding.register_forward_pre_hook(look) for embedding in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def as_sample_error(altered: list[str]) -> Iterator[None]:
    """A comparison that fails inside is the sample's affair when embeddings altered their gradients."""
    try:
        yield
    except ExportDifferenceError as error:
        if not altered:
            raise
        raise SampleError(
            f"padding_idx or scale_grad_by_freq of the embedding {altered[0]!r} makes torch alter gradients of tokens "
            f"in this sample, so that they are not those of the loss: {error.difference}. Leave such samples out, or "
            "build the embedding without."
        ) from error
