"""Gemm and the norms that are sums of powers."""

from __future__ import annotations

from ..operators.arguments import Integers, integers
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value

Axes = Value | Integers | None


@composite("Gemm", multiplies=True)
def gemm(
    tape: Tape,
    a: Value,
    b: Value,
    c: Value | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Value:
    """alpha A B + beta C, with A and B transposed on request."""
    a = tape("Transpose", a, perm=[1, 0]) if transA else a
    b = tape("Transpose", b, perm=[1, 0]) if transB else b
    y: Value = tape("MatMul", a, b)
    if alpha != 1.0:
        y = tape("Mul", y, tape.number(alpha))
    if c is None:
        return y
    if beta != 1.0:
        c = tape("Mul", c, tape.number(beta))
    return tape("Add", y, c)


def _sum(tape: Tape, x: Value, axes: Axes, keepdims: int, noop_with_empty_axes: int) -> Value:
    """ReduceSum; `axes` is an attribute of the other reductions before opset 18, and an input from then on."""
    given = axes if axes is None or isinstance(axes, Value) else tape.integers(integers(axes))
    return tape("ReduceSum", x, given, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)


@composite("ReduceSumSquare")
def reduce_sum_square(
    tape: Tape, x: Value, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Value:
    """Sum of squares."""
    return _sum(tape, tape("Mul", x, x), axes, keepdims, noop_with_empty_axes)


@composite("ReduceL1")
def reduce_l1(tape: Tape, x: Value, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
    """Sum of absolute values."""
    return _sum(tape, tape("Abs", x), axes, keepdims, noop_with_empty_axes)


@composite("ReduceL2")
def reduce_l2(tape: Tape, x: Value, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
    """Square root of the sum of squares; at 0 its derivative is 0, as that of torch's norm."""
    return tape("Sqrt", _sum(tape, tape("Mul", x, x), axes, keepdims, noop_with_empty_axes), subgradient="flat")


@composite("ReduceLogSum")
def reduce_log_sum(
    tape: Tape, x: Value, axes: Axes = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Value:
    """Logarithm of the sum."""
    return tape("Log", _sum(tape, x, axes, keepdims, noop_with_empty_axes))
