"""The steps of the fuzzer's random modules, each in torch and written out scalar by scalar.

Every value is an N x N matrix. The scalar side uses the oracle's chain rule only: it knows nothing of ONNX or autograd.
Where a subgradient is a choice, both sides are what torch documents or does; copies are the same scalars again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from . import oracle
from .oracle import Matrix, Output, Read, Row, Scalar, ScalarGraph, value

N = 4  # a power of two, so that means of the grid are exact

Rows = list[list[Scalar]]
OfTorch = Callable[[Tensor, Tensor], Tensor]
OfScalars = Callable[[ScalarGraph, Rows, Rows], Rows]


undecided: list[float] = []  # numbers compared at a kink that rounding may have put on its other side


def _kink(x: float, y: float) -> float:
    """x - y, whose sign chooses a derivative; noted where rounding decides it, for then torch may choose otherwise."""
    near, exact = abs(x - y) < 1e-9 * (1 + abs(x)), (x * 2.0**16).is_integer() and (y * 2.0**16).is_integer()
    if near and not exact:
        undecided.append(x)
    return x - y


class Step(NamedTuple):
    """One step on two values, written twice."""

    torch: OfTorch
    scalars: OfScalars


def _flat(rows: Matrix) -> list[Scalar]:
    return [x for row in rows for x in row]


def _square(flat: list[oracle.Vertex]) -> Rows:
    return [list(flat[i * N : (i + 1) * N]) for i in range(N)]


def _columns(rows: Rows) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


def _repeated(row: Row) -> Rows:
    """A row's scalars, each along a row of its own: what a column broadcast to a matrix is."""
    return [[x] * N for x in row]


def _is_constant(rows: Rows) -> bool:
    return not any(isinstance(x, oracle.Vertex) for x in _flat(rows))


def _unary(op_type: str, rule: Callable[[float], tuple[float, float]]) -> OfScalars:
    """rule: a number's value and derivative"""

    def apply(graph: ScalarGraph, x: Rows, _: Rows) -> Rows:
        if _is_constant(x):
            return [[rule(value(s))[0] for s in row] for row in x]
        return _square(oracle._unary(graph, op_type, rule, _flat(x)))

    return apply


def _binary(op_type: str, rule: Callable[[float, float], tuple[float, float, float]]) -> OfScalars:
    """rule: two numbers' value and derivatives"""

    def output(x: Scalar, y: Scalar) -> Output:
        number, by_x, by_y = rule(value(x), value(y))
        return number, [Read(0, x, by_x), Read(1, y, by_y)]

    def apply(graph: ScalarGraph, x: Rows, y: Rows) -> Rows:
        if _is_constant(x) and _is_constant(y):
            return [[output(a, b)[0] for a, b in zip(p, q, strict=True)] for p, q in zip(x, y, strict=True)]
        return _square(graph.record(op_type, (output(a, b) for a, b in zip(_flat(x), _flat(y), strict=True))))

    return apply


def _reduced(op_type: str, rule: Callable[[list[float]], tuple[float, list[float]]]) -> Callable[..., Row]:
    """rule: a row's value and its derivatives"""

    def apply(graph: ScalarGraph, rows: Rows) -> Row:
        found = [rule([value(s) for s in row]) for row in rows]
        if _is_constant(rows):
            return [number for number, _ in found]
        return graph.record(
            op_type,
            (
                (number, [Read(0, s, d) for s, d in zip(row, derivatives, strict=True)])
                for row, (number, derivatives) in zip(rows, found, strict=True)
            ),
        )

    return apply


def _shared(best: Callable[[list[float]], float]) -> Callable[[list[float]], tuple[float, list[float]]]:
    """Equal elements share."""

    def rule(row: list[float]) -> tuple[float, list[float]]:
        top = best(row)
        place = row.index(top)
        for x in row[:place] + row[place + 1 :]:
            _kink(x, top)
        return top, [1 / row.count(top) if x == top else 0.0 for x in row]

    return rule


