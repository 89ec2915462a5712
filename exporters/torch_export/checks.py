"""Torch's own code that looks into tensors, which an export cannot, to decide what changes no number.

nn.Transformer finds out whether a mask is causal to choose a kernel, and `gaussian_nll_loss` whether a variance is
negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name
from torch.nn.modules import transformer
from torch.overrides import TorchFunctionMode


def _gaussian_nll_loss(
    input: Tensor,  # noqa: A002  the names of torch's function
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Half of log(var) + (input - target)^2 / var; a variance below eps counts as eps, its gradient unchanged."""
    if not isinstance(var, Tensor):
        var = torch.full_like(input, var)
    if var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    var = torch.where(var < eps, var - (var - eps).detach(), var)
    loss = 0.5 * (torch.log(var) + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


_REPLACED: Mapping[Callable[..., Any], Callable[..., Any]] = {F.gaussian_nll_loss: _gaussian_nll_loss}


class _Replacing(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        return _REPLACED.get(func, func)(*args, **(kwargs or {}))


def _as_told(mask: Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
    """A mask that nobody calls causal is added as it is, which gives the same numbers."""
    del mask, size
    return is_causal is True


@contextmanager
def decided_without_numbers() -> Iterator[None]:
    """While active, these functions do not look into tensors."""
    module: Any = transformer
    original = module._detect_is_causal_mask
    module._detect_is_causal_mask = _as_told
    try:
        with _Replacing():
            yield
    finally:
        module._detect_is_causal_mask = original
