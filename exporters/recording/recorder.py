"""Recording: a forward and a backward pass on one sample, every value and every gradient kept."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...queries.errors import nearest
from ..kernels.cpu import CPU
from ..kernels.interface import Kernels
from ..models import ModelError
from ..onnx_graph.reader import OnnxGraph
from ..onnx_graph.run import check_inputs, run
from ..tape.parameter_vertices import ParameterVertices
from ..tape.plan import Plan, Plans
from ..tape.tape import Tape
from ..tape.token_spans import find_token_spans
from ..tape.values import TapeTensor, Value

Floats = NDArray[Any]
T = TypeVar("T")
ParameterGradients = bool | Collection[str]
_ALIGNED = 64  # bytes
NO_TOKENS: Mapping[str, int] = {}


@dataclass
class Recording:
    """One sample's lowered graph with all values and gradients.

    V vertices, of which the first `n_parameters` are elements of parameters
    gradients: V, in the recording's dtype; those of parameters are 0 unless the recording `has_parameter_gradients`
    parameter_vertices: what its recorder knows of the parameters' vertices
    kernels: the implementation that works on it
    aliases: further names of tied parameters
    """

    tape: Tape
    loss: float
    loss_vertex: int
    n_parameters: int
    gradients: Floats
    has_parameter_gradients: bool
    parameter_vertices: ParameterVertices
    kernels: Kernels = CPU
    aliases: Mapping[str, list[str]] = field(default_factory=dict)

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

    def value(self, name: str) -> Floats:
        """The values of a tensor, in its shape. `name`: as in the state_dict, or of an operator's output in the export.

        Raises ModelError, naming the nearest tensors, when no tensor with vertices has that name.
        """
        tensor = self._tensor(name)
        found: Floats = tensor.value.data.detach().numpy()
        return found

    def gradient(self, name: str) -> Floats:
        """The gradients of the loss with respect to a tensor, in its shape. See `value` for names and errors."""
        tensor = self._tensor(name)
        if tensor.kind == "parameter" and not self.has_parameter_gradients:
            raise ModelError(f"{name} is a parameter, and this recording was made without parameters' gradients")
        return self.gradients[tensor.vertices].reshape(tuple(tensor.value.shape))

    def _tensor(self, name: str) -> TapeTensor:
        tensors = {tensor.name: tensor for _, tensor in self.vertex_tensors()}
        tensors |= {alias: tensors[own] for own, others in self.aliases.items() for alias in others if own in tensors}
        if name not in tensors:
            raise ModelError(
                f"the recording has no tensor {name!r}, as for one that the loss does not depend on."
                f"{nearest(name, list(tensors))}"
            )
        return tensors[name]

    def are_parameters(self, vertices: Tensor) -> bool:
        """Whether every element is a parameter, none a constant or an activation."""
        if self.parameter_vertices.holds(vertices) or vertices.numel() == 0:
            return True
        return int(vertices.min()) >= 0 and int(vertices.max()) < self.n_parameters

    def leave_out_parameter_gradients(self) -> None:
        """Become the recording that is made without them."""
        gradients = _zeros(self.n_vertices, self.gradients.dtype)
        gradients[self.n_parameters :] = self.gradients[self.n_parameters :]
        self.gradients, self.has_parameter_gradients = gradients, False

    def is_finite(self) -> bool:
        """Whether the loss and every gradient is a finite number."""
        return bool(np.isfinite(self.loss) and np.isfinite(self.gradients).all())


def _zeros(n: int, dtype: np.dtype[Any]) -> Floats:
    """Zeros that are not written before they are used, and begin where torch's tensors do: where numbers lie in memory
    decides the last bits of a matrix product.
    """
    raw = np.zeros(n * dtype.itemsize + _ALIGNED, np.uint8)
    start = -raw.ctypes.data % _ALIGNED
    return raw[start : start + n * dtype.itemsize].view(dtype)


def _values(tensors: list[TapeTensor]) -> Floats:
    values: Floats = torch.cat([t.value.data.detach().reshape(-1) for t in tensors]).numpy()
    return values


def _shapes(graph: OnnxGraph) -> list[tuple[str, torch.Size]]:
    return [(name, data.shape) for name, data in graph.parameters.items()]


class Recorder:
    """Records samples of one graph; the parameters and their vertices are shared by all recordings."""

    parameter_vertices: ParameterVertices
    _parameters: dict[str, tuple[Tensor, Tensor]]

    def __init__(
        self,
        graph: OnnxGraph,
        dtype: torch.dtype,
        other: Recorder | None = None,
        input_names: Mapping[str, str] | None = None,
    ) -> None:
        """other: of the same model, exported for another size: its parameters are shared, not held again.

        The graph's parameters are taken over, not copied.
        input_names: what the graph calls inputs that have another name in the samples
        """
        self._input_names = dict(input_names or {})
        self._plans = Plans()
        self.graph = graph
        self.dtype = dtype
        if other is not None and other.dtype == dtype and _shapes(other.graph) == _shapes(graph):
            graph.parameters = other.graph.parameters
            self._parameters, self.parameter_vertices = other._parameters, other.parameter_vertices
            return
        self._parameters = {}
        n = sum(data.numel() for data in graph.parameters.values())
        alike = other is not None and other.parameter_vertices.n == n
        self.parameter_vertices = ParameterVertices(n, other.parameter_vertices.vertices if alike and other else None)
        first = 0
        for name, data in graph.parameters.items():
            vertices = self.parameter_vertices.vertices[first : first + data.numel()].reshape(data.shape)
            graph.parameters[name] = data.detach().requires_grad_()
            self._parameters[name] = (graph.parameters[name], vertices)
            first += data.numel()

    def in_dtype(self, dtype: torch.dtype) -> Recorder:
        """A recorder of the same graph that computes in another floating-point type."""
        return Recorder(self.graph.in_dtype(dtype), dtype, None if dtype == self.dtype else self, self._input_names)

    def perturbed(self, size: float) -> Recorder:
        """A recorder of the same graph whose parameters are off by up to a fraction `size` of themselves, evenly."""
        graph = self.graph.in_dtype(self.dtype)
        graph.parameters = {name: data.detach().clone() for name, data in graph.parameters.items()}
        other = Recorder(graph, self.dtype, None, self._input_names)
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for data, _ in other._parameters.values():
                data.mul_(1 + size * (2 * torch.rand(data.shape, generator=random, dtype=self.dtype) - 1))
        return other

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the parameters and buffers that are among `weights`, by name."""
        self.parameter_vertices.facts.clear()
        self._plans.clear()
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
        parameter_gradients: ParameterGradients = True,
    ) -> Recording:
        """Run one sample forward and backward; those of a graph that is known are replayed.

        n_tokens, first_token: the tokens of the sample, and with which one each input begins (see `find_token_spans`)
        parameter_gradients: whether the recording has them, or of which parameters; the sum over all uses of a weight
            is most of the work
        Raises SampleError when the sample does not fit, ModelError when the loss depends on no parameter.
        """
        inputs, first_token = self._named(inputs), self._named(first_token)
        check_inputs(self.graph, inputs)
        inputs = {
            name: data.detach().to(self.dtype).requires_grad_() if data.is_floating_point() else data
            for name, data in inputs.items()
        }
        key = tuple((n, x.dtype, tuple(x.shape)) for n, x in inputs.items()), n_tokens, tuple(first_token.items())
        n_parameters = self.parameter_vertices.n
        for plan in self._plans.of(key):
            tape = plan.run({**{name: data for name, (data, _) in self._parameters.items()}, **inputs})
            if tape is not None:
                self._plans.used(key, plan)
                return self._finish(tape, tape.log.values[plan.output], n_parameters, parameter_gradients)
        return self._record_afresh(inputs, n_tokens, first_token, key, parameter_gradients)

    def _record_afresh(
        self,
        inputs: Mapping[str, Tensor],
        n_tokens: int,
        first_token: Mapping[str, int],
        key: Hashable,
        parameter_gradients: ParameterGradients,
    ) -> Recording:
        """Record a sample by the rules, and plan for others like it."""
        tape = Tape(self.dtype, self.parameter_vertices)
        values = {n: tape.leaf(n, "parameter", data, ids) for n, (data, ids) in self._parameters.items()}
        for name, data in inputs.items():
            values[name] = tape.leaf(name, "input", data) if data.is_floating_point() else tape.given(data)
        leaves, n_parameters = dict(values), self.parameter_vertices.n
        declared = {spec.name: spec.axes for spec in self.graph.inputs}
        shapes = {name: tuple(data.shape) for name, data in inputs.items()}
        output = run(self.graph, tape, values, find_token_spans(declared, shapes, n_tokens, first_token))
        recording = self._finish(tape, output, n_parameters, parameter_gradients)
        self._plans.add(key, Plan(tape, leaves, output))
        return recording

    def _named(self, given: Mapping[str, T]) -> dict[str, T]:
        return {self._input_names.get(name, name): value for name, value in given.items()}

    def _finish(
        self, tape: Tape, output: Value, n_parameters: int, parameter_gradients: ParameterGradients = True
    ) -> Recording:
        if output.data.numel() != 1:
            raise ModelError(f"the model's output has shape {tuple(output.shape)}; one scalar is wanted")
        if output.vertices is None or int(output.vertices) < n_parameters:
            raise ModelError("the model's output does not depend on its parameters through any operator")
        loss_vertex = int(output.vertices)
        tensors = [t for t in tape.tensors if t.first_vertex is not None and _is_asked(t, parameter_gradients)]
        found = list(
            torch.autograd.grad(
                output.data.reshape(()), [t.value.data for t in tensors], allow_unused=True, materialize_grads=True
            )
        )
        gradients = torch.from_numpy(_zeros(tape.n_vertices, torch.empty(0, dtype=tape.dtype).numpy().dtype))
        n = sum(t.kind == "parameter" for t in tensors)
        for i, tensor in enumerate(tensors[:n]):  # one after the other is given back: all are as large as the model
            gradients[tensor.vertices] = found[i].reshape(-1)
            found[i] = gradients[:0]
        torch.cat([g.reshape(-1) for g in found[n:]], out=gradients[n_parameters:])
        for tensor in tensors:
            if tensor.size == 1 and tensor.first_vertex == loss_vertex:
                tensor.kind = "loss"
        loss = float(output.data.detach())
        known = parameter_gradients is True
        return Recording(tape, loss, loss_vertex, n_parameters, gradients.numpy(), known, self.parameter_vertices)


def _is_asked(tensor: TapeTensor, parameter_gradients: ParameterGradients) -> bool:
    if tensor.kind != "parameter" or isinstance(parameter_gradients, bool):
        return tensor.kind != "parameter" or parameter_gradients is True
    return tensor.name in parameter_gradients
