"""Cases of If, Loop and Scan, of sequences, and of selections by value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from ..onnx_graph.foreign_cases import Foreign
from ..operators.operator_cases import Array, Case, case, ints, normal, positive

FLOAT, INT, BOOL = TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL
TABLE = normal(3, 4)

# Selections and sequences


def _top_k(**attributes: int) -> list[tuple[str, list[str], list[str], dict[str, Any]]]:
    """The values found, gathered anew by the indices found."""
    again = ("GatherElements", ["x0", "i"], ["y0"], {"axis": attributes.get("axis", 1)})
    return [("TopK", ["x0", "x1"], ["v", "i"], attributes), again]


TIES = np.array([[3.0, 1.0, 2.0, 5.0], [-1.0, 4.0, 0.5, 2.5]])
SELECTIONS: list[Case] = [
    case("TopK", [TIES, ints(2)], lambda x, _: torch.topk(x, 2).values, nodes=_top_k()),
    case("TopK", [TIES, ints(1)], lambda x, _: x.min(0, keepdim=True).values, nodes=_top_k(axis=0, largest=0)),
    case("Compress", [TIES, np.array([True, False, True])], lambda x, _: x.reshape(-1)[[0, 2]]),
    case("Compress", [TIES, np.array([False, True, False, True])], lambda x, _: x[:, [1, 3]], axis=1),
    case(
        "SequenceInsert",
        [TIES, TIES + 1, np.array(0)],
        n_outputs=1,
        nodes=[
            ("SequenceEmpty", [], ["e"], {"dtype": FLOAT}),
            ("SequenceInsert", ["e", "x0"], ["s"], {}),
            ("SequenceInsert", ["s", "x1", "x2"], ["t"], {}),
            ("ConcatFromSequence", ["t"], ["y0"], {"axis": 0}),
        ],
    ),
    case(
        "SequenceEmpty",
        [],
        nodes=[("SequenceEmpty", [], ["e"], {"dtype": FLOAT}), ("SequenceLength", ["e"], ["y0"], {})],
    ),
    case(
        "SequenceLength",
        [TIES],
        nodes=[("SequenceConstruct", ["x0", "x0"], ["s"], {}), ("SequenceLength", ["s"], ["y0"], {})],
    ),
]

# Control flow


def _value(name: str, kind: int, shape: Sequence[int] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _graph(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]]
) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "body", [_value(n, k) for n, k in inputs], [_value(n, k) for n, k in outputs])


DOUBLED = _graph([helper.make_node("Add", ["x1", "x1"], ["d"])], [], [("d", FLOAT)])
SQUARED = _graph([helper.make_node("Mul", ["x1", "x1"], ["q"])], [], [("q", FLOAT)])
# h <- tanh(h * w), as long as the sum of h is above 0.1; w is a value of the outer graph
STEPS = [
    helper.make_node("Mul", ["h", "x3"], ["hw"]),
    helper.make_node("Tanh", ["hw"], ["new"]),
    helper.make_node("Constant", [], ["bound"], value=numpy_helper.from_array(np.array(0.1))),
    helper.make_node("ReduceSum", ["new"], ["sum"], keepdims=0),
    helper.make_node("Greater", ["sum", "bound"], ["going"]),
    helper.make_node("Identity", ["new"], ["seen"]),
]
CARRIED = [("i", INT), ("cond", BOOL), ("h", FLOAT)]
UNSEEN = _graph(STEPS[:-1], CARRIED, [("going", BOOL), ("new", FLOAT)])
RECURRED = _graph(STEPS, CARRIED, [("going", BOOL), ("new", FLOAT), ("seen", FLOAT)])
# h <- h * w + x_t, scanned: h * x_t
SCANNED = _graph(
    [
        helper.make_node("Mul", ["h", "x2"], ["hw"]),
        helper.make_node("Add", ["hw", "xt"], ["new"]),
        helper.make_node("Mul", ["h", "xt"], ["out"]),
    ],
    [("h", FLOAT), ("xt", FLOAT)],
    [("new", FLOAT), ("out", FLOAT)],
)
H, W, X = positive(3), positive(3, seed=1) / 2, normal(4, 3)


def _recurred(limit: int | None, condition: bool | None, h: Tensor, w: Tensor) -> list[Tensor]:
    seen, going = [], condition is not False
    while going and (limit is None or len(seen) < limit):
        h = torch.tanh(h * w)
        seen.append(h)
        going = bool(h.sum() > 0.1)
    return [h, torch.stack(seen)] if seen else [h]


def _scanned(h: Tensor, x: Tensor, w: Tensor, *, backwards: bool = False, turned: bool = False) -> list[Tensor]:
    outputs = []
    for row in x.flip(0) if backwards else x:
        outputs.append(h * row)
        h = h * w + row
    return [h, torch.stack(outputs[::-1] if turned else outputs)]


def _loop(limit: int | None, condition: bool | None, n_outputs: int = 2) -> Case:
    # foreign: ONNX's reference fails without a limit
    given = [None if limit is None else np.array(limit), None if condition is None else np.array(condition), H, W]
    read = ["x0" if limit is not None else "", "x1" if condition is not None else "", "x2"]
    outputs = [f"y{i}" for i in range(n_outputs)]

    def formula(_: Tensor | None, __: Tensor | None, h: Tensor, w: Tensor) -> Any:
        found = _recurred(limit, condition, h, w)
        return found if n_outputs > 1 else found[0]

    body = RECURRED if n_outputs > 1 else UNSEEN
    nodes = [("Loop", read, outputs, {"body": body})]
    return Foreign("Loop", tuple(given), formula, {}, n_outputs=n_outputs, nodes=tuple(nodes))


def _scan(x: Array, formula: Any, **attributes: Any) -> Case:
    """Foreign: ONNX's reference knows neither directions nor axes."""
    nodes = [("Scan", ["x0", "x1"], ["y0", "y1"], {"body": SCANNED, "num_scan_inputs": 1, **attributes})]
    return Foreign("Scan", (H, x, W), formula, {}, n_outputs=2, nodes=tuple(nodes))


def _branch(chosen: bool) -> Case:
    nodes = [("If", ["x0"], ["y0"], {"then_branch": DOUBLED, "else_branch": SQUARED})]
    return case("If", [np.array(chosen), TABLE], lambda _, x: 2 * x if chosen else x**2, nodes=nodes)


BODIES: list[Case] = [
    _branch(True),
    _branch(False),
    _loop(3, True),
    _loop(None, True),
    _loop(2, None),
    _loop(2, True, 1),
    _loop(2, False, 1),
    _scan(X, _scanned),
    _scan(
        X,
        lambda h, x, w: _scanned(h, x, w, backwards=True, turned=True),
        scan_input_directions=[1],
        scan_output_directions=[1],
    ),
    _scan(
        X.T.copy(),
        lambda h, x, w: [y.T if y.dim() > 1 else y for y in _scanned(h, x.T, w)],
        scan_input_axes=[1],
        scan_output_axes=[1],
    ),
]

CASES = [*SELECTIONS, *BODIES]
