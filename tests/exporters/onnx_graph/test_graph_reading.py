"""Reading hand-made ONNX models: what is taken, what is refused, and with which words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from gradtrace.exporters.models import ModelError, SampleError
from gradtrace.exporters.onnx_graph.reader import read_graph
from gradtrace.exporters.recording.onnx_model import OnnxModel
from gradtrace.exporters.recording.recorder import Recorder, Recording

Array = NDArray[Any]

WEIGHT = np.array([[1.0, -2.0], [0.5, 3.0]])
X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["length", 2])
LOSS = helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])
node = helper.make_node


def model(
    nodes: Sequence[NodeProto],
    *,
    inputs: Sequence[ValueInfoProto] = (X,),
    outputs: Sequence[ValueInfoProto] = (LOSS,),
    initializers: dict[str, Array] | None = None,
    opset: int = 20,
    domains: Sequence[str] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model; by default with input x, output loss and the parameter w."""
    arrays = {"w": WEIGHT.astype(np.float32)} if initializers is None else initializers
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(list(nodes), "made", list(inputs), list(outputs), tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions))


def summed(*nodes: NodeProto) -> list[NodeProto]:
    """The nodes, then the sum of "y" as the loss."""
    return [*nodes, node("ReduceSum", ["y"], ["loss"], keepdims=0)]


GOOD = summed(node("MatMul", ["x", "w"], ["y"]))


def record(made: onnx.ModelProto, **inputs: Any) -> Recording:
    given = {"x": np.array([[1.0, 2.0]])} | inputs
    tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in given.items()}
    return Recorder(read_graph(made, torch.float64), torch.float64).record(tensors)


def tensor_named(recording: Recording, name: str) -> str:
    return next(t.kind for t in recording.tape.tensors if t.name == name)


# What is read


def test_names_and_numbers() -> None:
    recording = record(model(GOOD))
    assert recording.loss == pytest.approx(float((np.array([1.0, 2.0]) @ WEIGHT).sum()))
    assert recording.n_parameters == 4
    kinds = {name: tensor_named(recording, name) for name in ("w", "x", "y", "loss")}
    assert kinds == {"w": "parameter", "x": "input", "y": "activation", "loss": "loss"}
    np.testing.assert_array_equal(recording.gradients[:4], [1.0, 1.0, 2.0, 2.0])


def test_initializers() -> None:
    """Floating-point ones are parameters in the recording's dtype, also when they are graph inputs as well."""
    arrays = {"w": WEIGHT.astype(np.float16), "shape": np.array([1, -1]), "unused": np.zeros(3, np.float32)}
    also_input = helper.make_tensor_value_info("w", TensorProto.FLOAT16, [2, 2])
    made = model(
        summed(node("MatMul", ["x", "w"], ["z"]), node("Reshape", ["z", "shape"], ["y"])),
        inputs=[X, also_input],
        initializers=arrays,
    )
    graph = read_graph(made, torch.float64)
    assert [i.name for i in graph.inputs] == ["x"]
    assert {name: t.dtype for name, t in graph.parameters.items()} == {"w": torch.float64, "unused": torch.float64}
    assert graph.constants["shape"].tolist() == [1, -1]
    chosen = read_graph(made, torch.float32, ["w"])
    assert set(chosen.parameters) == {"w"}
    assert "unused" in chosen.constants


@pytest.mark.parametrize(
    ("attributes", "factor"),
    [
        ({"value": numpy_helper.from_array(np.array(2.0, np.float32))}, 2.0),
        ({"value_float": 3.0}, 3.0),
        ({"value_floats": [4.0, 4.0]}, 4.0),
    ],
)
def test_constants(attributes: dict[str, Any], factor: float) -> None:
    constant = node("Constant", [], ["c"], **attributes)
    recording = record(model([constant, *summed(node("MatMul", ["x", "w"], ["z"]), node("Mul", ["z", "c"], ["y"]))]))
    assert recording.loss == pytest.approx(factor * record(model(GOOD)).loss)
    assert recording.n_parameters == 4


