"""Models made to do harm: damaged files, graphs that are none, sizes beyond any memory, loops without an end.

Run as a program with a folder it writes each there, records the sample GIVEN, and prints one line of JSON for each:
its name, the kind of error, and what it says.
"""

# ruff: noqa: E501  one case a line
from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from gradtrace.exporters.lowering import control_flow
from gradtrace.exporters.onnx_graph import limits

GIVEN = {"x": torch.tensor([[1.0, 2.0]])}
HUGE = 10**13
node = helper.make_node
value = helper.make_tensor_value_info
X = value("x", TensorProto.FLOAT, ["length", 2])
LOSS = value("loss", TensorProto.FLOAT, [])
WEIGHT = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)

Model = onnx.ModelProto
Cases = dict[str, Callable[[Path], "Model | bytes"]]
CASES: Cases = {}


def case(make: Callable[[Path], Model | bytes]) -> Callable[[Path], Model | bytes]:
    """Register a case: a function of the folder that the model is written to."""
    CASES[make.__name__] = make
    return make


def model(
    *nodes: NodeProto,
    inputs: Sequence[ValueInfoProto] = (X,),
    outputs: Sequence[ValueInfoProto] = (LOSS,),
    initializers: Sequence[TensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
    opset: int = 20,
    **arrays: Any,
) -> Model:
    """Nodes that make the loss of x and the parameter w."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in {"w": WEIGHT, **arrays}.items()]
    graph = helper.make_graph(list(nodes), "made", list(inputs), list(outputs), [*tensors, *initializers])
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made: Model = helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=10)
    return made


def summed(*nodes: NodeProto, **options: Any) -> Model:
    """The sum of "y", which the nodes make of "z" = x @ w, as the loss."""
    return model(node("MatMul", ["x", "w"], ["z"]), *nodes, node("ReduceSum", ["y"], ["loss"], keepdims=0), **options)


GOOD = summed(node("Tanh", ["z"], ["y"]))


def changed(change: Callable[[Model], Any]) -> Model:
    """A good model with something done to it."""
    made = Model()
    made.CopyFrom(GOOD)
    change(made)
    return made


def ints(*numbers: int) -> Any:
    """A vector of whole numbers."""
    return np.array(numbers, np.int64)


def several(**made: Callable[[], Model | bytes]) -> None:
    """Register cases that need no folder."""
    for name, make in made.items():
        CASES[name] = lambda _, make=make: make()  # type: ignore[misc]


# Files that are none


def _unreadable_name() -> bytes:
    """A node whose name is no UTF-8."""
    named = changed(lambda m: setattr(m.graph.node[1], "name", "MARKED")).SerializeToString()
    return bytes(named).replace(b"MARKED", b"\xff\xfe\xc3(\xe9\x80")


several(
    empty_file=lambda: b"",
    text_file=lambda: b"this is no model, but words\n" * 50,
    zeros=lambda: b"\0" * 1000,
    ones=lambda: b"\xff" * 1000,
    half_a_file=lambda: GOOD.SerializeToString()[: GOOD.ByteSize() // 2],
    without_its_last_byte=lambda: GOOD.SerializeToString()[:-1],
    twice_in_a_row=lambda: GOOD.SerializeToString() * 2,
    promises_gigabytes=lambda: GOOD.SerializeToString() + b"\x3a\xff\xff\xff\xff\x07",
    name_that_is_no_text=_unreadable_name,
    no_graph=lambda: changed(lambda m: m.ClearField("graph")),
    no_nodes=lambda: changed(lambda m: m.graph.ClearField("node")),
    no_opset=lambda: changed(lambda m: m.ClearField("opset_import")),
    no_ir_version=lambda: changed(lambda m: m.ClearField("ir_version")),
    ir_version_of_tomorrow=lambda: changed(lambda m: setattr(m, "ir_version", 10**6)),
    opset_of_tomorrow=lambda: changed(lambda m: setattr(m.opset_import[0], "version", 10**9)),
    opset_below_zero=lambda: changed(lambda m: setattr(m.opset_import[0], "version", -5)),
    opset_of_others=lambda: changed(lambda m: setattr(m.opset_import[0], "domain", "elsewhere")),
    opset_twice=lambda: changed(lambda m: m.opset_import.add(domain="", version=7)),
)


@case
def ends_in_a_folder(folder: Path) -> bytes:
    """The file is a folder."""
    (folder / "model.onnx").mkdir()
    return b""


@case
def cut_at_a_node(folder: Path) -> bytes:
    """A file that ends where a field ends, so that it can be parsed."""
    del folder
    return changed(lambda m: m.graph.ClearField("output")).SerializeToString()


# Graphs that are none


def _cycle() -> Model:
    return model(
        *(node("Add", ["x", "b"], ["a"]), node("Add", ["a", "w"], ["b"])),
        node("ReduceSum", ["b"], ["loss"], keepdims=0),
    )


def _of_itself() -> Model:
    return model(node("Add", ["a", "x"], ["a"]), node("ReduceSum", ["a"], ["loss"], keepdims=0))


def _identities_in_a_circle() -> Model:
    return model(
        *(node("Identity", ["b"], ["a"]), node("Identity", ["a"], ["b"])),
        node("MatMul", ["a", "w"], ["y"]),
        node("ReduceSum", ["y"], ["loss"], keepdims=0),
    )


def _unsorted() -> Model:
    def turn(m: Model) -> None:
        nodes = list(m.graph.node)[::-1]
        m.graph.ClearField("node")
        m.graph.node.extend(nodes)

    return changed(turn)


several(
    cycle=_cycle,
    node_that_reads_itself=_of_itself,
    identities_in_a_circle=_identities_in_a_circle,
    unsorted_nodes=_unsorted,
    missing_initializer=lambda: changed(lambda m: m.graph.ClearField("initializer")),
    missing_input=lambda: changed(lambda m: m.graph.ClearField("input")),
    missing_output=lambda: changed(lambda m: setattr(m.graph.output[0], "name", "nowhere")),
    no_outputs=lambda: changed(lambda m: m.graph.ClearField("output")),
    output_is_the_input=lambda: model(inputs=[value("x", TensorProto.FLOAT, [])], outputs=[value("x", 1, [])]),
    output_is_the_parameter=lambda: model(outputs=[value("s", 1, [])], s=np.float32(1)),
    value_made_twice=lambda: summed(node("Tanh", ["z"], ["y"]), node("Relu", ["z"], ["y"])),
    output_named_as_the_input=lambda: summed(node("Tanh", ["z"], ["x"]), node("Relu", ["x"], ["y"])),
    output_named_as_the_parameter=lambda: summed(node("Tanh", ["z"], ["w"]), node("Relu", ["w"], ["y"])),
    initializer_twice=lambda: summed(node("Tanh", ["z"], ["y"]), initializers=[numpy_helper.from_array(WEIGHT, "w")]),
    input_twice=lambda: summed(node("Tanh", ["z"], ["y"]), inputs=[X, X]),
    nodes_of_one_name=lambda: summed(node("Tanh", ["z"], ["a"], name="n"), node("Relu", ["a"], ["y"], name="n")),
    node_without_inputs=lambda: summed(node("Tanh", [], ["y"])),
    node_with_too_many_inputs=lambda: summed(node("Tanh", ["z", "z", "z"], ["y"])),
    node_without_outputs=lambda: summed(node("Tanh", ["z"], ["y"]), node("Relu", ["z"], [])),
    node_with_too_many_outputs=lambda: summed(node("Tanh", ["z"], ["y", "y2", "y3"])),
    constant_without_outputs=lambda: summed(node("Tanh", ["z"], ["y"]), node("Constant", [], [], value_int=1)),
    constant_without_a_value=lambda: summed(node("Constant", [], ["c"]), node("Add", ["z", "c"], ["y"])),
    empty_operator=lambda: summed(node("", ["z"], ["y"])),
    unknown_operator=lambda: summed(node("Explode\x1b[31m", ["z"], ["y"])),
    unknown_domain=lambda: summed(node("Tanh", ["z"], ["y"], domain="elsewhere")),
    operator_of_onnx_runtime=lambda: summed(node("Gelu", ["z"], ["y"], domain="com.microsoft"), domains=["com.microsoft"]),
    empty_names=lambda: model(node("Tanh", [""], [""]), node("ReduceSum", [""], ["loss"], keepdims=0)),
    empty_input_name=lambda: changed(lambda m: setattr(m.graph.input[0], "name", "")),
    empty_initializer_name=lambda: changed(lambda m: setattr(m.graph.initializer[0], "name", "")),
    control_characters=lambda: summed(node("Tanh", ["z"], ["\x1b]0;owned\x07\n"]), node("Relu", ["\x1b]0;owned\x07\n"], ["y"])),
    named_nan=lambda: summed(node("Tanh", ["z"], ["NaN"]), node("Relu", ["NaN"], ["y"])),
    long_name=lambda: summed(node("Tanh", ["z"], ["n" * 100_000]), node("Relu", ["n" * 100_000], ["y"])),
    name_scopes_that_are_code=lambda: changed(lambda m: m.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="__import__('os').abort()")),
    name_scopes_that_are_deep=lambda: changed(lambda m: m.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="[" * 5000)),
    name_scopes_that_are_a_number=lambda: changed(lambda m: m.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="12")),
)  # fmt: skip


# Types


def _typed(**types: Any) -> Callable[[], Model]:
    def make() -> Model:
        return changed(lambda m: m.graph.input[0].CopyFrom(types["of_x"]))

    return make


several(
    output_of_integers=lambda: changed(lambda m: m.graph.output[0].CopyFrom(value("loss", TensorProto.INT64, []))),
    output_of_texts=lambda: changed(lambda m: m.graph.output[0].CopyFrom(value("loss", TensorProto.STRING, []))),
    output_of_no_type=lambda: changed(lambda m: m.graph.output[0].ClearField("type")),
    output_of_a_strange_type=lambda: changed(lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", 999)),
    input_of_texts=_typed(of_x=value("x", TensorProto.STRING, ["n", 2])),
    input_of_complex_numbers=_typed(of_x=value("x", TensorProto.COMPLEX64, ["n", 2])),
    input_of_a_strange_type=_typed(of_x=value("x", 999, ["n", 2])),
    input_of_no_shape=_typed(of_x=helper.make_tensor_value_info("x", TensorProto.FLOAT, None)),
    input_that_is_a_sequence=_typed(of_x=helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [2])),
    input_that_is_a_map=_typed(
        of_x=helper.make_value_info("x", helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(1, [])))
    ),
    input_that_is_optional=_typed(
        of_x=helper.make_value_info("x", helper.make_optional_type_proto(helper.make_tensor_type_proto(1, [1, 2])))
    ),
    input_that_is_sparse=_typed(of_x=helper.make_value_info("x", helper.make_sparse_tensor_type_proto(1, [1, 2]))),
    input_below_zero=_typed(of_x=value("x", TensorProto.FLOAT, [-1, 2])),
    input_of_terabytes=_typed(of_x=value("x", TensorProto.FLOAT, [HUGE, 2])),
    texts_as_numbers=lambda: summed(node("Add", ["z", "t"], ["y"]), t=np.array(["a", "b"], object)),
    integers_as_numbers=lambda: summed(node("MatMul", ["z", "i"], ["y"]), i=np.array([[1, 2], [3, 4]])),
    booleans_as_numbers=lambda: summed(node("Add", ["z", "b"], ["y"]), b=np.array([True, False])),
    numbers_as_indices=lambda: summed(node("Gather", ["w", "z"], ["y"])),
    numbers_as_a_shape=lambda: summed(node("Reshape", ["z", "w"], ["y"])),
    numbers_as_a_condition=lambda: summed(node("Where", ["z", "z", "z"], ["y"])),
    text_as_an_axis=lambda: summed(node("Softmax", ["z"], ["y"], axis="last")),
    list_as_an_axis=lambda: summed(node("Softmax", ["z"], ["y"], axis=[1, 2])),
    tensor_as_an_axis=lambda: summed(node("Softmax", ["z"], ["y"], axis=numpy_helper.from_array(WEIGHT))),
    graph_as_an_axis=lambda: summed(node("Softmax", ["z"], ["y"], axis=GOOD.graph)),
    axis_out_of_range=lambda: summed(node("Softmax", ["z"], ["y"], axis=77)),
    attribute_of_no_type=lambda: changed(lambda m: m.graph.node[1].attribute.add(name="alpha")),
    attribute_of_two_kinds=lambda: changed(lambda m: m.graph.node[1].attribute.add(name="alpha", type=1, f=1.0, i=3, s=b"a")),
    attribute_twice=lambda: summed(NodeProto(op_type="Softmax", input=["z"], output=["y"], attribute=[helper.make_attribute("axis", 0)] * 2)),
    attribute_that_refers=lambda: changed(lambda m: m.graph.node[1].attribute.add(name="alpha", ref_attr_name="a", type=1)),
    text_that_is_none=lambda: summed(node("Gelu", ["z"], ["y"], approximate=b"\xff\xfe")),
    cast_to_nowhere=lambda: summed(node("Cast", ["z"], ["y"], to=999)),
    cast_to_texts=lambda: summed(node("Cast", ["z"], ["y"], to=TensorProto.STRING)),
    sequence_as_a_tensor=lambda: summed(node("SequenceConstruct", ["z", "z"], ["s"]), node("Tanh", ["s"], ["y"])),
    tensor_as_a_sequence=lambda: summed(node("SequenceAt", ["z", "i"], ["y"]), i=ints(0)),
    place_not_in_a_sequence=lambda: summed(node("SequenceConstruct", ["z"], ["s"]), node("SequenceAt", ["s", "i"], ["y"]), i=np.int64(5)),
    optional_value=lambda: summed(node("Optional", ["z"], ["o"]), node("OptionalGetElement", ["o"], ["y"])),
    sparse_initializer=lambda: changed(lambda m: m.graph.sparse_initializer.append(helper.make_sparse_tensor(numpy_helper.from_array(np.ones(1, np.float32), "s"), numpy_helper.from_array(ints(1), "i"), [HUGE]))),
    sparse_constant=lambda: summed(node("Constant", [], ["c"], sparse_value=helper.make_sparse_tensor(numpy_helper.from_array(np.ones(1, np.float32), "s"), numpy_helper.from_array(ints(1), "i"), [2])), node("Add", ["z", "c"], ["y"])),
)  # fmt: skip


# Stored tensors


def _stored(**fields: Any) -> Callable[[], Model]:
    """The parameter with other fields."""

    def make() -> Model:
        def change(m: Model) -> None:
            tensor = m.graph.initializer[0]
            for name, content in fields.items():
                tensor.ClearField(name)
                if isinstance(content, list):
                    getattr(tensor, name).extend(content)
                else:
                    setattr(tensor, name, content)

        return changed(change)

    return make


several(
    too_few_bytes=_stored(raw_data=b"1234"),
    too_many_bytes=_stored(raw_data=b"1234" * 99),
    no_bytes=_stored(raw_data=b""),
    shape_of_terabytes=_stored(dims=[HUGE, 2]),
    shape_beyond_counting=_stored(dims=[2**62, 2**62]),
    shape_below_zero=_stored(dims=[-2, -2]),
    shape_of_many_axes=_stored(dims=[1] * 3000 + [2, 2]),
    tensor_of_a_strange_type=_stored(data_type=999),
    tensor_of_no_type=_stored(data_type=0),
    tensor_of_texts=_stored(data_type=8, raw_data=b"", string_data=[b"a"] * 4),
    tensor_of_two_kinds=_stored(float_data=[1.0, 2.0, 3.0, 4.0]),
    tensor_of_nothing=_stored(dims=[0, 2], raw_data=b""),
    tensor_of_nan=_stored(raw_data=np.full((2, 2), np.nan, np.float32).tobytes()),
)


def external(location: str, length: int | None = 16, offset: int | None = 0) -> Callable[[Path], Model]:
    """The parameter's numbers lie in another file."""

    def make(folder: Path) -> Model:
        (folder.parent / "secret").write_bytes(WEIGHT.tobytes())
        (folder / "here").write_bytes(WEIGHT.tobytes())
        (folder / "link").symlink_to(folder.parent / "secret")
        os.link(folder.parent / "secret", folder / "hard")
        (folder / "sub").symlink_to(folder.parent)

        def change(m: Model) -> None:
            tensor = m.graph.initializer[0]
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=location.replace("FOLDER", str(folder)))
            for key, number in (("length", length), ("offset", offset)):
                if number is not None:
                    tensor.external_data.add(key=key, value=str(number))

        return changed(change)

    return make


