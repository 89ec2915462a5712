"""Exact work in float64: models that compute parts of themselves in float32 whatever their parameters are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FLOATS = (torch.float32, torch.float64)  # whoever asks for half of that means its rounding
_MADE = (torch.empty, torch.eye, torch.linspace, torch.logspace, torch.ones, torch.rand, torch.randn, torch.zeros)
_CASTS = (Tensor.float, Tensor.double)
_OF_NUMBERS = (torch.tensor, torch.as_tensor, torch.full)


@contextmanager
def as_default(dtype: torch.dtype) -> Iterator[None]:
    """While active, tensors made without a type are of `dtype`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class InPrecision(TorchFunctionMode):
    """While active, whoever asks torch for float32 or float64 gets `dtype`.

    The norms and softmaxes of transformers, for one, call `x.to(torch.float32)`.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _CASTS:
            return args[0].to(self._dtype)
        given = {name: self._raised(value) for name, value in (kwargs or {}).items()}
        if func in _MADE and given.get("dtype") is None:  # said, so that the export says it too
            given["dtype"] = self._dtype
        if func in _OF_NUMBERS and _holds_floats([*args, *given.values()]):
            given.setdefault("dtype", self._dtype)
        return func(*(self._raised(value) for value in args), **given)

    def _raised(self, value: Any) -> Any:
        return self._dtype if isinstance(value, torch.dtype) and value in _FLOATS else value


def _holds_floats(value: object) -> bool:
    """Whether a number, or one in a list of lists, is one of Python's floats."""
    return isinstance(value, float) or (isinstance(value, list | tuple) and any(map(_holds_floats, value)))


def run_in_precision(model: nn.Module, dtype: torch.dtype) -> None:
    """Make `model`'s forward run, and be exported, in `dtype` throughout."""
    forward = model.forward

    @functools.wraps(forward)
    def precise(*args: Any, **kwargs: Any) -> Any:
        with as_default(dtype), InPrecision(dtype):
            return forward(*args, **kwargs)

    model.forward = precise