@pytest.mark.parametrize("attributes", [{"value_ints": [1]}, {"value": numpy_helper.from_array(np.array([1]))}])
def test_integer_constants(attributes: dict[str, Any]) -> None:
    constant = node("Constant", [], ["axes"], **attributes)
    nodes = [constant, node("MatMul", ["x", "w"], ["z"]), *summed(node("ReduceMax", ["z", "axes"], ["y"]))]
    assert record(model(nodes)).loss == pytest.approx((np.array([1.0, 2.0]) @ WEIGHT).max())


def test_model_functions_are_inlined() -> None:
    opsets = [helper.make_opsetid("", 20)]
    double = helper.make_function("mine", "Double", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], opsets)
    nodes = [node("MatMul", ["x", "w"], ["z"]), *summed(node("Double", ["z"], ["y"], domain="mine"))]
    recording = record(model(nodes, domains=["mine"], functions=[double]))
    assert recording.loss == pytest.approx(2 * record(model(GOOD)).loss)
    assert [call.primitive.name for call in recording.tape.calls] == ["MatMul", "Add", "ReduceSum"]


def test_module_paths() -> None:
    """Nodes without one belong to the module before them."""
    matmul, other = node("MatMul", ["x", "w"], ["z"]), node("Tanh", ["z"], ["y"])
    entry = matmul.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'block.0', 'block.0.linear', 'linear']"
    labels = [call.label.module for call in record(model(summed(matmul, other))).tape.calls]
    assert labels == ["block.0.linear"] * 3


def test_external_data(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model(GOOD), path, save_as_external_data=True, location="model.data", size_threshold=0)
    assert (tmp_path / "model.data").exists()
    inputs = {"x": torch.tensor([[1.0, 2.0]])}
    assert OnnxModel(path, torch.float64).record(inputs).loss == record(model(GOOD)).loss
    plain = read_graph(onnx.load(path, load_external_data=False), torch.float64, base=str(tmp_path))
    np.testing.assert_array_equal(plain.parameters["w"].numpy(), WEIGHT)


# What is refused


def test_operator_without_a_rule() -> None:
    unknown = node("Det", ["x"], ["y"], name="my_det")
    entry = unknown.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'head', 'det']"
    nodes = [unknown, node("StringConcat", ["y", "y"], ["loss"])]
    with pytest.raises(ModelError) as caught:
        read_graph(model(nodes), torch.float64)
    for part in (
        "Det",
        "'my_det'",
        "'head'",
        "StringConcat",
        "exporters/operators/",
        "exporters/lowering/",
        "docs/operators.md",
    ):
        assert part in str(caught.value)


def test_operator_without_a_rule_in_a_branch() -> None:
    branch = helper.make_graph([node("Det", ["w"], ["b"], name="inner")], "branch", [], [LOSS])
    condition = node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    chosen = node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch, name="choice")
    with pytest.raises(ModelError, match=r"Det.*'inner'"):
        read_graph(model([condition, *summed(chosen)]), torch.float64)


@pytest.mark.parametrize("opset", [7, 12])
def test_old_opset(opset: int) -> None:
    with pytest.raises(ModelError, match=rf"opset {opset}; at least 13.*convert_version"):
        read_graph(model(GOOD, opset=opset), torch.float64)


def test_oldest_opset() -> None:
    assert record(model(GOOD, opset=13)).loss == record(model(GOOD)).loss


@pytest.mark.parametrize(
    "outputs",
    [
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("loss", TensorProto.INT64, [])],
        [LOSS, helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    ],
    ids=["matrix", "integer", "two"],
)
def test_output_that_is_no_scalar(outputs: list[ValueInfoProto]) -> None:
    with pytest.raises(ModelError, match="one floating-point scalar is wanted"):
        read_graph(model(GOOD, outputs=outputs), torch.float64)


def test_output_that_turns_out_to_be_no_scalar() -> None:
    symbolic = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])
    with pytest.raises(ModelError, match=r"shape \(1, 2\); one scalar is wanted"):
        record(model(GOOD[:1], outputs=[symbolic]))


