"""Gemm and the norms that are sums of powers."""

from __future__ import annotations

from typing import Any

from exporters.operators.registry import composite
from exporters.tape import Tape, Value


@composite("Gemm")
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


@composite("ReduceSumSquare")
def reduce_sum_square(tape: Tape, x: Value, axes: Value | None = None, **attributes: Any) -> Value:
    """Sum of squares."""
    return tape("ReduceSum", tape("Mul", x, x), axes, **attributes)


@composite("ReduceL1")
def reduce_l1(tape: Tape, x: Value, axes: Value | None = None, **attributes: Any) -> Value:
    """Sum of absolute values."""
    return tape("ReduceSum", tape("Abs", x), axes, **attributes)


@composite("ReduceL2")
def reduce_l2(tape: Tape, x: Value, axes: Value | None = None, **attributes: Any) -> Value:
    """Square root of the sum of squares."""
    return tape("Sqrt", reduce_sum_square(tape, x, axes, **attributes))


@composite("ReduceLogSum")
def reduce_log_sum(tape: Tape, x: Value, axes: Value | None = None, **attributes: Any) -> Value:
    """Logarithm of the sum."""
    return tape("Log", tape("ReduceSum", x, axes, **attributes))
