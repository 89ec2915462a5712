"""Recording: a forward and a backward pass on one sample, every value and every gradient kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..kernels.cpu import CPU
from ..kernels.interface import Kernels
from ..models import ExportDifferenceError, ModelError
from ..onnx_graph.reader import Graph, check_inputs, run
from ..tape.parameter_vertices import Kept
from ..tape.tape import Tape, TapeTensor, Value
from ..tape.token_spans import find_texts

Floats = NDArray[Any]
NO_TOKENS: Mapping[str, int] = {}


@dataclass
class Recording:
    """One sample's lowered graph with all values and gradients.

    V vertices, of which the first `n_parameters` are elements of parameters
    gradients: V, in the recording's dtype; those of parameters are 0 unless the recording `has_parameter_gradients`
    kept: what its recorder knows of the parameters' vertices
    kernels: the implementation that works on it
    """

    tape: Tape
    loss: float
    loss_vertex: int
    n_parameters: int
    gradients: Floats
    has_parameter_gradients: bool
    kept: Kept
    kernels: Kernels = CPU

    @property
    def n_vertices(self) -> int:
        return self.tape.n_vertices

    @cached_property
    def values(self) -> Floats:
        """The value of every vertex: V, in the recording's dtype."""
        return _values([t for _, t in self.vertex_tensors()])

    @cached_property
    def activation_values(self) -> Floats:
        """The values of the vertices behind those of the parameters."""
        return _values([t for _, t in self.vertex_tensors() if t.kind != "parameter"])

    def vertex_tensors(self) -> list[tuple[int, TapeTensor]]:
        """The tensors whose elements are vertices, by number, in the order of their vertices."""
        return [(i, t) for i, t in enumerate(self.tape.tensors) if t.first_vertex is not None]

    def are_parameters(self, vertices: Tensor) -> bool:
        """Whether every element is a parameter, none a constant or an activation."""
        if self.kept.holds(vertices) or vertices.numel() == 0:
            return True
        return int(vertices.min()) >= 0 and int(vertices.max()) < self.n_parameters

    def leave_out_parameter_gradients(self) -> None:
        """Become the recording that is made without them."""
        gradients = np.zeros(self.n_vertices, self.gradients.dtype)  # not written before they are used
        gradients[self.n_parameters :] = self.gradients[self.n_parameters :]
        self.gradients, self.has_parameter_gradients = gradients, False

    def is_finite(self) -> bool:
        """Whether the loss and every gradient is a finite number."""
        return bool(np.isfinite(self.loss) and np.isfinite(self.gradients).all())


def _values(tensors: list[TapeTensor]) -> Floats:
    values: Floats = torch.cat([t.value.data.detach().reshape(-1) for t in tensors]).numpy()
    return values


def _shapes(graph: Graph) -> list[tuple[str, torch.Size]]:
    return [(name, data.shape) for name, data in graph.parameters.items()]


