"""The exported ONNX graph, read once."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
import torch
from torch import Tensor

from .. import lowering as _composites  # noqa: F401  registers them
from .. import operators as _primitives  # noqa: F401  registers them
from ..models import ModelError
from ..operators.registry import CROSS_ENTROPY, SUBGRADIENT, facts_of, is_known, variant
from ..tape.token_spans import Axes
from .attention import AttentionPart, attention_roles
from .dataflow import Dataflow
from .functions import inlined
from .loops import ONCE, Repetition, dependencies, repetitions
from .norms import norm_roles
from .values import attribute_of, axes_of_value, constant_of, exact_number, tensor_of, torch_dtype

OLDEST_OPSET = 13  # before it, Softmax and the shape operators mean something else
NEWEST_OPSET = onnx.defs.onnx_opset_version()
STANDARD = ("", "ai.onnx")  # operators of other domains are registered as domain.Operator
SCOPES = "pkg.torch.onnx.name_scopes"
SUBGRADIENT_KEY = f"gradtrace.{SUBGRADIENT}"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class OnnxNode:
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
    nodes: list[OnnxNode]
    constants: dict[str, Tensor]


@dataclass(frozen=True)
class Input:
    """One graph input; an axis is a size, a symbol, or None when nothing is known of it."""

    name: str
    dtype: torch.dtype
    axes: Axes


@dataclass
class OnnxGraph:
    """An ONNX graph ready to run. Parameters and constants are in the recording's dtype."""

    inputs: list[Input]
    nodes: list[OnnxNode]
    parameters: dict[str, Tensor]
    constants: dict[str, Tensor]
    output: str
    axes: dict[str, Axes] = field(default_factory=dict)  # of values, as exported

    def in_dtype(self, dtype: torch.dtype) -> OnnxGraph:
        """The same graph with its numbers in another floating-point type."""
        nodes = [replace(node, attributes=_in_dtype(node.attributes, dtype)) for node in self.nodes]
        inputs = [replace(given, dtype=_in_dtype(given.dtype, dtype)) for given in self.inputs]
        parameters, constants = _in_dtype(self.parameters, dtype), _in_dtype(self.constants, dtype)
        return replace(self, inputs=inputs, nodes=nodes, parameters=parameters, constants=constants)


