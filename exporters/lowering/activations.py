"""Activations that are products of others, so that a gate and what it lets through are operators of their own."""

from __future__ import annotations

from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value


@composite("Swish")
def swish(tape: Tape, x: Value, *, alpha: float = 1.0) -> Value:
    """x sigmoid(alpha x)."""
    inner = x if alpha == 1.0 else tape("Mul", x, tape.number(alpha))
    return tape("Mul", x, tape("Sigmoid", inner))


@composite("com.microsoft.QuickGelu")
def quick_gelu(tape: Tape, x: Value, *, alpha: float = 1.702) -> Value:
    """x sigmoid(1.702 x)."""
    return swish(tape, x, alpha=alpha)


@composite("com.microsoft.FastGelu")
def fast_gelu(tape: Tape, x: Value, bias: Value | None = None) -> Value:
    """Gelu by its tanh approximation, of x plus the bias."""
    return tape("Gelu", x if bias is None else tape("Add", x, bias), approximate="tanh")


@composite("com.microsoft.BiasGelu")
def bias_gelu(tape: Tape, x: Value, bias: Value) -> Value:
    """Gelu of x plus the bias."""
    return tape("Gelu", tape("Add", x, bias))