for name, arguments in {
    "passwd": ("../../../../../../../../etc/passwd",),
    "the_folder_above": ("../secret",),
    "an_absolute_path": ("FOLDER/here",),
    "the_machine": ("/etc/passwd",),
    "a_link": ("link",),
    "a_hard_link": ("hard",),
    "a_linked_folder": ("sub/secret",),
    "a_roundabout_way": ("sub/../../secret",),
    "a_folder": (".",),
    "no_name": ("",),
    "a_device": ("/dev/zero", None),
    "no_file": ("nowhere",),
    "a_name_with_nul": ("he\0re",),
    "a_url": ("http://127.0.0.1:9/here",),
    "itself": ("model.onnx",),
    "beyond_its_end": ("here", 16, 10**15),
    "before_its_start": ("here", 16, -4),
    "too_much_of_it": ("here", 10**15),
    "too_little_of_it": ("here", 4),
    "less_than_nothing_of_it": ("here", -1),
}.items():
    CASES[f"data_in_{name}"] = external(*arguments)  # type: ignore[arg-type]


# Sizes


def shaped(*sizes: int) -> tuple[NodeProto, dict[str, Any]]:
    """A constant of this shape, called "c"."""
    return node("ConstantOfShape", ["shape"], ["c"]), {"shape": ints(*sizes)}