class Recorder:
    """Records samples of one graph; the parameters and their vertices are shared by all recordings."""

    kept: Kept
    _parameters: dict[str, tuple[Tensor, Tensor]]

    def __init__(self, graph: Graph, dtype: torch.dtype, other: Recorder | None = None) -> None:
        """other: of the same model, exported for another size: its parameters are shared, not held again."""
        self.graph = graph
        self.dtype = dtype
        if other is not None and _shapes(other.graph) == _shapes(graph):
            graph.parameters = other.graph.parameters
            self._parameters, self.kept = other._parameters, other.kept
            return
        self._parameters = {}
        self.kept = Kept(sum(data.numel() for data in graph.parameters.values()))
        first = 0
        for name, data in graph.parameters.items():
            vertices = self.kept.vertices[first : first + data.numel()].reshape(data.shape)
            graph.parameters[name] = data.detach().clone().requires_grad_()
            self._parameters[name] = (graph.parameters[name], vertices)
            first += data.numel()

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the parameters and buffers that are among `weights`, by name."""
        self.kept.facts.clear()
        with torch.no_grad():
            for name, (data, _) in self._parameters.items():
                data.copy_(weights[name])
            for name in self.graph.constants.keys() & weights.keys():
                self.graph.constants[name].copy_(weights[name])

    def record(
        self,
        inputs: Mapping[str, Tensor],
        n_tokens: int = 0,
        first_token: Mapping[str, int] = NO_TOKENS,
        *,
        parameter_gradients: bool = True,
    ) -> Recording:
        """Run one sample forward and backward.

        n_tokens, first_token: the tokens of the sample, and with which one each input begins (see `find_texts`)
        parameter_gradients: whether the recording has them; the sum over all uses of a weight is most of the work
        Raises SampleError when the sample does not fit, ModelError when the loss depends on no parameter.
        """
        check_inputs(self.graph, inputs)
        tape = Tape(self.dtype, self.kept)
        values = {n: tape.leaf(n, "parameter", data, ids) for n, (data, ids) in self._parameters.items()}
        n_parameters = tape.n_vertices
        for name, data in inputs.items():
            if data.is_floating_point():
                values[name] = tape.leaf(name, "input", data.detach().to(self.dtype).requires_grad_())
            else:
                values[name] = Value(data)
        declared = {spec.name: spec.axes for spec in self.graph.inputs}
        shapes = {name: tuple(data.shape) for name, data in inputs.items()}
        output = run(self.graph, tape, values, find_texts(declared, shapes, n_tokens, first_token))
        return self._finish(tape, output, n_parameters, parameter_gradients)

    def _finish(self, tape: Tape, output: Value, n_parameters: int, parameter_gradients: bool = True) -> Recording:
        if output.data.numel() != 1:
            raise ModelError(f"the model's output has shape {tuple(output.shape)}; one scalar is wanted")
        if output.vertices is None or int(output.vertices) < n_parameters:
            raise ModelError("the model's output does not depend on its parameters through any operator")
        loss_vertex = int(output.vertices)
        tensors = [
            t for t in tape.tensors if t.first_vertex is not None and (parameter_gradients or t.kind != "parameter")
        ]
        found = torch.autograd.grad(
            output.data.reshape(()), [t.value.data for t in tensors], allow_unused=True, materialize_grads=True
        )
        # numpy's zeros are not written before they are used
        gradients = torch.from_numpy(np.zeros(tape.n_vertices, torch.empty(0, dtype=tape.dtype).numpy().dtype))
        torch.cat([g.reshape(-1) for g in found], out=gradients[0 if parameter_gradients else n_parameters :])
        for tensor in tensors:
            if tensor.size == 1 and tensor.first_vertex == loss_vertex:
                tensor.kind = "loss"
        loss = float(output.data.detach())
        return Recording(tape, loss, loss_vertex, n_parameters, gradients.numpy(), parameter_gradients, self.kept)


def fingerprint(tape: Tape) -> str:
    """What makes two samples' graphs the same: operators, attributes, wiring, shapes and labels; no data."""
    digest = hashlib.sha256()
    for call in tape.calls:
        wires = tuple(None if x is None else (x.tensor, tuple(x.shape)) for x in call.inputs)
        digest.update(
            repr(
                (call.primitive.name, sorted(call.attributes.items()), wires, tuple(call.output.shape), call.label)
            ).encode()
        )
    for tensor in tape.tensors:
        labels = (tensor.name, tensor.kind, tensor.first_vertex, tensor.axis_names, tensor.first_step)
        digest.update(repr(labels).encode())
    return digest.hexdigest()[:32]


def compare_gradients(recording: Recording, loss: float, gradients: Mapping[str, Tensor], tolerance: float) -> None:
    """Raise ExportDifferenceError when the export's loss or a parameter's gradient differs from torch's own.

    tolerance: largest |difference| over the largest |gradient| of that parameter (loss: over |loss| or 1). A parameter
        whose gradients are a thousand times smaller than the largest of all is measured against that thousandth.
    """
    largest = max((float(g.abs().max()) for g in gradients.values() if g.numel()), default=0.0)
    compare_loss(recording, loss, tolerance)
    _check_complete(recording, gradients)
    for tensor in recording.tape.tensors:
        if tensor.kind != "parameter" or tensor.first_vertex is None:
            continue
        found = recording.gradients[tensor.first_vertex : tensor.first_vertex + tensor.size]
        wanted = gradients[tensor.name].detach().reshape(-1).to(torch.float64).numpy()
        difference, scale = float(np.abs(found - wanted).max()), float(np.abs(wanted).max())
        if not difference <= tolerance * max(scale, 1e-3 * largest):
            raise ExportDifferenceError(
                f"the gradient of {tensor.name} differs from torch's by up to {difference:.3g} "
                f"(its largest gradient is {scale:.3g})"
            )


def _check_complete(recording: Recording, gradients: Mapping[str, Tensor]) -> None:
    """Raise ExportDifferenceError when a parameter that has a gradient in torch is not in the exported graph at all."""
    exported = {tensor.name for tensor in recording.tape.tensors if tensor.kind == "parameter"}
    for name, gradient in gradients.items():
        if name not in exported and bool(gradient.any()):
            raise ExportDifferenceError(
                f"{name} has a gradient of up to {float(gradient.abs().max()):.3g} in torch and is not in it"
            )


def compare_loss(recording: Recording, loss: float, tolerance: float) -> None:
    """Raise ExportDifferenceError when the losses differ by more than `tolerance`, over torch's |loss| or 1."""
    if not abs(recording.loss - loss) <= tolerance * max(1.0, abs(loss)):
        raise ExportDifferenceError(f"the loss is {recording.loss:.9g}, torch's is {loss:.9g}")
