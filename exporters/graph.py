"""The exported ONNX graph, read once and run on the tape sample after sample."""

from __future__ import annotations

import ast
from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import onnx
import onnx.inliner
import torch
from torch import Tensor

from exporters import lowering as _composites  # noqa: F401  registers them
from exporters import operators as _primitives  # noqa: F401  registers them
from exporters.attention import attention_axes, attention_roles
from exporters.loops import ONCE, Repetition, repetitions
from exporters.models import ModelError, SampleError
from exporters.onnx_values import Axes, attribute_of, axes_of_value, constant_of, tensor_of, torch_dtype
from exporters.operators.registry import is_known
from exporters.tape import Tape, TapeTensor, Value

OLDEST_OPSET = 13  # before it, Softmax and the shape operators mean something else
STANDARD = ("", "ai.onnx")  # operators of other domains are registered as domain.Operator
SCOPES = "pkg.torch.onnx.name_scopes"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Node:
    """One ONNX operator; an empty input name is an optional input left out. A role is its part in an attention."""

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    module: str
    role: str = ""
    repetition: Repetition = ONCE


@dataclass(frozen=True)
class Body:
    """The subgraph of an If, Loop or Scan; it also reads the values of the graph around it."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: list[Node]
    constants: dict[str, Tensor]


@dataclass(frozen=True)
class Input:
    """One graph input; an axis is a size, a symbol, or None when nothing is known of it."""

    name: str
    dtype: torch.dtype
    axes: Axes


@dataclass
class Graph:
    """An ONNX graph ready to run. Parameters and constants are in the recording's dtype."""

    inputs: list[Input]
    nodes: list[Node]
    parameters: dict[str, Tensor]
    constants: dict[str, Tensor]
    output: str
    axes: dict[str, Axes] = field(default_factory=dict)  # of values, as exported


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
    reader = _Reader(dtype, base)
    nodes, constants = reader.read(proto)
    reader.refuse_unknown()
    tensors = reader.tensors
    names = parameters if parameters is not None else _learned(tensors, nodes)
    constants |= {name: tensor for name, tensor in tensors.items() if name not in set(names)}
    inputs = [
        Input(v.name, torch_dtype(v.type.tensor_type.elem_type, dtype), axes_of_value(v))
        for v in proto.input
        if v.name not in tensors
    ]
    axes = {v.name: axes_of_value(v) for v in [*proto.input, *proto.value_info, *proto.output]}
    return Graph(inputs, nodes, {n: tensors[n] for n in names}, constants, _scalar_output(proto), axes)


def run(graph: Graph, tape: Tape, values: dict[str, Value], step_axes: set[str], n_steps: int = 0) -> Value:
    """Run every node on the tape; `values` holds parameters and inputs by name. Returns the output, the loss.

    step_axes: symbols of the axes along which the tokens lie, to be named 'step'
    n_steps: iterations of an unrolled loop over time; 0 when the export is for any length
    """
    scope: dict[str, Any] = {**values, **{name: tape.constant(data) for name, data in graph.constants.items()}}
    for node in graph.nodes:
        n_before = len(tape.tensors)
        with tape.axes_named(_axes_by_shape(graph, node, scope, step_axes)):
            outputs = _run_node(tape, node, scope, node.repetition.step(n_steps))
        for name, value in zip(node.outputs, outputs, strict=False):  # ONNX may leave out trailing outputs
            if isinstance(value, Value) and value.tensor is not None and value.tensor >= n_before:
                _name_tensor(tape.tensors[value.tensor], name, graph.axes.get(name, ()), step_axes)
        for tensor in tape.tensors[n_before:]:
            role = "" if tensor.node is None else tape.calls[tensor.node].label.role
            tensor.axis_names = attention_axes(role, tensor.value.shape, tensor.axis_names)
    result: Value = scope[graph.output]
    return result


def _run_node(tape: Tape, node: Node, scope: MutableMapping[str, Any], step: int | None = None) -> list[Any]:
    """Run one node on what it finds in `scope`, and put its outputs there."""
    inputs = [scope[name] if name else None for name in node.inputs]
    attributes = {
        name: partial(_run_body, tape, value, scope) if isinstance(value, Body) else value
        for name, value in node.attributes.items()
    }
    tape.n_outputs = len(node.outputs)
    name = next((output for output in node.outputs if output), "")
    labels: dict[str, Any] = {"module": node.module, "role": node.role, "name": name}
    if step is not None:
        labels["step"] = step
    with tape.labelled(**labels):
        result = tape.run(node.op_type, *inputs, **attributes)
    outputs = result if isinstance(result, list) else [result]
    scope.update(zip(node.outputs, outputs, strict=False))
    return outputs


def _run_body(tape: Tape, body: Body, outer: MutableMapping[str, Any], *inputs: Any) -> list[Any]:
    """Run a subgraph once: its outputs. It does not see what other runs of it made."""
    constants = {name: tape.constant(data) for name, data in body.constants.items()}
    scope = ChainMap({**constants, **dict(zip(body.inputs, inputs, strict=True))}, outer)
    with tape.axes_named({}):
        for node in body.nodes:
            _run_node(tape, node, scope)
    return [scope[name] for name in body.outputs]


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


