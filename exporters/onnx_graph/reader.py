"""The exported ONNX graph, read once and run on the tape sample after sample."""

from __future__ import annotations

import ast
from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import onnx
import onnx.inliner
import torch
from torch import Tensor

from .. import lowering as _composites  # noqa: F401  registers them
from .. import operators as _primitives  # noqa: F401  registers them
from ..models import ModelError, SampleError
from ..operators.registry import PRIMITIVES, is_known, variant
from ..tape.tape import Label, Tape, Value
from ..tape.token_axes import STEP, axis_names
from ..tape.token_spans import Text, symbols
from .attention import Part, attention_axes, attention_roles
from .dataflow import Wiring
from .loops import ONCE, Repetition, dependencies, repetitions
from .norms import norm_roles
from .values import Axes, attribute_of, axes_of_value, constant_of, tensor_of, torch_dtype

OLDEST_OPSET = 13  # before it, Softmax and the shape operators mean something else
STANDARD = ("", "ai.onnx")  # operators of other domains are registered as domain.Operator
SCOPES = "pkg.torch.onnx.name_scopes"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Node:
    """One ONNX operator; an empty input name is an optional input left out. A role is its part in an attention or norm.

    heads: whether an attention it is part of has heads on an axis of their own
    depends: the inputs of its own graph that it depends on
    """

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    module: str
    role: str = ""
    heads: bool = True
    repetition: Repetition = ONCE
    depends: frozenset[str] = frozenset()


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


def run(graph: Graph, tape: Tape, values: dict[str, Value], texts: Sequence[Text] = ()) -> Value:
    """Run every node on the tape; `values` holds parameters and inputs by name. Returns the output, the loss.

    texts: where the sample's tokens lie in the inputs
    """
    for text in texts:
        axes = range(values[text.name].data.dim())
        values[text.name].firsts = tuple(text.first if axis == text.axis else None for axis in axes)
    _name_axes(tape, 0)
    firsts = symbols(texts)
    scope: dict[str, Any] = {**values, **{name: tape.constant(data) for name, data in graph.constants.items()}}
    for node in graph.nodes:
        n_before = len(tape.tensors)
        tape.texts = [text for text in texts if text.name in node.depends]
        outputs = _run_node(tape, node, scope, node.repetition.step(texts))
        for name, value in zip(node.outputs, outputs, strict=False):  # ONNX may leave out trailing outputs
            if isinstance(value, Value):
                if value.tensor is not None and value.tensor >= n_before:
                    tape.tensors[value.tensor].name = name
                if not _is_told(node, scope):
                    _tell(value, graph.axes.get(name, ()), firsts)
        _name_axes(tape, n_before)
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
    labels: dict[str, Any] = {"module": node.module, "role": node.role, "heads": node.heads, "name": name}
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
        depends = dependencies(proto)
        repeated = repetitions(zip(proto.node, modules, strict=True), depends)
        nodes = [
            replace(node, repetition=repeated.get(node.outputs[0], ONCE), depends=depends[node.outputs[0]])
            for node in nodes
        ]
        ranks = {v.name: len(axes) for v in [*proto.input, *proto.value_info] if (axes := axes_of_value(v))}
        return _with_roles(nodes, Wiring(nodes, {**self.tensors, **constants}, ranks)), constants

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
        attributes = {a.name: self._attribute(a, module) for a in node.attribute}
        op_type = variant(op_type, attributes.get("reduction", "none"))
        if not is_known(op_type):
            self._unknown.append((op_type, node.name or node.output[0], module))
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


def _with_roles(nodes: list[Node], wiring: Wiring) -> list[Node]:
    """The nodes with their parts in attentions and norms."""
    norms = {i: Part(role, heads=False) for i, role in norm_roles(wiring).items()}
    parts = {**norms, **attention_roles(wiring)}
    return [
        replace(node, role=parts[i].role, heads=parts[i].heads) if i in parts else node for i, node in enumerate(nodes)
    ]


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


# Axes over tokens


def _is_told(node: Node, scope: Mapping[str, Any]) -> bool:
    """Whether a copy's inputs say all there is to say of its output: an axis turned round has no token in its place."""
    if node.op_type not in PRIMITIVES or PRIMITIVES[node.op_type].kind != "copies":
        return False
    return any(isinstance(scope.get(name), Value) and scope[name].firsts for name in node.inputs)


def _tell(value: Value, axes: Axes, firsts: Mapping[str, int]) -> None:
    """Axes as long as a text by the export's own account run over its tokens, such as the positions 0 to T - 1."""
    if len(axes) == value.data.dim() and any(axis in firsts for axis in axes):
        known = value.firsts or (None,) * len(axes)
        value.firsts = tuple(
            firsts.get(axis) if first is None and isinstance(axis, str) else first
            for axis, first in zip(axes, known, strict=True)
        )


def _name_axes(tape: Tape, start: int) -> None:
    """Name the axes of the tensors from number `start` on."""
    for tensor in tape.tensors[start:]:
        label = Label() if tensor.node is None else tape.calls[tensor.node].label
        firsts = tensor.value.firsts
        names = axis_names(firsts, label.step)
        tensor.axis_names = attention_axes(label.role if label.heads else "", tensor.value.shape, names)
        tensor.first_step = firsts[tensor.axis_names.index(STEP)] if STEP in tensor.axis_names else None
