"""A recording compared with torch: the loss, and the gradient of every parameter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..models import ExportDifferenceError
from .recorder import Recording


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
        found = recording.gradients[tensor.vertices]
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
