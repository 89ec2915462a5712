"""A model ready to record samples of any shape: exported when a shape needs it, every export checked against torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from torch import Tensor, nn

from ..models import ExportDifferenceError, ModelError, SampleError
from ..onnx_graph.reader import OnnxGraph, read_graph
from ..torch_export.custom_gradients import refuse_parameter_hooks
from ..torch_export.export import Exported, export, for_tracing
from .comparison import difference, loss_agrees
from .diagnosis import first_difference
from .fingerprint import model_fingerprint
from .recorder import NO_TOKENS, Recorder, Recording
from .torch_reference import Reference, TorchReference

# Which samples' gradients are compared with torch's, beside those at a new shape: all, one in _ONE_IN, none.
Check = Literal["all", "some", "new"]
CHECKS: tuple[Check, ...] = get_args(Check)
SOME: Check = "some"
_ONE_IN = 20

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class Tokens(NamedTuple):
    """How many tokens a sample has, and with which of them each input begins (see Encoded)."""

    number: int
    first: Mapping[str, int]


class TracedModel(Protocol):
    """What a dump needs of a model, whether it came from torch or as a file."""

    name: str
    aliases: dict[str, list[str]]  # other names of tied parameters

    @property
    def model(self) -> onnx.ModelProto:
        """The ONNX model, as first exported."""
        ...

    def record(
        self,
        inputs: Mapping[str, Tensor],
        n_tokens: int = 0,
        first_token: Mapping[str, int] = NO_TOKENS,
        *,
        parameter_gradients: bool = True,
    ) -> Recording:
        """Forward and backward on one sample; SampleError when the sample is at fault, ModelError when the model is.

        parameter_gradients: whether the recording has them
        """
        ...

    def load(self, weights: Mapping[str, Tensor], source: str) -> None:
        """Take other weights; `source` says where they are from. ModelError when they do not fit."""
        ...

    def fingerprint(self) -> str:
        """Changes when the model's operators or any number of its parameters change."""
        ...