def _first(best: Callable[[list[float]], float]) -> Callable[[list[float]], tuple[float, list[float]]]:
    """The first of equal elements has all."""

    def rule(row: list[float]) -> tuple[float, list[float]]:
        place = row.index(best(row))
        for x in row[:place] + row[place + 1 :]:
            _kink(x, row[place])
        return row[place], [float(i == place) for i in range(len(row))]

    return rule


_SUM = _reduced("ReduceSum", lambda row: (math.fsum(row), [1.0] * len(row)))
_MEAN = _reduced("ReduceMean", lambda row: (math.fsum(row) / len(row), [1 / len(row)] * len(row)))
_AMAX = _reduced("ReduceMax", _shared(max))
_AMIN = _reduced("ReduceMin", _shared(min))
_MAX = _reduced("ReduceMax", _first(max))

_ADD = _binary("Add", lambda x, y: (x + y, 1.0, 1.0))
_SUB = _binary("Sub", lambda x, y: (x - y, 1.0, -1.0))
_MUL = _binary("Mul", lambda x, y: (x * y, y, x))
_DIV = _binary("Div", lambda x, y: (x / y, 1 / y, -x / y / y))
_EXP = _unary("Exp", lambda x: (math.exp(x), math.exp(x)))
_SQRT = _reduced("Sqrt", lambda row: (math.sqrt(row[0]), [0.5 / math.sqrt(row[0]) if row[0] else 0.0]))
total_of = _SUM


def _matmul(graph: ScalarGraph, x: Rows, y: Rows) -> Rows:
    if _is_constant(x) and _is_constant(y):
        return [[math.fsum(value(a) * value(b) for a, b in zip(p, q, strict=True)) for q in _columns(y)] for p in x]
    return [list(row) for row in oracle.matmul(graph, x, _columns(y))]


def _softmax(graph: ScalarGraph, x: Rows, _: Rows) -> Rows:
    low = _SUB(graph, x, [[max(map(value, row))] * N for row in x])
    powers = _EXP(graph, low, low)
    return _DIV(graph, powers, _repeated(_SUM(graph, powers)))


def _norm(graph: ScalarGraph, x: Rows, y: Rows) -> Rows:
    squares = _SUM(graph, _MUL(graph, x, x))
    return _ADD(graph, y, _repeated(_SQRT(graph, [[s] for s in squares])))


def _cumulative(graph: ScalarGraph, x: Rows, _: Rows) -> Rows:
    prefixes = [[*row[: i + 1], *[0.0] * (N - 1 - i)] for row in x for i in range(N)]
    found = list(_SUM(graph, prefixes))
    return [found[i * N : (i + 1) * N] for i in range(N)]


def _where(_: ScalarGraph, x: Rows, y: Rows) -> Rows:
    return [
        [a if _kink(value(a), value(b)) >= 0 else b for a, b in zip(p, q, strict=True)]
        for p, q in zip(x, y, strict=True)
    ]


def _clamp(low: float, high: float, *, closed: bool) -> OfScalars:
    def rule(x: float) -> tuple[float, float]:
        below, above = _kink(x, low), _kink(x, high)
        inside = below >= 0 >= above if closed else below > 0 > above
        return min(max(x, low), high), float(inside)

    return _unary("Clip", rule)


def _larger(sign: float) -> Callable[[float, float], tuple[float, float, float]]:
    def rule(x: float, y: float) -> tuple[float, float, float]:
        more = sign * _kink(x, y)
        by_x = 0.5 if more == 0 else float(more > 0)
        return (x if sign * x >= sign * y else y), by_x, 1 - by_x

    return rule


def _broadcast(reduce: Callable[..., Row], combine: OfScalars) -> OfScalars:
    return lambda graph, x, y: combine(graph, y, _repeated(reduce(graph, x)))


def _leaky_relu(x: float) -> tuple[float, float]:
    return (x, 1.0) if _kink(x, 0.0) > 0 else (0.25 * x, 0.25)


def _gelu(x: float) -> tuple[float, float]:
    density = math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    below = 0.5 * math.erfc(-x / math.sqrt(2))
    return x * below, below + x * density


def _loop_of_torch(x: Tensor, y: Tensor) -> Tensor:
    h = x[0]
    for t in range(N):
        h = torch.tanh(h @ y + x[t])
    return h.expand(N, N)


