"""Random graphs of small matrices with many exact ties: integers, zeros, shared operands, every kind of operator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import strategies as st

from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.values import Value

from ..taped import finish, leaf

N = 4  # every value is N x N; a power of two, so that means are exact

Step = Callable[[Tape, Value, Value], Value]


def _constant(tape: Tape, *shape: int) -> Value:
    return tape.constant(torch.ones(shape, dtype=tape.dtype))


def _mask(tape: Tape) -> Value:
    return tape.constant(torch.eye(N, dtype=torch.bool))


def _transposed(tape: Tape, x: Value) -> Value:
    return tape("Transpose", x, perm=[1, 0])


def _row(tape: Tape, x: Value, row: int) -> Value:
    return tape("Gather", x, tape.constant_integer(row), axis=0)


def _column_product(tape: Tape, x: Value, y: Value) -> Value:
    """x times a row of y as a vector, broadcast back to a matrix."""
    return tape("Add", tape("MatMul", x, _row(tape, y, 1)), y)


def _row_product(tape: Tape, x: Value, y: Value) -> Value:
    return tape("Sub", y, tape("MatMul", _row(tape, x, 0), y))


def _concat(tape: Tape, x: Value, y: Value) -> Value:
    """A row of x, constant rows, a row of y."""
    rows = [tape("Unsqueeze", _row(tape, v, i), tape.integers([0])) for v, i in ((x, 0), (y, 2))]
    return tape("Concat", rows[0], _constant(tape, N - 2, N), rows[1], axis=0)


def _pad(tape: Tape, x: Value, y: Value) -> Value:
    inner = tape("Slice", x, tape.integers([1]), tape.integers([N]), tape.integers([1]))
    return tape("Mul", y, tape("Pad", inner, tape.integers([0, 1, 0, 0]), tape.number(2.0)))


def _batched(tape: Tape, x: Value, y: Value) -> Value:
    """(x, y) stacked, times x without a batch axis, and the larger of the two."""
    stacked = tape("Concat", *[tape("Unsqueeze", v, tape.integers([0])) for v in (x, y)], axis=0)
    return tape("ReduceMax", tape("MatMul", stacked, x), tape.integers([0]), keepdims=0)


def _expanded(tape: Tape, x: Value, y: Value) -> Value:
    """Both operands with broadcast batch axes: 2 x 1 x N x N times 1 x 2 x N x N."""
    wide = tape("Expand", tape("Unsqueeze", x, tape.integers([0, 1])), tape.integers([2, 1, N, N]))
    other = tape("Expand", tape("Unsqueeze", y, tape.integers([0])), tape.integers([1, 2, N, N]))
    return tape("ReduceSum", tape("MatMul", wide, other), tape.integers([0, 1]), keepdims=0)


def _shared_weight(tape: Tape, x: Value, y: Value) -> Value:
    """y is read by two products: edges of one weight tie across operators."""
    return tape("Add", tape("MatMul", x, y), tape("MatMul", _transposed(tape, x), y))


def _recurrent(tape: Tape, x: Value, y: Value) -> Value:
    """y is read once per step, a constant row among the first state's."""
    h = _concat(tape, x, x)
    for _ in range(2):
        h = tape("Mul", tape("MatMul", h, y), tape.number(0.5))
    return h


STEPS: dict[str, Step] = {
    "add": lambda tape, x, y: tape("Add", x, y),
    "square": lambda tape, x, y: tape("Sub", tape("Mul", x, x), y),
    "mul": lambda tape, x, y: tape("Mul", x, y),
    "max": lambda tape, x, y: tape("Max", x, y, _constant(tape, N, N)),
    "relu": lambda tape, x, y: tape("Add", tape("Relu", x), y),
    "matmul": lambda tape, x, y: tape("MatMul", x, y),
    "gram": lambda tape, x, y: tape("Sub", tape("MatMul", x, _transposed(tape, x)), y),
    "matmul with constant": lambda tape, x, y: tape("Add", tape("MatMul", x, _constant(tape, N, N)), y),
    "column": _column_product,
    "row": _row_product,
    "same row twice": lambda tape, x, y: tape("MatMul", tape("Gather", x, tape.integers([0, 2, 0, 3]), axis=0), y),
    "rows": lambda tape, x, _: tape("Gather", x, tape.integers([0, 2, 0, 3]), axis=0),
    "where": lambda tape, x, y: tape("Where", _mask(tape), x, y),
    "where constant": lambda tape, x, y: tape("Mul", tape("Where", _mask(tape), tape.number(1.0), x), y),
    "concat": _concat,
    "pad": _pad,
    "row sums": lambda tape, x, y: tape("Add", y, tape("ReduceSum", x, tape.integers([1]))),
    "column means": lambda tape, x, y: tape("Mul", y, tape("ReduceMean", x, tape.integers([0]), keepdims=0)),
    "row maxima": lambda tape, x, y: tape("Mul", y, tape("ReduceMax", x, tape.integers([1]))),
    "shared weight": _shared_weight,
    "recurrent": _recurrent,
    "batched": _batched,
    "expanded": _expanded,
}


def build(steps: list[tuple[str, int, int]], leaves: list[list[int]], dtype: torch.dtype = torch.float64) -> Recording:
    """Each step takes two earlier values, counted from the newest; the loss is the sum of the last two."""
    tape = Tape(dtype)
    values = [
        leaf(tape, f"p{i}", np.array(numbers, dtype=np.float64).reshape(N, N)) for i, numbers in enumerate(leaves)
    ]
    for name, back_x, back_y in steps:
        values.append(STEPS[name](tape, values[-1 - back_x % len(values)], values[-1 - back_y % len(values)]))
    loss = tape("ReduceSum", tape("Add", values[-1], values[-2]), keepdims=0)
    return finish(tape, loss)


Program = tuple[list[tuple[str, int, int]], list[list[int]]]


@st.composite
def programs(draw: st.DrawFn, max_steps: int = 5) -> Program:
    """Up to max_steps steps on two parameters of small integers; all sums and products are exact."""
    numbers = st.lists(st.integers(-2, 2), min_size=N * N, max_size=N * N)
    steps = st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 2), st.integers(0, 2))
    return draw(st.lists(steps, min_size=1, max_size=max_steps)), [draw(numbers), draw(numbers)]