class _Reader:
    """Reads a graph and its subgraphs. `tensors`: the initializers of all of them, which share one name space."""

    def __init__(self, dtype: torch.dtype, base: str) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._dtype = dtype
        self._base = base
        self._unknown: list[tuple[str, str, str]] = []  # operator, node and module of those without a rule

    def read(self, proto: onnx.GraphProto, module: str = "") -> tuple[list[Node], dict[str, Tensor]]:
        """The nodes of one graph, and its constants."""
        for initializer in proto.initializer:
            if initializer.name in self.tensors:
                raise ModelError(f"two subgraphs have an initializer {initializer.name!r}; give them different names")
            self.tensors[initializer.name] = tensor_of(initializer, self._dtype, self._base)
        nodes: list[Node] = []
        constants: dict[str, Tensor] = {}
        modules: list[str] = []
        for node in proto.node:
            module = _module(node, module)
            modules.append(module)
            if node.op_type == "Constant":
                constants[node.output[0]] = constant_of(node, self._dtype, self._base)
            else:
                nodes.append(self._node(node, module))
        repeated = repetitions(zip(proto.node, modules, strict=True))
        nodes = [replace(node, repetition=repeated.get(node.outputs[0], ONCE)) for node in nodes]
        roles = attention_roles(nodes)
        return [_with_role(node, roles[i]) if i in roles else node for i, node in enumerate(nodes)], constants

    def refuse_unknown(self) -> None:
        """Raise ModelError when any operator read has no rule."""
        if not self._unknown:
            return
        op_type, name, module = self._unknown[0]
        others = sorted({unknown[0] for unknown in self._unknown} - {op_type})
        more = f" (also without a rule: {', '.join(others)})" if others else ""
        raise ModelError(
            f"no rule for operator {op_type}: node {name!r} in module {module or '(the model itself)'!r}{more}. "
            "Add one line to the file of its kind in exporters/operators/, or a composite made of primitives to "
            "exporters/lowering/; see 'Adding an operator' in docs/operators.md."
        )

    def _node(self, node: onnx.NodeProto, module: str) -> Node:
        op_type = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        if not is_known(op_type):
            self._unknown.append((op_type, node.name or node.output[0], module))
        attributes = {a.name: self._attribute(a, module) for a in node.attribute}
        return Node(op_type, tuple(node.input), tuple(node.output), attributes, module)

    def _attribute(self, attribute: onnx.AttributeProto, module: str) -> Any:
        if attribute.type != onnx.AttributeProto.GRAPH:
            return attribute_of(attribute, self._dtype, self._base)
        nodes, constants = self.read(attribute.g, module)
        inputs, outputs = (tuple(v.name for v in values) for values in (attribute.g.input, attribute.g.output))
        return Body(inputs, outputs, nodes, constants)


def _learned(tensors: Mapping[str, Tensor], nodes: list[Node]) -> list[str]:
    """Every floating-point initializer but the statistics of batch normalizations."""
    statistics = {name for node in nodes if node.op_type == "BatchNormalization" for name in node.inputs[3:5]}
    return [name for name, t in tensors.items() if t.is_floating_point() and name not in statistics]


def _with_role(node: Node, role: str) -> Node:
    """The node as a part of an attention; Softmax has a role of its own unless it is told another."""
    attributes = {**node.attributes, "role": role} if node.op_type == "Softmax" else node.attributes
    return replace(node, role=role, attributes=attributes)


def _module(node: onnx.NodeProto, before: str) -> str:
    """The module path torch wrote, [..., module, function], or that of a name like /encoder/layer.0/MatMul.

    A node with neither belongs to the module before it.
    """
    scopes = next((p.value for p in node.metadata_props if p.key == SCOPES), None)
    if scopes is not None:
        path = ast.literal_eval(scopes)
        return str(path[-2]) if len(path) > 1 else ""
    if "/" in node.name:
        return ".".join(part for part in node.name.split("/")[:-1] if part)
    return before


def _scalar_output(proto: onnx.GraphProto) -> str:
    scalars = [str(v.name) for v in proto.output if _may_be_scalar(v)]
    if len(scalars) != 1 or len(proto.output) != 1:
        got = ", ".join(f"{v.name} {list(axes_of_value(v))}" for v in proto.output)
        raise ModelError(
            f"the model has the output {got}; one floating-point scalar is wanted, such as a loss. "
            "Export the model together with its loss."
        )
    return scalars[0]


def _may_be_scalar(value: onnx.ValueInfoProto) -> bool:
    is_float = torch_dtype(value.type.tensor_type.elem_type, torch.float32) in _FLOATS
    return is_float and all(axis == 1 or isinstance(axis, str) for axis in axes_of_value(value))


# Names


def _name_tensor(tensor: TapeTensor, name: str, axes: Axes, step_axes: set[str]) -> None:
    tensor.name = name
    if len(axes) == len(tensor.value.shape):
        tensor.axis_names = _names(axes, step_axes)


def _axes_by_shape(
    graph: Graph, node: Node, scope: Mapping[str, Any], step_axes: set[str]
) -> dict[tuple[int, ...], list[str | None]]:
    """What a composite makes on the way in the shape of an input has that input's axes, if no other input disagrees."""
    found: dict[tuple[int, ...], list[str | None]] = {}
    ambiguous = set()
    for name in node.inputs:
        value = scope.get(name)
        if isinstance(value, Value) and name in graph.axes:
            shape, names = tuple(value.shape), _names(graph.axes[name], step_axes)
            if found.setdefault(shape, names) != names:
                ambiguous.add(shape)
    return {shape: names for shape, names in found.items() if shape not in ambiguous}


def _names(axes: Axes, step_axes: set[str]) -> list[str | None]:
    return ["step" if axis in step_axes else None for axis in axes]
