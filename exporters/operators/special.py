"""Elementwise functions of torch that ONNX has no operator for: operators of the domain `gradtrace`, exported whole."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .registry import DOMAIN, Facts, Primitive, primitive


def _polygamma(x: Tensor, *, n: int) -> Tensor:
    return torch.polygamma(n, x)


# name -> what computes it; the overload of aten that it stands for has the same name in lower case
SPECIAL: dict[str, Callable[..., Tensor]] = {
    "digamma": torch.digamma,
    "erfinv": torch.erfinv,
    "i0": torch.i0,
    "igamma": torch.special.gammainc,
    "igammac": torch.special.gammaincc,
    "lgamma": torch.lgamma,
    "polygamma": _polygamma,
    "special_erfcx": torch.special.erfcx,
    "special_i0e": torch.special.i0e,
    "special_i1": torch.special.i1,
    "special_i1e": torch.special.i1e,
    "special_log_ndtr": torch.special.log_ndtr,
    "special_ndtri": torch.special.ndtri,
}

for _name, _compute in SPECIAL.items():
    primitive(Primitive(f"{DOMAIN}.{_name}", "elementwise", _compute, tokens="agreed", facts=Facts()))
