"""The exported model with each node's component written into it, for Netron and other ONNX tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from ...queries.manifest import replace_file
from ..recording.recorder import Recording

COMPONENT = "gradtrace.component"
_LARGE = 1 << 30  # bytes from which tensors go to a file of their own; protobuf ends at twice that


def annotate(model: onnx.ModelProto, recording: Recording) -> onnx.ModelProto:
    """A copy of `model` whose nodes name their components (a recurrent layer: all of its gates)."""
    components: dict[str, list[str]] = {}
    for call in recording.tape.calls:
        found = components.setdefault(call.label.name, [])
        if call.label.component not in found and call.primitive.kind != "copies":
            found.append(call.label.component)
    annotated = onnx.ModelProto()
    annotated.CopyFrom(model)
    for node in _nodes(annotated.graph):
        names = components.get(next((output for output in node.output if output), ""), [])
        if names:
            node.metadata_props.append(onnx.StringStringEntryProto(key=COMPONENT, value=", ".join(names)))
    return annotated


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of subgraphs included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def save_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a model; a large one keeps its tensors in `PATH.data` beside it."""
    if model.ByteSize() < _LARGE:
        replace_file(path, model.SerializeToString())
        return
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)  # onnx would append to it
    unfinished = path.with_name(f".{path.name}.tmp")
    onnx.save(model, unfinished, save_as_external_data=True, location=data.name)
    unfinished.replace(path)  # the model appears when its data is complete