def _loop(graph: ScalarGraph, x: Rows, y: Rows) -> Rows:
    h = x[0]
    for t in range(N):
        total = oracle.add(graph, oracle.matmul(graph, [h], _columns(y))[0], x[t])
        h = list(oracle.tanh(graph, total))
    return [h] * N


STEPS: dict[str, Step] = {
    "add": Step(lambda x, y: x + y, _ADD),
    "sub": Step(lambda x, y: x - y, _SUB),
    "mul": Step(lambda x, y: x * y, _MUL),
    "square": Step(lambda x, _: x * x, lambda graph, x, _: _MUL(graph, x, x)),
    "tanh": Step(lambda x, _: x.tanh(), _unary("Tanh", lambda x: (math.tanh(x), 1 - math.tanh(x) ** 2))),
    "sigmoid": Step(lambda x, _: x.sigmoid(), _unary("Sigmoid", oracle._logistic)),
    "gelu": Step(lambda x, _: F.gelu(x), _unary("Gelu", _gelu)),
    "relu": Step(lambda x, _: x.relu(), _unary("Relu", lambda x: (max(x, 0.0), float(_kink(x, 0.0) > 0)))),
    "leaky relu": Step(
        lambda x, _: F.leaky_relu(x, 0.25),
        _unary("LeakyRelu", lambda x: (x, 1.0) if _kink(x, 0.0) > 0 else (0.25 * x, 0.25)),
    ),
    "abs": Step(lambda x, _: x.abs(), _unary("Abs", lambda x: (abs(x), float(_kink(x, 0.0) > 0) - float(x < 0)))),
    "clamp": Step(lambda x, _: x.clamp(-1, 1), _clamp(-1, 1, closed=True)),
    "hardtanh": Step(lambda x, _: F.hardtanh(x), _clamp(-1, 1, closed=False)),
    "relu6": Step(lambda x, _: F.relu6(x), _clamp(0, 6, closed=False)),
    "maximum": Step(torch.maximum, _binary("Max", _larger(1))),
    "minimum": Step(torch.minimum, _binary("Min", _larger(-1))),
    "where": Step(lambda x, y: torch.where(x >= y, x, y), _where),
    "transpose": Step(lambda x, _: x.T, lambda _, x, __: _columns(x)),
    "rows": Step(lambda x, _: x[torch.tensor([2, 0, 2, 3])], lambda _, x, __: [x[2], x[0], x[2], x[3]]),
    "concat": Step(lambda x, y: torch.cat([x[1:], y[:1]]), lambda _, x, y: [*x[1:], y[0]]),
    "masked": Step(lambda x, _: x.tril(), lambda _, x, __: [[*x[i][: i + 1], *[0.0] * (N - 1 - i)] for i in range(N)]),
    "matmul": Step(lambda x, y: x @ y, _matmul),
    "loop": Step(_loop_of_torch, _loop),
    "gram": Step(lambda x, _: x @ x.T, lambda graph, x, _: _matmul(graph, x, _columns(x))),
    "sums": Step(lambda x, y: y + x.sum(1, keepdim=True), _broadcast(_SUM, _ADD)),
    "means": Step(lambda x, y: y - x.mean(1, keepdim=True), _broadcast(_MEAN, _SUB)),
    "amax": Step(lambda x, y: y * x.amax(1, keepdim=True), _broadcast(_AMAX, _MUL)),
    "amin": Step(lambda x, y: y - x.amin(1, keepdim=True), _broadcast(_AMIN, _SUB)),
    "max": Step(lambda x, y: y + x.max(1, keepdim=True).values, _broadcast(_MAX, _ADD)),
    "norm": Step(lambda x, y: y + x.norm(dim=1, keepdim=True), _norm),
    "softmax": Step(lambda x, _: x.softmax(1), _softmax),
    "cumsum": Step(lambda x, _: x.cumsum(1), _cumulative),
    "detach": Step(lambda x, y: y * x.detach(), lambda g, x, y: _MUL(g, y, [[value(s) for s in row] for row in x])),
}
