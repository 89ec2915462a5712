"""What torch.export is blind to while it captures a program, said so that it sees.

It passes over two ways of cutting gradients, `torch.inference_mode` and `.data`. And code of torch's own looks into
tensors, which an export cannot, to decide what changes no number: nn.Transformer whether a mask is causal, to choose a
kernel, and `gaussian_nll_loss` whether a variance is negative.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name
from torch.nn.modules import transformer
from torch.overrides import TorchFunctionMode

from .replaced import replaced


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


_REPLACED: Mapping[Callable[..., Any], Callable[..., Any]] = {
    F.gaussian_nll_loss: _gaussian_nll_loss,
    Tensor.data.__get__: lambda x, *_: x.detach(),  # type: ignore[attr-defined]
}


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


def _begin_without_gradients(mode: Any) -> None:
    mode.enabled_before = torch.is_grad_enabled()
    if mode.mode:
        torch._C._set_grad_enabled(False)


def _end_without_gradients(mode: Any, *error: Any) -> None:
    del error
    torch._C._set_grad_enabled(mode.enabled_before)


@contextmanager
def as_captured(model: nn.Module) -> Iterator[None]:
    """While active, `model` and torch do what says the same to torch.export."""
    forward = model.forward

    @functools.wraps(forward)
    def seen(*args: Any, **kwargs: Any) -> Any:
        with _Replacing():
            return forward(*args, **kwargs)

    no_grad = {"__enter__": _begin_without_gradients, "__exit__": _end_without_gradients}
    with (
        replaced(transformer, _detect_is_causal_mask=_as_told),
        replaced(torch.inference_mode, **no_grad),
        replaced(model, forward=seen),
    ):
        yield