@pytest.mark.parametrize("nodes", [summed(node("Identity", ["x"], ["y"])), [node("Identity", ["w"], ["loss"])]])
def test_a_loss_of_shape_one_and_of_no_parameter(nodes: list[NodeProto]) -> None:
    """A sum of inputs is traced although no parameter meets it; a parameter itself is no loss."""
    made = model(nodes, initializers={"w": np.ones(1, np.float32)})
    if nodes[0].input[0] == "x":
        assert record(made).gradients[0] == 0.0
    else:
        with pytest.raises(ModelError, match="does not depend on its parameters"):
            record(made)


@pytest.mark.parametrize(
    "changed",
    [
        node("MatMul", ["x", "w"], ["y"], invented=1),
        node("Tanh", ["x"], ["y"], invented=1.0),
        node("Reshape", ["x", "w"], ["y"], invented="?"),
        node("Shape", ["x"], ["y"], invented=1),
        node("IsInf", ["x"], ["y"], detect_negative=0),
        node("Softmax", ["x"], ["y"], invented=1),
        node("ReduceL2", ["x"], ["y"], invented=1),
        node("LSTM", ["x", "w", "w"], ["y"], hidden_size=1, activation_beta=[1.0]),
        node("AveragePool", ["x"], ["y"], kernel_shape=[1], invented=1),
    ],
    ids=lambda made: made.op_type,
)
def test_attributes_that_no_rule_reads(changed: NodeProto) -> None:
    unread = {a.name for a in changed.attribute} & {"invented", "detect_negative", "activation_beta"}
    with pytest.raises(ModelError, match=f"operator {changed.op_type} has attribute {unread.pop()}"):
        record(model(summed(changed)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (node("ScatterND", ["w", "index", "x"], ["y"], reduction="mean"), "reduction='mean'"),
        (node("Dropout", ["x", "", "yes"], ["y"]), "training mode"),
    ],
)
def test_what_would_be_no_copy(changed: NodeProto, words: str) -> None:
    arrays = {"w": WEIGHT.astype(np.float32), "index": np.array([[0]]), "yes": np.array(True)}
    with pytest.raises(ModelError, match=rf"operator {changed.op_type} 'y'.*{words}"):
        record(model(summed(changed), initializers=arrays))


def test_an_attribute_that_a_rule_needs() -> None:
    with pytest.raises(ModelError, match="operator Concat has no attribute axis"):
        record(model(summed(node("Concat", ["w", "x"], ["y"]))))


# Samples


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, r"inputs \[\], the model wants \['x'\]"),
        ({"x": np.ones((1, 2)), "z": np.ones(1)}, r"inputs \['x', 'z'\]"),
        ({"x": np.ones((1, 3))}, r"'x' has shape \(1, 3\), the model wants \['length', 2\]"),
        ({"x": np.ones(2)}, r"'x' has shape \(2,\)"),
        ({"x": np.ones((1, 2), dtype=np.int64)}, "'x' is torch.int64, the model wants torch.float64"),
    ],
)
def test_inputs_that_do_not_fit(inputs: dict[str, Array], words: str) -> None:
    recorder = Recorder(read_graph(model(GOOD), torch.float64), torch.float64)
    with pytest.raises(SampleError, match=words):
        recorder.record({name: torch.from_numpy(array) for name, array in inputs.items()})


def test_a_symbolic_axis_takes_any_size() -> None:
    assert record(model(GOOD), x=np.ones((5, 2))).loss == pytest.approx(5 * WEIGHT.sum())


@pytest.mark.parametrize("index", [2, -3])
def test_an_index_out_of_range_is_the_samples_fault(index: int) -> None:
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])
    made = model(summed(node("Gather", ["w", "ids"], ["y"])), inputs=[X, ids])
    assert record(made, ids=np.array([1, -2])).loss == pytest.approx(WEIGHT.sum())
    with pytest.raises(SampleError, match=rf"Gather 'y'.*index {index} is out of range for an axis of size 2"):
        record(made, ids=np.array([index]))
