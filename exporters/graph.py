"""The exported ONNX graph, read once and run on the tape sample after sample."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import torch
from onnx import numpy_helper
from torch import Tensor

from exporters import lowering as _composites  # noqa: F401  registers them
from exporters import operators as _primitives  # noqa: F401  registers them
from exporters.models import ModelError, SampleError
from exporters.operators.registry import is_known
from exporters.tape import Tape, TapeTensor, Value

OLDEST_OPSET = 13  # before it, Softmax and the shape operators mean something else
SCOPES = "pkg.torch.onnx.name_scopes"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Node:
    """One ONNX operator; an empty input name is an optional input left out."""

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    module: str


@dataclass(frozen=True)
class Input:
    """One graph input; an axis is a size, a symbol, or None when nothing is known of it."""

    name: str
    dtype: torch.dtype
    axes: tuple[int | str | None, ...]


@dataclass
class Graph:
    """An ONNX graph ready to run. Parameters and constants are in the recording's dtype."""

    inputs: list[Input]
    nodes: list[Node]
    parameters: dict[str, Tensor]
    constants: dict[str, Tensor]
    output: str
    axes: dict[str, tuple[int | str | None, ...]] = field(default_factory=dict)  # of values, as exported


def read_graph(
    model: onnx.ModelProto, dtype: torch.dtype, parameters: list[str] | None = None, base: str = ""
) -> Graph:
    """Read `model`; `parameters` are the initializers with vertices (default: every floating-point one).

    base: folder of the model file, where external data lies
    Raises ModelError for an operator without a rule, an old opset, or an output that is no floating-point scalar.
    """
    _check_opset(model)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    proto = model.graph
    tensors = {t.name: _tensor(t, dtype, base) for t in proto.initializer}
    names = [n for n, t in tensors.items() if t.is_floating_point()] if parameters is None else parameters
    constants = {name: tensor for name, tensor in tensors.items() if name not in set(names)}
    nodes = []
    module = ""
    for node in proto.node:
        module = _module(node) if any(p.key == SCOPES for p in node.metadata_props) else module
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant(node, dtype, base)
        else:
            attributes = {a.name: _attribute(a, dtype, base) for a in node.attribute}
            nodes.append(Node(node.op_type, tuple(node.input), tuple(node.output), attributes, module))
    _check_operators(proto, nodes)
    inputs = [_input(v, dtype) for v in proto.input if v.name not in tensors]
    axes = {v.name: _axes(v) for v in [*proto.input, *proto.value_info, *proto.output]}
    return Graph(inputs, nodes, {n: tensors[n] for n in names}, constants, _scalar_output(proto), axes)


def run(graph: Graph, tape: Tape, values: dict[str, Value], step_axes: set[str]) -> Value:
    """Run every node on the tape; `values` holds parameters and inputs by name. Returns the output, the loss.

    step_axes: symbols of the axes along which the tokens lie, to be named 'step'
    """
    values = {**values, **{name: tape.constant(data) for name, data in graph.constants.items()}}
    for node in graph.nodes:
        n_before = len(tape.tensors)
        inputs = [values[name] if name else None for name in node.inputs]
        tape.n_outputs = len(node.outputs)
        names = _axes_by_shape(graph, node, inputs, step_axes)
        with tape.labelled(module=node.module, name=node.outputs[0]), tape.axes_named(names):
            result = tape.run(node.op_type, *inputs, **node.attributes)
        outputs = result if isinstance(result, list) else [result]
        for name, value in zip(node.outputs, outputs, strict=False):  # ONNX may leave out trailing outputs
            values[name] = value
            if isinstance(value, Value) and value.tensor is not None and value.tensor >= n_before:
                _name_tensor(tape.tensors[value.tensor], name, graph.axes.get(name, ()), step_axes)
    return values[graph.output]


def check_inputs(graph: Graph, inputs: Mapping[str, Tensor]) -> None:
    """Raise SampleError when a sample's inputs do not fit the graph's by name, dtype or size."""
    wanted = {i.name: i for i in graph.inputs}
    if set(inputs) != set(wanted):
        raise SampleError(f"the sample has inputs {sorted(inputs)}, the model wants {sorted(wanted)}")
    for name, tensor in inputs.items():
        spec = wanted[name]
        shape = tuple(tensor.shape)
        if len(shape) != len(spec.axes) or any(
            isinstance(axis, int) and axis != size for axis, size in zip(spec.axes, shape, strict=True)
        ):
            raise SampleError(f"input {name!r} has shape {shape}, the model wants {list(spec.axes)}")
        if tensor.is_floating_point() != spec.dtype.is_floating_point:
            raise SampleError(f"input {name!r} is {tensor.dtype}, the model wants {spec.dtype}")


# Reading


def _check_opset(model: onnx.ModelProto) -> None:
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version < OLDEST_OPSET:
            raise ModelError(
                f"the model uses opset {opset.version}; at least {OLDEST_OPSET} is wanted. "
                "Convert it with onnx.version_converter.convert_version(model, 20)."
            )


