"""Elementwise operators: every output element depends on one element of each input (with broadcasting).

One rule for all: the derivative of each slot is a diagonal, and autograd gives it once, on inputs expanded to the
output's shape. No derivative is written by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from .registry import DOMAIN, SCALE_GRADIENT, Facts, Primitive, primitive

Binary = Callable[[Tensor, Tensor], Tensor]
Comparison = Callable[[Tensor, Tensor], Tensor]


_SCALES = Facts(passes_on="scale")
_SHIFTS = Facts(passes_on="scale", linear=True)
_LINEAR_ONLY = Facts(linear=True)
_SATURATES = Facts(saturates=True)
_GATE = Facts(saturates=True, gate=True, activates=True)
_ACTIVATES = Facts(activates=True)
_LINEAR = 40.0  # from there on softplus is its input, to the last digit of float64


def _elementwise(name: str, compute: Callable[..., Tensor], facts: Facts = Facts()) -> None:  # noqa: B008  frozen
    primitive(Primitive(name, "elementwise", compute, tokens="agreed", facts=facts))


def _variadic(combine: Binary) -> Callable[..., Tensor]:
    return lambda *inputs: reduce(combine, inputs)


def _divide(x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _mod(x: Tensor, y: Tensor, *, fmod: int = 0) -> Tensor:
    return torch.fmod(x, y) if fmod else torch.remainder(x, y)


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None, *, subgradient: str = "") -> Tensor:
    """At a bound the gradient passes, as through torch's clamp(); where `outside`, it does not, as through hardtanh."""
    if low is None and high is None:
        return x
    y = torch.clamp(x, low, high)
    if subgradient == "outside":
        inside = torch.ones_like(x, dtype=torch.bool)
        inside = inside if low is None else inside & (x > low)
        inside = inside if high is None else inside & (x < high)
        return torch.where(inside, x, y.detach())
    return y


def _first_wins(wins: Comparison) -> Binary:
    return lambda x, y: torch.where(wins(x, y), x, y)


def _extreme(combine: Binary, wins: Comparison) -> Callable[..., Tensor]:
    """Of two equal operands each has half, as in torch's maximum(); the first has all in clamp(min=tensor)."""
    chosen = {"": combine, "first": _first_wins(wins)}
    return lambda *inputs, subgradient="": reduce(chosen[subgradient], inputs)


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return F.gelu(x, approximate=approximate)


def _leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


def _elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.elu(x, alpha)


def _selu(x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Tensor:
    return gamma * F.elu(x, alpha)


def _celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.celu(x, alpha)


def _thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.threshold(x, alpha, 0.0)


def _shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))


def _hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    if beta == 0.5 and np.float32(alpha) == np.float32(1 / 6):  # ONNX has no more digits for it
        return F.hardsigmoid(x)
    return F.hardtanh(alpha * x + beta, 0.0, 1.0)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def _softplus(x: Tensor) -> Tensor:
    return F.softplus(x, threshold=_LINEAR)


def _sqrt(x: Tensor, *, subgradient: str = "") -> Tensor:
    """Where `flat`, the derivative at 0 is 0, as that of torch's norms."""
    return _flat_at_zero(torch.sqrt, x) if subgradient == "flat" else torch.sqrt(x)


def _pow(x: Tensor, exponent: Tensor, *, subgradient: str = "") -> Tensor:
    """Where `flat`, the derivative by a base of 0 is 0, as that of torch's norms."""
    if subgradient == "flat":
        return _flat_at_zero(lambda base: torch.pow(base, exponent), x)
    return torch.pow(x, exponent)


