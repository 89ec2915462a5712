"""Models that torch did not make: bodies executed and labelled, their weights parameters, functions inlined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from gradtrace.exporters.edges.conservation import conservation_error
from gradtrace.exporters.models import ModelError, SampleError
from gradtrace.exporters.onnx_graph.reader import read_graph
from gradtrace.exporters.recording.recorder import Recorder, Recording

from ..taped import all_edges

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node
rng = np.random.default_rng(0)
ARRAYS = {"w": rng.normal(size=(2, 2)).astype(np.float32), "h0": rng.normal(size=2).astype(np.float32)}
X = torch.tensor(rng.normal(size=(3, 2)))


def _value(name: str, kind: int = FLOAT, shape: Sequence[Any] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _body(nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any], **arrays: Any) -> onnx.GraphProto:
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    return helper.make_graph(nodes, "body", inputs, outputs, tensors)


def _model(nodes: list[onnx.NodeProto], *, opset: int = 20, functions: Any = (), **arrays: Any) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (ARRAYS | arrays).items()]
    inputs = [_value("x", FLOAT, ["length", 2])]
    graph = helper.make_graph(nodes, "made", inputs, [_value("loss", FLOAT, [])], tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions))


def _record(model: onnx.ModelProto, x: torch.Tensor = X) -> Recording:
    recording = Recorder(read_graph(model, torch.float64), torch.float64).record({"x": x})
    assert conservation_error(recording) < 1e-12
    return recording


def _gradient(recording: Recording, name: str) -> Any:
    tensor = next(t for t in recording.tape.tensors if t.name == name)
    assert tensor.first_vertex is not None
    return recording.gradients[tensor.first_vertex : tensor.first_vertex + tensor.size].reshape(tensor.value.shape)


def _steps(recording: Recording, op_type: str) -> list[int | None]:
    return [c.label.step for c in recording.tape.calls if c.primitive.name == op_type]


CELL = [
    node("MatMul", ["h", "w"], ["hw"]),
    node("Add", ["hw", "xt"], ["sum"]),
    node("Tanh", ["sum"], ["new"], name="/cell/act/Tanh"),
]


def _scan() -> onnx.ModelProto:
    body = _body(
        [*CELL, node("Identity", ["new"], ["out"])], [_value("h"), _value("xt")], [_value("new"), _value("out")]
    )
    nodes = [
        node("Scan", ["h0", "x"], ["last", "all"], body=body, num_scan_inputs=1, name="/rnn/Scan"),
        node("ReduceMean", ["all"], ["loss"], keepdims=0),
    ]
    return _model(nodes)


def _loop() -> onnx.ModelProto:
    pick = node("Gather", ["x", "t"], ["xt"], axis=0)
    again = node("Identity", ["cond"], ["going"])
    body = _body(
        [pick, *CELL, again, node("Identity", ["new"], ["out"])],
        [_value("t", INT, []), _value("cond", BOOL, []), _value("h")],
        [_value("going", BOOL, []), _value("new"), _value("out")],
    )
    nodes = [
        node("Shape", ["x"], ["size"], start=0, end=1),
        node("Squeeze", ["size"], ["length"]),
        node("Loop", ["length", "", "h0"], ["last", "all"], body=body, name="/rnn/Loop"),
        node("ReduceMean", ["all"], ["loss"], keepdims=0),
    ]
    return _model(nodes)


def _by_torch(x: torch.Tensor) -> dict[str, Any]:
    """The same recurrence in torch: the loss and its gradients."""
    w, h0 = (torch.tensor(ARRAYS[name], dtype=torch.float64, requires_grad=True) for name in ("w", "h0"))
    h, states = h0, []
    for row in x:
        h = torch.tanh(h @ w + row)
        states.append(h)
    loss = torch.stack(states).mean()
    loss.backward()
    assert w.grad is not None
    assert h0.grad is not None
    return {"loss": float(loss.detach()), "w": w.grad.numpy(), "h0": h0.grad.numpy()}


@pytest.mark.parametrize("made", [_scan, _loop])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_recurrence(made: Any, length: int) -> None:
    recording, wanted = _record(made(), X[:length]), _by_torch(X[:length])
    assert recording.loss == pytest.approx(wanted["loss"], rel=1e-12)
    for name in ("w", "h0"):
        np.testing.assert_allclose(_gradient(recording, name), wanted[name], rtol=1e-12)
    assert _steps(recording, "MatMul") == list(range(length))
    assert {c.label.module for c in recording.tape.calls if c.primitive.name == "Tanh"} == {"cell.act"}


@pytest.mark.parametrize("made", [_scan, _loop])
def test_steps_are_places_among_the_tokens(made: Any) -> None:
    """Two tokens of another text stand before those of x."""
    recorder = Recorder(read_graph(made(), torch.float64), torch.float64)
    assert _steps(recorder.record({"x": X}, 5, {"x": 2}), "MatMul") == [2, 3, 4]


def test_steps_of_a_scan_from_the_end() -> None:
    made = _scan()
    scan = next(node for node in made.graph.node if node.op_type == "Scan")
    scan.attribute.append(helper.make_attribute("scan_input_directions", [1]))
    assert _steps(_record(made), "MatMul") == [2, 1, 0]


def test_loop_and_scan_are_one_graph() -> None:
    loop, scan = (all_edges(_record(made())) for made in (_loop, _scan))
    for column in ("src", "dst", "slot", "derivative"):
        np.testing.assert_array_equal(getattr(loop, column), getattr(scan, column))


def test_names_of_unrolled_tensors_are_unique() -> None:
    names = [t.name for t in _record(_scan()).tape.tensors]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("made", [_scan, _loop])
def test_no_iteration(made: Any) -> None:
    with pytest.raises(SampleError, match="ran zero times"):
        _record(made(), X[:0])


def _choice(**arrays: Any) -> onnx.ModelProto:
    """x summed and, where that is positive, multiplied by a weight that only this branch has; squared elsewhere."""
    positive = _body([node("Mul", ["s", "scale"], ["p"])], [], [_value("p")], scale=np.float32(3.0))
    negative = _body([node("Mul", ["s", "s"], ["n"])], [], [_value("n")], **arrays)
    nodes = [
        node("MatMul", ["x", "w"], ["xw"]),
        node("ReduceSum", ["xw"], ["s"], keepdims=0),
        node("Constant", [], ["zero"], value_float=0.0),
        node("Greater", ["s", "zero"], ["c"]),
        node("If", ["c"], ["loss"], then_branch=positive, else_branch=negative),
    ]
    return _model(nodes)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_only_the_branch_taken_is_in_the_graph(sign: float) -> None:
    total = float((X @ torch.tensor(ARRAYS["w"], dtype=torch.float64)).sum())
    recording = _record(_choice(), sign * np.sign(total) * X)
    assert recording.loss == pytest.approx(3 * abs(total) if sign > 0 else total**2)
    assert float(_gradient(recording, "scale")) == pytest.approx(abs(total) if sign > 0 else 0.0)


def test_two_weights_of_one_name() -> None:
    with pytest.raises(ModelError, match=r"two subgraphs.*'scale'"):
        read_graph(_choice(scale=np.float32(1.0)), torch.float64)


@pytest.mark.parametrize("opset", [13, 17, 18, 20, 23])
def test_a_function_in_a_body(opset: int) -> None:
    """A model-local function, inlined inside the body of a Scan, over the opsets that are read."""
    opsets = [helper.make_opsetid("", opset)]
    function = helper.make_function("mine", "Cell", ["h", "xt", "w"], ["new"], CELL, opsets)
    called = node("Cell", ["h", "xt", "w"], ["new"], domain="mine")
    body = _body([called], [_value("h"), _value("xt")], [_value("new")])
    nodes = [
        node("Scan", ["h0", "x"], ["last"], body=body, num_scan_inputs=1),
        node("ReduceSum", ["last"], ["loss"], keepdims=0),
    ]
    recording = _record(_model(nodes, opset=opset, functions=[function]))
    assert _steps(recording, "Tanh") == [0, 1, 2]


def test_statistics_of_batch_normalization_are_no_parameters() -> None:
    vectors = {name: np.ones(2, np.float32) for name in ("scale", "bias", "mean", "variance")}
    nodes = [
        node("MatMul", ["x", "w"], ["y"]),
        node("BatchNormalization", ["y", *vectors], ["n"]),
        node("ReduceMean", ["n"], ["loss"], keepdims=0),
    ]
    graph = read_graph(_model(nodes, **vectors), torch.float64)
    assert set(graph.parameters) == {"w", "h0", "scale", "bias"}


def test_attention_operator() -> None:
    """Opset 23: its parts have the roles that a written-out attention has."""
    nodes = [
        node("MatMul", ["x", "w"], ["q"]),
        node("Unsqueeze", ["q", "batch"], ["bq"]),
        node("Attention", ["bq", "bq", "bq"], ["c"], q_num_heads=2, kv_num_heads=2, is_causal=1),
        node("ReduceMean", ["c"], ["loss"], keepdims=0),
    ]
    recording = _record(_model(nodes, opset=23, batch=np.array([0])))
    tape = recording.tape
    found = {
        (c.label.role, c.primitive.name): tape.tensors[c.output.tensor].axis_names
        for c in tape.calls
        if c.output.tensor is not None
    }
    assert found["scores", "MatMul"] == [None, "head", "query", "key"]
    assert found["weights", "Div"] == [None, "head", "query", "key"]
    assert found["context", "MatMul"] == [None, "head", "query", None]