def _doubled(times: int) -> list[NodeProto]:
    """z beside itself, again and again."""
    names = ["z", *(f"z{i}" for i in range(times)), "y"]
    return [node("Concat", [a, a], [b], axis=0) for a, b in itertools.pairwise(names)]


several(
    constant_of_terabytes=lambda: summed(shaped(HUGE)[0], node("Add", ["z", "c"], ["y"]), shape=ints(HUGE)),
    constant_beyond_counting=lambda: summed(shaped()[0], node("Add", ["z", "c"], ["y"]), shape=ints(2**62, 2**62)),
    constant_below_zero=lambda: summed(shaped()[0], node("Add", ["z", "c"], ["y"]), shape=ints(-5)),
    constant_of_many_axes=lambda: summed(shaped()[0], node("Add", ["z", "c"], ["y"]), shape=np.ones(70, np.int64)),
    expand_to_terabytes=lambda: summed(node("Expand", ["z", "s"], ["y"]), s=ints(HUGE, 1, 2)),
    expand_and_add=lambda: summed(node("Expand", ["z", "s"], ["e"]), node("Add", ["e", "e"], ["y"]), s=ints(HUGE, 1, 2)),
    tile_to_terabytes=lambda: summed(node("Tile", ["z", "s"], ["y"]), s=ints(HUGE, 1)),
    range_of_terabytes=lambda: summed(node("Range", ["a", "b", "c"], ["r"]), node("Cast", ["r"], ["f"], to=1), node("Add", ["z", "f"], ["y"]), a=np.int64(0), b=np.int64(HUGE), c=np.int64(1)),
    range_without_an_end=lambda: summed(node("Range", ["a", "b", "c"], ["r"]), node("Cast", ["r"], ["f"], to=1), node("Add", ["z", "f"], ["y"]), a=np.int64(0), b=np.int64(5), c=np.int64(0)),
    range_of_nan=lambda: summed(node("Range", ["a", "b", "c"], ["f"]), node("Add", ["z", "f"], ["y"]), a=np.float32(0), b=np.float32("nan"), c=np.float32(1)),
    pad_to_terabytes=lambda: summed(node("Pad", ["z", "p"], ["y"]), p=ints(0, 0, 0, HUGE)),
    pad_below_zero=lambda: summed(node("Pad", ["z", "p"], ["y"]), p=ints(0, -99, 0, -99)),
    one_hot_of_terabytes=lambda: summed(node("OneHot", ["i", "d", "v"], ["o"]), node("Mul", ["z", "o"], ["y"]), i=ints(0, 1), d=np.int64(HUGE), v=np.array([0, 1], np.float32)),
    one_hot_below_zero=lambda: summed(node("OneHot", ["i", "d", "v"], ["o"]), node("Mul", ["z", "o"], ["y"]), i=ints(0, 1), d=np.int64(-3), v=np.array([0, 1], np.float32)),
    reshape_to_terabytes=lambda: summed(node("Reshape", ["z", "s"], ["y"]), s=ints(HUGE, 2)),
    reshape_of_two_unknowns=lambda: summed(node("Reshape", ["z", "s"], ["y"]), s=ints(-1, -1)),
    gather_of_terabytes=lambda: summed(shaped()[0], node("Cast", ["c"], ["i"], to=7), node("Gather", ["w", "i"], ["y"]), shape=ints(HUGE)),
    doubled_again_and_again=lambda: summed(*_doubled(60)),
    outer_products_again_and_again=lambda: summed(node("Expand", ["z", "s"], ["e"]), node("MatMul", ["e", "f"], ["a"]), node("Reshape", ["a", "row"], ["b"]), node("Reshape", ["a", "column"], ["d"]), node("Mul", ["b", "d"], ["y"]), s=ints(10**6, 1, 2), f=WEIGHT, row=ints(1, -1), column=ints(-1, 1)),
    split_into_more_than_there_is=lambda: summed(node("Expand", ["z", "t"], ["e"]), node("SplitToSequence", ["e", "n"], ["s"], axis=0), node("ConcatFromSequence", ["s"], ["y"], axis=0), n=ints(3, -4, 99), t=ints(5, 2)),
    split_by_nothing=lambda: summed(node("Expand", ["z", "t"], ["e"]), node("SplitToSequence", ["e", "n"], ["s"], axis=0), node("ConcatFromSequence", ["s"], ["y"], axis=0), n=np.int64(0), t=ints(5, 2)),
    slice_by_nothing=lambda: summed(node("Slice", ["z", "a", "b", "c", "d"], ["y"]), a=ints(0), b=ints(2), c=ints(1), d=ints(0)),
    best_of_terabytes=lambda: summed(node("TopK", ["z", "k"], ["y", "i"]), k=ints(HUGE)),
    window_of_terabytes=lambda: summed(node("Reshape", ["z", "s"], ["r"]), node("AveragePool", ["r"], ["y"], kernel_shape=[HUGE], pads=[HUGE // 2, HUGE // 2]), s=ints(1, 1, 2)),
    window_of_nothing=lambda: summed(node("Reshape", ["z", "s"], ["r"]), node("MaxPool", ["r"], ["y"], kernel_shape=[0]), s=ints(1, 1, 2)),
    step_of_nothing=lambda: summed(node("Reshape", ["z", "s"], ["r"]), node("MaxPool", ["r"], ["y"], kernel_shape=[1], strides=[0]), s=ints(1, 1, 2)),
    convolution_padded_to_terabytes=lambda: summed(node("Reshape", ["z", "s"], ["r"]), node("Conv", ["r", "k"], ["y"], pads=[HUGE, HUGE]), s=ints(1, 1, 2), k=np.ones((1, 1, 2), np.float32)),
    convolution_of_other_channels=lambda: summed(node("Reshape", ["z", "s"], ["r"]), node("Conv", ["r", "k"], ["y"]), s=ints(1, 1, 2), k=np.ones((1, 7, 2), np.float32)),
    recurrence_of_a_huge_state=lambda: summed(node("Reshape", ["z", "s"], ["r"]), node("LSTM", ["r", "k", "k"], ["y"], hidden_size=HUGE), s=ints(1, 1, 2), k=np.ones((1, 4, 2), np.float32)),
    einsum_of_nonsense=lambda: summed(node("Einsum", ["z", "z"], ["y"], equation="(((->")),
    einsum_of_everything=lambda: summed(node("Expand", ["z", "s"], ["e"]), node("Reshape", ["e", "t"], ["v"]), node("Einsum", ["v", "v", "v", "v"], ["y"], equation="a,b,c,d->abcd"), s=ints(10**4, 2), t=ints(-1)),
)  # fmt: skip


# Loops and functions


def body(*nodes: NodeProto, **options: Any) -> GraphProto:
    """i, going, state -> going, state."""
    inputs = [value("i", TensorProto.INT64, []), value("g", TensorProto.BOOL, []), value("s", TensorProto.FLOAT, None)]
    outputs = [value("g2", TensorProto.BOOL, []), value("s2", TensorProto.FLOAT, None)]
    return helper.make_graph(list(nodes), "body", inputs, outputs, **options)


def looped(graph: GraphProto, times: int | None) -> Model:
    """The loop over a body, that many times or for as long as it says."""
    loop = node("Loop", ["" if times is None else "n", "yes", "z"], ["y"], body=graph)
    return summed(loop, n=np.int64(times or 0), yes=np.array(True))


YES = node("Constant", [], ["g2"], value=numpy_helper.from_array(np.array(True)))
KEPT = node("Identity", ["s"], ["s2"])


def nested(depth: int) -> GraphProto:
    """A loop in a loop in a loop."""
    names = [f"{name}{depth}" for name in ("i", "g", "s", "g_out", "s_out")]
    types = [TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT, TensorProto.BOOL, TensorProto.FLOAT]
    values = [value(name, kind, None) for name, kind in zip(names, types, strict=True)]
    state = names[2], names[4]
    inner = node("Identity", [state[0]], [state[1]])
    if depth:
        inner = node("Loop", ["n", "yes", state[0]], [state[1]], body=nested(depth - 1))
    return helper.make_graph([node("Identity", ["yes"], [names[3]]), inner], f"body{depth}", values[:3], values[3:])


def _loop_in_loops() -> Model:
    loop = node("Loop", ["n", "yes", "z"], ["y"], body=nested(4))
    return summed(loop, n=np.int64(1000), yes=np.array(True))


def function(name: str, *nodes: NodeProto) -> onnx.FunctionProto:
    """A function of one input and one output."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    made: onnx.FunctionProto = helper.make_function("mine", name, ["a"], ["b"], list(nodes), opsets)
    return made


def call(name: str, source: str, target: str) -> NodeProto:
    """A node that calls a function."""
    return node(name, [source], [target], domain="mine")


def _billion_laughs() -> Model:
    last = function("F40", node("Tanh", ["a"], ["b"]))
    others = [function(f"F{i}", call(f"F{i + 1}", "a", "c"), call(f"F{i + 1}", "c", "b")) for i in range(40)]
    return summed(call("F0", "z", "y"), functions=[*others, last], domains=["mine"])


def _deep_functions() -> Model:
    others = [function(f"F{i}", call(f"F{i + 1}", "a", "b")) for i in range(3000)]
    return summed(
        call("F0", "z", "y"), functions=[*others, function("F3000", node("Tanh", ["a"], ["b"]))], domains=["mine"]
    )


several(
    loop_without_an_end=lambda: looped(body(YES, KEPT), None),
    loop_that_grows=lambda: looped(body(YES, node("Concat", ["s", "s"], ["s2"], axis=0)), None),
    loop_that_computes_without_an_end=lambda: looped(body(YES, node("Tanh", ["s"], ["s2"])), None),
    loop_of_many_times=lambda: looped(body(YES, KEPT), 2**62),
    loop_of_less_than_none=lambda: looped(body(YES, KEPT), -5),
    loop_in_loops=_loop_in_loops,
    loop_of_no_outputs=lambda: summed(node("Loop", ["n", "yes", "z"], ["y"], body=helper.make_graph([], "b", [], [])), n=np.int64(3), yes=np.array(True)),
    loop_without_a_body=lambda: summed(node("Loop", ["n", "yes", "z"], ["y"]), n=np.int64(3), yes=np.array(True)),
    loop_whose_body_is_a_number=lambda: summed(node("Loop", ["n", "yes", "z"], ["y"], body=3), n=np.int64(3), yes=np.array(True)),
    branch_on_numbers=lambda: summed(node("If", ["z"], ["y"], then_branch=helper.make_graph([], "t", [], [value("z", 1, None)]), else_branch=helper.make_graph([], "e", [], [value("z", 1, None)]))),
    branch_that_is_missing=lambda: summed(node("If", ["yes"], ["y"], then_branch=helper.make_graph([], "t", [], [value("z", 1, None)])), yes=np.array(True)),
    branch_to_nowhere=lambda: summed(node("If", ["yes"], ["y"], then_branch=helper.make_graph([], "t", [], [value("q", 1, None)]), else_branch=helper.make_graph([], "e", [], [value("q", 1, None)])), yes=np.array(True)),
    scan_of_many=lambda: summed(node("Scan", ["z"], ["y"], body=helper.make_graph([KEPT], "b", [value("s", 1, None)], [value("s2", 1, None)]), num_scan_inputs=99)),
    function_that_calls_itself=lambda: summed(call("F", "z", "y"), functions=[function("F", call("F", "a", "b"))], domains=["mine"]),
    functions_that_call_each_other=lambda: summed(call("F", "z", "y"), functions=[function("F", call("G", "a", "b")), function("G", call("F", "a", "b"))], domains=["mine"]),
    function_in_a_branch_that_calls_itself=lambda: summed(call("F", "z", "y"), functions=[function("F", node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True))), node("If", ["c"], ["b"], then_branch=helper.make_graph([call("F", "a", "q")], "t", [], [value("q", 1, None)]), else_branch=helper.make_graph([node("Identity", ["a"], ["r"])], "e", [], [value("r", 1, None)])))], domains=["mine"]),
    billion_laughs=_billion_laughs,
    deep_functions=_deep_functions,
    function_twice=lambda: summed(call("F", "z", "y"), functions=[function("F", node("Tanh", ["a"], ["b"])), function("F", node("Relu", ["a"], ["b"]))], domains=["mine"]),
    function_without_its_output=lambda: summed(call("F", "z", "y"), functions=[function("F", node("Tanh", ["a"], ["c"]))], domains=["mine"]),
    function_of_more_inputs=lambda: summed(node("F", ["z", "z", "w"], ["y"], domain="mine"), functions=[function("F", node("Tanh", ["a"], ["b"]))], domains=["mine"]),
    function_in_place_of_an_operator=lambda: summed(node("Tanh", ["z"], ["y"]), functions=[helper.make_function("", "Tanh", ["a"], ["b"], [node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 20)])]),
)  # fmt: skip


def write(name: str, folder: Path) -> Path:
    """Write a case into a folder of its own."""
    path = folder / "model.onnx"
    made = CASES[name](folder)
    if not path.is_dir():
        path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


def outcome(path: Path) -> tuple[str, str]:
    """The kind of error that recording a model ends with, and what it says."""
    from gradtrace.exporters.recording.onnx_model import OnnxModel
    from gradtrace.queries.errors import GradtraceError

    try:
        loss = OnnxModel(path, torch.float32).record(GIVEN).loss
    except GradtraceError as error:
        return type(error).__name__, str(error)
    except Exception as error:
        return f"{type(error).__module__}.{type(error).__name__}", str(error)
    return "", str(loss)


def main(folder: str, *names: str) -> None:
    """Print the outcome of each case, before it its name: a case that ends the process is known by that."""
    control_flow.MOST_ITERATIONS = 2000  # for the sake of time, and of the machine
    limits.available_memory = lambda: 1 << 30
    for name in names or CASES:
        _say(name)
        (Path(folder) / name / "in").mkdir(parents=True)
        _say(outcome(write(name, Path(folder) / name / "in")))


def _say(what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
