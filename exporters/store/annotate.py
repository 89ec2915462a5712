"""The exported model with each node's component written into it, for Netron and other ONNX tools; fit to be shared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import onnx

from ...queries.manifest import replace_file
from ..onnx_graph.loops import STACK_TRACE
from ..onnx_graph.reader import module_of
from ..recording.recorder import Recording
from ..tape.tape import Label

COMPONENT = "gradtrace.component"
_LARGE = 1 << 30  # bytes from which tensors go to a file of their own; protobuf ends at twice that
# folders of files: within quotes, as stack traces have them, with blanks; elsewhere without
_FOLDERS = re.compile(
    r"""(?<=")[^"\n]*[/\\](?=[^"/\\\n]+\.\w+")"""
    r"""|(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\"',:()]+[/\\])+(?=[^\s/\\"',:()]+\.(?:py|ipynb|onnx|pt|pth|safetensors)\b)"""
)


def annotate(model: onnx.ModelProto, recording: Recording) -> onnx.ModelProto:
    """A copy of `model` whose nodes all name their components; it names no folder of this machine and shows no code.

    A node has the components of the operators with edges that it became (a recurrent layer: all of its gates), else
    that of its module.
    """
    components: dict[str, list[str]] = {}
    for call in recording.tape.calls:
        found = components.setdefault(call.label.name, [])
        if call.label.component not in found and call.primitive.kind != "copies":
            found.append(call.label.component)
    annotated = onnx.ModelProto()
    annotated.CopyFrom(model)
    for node, module in _nodes(annotated.graph):
        names = components.get(next((output for output in node.output if output), "")) or [Label(module).component]
        rest = [entry for entry in node.metadata_props if entry.key != COMPONENT]
        del node.metadata_props[:]
        node.metadata_props.extend([*rest, onnx.StringStringEntryProto(key=COMPONENT, value=", ".join(names))])
    _leave_out_folders(annotated)
    return annotated


def _nodes(graph: onnx.GraphProto, module: str = "") -> Iterator[tuple[onnx.NodeProto, str]]:
    """All nodes with their modules, those of subgraphs included."""
    for node in graph.node:
        module = module_of(node, module)
        yield node, module
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g, module)


def _leave_out_folders(model: onnx.ModelProto) -> None:
    """Stack traces name files of the machine that exported the model, and quote them: names and lines are kept."""
    for text in _described(model):
        text.doc_string = _FOLDERS.sub("", text.doc_string)
        for entry in text.metadata_props:
            value = _without_code(entry.value) if entry.key == STACK_TRACE else entry.value
            entry.value = _FOLDERS.sub("", value)


def _without_code(trace: str) -> str:
    """A stack trace with its files and lines, without the code that stands there."""
    return "\n".join(line for line in trace.splitlines() if line.lstrip().startswith('File "'))


def _described(model: onnx.ModelProto) -> Iterator[onnx.ModelProto | onnx.GraphProto | onnx.NodeProto]:
    """Everything in a model that may say where it is from."""
    yield model
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        yield graph
        yield from graph.node
        yield from (value for values in (graph.input, graph.output, graph.value_info) for value in values)
        yield from graph.initializer
        graphs += [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    yield from model.functions


def save_model(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Write a model and return its files: a large one keeps its tensors in `PATH.data` beside it."""
    if model.ByteSize() < _LARGE:
        replace_file(path, model.SerializeToString())
        return [path]
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)  # onnx would append to it
    unfinished = path.with_name(f".{path.name}.tmp")
    onnx.save(model, unfinished, save_as_external_data=True, location=data.name)
    unfinished.replace(path)
    return [path, data]