def _in_dtype(value: Any, dtype: torch.dtype) -> Any:
    """A value of an attribute, or a table of them, with every floating-point type replaced."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, torch.dtype):
        return dtype if value in _FLOATS else value
    if isinstance(value, dict):
        return {name: _in_dtype(each, dtype) for name, each in value.items()}
    if isinstance(value, Body):
        nodes = [replace(node, attributes=_in_dtype(node.attributes, dtype)) for node in value.nodes]
        return replace(value, nodes=nodes, constants=_in_dtype(value.constants, dtype))
    return value


def read_graph(
    model: onnx.ModelProto, dtype: torch.dtype, parameters: list[str] | None = None, base: str = ""
) -> OnnxGraph:
    """Read `model`; `parameters` are the initializers with vertices (default: every floating-point one).

    base: folder of the model file, where external data lies
    Raises ModelError for an operator without a rule, an old opset, or an output that is no floating-point scalar.
    """
    _check_opset(model)
    model = inlined(model)
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
    return OnnxGraph(inputs, nodes, {n: tensors[n] for n in names}, constants, _scalar_output(proto), axes)


def _check_opset(model: onnx.ModelProto) -> None:
    for opset in model.opset_import:
        if opset.domain in STANDARD and opset.version < OLDEST_OPSET:
            raise ModelError(
                f"the model uses opset {opset.version}; at least {OLDEST_OPSET} is wanted. "
                "Convert it with onnx.version_converter.convert_version(model, 20)."
            )
        if opset.domain in STANDARD and opset.version > NEWEST_OPSET:
            raise ModelError(f"the model uses opset {opset.version}; the newest that onnx knows here is {NEWEST_OPSET}")


class _Reader:
    """Reads a graph and its subgraphs. `tensors`: the initializers of all of them, which share one name space."""

    def __init__(self, dtype: torch.dtype, base: str) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._dtype = dtype
        self._base = base
        self._unknown: list[tuple[str, str, str]] = []  # operator, node and module of those without a rule

    def read(self, proto: onnx.GraphProto, module: str = "") -> tuple[list[OnnxNode], dict[str, Tensor]]:
        """The nodes of one graph, and its constants."""
        if proto.sparse_initializer:
            name = proto.sparse_initializer[0].values.name
            raise ModelError(f"initializer {name!r} is sparse; tensors with all of their elements are wanted")
        for initializer in proto.initializer:
            if initializer.name in self.tensors:
                raise ModelError(f"two subgraphs have an initializer {initializer.name!r}; give them different names")
            self.tensors[initializer.name] = tensor_of(initializer, self._dtype, self._base)
        nodes: list[OnnxNode] = []
        constants: dict[str, Tensor] = {}
        modules: list[str] = []
        for node in proto.node:
            module = module_of(node, module)
            modules.append(module)
            if not any(node.output):
                continue  # nobody can read what it computes
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
        return _with_roles(nodes, Dataflow(nodes, {**self.tensors, **constants}, ranks)), constants

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

    def _node(self, node: onnx.NodeProto, module: str) -> OnnxNode:
        op_type = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        attributes = {a.name: self._attribute(a, module) for a in node.attribute}
        exact = {a.name: number for a in node.attribute if (number := exact_number(node, a)) is not None}
        attributes |= exact
        op_type = variant(op_type, attributes.get("reduction", "none"))
        attributes |= _subgradient(node, op_type)
        if not is_known(op_type):
            self._unknown.append((op_type, node.name or node.output[0], module))
        role = "loss" if function_of(node).startswith(CROSS_ENTROPY) else ""
        return OnnxNode(op_type, tuple(node.input), tuple(node.output), attributes, module, role)

    def _attribute(self, attribute: onnx.AttributeProto, module: str) -> Any:
        if attribute.type != onnx.AttributeProto.GRAPH:
            return attribute_of(attribute, self._dtype, self._base)
        nodes, constants = self.read(attribute.g, module)
        inputs, outputs = (tuple(v.name for v in values) for values in (attribute.g.input, attribute.g.output))
        return Body(inputs, outputs, nodes, constants)


def _subgradient(node: onnx.NodeProto, op_type: str) -> dict[str, str]:
    """What the export wrote on a node of torch's subgradient at its kink, as an attribute."""
    written = {p.key: p.value for p in node.metadata_props}.get(SUBGRADIENT_KEY)
    if written is None:
        return {}
    known = facts_of(op_type).kinks
    if written not in known:
        raise ModelError(
            f"node {node.name or node.output[0]!r} has {SUBGRADIENT_KEY} {written!r}; for {op_type} the choices are "
            f"{', '.join(known) or 'none'}. Export the model again."
        )
    return {SUBGRADIENT: written}


def _learned(tensors: Mapping[str, Tensor], nodes: list[OnnxNode]) -> list[str]:
    """Every floating-point initializer but the statistics of batch normalizations."""
    statistics = {name for node in nodes if node.op_type == "BatchNormalization" for name in node.inputs[3:5]}
    return [name for name, t in tensors.items() if t.is_floating_point() and name not in statistics]


def _with_roles(nodes: list[OnnxNode], dataflow: Dataflow) -> list[OnnxNode]:
    """The nodes with their parts in attentions and norms."""
    norms = {i: AttentionPart(role, heads=False) for i, role in norm_roles(dataflow).items()}
    parts = {**norms, **attention_roles(dataflow)}
    return [
        replace(node, role=parts[i].role, heads=parts[i].heads) if i in parts else node for i, node in enumerate(nodes)
    ]


def module_of(node: onnx.NodeProto, before: str) -> str:
    """The module path torch wrote, [..., module, function], or that of a name like /encoder/layer.0/MatMul.

    A node with neither belongs to the module before it.
    """
    path = _scopes(node)
    if path is not None:
        return str(path[-2]) if len(path) > 1 else ""
    if "/" in node.name:
        return ".".join(part for part in node.name.split("/")[:-1] if part)
    return before


def function_of(node: onnx.NodeProto) -> str:
    """What torch calls the function that the node is part of, such as cross_entropy_1; '' where it did not say."""
    path = _scopes(node)
    return str(path[-1]) if path else ""


def _scopes(node: onnx.NodeProto) -> list[object] | None:
    written = next((p.value for p in node.metadata_props if p.key == SCOPES), None)
    if written is None:
        return None
    try:
        path = ast.literal_eval(written)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # torch did not write this
        return []
    return path if isinstance(path, list) else []


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