def _flat_at_zero(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    zero = x == 0
    return torch.where(zero, function(x.detach()), function(torch.where(zero, 1.0, x)))


def _mean(*inputs: Tensor) -> Tensor:
    return reduce(torch.add, inputs) / len(inputs)


class _ScaleGradient(torch.autograd.Function):
    """The first input, whose gradient is multiplied by the second, which has none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return x.expand_as(x + factor).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return gradients[0] * factor, None


def _scale_gradient(x: Tensor, factor: Tensor) -> Tensor:
    scaled: Tensor = _ScaleGradient.apply(x, factor.detach())  # type: ignore[no-untyped-call]
    return scaled


_elementwise("Abs", torch.abs)
_elementwise("Acos", torch.acos)
_elementwise("Acosh", torch.acosh)
_elementwise("Add", torch.add, _SHIFTS)
_elementwise("Asin", torch.asin)
_elementwise("Asinh", torch.asinh)
_elementwise("Atan", torch.atan, _SATURATES)
_elementwise("Atanh", torch.atanh)
_elementwise("Ceil", torch.ceil)
_elementwise("Celu", _celu)
_elementwise("Clip", _clip, Facts(passes_on="scale", saturates=True, kinks=("outside",)))
_elementwise("Cos", torch.cos)
_elementwise("Cosh", torch.cosh)
_elementwise("Div", _divide, _SCALES)
_elementwise("Elu", _elu)
_elementwise("Erf", torch.erf, _SATURATES)
_elementwise("Exp", torch.exp)
_elementwise("Floor", torch.floor)
_elementwise("Gelu", _gelu)
_elementwise("HardSigmoid", _hard_sigmoid, _GATE)
_elementwise("HardSwish", F.hardswish)
_elementwise("LeakyRelu", _leaky_relu)
_elementwise("Log", torch.log)
_elementwise("Max", _extreme(torch.maximum, torch.ge), Facts(passes_on="scale", kinks=("first",)))
_elementwise("Mean", _mean, _LINEAR_ONLY)
_elementwise("Min", _extreme(torch.minimum, torch.le), Facts(passes_on="scale", kinks=("first",)))
_elementwise("Mish", F.mish)
_elementwise("Mod", _mod)
_elementwise("Mul", torch.mul, _SCALES)
_elementwise("Neg", torch.neg, _LINEAR_ONLY)
_elementwise("PRelu", _prelu)
_elementwise("Pow", _pow, Facts(kinks=("flat",)))
_elementwise("Reciprocal", torch.reciprocal)
_elementwise("Relu", torch.relu, _ACTIVATES)
_elementwise("Round", torch.round)
_elementwise("Selu", _selu)
_elementwise("Shrink", _shrink)
_elementwise("Sigmoid", torch.sigmoid, _GATE)
_elementwise("Sign", torch.sign)
_elementwise("Sin", torch.sin)
_elementwise("Sinh", torch.sinh)
_elementwise("Softplus", _softplus, _ACTIVATES)
_elementwise("Softsign", F.softsign, Facts(saturates=True, activates=True))
_elementwise("Sqrt", _sqrt, Facts(kinks=("flat",)))
_elementwise("Sub", torch.sub, _SHIFTS)
_elementwise("Sum", _variadic(torch.add), _LINEAR_ONLY)
_elementwise("Tan", torch.tan)
_elementwise("Tanh", torch.tanh, Facts(passes_on="scale", saturates=True, activates=True))
_elementwise("ThresholdedRelu", _thresholded_relu)
_elementwise(f"{DOMAIN}.{SCALE_GRADIENT}", _scale_gradient, Facts(passes_on="scale"))


def derivatives(compute: Callable[..., Tensor], inputs: list[Tensor | None], wanted: list[int]) -> list[Tensor]:
    """The diagonal of each wanted slot's Jacobian.

    inputs: one per slot, all of the output's shape S (None where an optional input is left out)
    Returns for each slot of `wanted` a tensor of shape S: d output[e] / d input[e].
    """
    operands = list(inputs)
    leaves = []
    for slot in wanted:
        operand = inputs[slot]
        assert operand is not None
        leaves.append(operand.detach().clone().requires_grad_())
        operands[slot] = leaves[-1]
    with torch.enable_grad():
        output = compute(*operands)
    ones = torch.ones_like(output)
    return list(torch.autograd.grad(output, leaves, ones, allow_unused=True, materialize_grads=True))
