"""A graph run on the tape, sample after sample."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor

from ...queries.errors import GradtraceError
from .. import lowering as _composites  # noqa: F401  registers them
from .. import operators as _primitives  # noqa: F401  registers them
from ..models import ModelError, SampleError, reason
from ..operators.registry import PRIMITIVES
from ..tape.tape import Label, Tape
from ..tape.token_axes import STEP, axis_names
from ..tape.token_spans import Axes, TokenSpan, symbols
from ..tape.values import Value
from .attention import attention_axes
from .reader import Body, OnnxGraph, OnnxNode


def run(graph: OnnxGraph, tape: Tape, values: dict[str, Value], token_spans: Sequence[TokenSpan] = ()) -> Value:
    """Run every node on the tape; `values` holds parameters and inputs by name. Returns the output, the loss.

    token_spans: where the sample's tokens lie in the inputs
    """
    for span in token_spans:
        axes = range(values[span.name].data.dim())
        values[span.name].token_offsets = tuple(span.first if axis == span.axis else None for axis in axes)
    _name_axes(tape, 0)
    token_offsets = symbols(token_spans)
    scope: dict[str, Any] = {**values, **{name: tape.constant(data) for name, data in graph.constants.items()}}
    for node in graph.nodes:
        n_before = len(tape.tensors)
        tape.token_spans = [span for span in token_spans if span.name in node.depends]
        outputs = _run_node(tape, node, scope, node.repetition.step(token_spans))
        for name, value in zip(node.outputs, outputs, strict=False):  # ONNX may leave out trailing outputs
            if isinstance(value, Value):
                if value.tensor is not None and value.tensor >= n_before:
                    tape.tensors[value.tensor].name = name
                if not _is_told(node, scope):
                    _tell(value, graph.axes.get(name, ()), token_offsets)
        _name_axes(tape, n_before)
    result: Value = _find(scope, graph.output, "the model")
    return result


def _find(scope: Mapping[str, Any], name: str, reader: str) -> Any:
    """A value by its name; the empty name is an input left out."""
    if name and name not in scope:
        raise ModelError(f"{reader} reads {name!r}, which nothing before it computes")
    return scope[name] if name else None


def _run_node(tape: Tape, node: OnnxNode, scope: MutableMapping[str, Any], step: int | None = None) -> list[Any]:
    """Run one node on what it finds in `scope`, and put its outputs there."""
    name = next((output for output in node.outputs if output), "")
    inputs = [_find(scope, read, f"operator {node.op_type} {name!r}") for read in node.inputs]
    attributes = {
        name: partial(_run_body, tape, value, scope) if isinstance(value, Body) else value
        for name, value in node.attributes.items()
    }
    tape.n_outputs = len(node.outputs)
    labels: dict[str, Any] = {"module": node.module, "role": node.role, "heads": node.heads, "name": name}
    if step is not None:
        labels["step"] = step
    with tape.labelled(**labels), _as_sample_error(f"operator {node.op_type} {name!r}"):
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
    return [_find(scope, name, "the end of a subgraph") for name in body.outputs]


@contextmanager
def _as_sample_error(where: str) -> Iterator[None]:
    """What no rule expects of a model that keeps to ONNX, such as a sequence where a tensor is wanted."""
    try:
        yield
    except GradtraceError:
        raise
    except Exception as error:
        raise SampleError(f"{where}: {reason(error)} ({type(error).__name__})") from error


def check_inputs(graph: OnnxGraph, inputs: Mapping[str, Tensor]) -> None:
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


# Axes over tokens


def _is_told(node: OnnxNode, scope: Mapping[str, Any]) -> bool:
    """Whether a copy's inputs say all there is to say of its output: an axis turned round has no token in its place."""
    if node.op_type not in PRIMITIVES or PRIMITIVES[node.op_type].kind != "copies":
        return False
    return any(isinstance(scope.get(name), Value) and scope[name].token_offsets for name in node.inputs)


def _tell(value: Value, axes: Axes, token_offsets: Mapping[str, int]) -> None:
    """Axes as long as a text by the export's own account run over its tokens, such as the positions 0 to T - 1."""
    if len(axes) == value.data.dim() and any(axis in token_offsets for axis in axes):
        known = value.token_offsets or (None,) * len(axes)
        value.token_offsets = tuple(
            token_offsets.get(axis) if first is None and isinstance(axis, str) else first
            for axis, first in zip(axes, known, strict=True)
        )


def _name_axes(tape: Tape, start: int) -> None:
    """Name the axes of the tensors from number `start` on."""
    for tensor in tape.tensors[start:]:
        label = Label() if tensor.node is None else tape.calls[tensor.node].label
        token_offsets = tensor.value.token_offsets
        names = axis_names(token_offsets, label.step)
        tensor.axis_names = attention_axes(label.role if label.heads else "", tensor.value.shape, names)
        tensor.first_step = token_offsets[tensor.axis_names.index(STEP)] if STEP in tensor.axis_names else None