def _check_operators(proto: onnx.GraphProto, nodes: list[Node]) -> None:
    unknown = [node for node in nodes if not is_known(node.op_type)]
    if not unknown:
        return
    node = unknown[0]
    name = next((n.name for n in proto.node if node.outputs[0] in n.output), "") or node.outputs[0]
    others = sorted({n.op_type for n in unknown} - {node.op_type})
    more = f" (also without a rule: {', '.join(others)})" if others else ""
    raise ModelError(
        f"no rule for operator {node.op_type}: node {name!r} in module {node.module or '(the model itself)'!r}{more}. "
        "Add one line to the file of its kind in exporters/operators/, or a composite made of primitives to "
        "exporters/lowering/; see 'Adding an operator' in docs/operators.md."
    )


def _module(node: onnx.NodeProto) -> str:
    """The module path torch wrote: [..., module, function]."""
    scopes = next((p.value for p in node.metadata_props if p.key == SCOPES), "[]")
    path = ast.literal_eval(scopes)
    return str(path[-2]) if len(path) > 1 else ""


def _tensor(proto: onnx.TensorProto, dtype: torch.dtype, base: str) -> Tensor:
    array = numpy_helper.to_array(proto, base)
    if array.dtype.kind not in "fiub":  # bfloat16 and the like
        array = array.astype(np.float32)
    tensor = torch.from_numpy(np.array(array))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _constant(node: onnx.NodeProto, dtype: torch.dtype, base: str) -> Tensor:
    attribute = node.attribute[0]
    value = _attribute(attribute, dtype, base)
    if isinstance(value, Tensor):
        return value
    return torch.tensor(value, dtype=dtype if attribute.name.startswith("value_float") else torch.int64)


def _attribute(attribute: onnx.AttributeProto, dtype: torch.dtype, base: str) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name in ("to", "dtype"):
        return _torch_dtype(value, dtype)
    if attribute.type == onnx.AttributeProto.TENSOR:
        return _tensor(value, dtype, base)
    if attribute.type == onnx.AttributeProto.STRING:
        return bytes(value).decode()
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [v.decode() for v in value]
    return list(value) if isinstance(value, (list, tuple)) or attribute.type >= onnx.AttributeProto.FLOATS else value


def _torch_dtype(onnx_type: int, dtype: torch.dtype) -> torch.dtype:
    """Every floating type becomes the recording's, so that float64 stays exact through casts."""
    array = np.empty(0, dtype=onnx.helper.tensor_dtype_to_np_dtype(onnx_type))
    if array.dtype.kind not in "iub":
        return dtype
    return torch.from_numpy(array).dtype


def _input(value: onnx.ValueInfoProto, dtype: torch.dtype) -> Input:
    return Input(value.name, _torch_dtype(value.type.tensor_type.elem_type, dtype), _axes(value))


def _axes(value: onnx.ValueInfoProto) -> tuple[int | str | None, ...]:
    return tuple(
        d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in value.type.tensor_type.shape.dim
    )


def _scalar_output(proto: onnx.GraphProto) -> str:
    scalars = [str(v.name) for v in proto.output if _may_be_scalar(v)]
    if len(scalars) != 1 or len(proto.output) != 1:
        got = ", ".join(f"{v.name} {list(_axes(v))}" for v in proto.output)
        raise ModelError(
            f"the model has the output {got}; one floating-point scalar is wanted, such as a loss. "
            "Export the model together with its loss."
        )
    return scalars[0]


def _may_be_scalar(value: onnx.ValueInfoProto) -> bool:
    is_float = _torch_dtype(value.type.tensor_type.elem_type, torch.float32) in _FLOATS
    return is_float and all(axis == 1 or isinstance(axis, str) for axis in _axes(value))


# Names


def _name_tensor(tensor: TapeTensor, name: str, axes: tuple[int | str | None, ...], step_axes: set[str]) -> None:
    tensor.name = name
    if len(axes) == len(tensor.value.shape):
        tensor.axis_names = _names(axes, step_axes)


def _axes_by_shape(
    graph: Graph, node: Node, inputs: list[Value | None], step_axes: set[str]
) -> dict[tuple[int, ...], list[str | None]]:
    """What a composite makes on the way in the shape of an input has that input's axes, if no other input disagrees."""
    found: dict[tuple[int, ...], list[str | None]] = {}
    ambiguous = set()
    for name, value in zip(node.inputs, inputs, strict=True):
        if isinstance(value, Value) and name in graph.axes:
            shape, names = tuple(value.shape), _names(graph.axes[name], step_axes)
            if found.setdefault(shape, names) != names:
                ambiguous.add(shape)
    return {shape: names for shape, names in found.items() if shape not in ambiguous}


def _names(axes: tuple[int | str | None, ...], step_axes: set[str]) -> list[str | None]:
    return ["step" if axis in step_axes else None for axis in axes]
