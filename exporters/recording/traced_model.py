"""A model ready to record samples of any shape: exported when a shape needs it, every export checked against torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import onnx
import onnx.numpy_helper
import torch
from torch import Tensor, nn

from ...queries.errors import first_line
from ..models import ModelError, SampleError
from ..onnx_graph.reader import read_graph
from ..torch_export.altered_gradients import altered_gradients, as_sample_error
from ..torch_export.export import check_scalar, export, for_tracing
from .comparison import compare_gradients, compare_loss
from .fingerprint import model_fingerprint
from .recorder import NO_TOKENS, Recorder, Recording

# largest relative difference between the export's gradients and torch's own
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}

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

    def __init__(self, module: nn.Module, dtype: torch.dtype, name: str = "model") -> None:
        self.name = name
        self.aliases: dict[str, list[str]] = {}
        self._module = for_tracing(module, dtype)
        self._dtype = dtype
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
        """See TracedModel. Every sample's loss is compared with torch's; at a new shape also every gradient."""
        inputs = {n: x.to(self._dtype) if x.is_floating_point() else x for n, x in inputs.items()}
        shapes: Shapes = tuple((name, tuple(x.shape)) for name, x in inputs.items())
        tokens = Tokens(n_tokens, first_token)
        if shapes in self._of_shape:
            recording = self._compared(self._of_shape[shapes], inputs, tokens, parameter_gradients)
        else:
            with altered_gradients(self._module) as altered:
                reference = self._reference(inputs)
            with as_sample_error(altered):
                recording = self._of_new_shape(shapes, inputs, tokens, reference)
        if recording.has_parameter_gradients and not parameter_gradients:  # they were needed for a comparison
            recording.leave_out_parameter_gradients()
        recording.aliases = self.aliases
        return recording

    def _of_new_shape(
        self,
        shapes: Shapes,
        inputs: Mapping[str, Tensor],
        tokens: Tokens,
        reference: tuple[float, dict[str, Tensor]],
    ) -> Recording:
        """A recording by the first export that fits, or by one made for this shape."""
        for recorder in self._recorders:
            try:
                recording = self._checked(recorder, inputs, tokens, reference)
            except (ModelError, SampleError):
                continue  # an export for another length: make one for this shape
            self._of_shape[shapes] = recorder
            return recording
        recorder = self._export(inputs)
        recording = self._checked(recorder, inputs, tokens, reference)
        if recording.is_finite():  # otherwise the comparison said nothing
            self._recorders.append(recorder)
            self._of_shape[shapes] = recorder
        return recording

    def load(self, weights: Mapping[str, Tensor], source: str) -> None:
        """See TracedModel. The exports are kept, and compared with torch again at every shape."""
        try:
            self._module.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(f"{source} does not fit the model: {error}") from error
        state = self._module.state_dict()
        for recorder in self._recorders:
            recorder.load(state)
        self._of_shape.clear()

    def fingerprint(self) -> str:
        """See TracedModel."""
        return model_fingerprint(self._exported, dict(self._module.state_dict()))

    def _reference(self, inputs: Mapping[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
        """torch's own loss and parameter gradients."""
        output = self._forward(inputs)
        parameters = {name: p for name, p in self._module.named_parameters() if p.requires_grad}
        try:
            found = torch.autograd.grad(
                output.reshape(()), list(parameters.values()), allow_unused=True, materialize_grads=True
            )
        except Exception as error:  # such as an activation changed in place, or a backward of the user's own
            raise ModelError(f"torch's own backward of this model failed: {first_line(error)}") from error
        dense = (gradient.to_dense() if gradient.is_sparse else gradient for gradient in found)
        return float(output.detach()), dict(zip(parameters, dense, strict=True))

    def _forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        try:
            output = self._module(**inputs)
        except Exception as error:  # whatever a user's model raises
            raise SampleError(f"the model's forward failed on this sample: {first_line(error)}") from error
        return check_scalar(output)

    def _compared(
        self, recorder: Recorder, inputs: Mapping[str, Tensor], tokens: Tokens, parameter_gradients: bool
    ) -> Recording:
        """A recording whose loss is torch's: ONNX accepts some inputs that torch refuses, such as an index of -1.

        Gradients that torch alters for some samples only are compared too.
        """
        recording = recorder.record(inputs, *tokens, parameter_gradients=parameter_gradients)
        with torch.no_grad(), altered_gradients(self._module) as altered:
            loss = float(self._forward(inputs))
        if altered:
            with as_sample_error(altered):
                return self._checked(recorder, inputs, tokens, self._reference(inputs))
        if math.isfinite(loss) or recording.is_finite():
            compare_loss(recording, loss, TOLERANCE[self._dtype])
        return recording

    def _checked(
        self,
        recorder: Recorder,
        inputs: Mapping[str, Tensor],
        tokens: Tokens,
        reference: tuple[float, dict[str, Tensor]],
    ) -> Recording:
        """A recording compared with torch; where both are not finite, that is the sample's affair, not the export's."""
        loss, gradients = reference
        recording = recorder.record(inputs, *tokens)
        finite = math.isfinite(loss) and all(bool(g.isfinite().all()) for g in gradients.values())
        if finite or recording.is_finite():
            compare_gradients(recording, loss, gradients, TOLERANCE[self._dtype])
        return recording

    def _export(self, inputs: Mapping[str, Tensor]) -> Recorder:
        try:
            exported = export(self._module, inputs)
        except ModelError:  # some models can be exported for one size only
            exported = export(self._module, inputs, dynamic=False)
        graph = read_graph(exported.model, self._dtype, exported.parameters)
        recorder = Recorder(graph, self._dtype, self._recorders[0] if self._recorders else None, exported.inputs)
        if self._first is None:
            self._first = exported.model
            self.aliases = exported.aliases
            for initializer in self._first.graph.initializer:
                if initializer.name in exported.parameters:
                    initializer.ClearField("raw_data")
        return recorder
