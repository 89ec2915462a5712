"""Softmax, LogSoftmax and ReduceLogSumExp. The subtracted maximum is a constant: it has no edges."""

from __future__ import annotations

from ..operators.arguments import Integers, axes_of
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value


def shifted(tape: Tape, x: Value, axes: list[int]) -> tuple[Value, Value]:
    """x - max(x) along `axes`, and the maximum (kept dimensions), which is a constant."""
    highest = tape.compute(lambda data: data.amax(axes, keepdim=True), x)
    return tape("Sub", x, highest), highest


def log_sum_exp(tape: Tape, x: Value, axes: list[int]) -> Value:
    """log of the sum of exp(x) along `axes`, dimensions kept; x must be shifted."""
    total = tape("ReduceSum", tape("Exp", x), tape.integers(axes))
    return tape("Log", total)


@composite("Softmax")
def softmax(tape: Tape, x: Value, *, axis: int = -1) -> Value:
    """exp(x) / sum of exp(x) along `axis`. Role: that of the node, `weights` in an attention; else `softmax`."""
    with tape.labelled(role=tape.role or "softmax"):
        powers = tape("Exp", shifted(tape, x, [axis])[0])
        return tape("Div", powers, tape("ReduceSum", powers, tape.integers([axis])))


@composite("LogSoftmax")
def log_softmax(tape: Tape, x: Value, *, axis: int = -1) -> Value:
    """x - log of the sum of exp(x) along `axis`. Role: that of the node, as in a loss; else `log_softmax`."""
    with tape.labelled(role=tape.role or "log_softmax"):
        low, _ = shifted(tape, x, [axis])
        return tape("Sub", low, log_sum_exp(tape, low, [axis]))


@composite("ReduceLogSumExp")
def reduce_log_sum_exp(
    tape: Tape, x: Value, axes: Value | Integers | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Value:
    """log of the sum of exp(x) along `axes`."""
    given = tape.integers_of(axes) if isinstance(axes, Value) else axes
    if noop_with_empty_axes and (given is None or len(given) == 0):
        return x
    reduced = axes_of(given, x.data.dim())
    with tape.labelled(role="log_sum_exp"):
        low, highest = shifted(tape, x, reduced)
        y: Value = tape("Add", log_sum_exp(tape, low, reduced), highest)
        return y if keepdims else tape("Squeeze", y, tape.integers(reduced))
