"""torch's own loss and gradients of the model that is traced: what every recording is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...queries.errors import first_line
from ..models import ModelError, SampleError
from ..torch_export.custom_gradients import watched
from ..torch_export.export import check_scalar, for_tracing


@dataclass(frozen=True)
class Reference:
    """A loss and the gradient of every parameter, by name; zeros for one that the loss does not depend on."""

    loss: float
    gradients: Mapping[str, Tensor]

    def is_finite(self) -> bool:
        """Whether the loss and every gradient is a finite number."""
        return math.isfinite(self.loss) and all(bool(g.isfinite().all()) for g in self.gradients.values())


class TorchReference:
    """A module as `for_tracing` makes it. Every sample finds its buffers as they were, whatever forward did to them."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.module = module
        self.dtype = dtype
        self._ran = False
        self.hold_buffers()

    def hold_buffers(self) -> None:
        """Take the buffers as they are now for those that every sample is to find."""
        self._buffers = {name: (buffer, buffer.clone()) for name, buffer in self.module.named_buffers()}

    def loss(self, inputs: Mapping[str, Tensor]) -> float:
        """The loss alone, by the forward that training runs. SampleError when it fails."""
        with self._unchanged():
            return float(self._forward(inputs).detach())

    def run(self, inputs: Mapping[str, Tensor]) -> Reference:
        """Forward and backward.

        Raises SampleError when forward fails, ModelError when backward does, when the model makes gradients of its own
        that no export can keep, and when its forward gives two losses for one sample.
        """
        with watched(self.module) as check, self._unchanged():
            output = self._forward(inputs)
            gradients = self._backward(output)
            check(output)
        loss = float(output.detach())
        if not self._ran and math.isfinite(loss):
            self._check_repeats(inputs, loss)
            self._ran = True
        return Reference(loss, gradients)

    def in_float64(self) -> TorchReference:
        """The same model with the same numbers, computing in float64."""
        return TorchReference(for_tracing(self.module, torch.float64), torch.float64)

    def _forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        given = {name: x.to(self.dtype) if x.is_floating_point() else x for name, x in inputs.items()}
        inputs = {name: x.clone() for name, x in given.items()}  # forward may change them in place
        try:
            output = self.module(**inputs)
        except Exception as error:  # whatever a user's model raises
            raise SampleError(f"the model's forward failed on this sample: {first_line(error)}") from error
        return check_scalar(output).reshape(())

    def _backward(self, output: Tensor) -> dict[str, Tensor]:
        parameters = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        try:
            found = torch.autograd.grad(output, list(parameters.values()), allow_unused=True, materialize_grads=True)
        except Exception as error:  # such as an activation changed in place, or a backward of the user's own
            raise ModelError(f"torch's own backward of this model failed: {first_line(error)}") from error
        dense = (gradient.to_dense() if gradient.is_sparse else gradient for gradient in found)  # of nn.Embedding
        return dict(zip(parameters, dense, strict=True))

    def _refuse_changes(self, versions: Mapping[str, int]) -> None:
        for name, parameter in self.module.named_parameters():
            if parameter._version != versions.get(name):
                raise ModelError(
                    f"the model's forward changes its parameter {name}, as an embedding with max_norm does. A "
                    "sample has the gradients of parameters that stay: change them before, and leave max_norm out"
                )

    def _check_repeats(self, inputs: Mapping[str, Tensor], loss: float) -> None:
        again = self.loss(inputs)
        if not math.isclose(again, loss, rel_tol=1e-6):
            raise ModelError(
                f"the model's forward gave the loss {loss:.9g} and then {again:.9g} for the same sample: it draws "
                "random numbers (dropout outside nn.Dropout, noise) or keeps a state that is no buffer. A sample must "
                "have one loss: leave such parts out in eval mode."
            )

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Buffers that change inside are set back; a parameter that does is refused."""
        versions = {name: buffer._version for name, (buffer, _) in self._buffers.items()}
        of_parameters = {name: parameter._version for name, parameter in self.module.named_parameters()}
        try:
            yield
            self._refuse_changes(of_parameters)
        finally:
            for name, (buffer, numbers) in self._buffers.items():
                owner, _, own = name.rpartition(".")
                module = self.module.get_submodule(owner)
                if module._buffers.get(own) is not buffer:
                    module._buffers[own] = buffer  # forward put another one there
                if buffer._version != versions[name]:
                    with torch.no_grad():
                        buffer.copy_(numbers)