class TorchModel:
    """A torch module with its exports: one for all lengths where the model allows it, else one per shape."""

    def __init__(self, module: nn.Module, dtype: torch.dtype, name: str = "model", check: Check = SOME) -> None:
        """check: which samples' gradients are compared with torch's, beside those at a new shape."""
        self.name = name
        self.aliases: dict[str, list[str]] = {}
        refuse_parameter_hooks(module)
        self._reference = TorchReference(for_tracing(module, dtype), dtype)
        self._dtype = dtype
        self._check = check
        self._recorders: list[Recorder] = []
        self._of_shape: dict[Shapes, Recorder] = {}
        self._first: onnx.ModelProto | None = None  # without the numbers of its parameters, which the module has

    @property
    def model(self) -> onnx.ModelProto:
        """See TracedModel."""
        whole = onnx.ModelProto()
        whole.CopyFrom(self._exported)
        state = self._module.state_dict()
        for initializer in whole.graph.initializer:
            if initializer.name in state:
                array = state[initializer.name].detach().numpy()
                initializer.CopyFrom(onnx.numpy_helper.from_array(array, initializer.name))
        return whole

    @property
    def _module(self) -> nn.Module:
        return self._reference.module

    @property
    def _exported(self) -> onnx.ModelProto:
        if self._first is None:
            raise ModelError("the model has not been exported yet: record a sample first")
        return self._first

    def record(
        self,
        inputs: Mapping[str, Tensor],
        n_tokens: int = 0,
        first_token: Mapping[str, int] = NO_TOKENS,
        *,
        parameter_gradients: bool = True,
    ) -> Recording:
        """See TracedModel. Every sample's loss is compared with torch's, gradients as `check` says.

        The first sample of an export that differs is a ModelError, later ones are a SampleError each.
        """
        inputs = {n: x.to(self._dtype) if x.is_floating_point() else x for n, x in inputs.items()}
        shapes: Shapes = tuple((name, tuple(x.shape)) for name, x in inputs.items())
        tokens = Tokens(n_tokens, first_token)
        if shapes not in self._of_shape:
            recording = self._of_new_shape(shapes, inputs, tokens)
        else:
            recording = self._of_known_shape(self._of_shape[shapes], inputs, tokens, parameter_gradients)
        if recording.has_parameter_gradients and not parameter_gradients:  # they were needed for a comparison
            recording.leave_out_parameter_gradients()
        recording.aliases = self.aliases
        return recording

    def load(self, weights: Mapping[str, Tensor], source: str) -> None:
        """See TracedModel. The exports are kept, and compared with torch again at every shape."""
        try:
            self._module.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(f"{source} does not fit the model: {error}") from error
        self._reference.hold_buffers()
        state = self._module.state_dict()
        for recorder in self._recorders:
            recorder.load(state)
        self._of_shape.clear()

    def fingerprint(self) -> str:
        """See TracedModel."""
        return model_fingerprint(self._exported, dict(self._module.state_dict()))

    def _of_known_shape(
        self, recorder: Recorder, inputs: Mapping[str, Tensor], tokens: Tokens, parameter_gradients: bool
    ) -> Recording:
        """A recording whose loss is torch's: ONNX accepts some inputs that torch refuses, such as an index of -1.

        Its gradients are compared when `check` says so, or the losses differ by more than they should.
        """
        if not self._is_checked(inputs):
            recording = recorder.record(inputs, *tokens, parameter_gradients=parameter_gradients)
            if loss_agrees(recording, self._reference.loss(inputs)):
                return recording
        recording, found = self._compared(recorder, inputs, tokens, self._reference.run(inputs))
        if found is not None:
            raise SampleError(f"the exported model computes something else than torch for this sample: {found}")
        return recording

    def _is_checked(self, inputs: Mapping[str, Tensor]) -> bool:
        """Whether this sample's gradients are compared; the choice depends on the sample alone, not on its place."""
        if self._check != SOME:
            return self._check == "all"
        digest = hashlib.sha256()
        for name, x in sorted(inputs.items()):
            digest.update(name.encode() + np.ascontiguousarray(x.detach().numpy()).tobytes())
        return int.from_bytes(digest.digest()[:8], "big") % _ONE_IN == 0

    def _of_new_shape(self, shapes: Shapes, inputs: Mapping[str, Tensor], tokens: Tokens) -> Recording:
        """A recording by the first export that fits, or by one made for this shape."""
        wanted = self._reference.run(inputs)
        for recorder in self._recorders:
            try:
                recording, found = self._compared(recorder, inputs, tokens, wanted)
            except (ModelError, SampleError):
                continue  # an export for another length: make one for this shape
            if found is None:
                self._of_shape[shapes] = recorder
                return recording
        recorder, recording = self._exported_for(inputs, tokens, wanted)
        if recording.is_finite():  # otherwise the comparison said nothing
            self._recorders.append(recorder)
            self._of_shape[shapes] = recorder
        return recording

    def _exported_for(
        self, inputs: Mapping[str, Tensor], tokens: Tokens, wanted: Reference
    ) -> tuple[Recorder, Recording]:
        """A new export that computes what torch does; one with fixed sizes where one for all sizes fails."""
        errors: list[ModelError | SampleError] = []
        for dynamic in (True, False):
            try:
                exported = export(self._module, inputs, dynamic=dynamic)
                graph = read_graph(exported.model, self._dtype, exported.parameters)
                self._share_parameters(graph)
                other = self._recorders[0] if self._recorders else None
                recorder = Recorder(graph, self._dtype, other, exported.inputs)
                recording, found = self._compared(recorder, inputs, tokens, wanted)
                if found is not None:
                    raise ExportDifferenceError(found, self._where(exported, inputs, recording))
            except (ModelError, SampleError) as error:
                errors.append(error)
                continue
            self._hold(exported)
            return recorder, recording
        if self._recorders:  # other samples were right
            raise SampleError(f"no export fits this sample: {errors[-1]}") from errors[-1]
        raise errors[-1]

    def _compared(
        self, recorder: Recorder, inputs: Mapping[str, Tensor], tokens: Tokens, wanted: Reference
    ) -> tuple[Recording, str | None]:
        """A recording, and what is not torch's in it; where both are not finite, that is the sample's affair."""
        recording = recorder.record(inputs, *tokens)
        if not wanted.is_finite() and not recording.is_finite():
            return recording, None
        return recording, difference(recorder, self._reference, inputs, recording, wanted)

    def _where(self, exported: Exported, inputs: Mapping[str, Tensor], recording: Recording) -> str:
        return first_difference(exported, self._module, inputs, recording)

    def _share_parameters(self, graph: OnnxGraph) -> None:
        """Let the graph have the module's own parameters: one copy of them is enough."""
        state = self._module.state_dict()
        for name, data in graph.parameters.items():
            if torch.equal(state[name], data):
                graph.parameters[name] = state[name]

    def _hold(self, exported: Exported) -> None:
        """Keep the first export, without the numbers of its parameters."""
        if self._first is not None:
            return
        self._first = exported.model
        self.aliases = exported.aliases
        for initializer in self._first.graph.initializer:
            if initializer.name in exported.parameters:
                initializer.ClearField("raw_data")
