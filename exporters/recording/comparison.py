"""A recording compared with torch: the loss, and every element of every parameter's gradient.

What rounding explains is no difference. It is measured, not guessed: the same exported graph computes in float32 and in
float64, and torch in float64 too. Gradients of 0 that come out as noise (an attention's key bias) and losses next to 0
then pass, and a wrong gradient does not, however small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...queries.errors import GradtraceError
from ..tape.values import TapeTensor
from .recorder import Recorder, Recording
from .torch_reference import Reference, TorchReference

# largest relative difference between a number of the export and torch's own
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
# what rounding does to a gradient for certain, over the largest of its parameter
_ROUNDED = {torch.float64: 1e-14, torch.float32: 1e-6}
_WIDER = 2.0**-29  # rounding in float64 over rounding in float32
_SURE = 64.0  # how many times the rounding measured another one may be
_PERTURBED = 2.0**-20

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """Rounding to be allowed for: of the loss, and of each parameter's gradients."""

    loss: float = 0.0
    gradients: Mapping[str, float] | None = None

    def times(self, factor: float) -> Noise:
        """As much as this in another precision."""
        return Noise(self.loss * factor, {name: x * factor for name, x in (self.gradients or {}).items()})

    def of(self, name: str) -> float:
        return (self.gradients or {}).get(name, 0.0)


def difference(
    recorder: Recorder, reference: TorchReference, inputs: Mapping[str, Tensor], recording: Recording, wanted: Reference
) -> str | None:
    """What a recording of `inputs` has that is not torch's, in one sentence; None when rounding explains all of it."""
    found = _first_difference(recording, wanted, TOLERANCE[recorder.dtype], _ROUNDED[recorder.dtype], Noise())
    if found is None:
        return None
    if recorder.dtype == torch.float64:
        noise = _noise(recorder.in_dtype(torch.float32), inputs, recording).times(_WIDER)
        return _first_difference(recording, wanted, TOLERANCE[torch.float64], _ROUNDED[torch.float64], noise)
    exact = recorder.in_dtype(torch.float64).record(inputs)
    noise = _noise(recorder, inputs, exact)
    found = _first_difference(recording, wanted, TOLERANCE[torch.float32], _ROUNDED[torch.float32], noise)
    if found is not None:  # more than rounding to float32 explains, as where the model rounds to half of that
        return found
    try:
        wide = reference.in_float64().run(inputs)
    except GradtraceError:  # a model that cannot compute in float64
        return None
    return _first_difference(exact, wide, TOLERANCE[torch.float32], _ROUNDED[torch.float32], noise.times(_WIDER))


def loss_agrees(recording: Recording, loss: float) -> bool:
    """Whether the losses are equal but for what rounding does to every loss."""
    return _agrees(recording.loss, loss, TOLERANCE[recording.tape.dtype])


def _agrees(found: float, wanted: float, tolerance: float, noise: float = 0.0) -> bool:
    both = not math.isfinite(found) and not math.isfinite(wanted)
    return both or abs(found - wanted) <= tolerance * abs(wanted) + noise


def _noise(narrow: Recorder, inputs: Mapping[str, Tensor], exact: Recording) -> Noise:
    """What to allow for in float32: what that does to the same graph, at its parameters and close to them."""
    right = dict(_gradients(exact))
    losses, gradients = [0.0], dict.fromkeys(right, 0.0)
    for recorder in (narrow, narrow.perturbed(_PERTURBED)):
        recording = recorder.record(inputs)
        losses.append(abs(recording.loss - exact.loss))
        for name, rounded in _gradients(recording):
            gradients[name] = max(gradients[name], float(np.abs(rounded - right[name]).max(initial=0.0)))
    return Noise(_finite(max(losses)), {name: _finite(x) for name, x in gradients.items()}).times(_SURE)


def _finite(x: float) -> float:
    """A measure that overflowed in float32 measures nothing, and allows for nothing."""
    return x if math.isfinite(x) else 0.0


def _first_difference(
    recording: Recording, wanted: Reference, tolerance: float, rounded: float, noise: Noise
) -> str | None:
    if not _agrees(recording.loss, wanted.loss, tolerance, noise.loss):
        return f"the loss is {recording.loss:.9g}, torch's is {wanted.loss:.9g}"
    found = dict(_gradients(recording))
    for name, gradient in wanted.gradients.items():
        ours = found.get(name)
        theirs = gradient.detach().reshape(-1).to(torch.float64).numpy()
        largest = float(np.abs(theirs).max(initial=0.0))
        if ours is None:
            if largest:
                return f"{name} has a gradient of up to {largest:.3g} in torch and is not in it"
            continue
        allowed = tolerance * np.abs(theirs) + rounded * largest + noise.of(name)
        with np.errstate(invalid="ignore"):
            wrong = ~((np.abs(ours - theirs) <= allowed) | (~np.isfinite(ours) & ~np.isfinite(theirs)))
        if wrong.any():
            worst = int(np.argmax(np.where(wrong, np.nan_to_num(np.abs(ours - theirs), nan=np.inf), -1.0)))
            at = ",".join(str(i) for i in np.unravel_index(worst, tuple(gradient.shape)))
            place = f"{name}[{at}]" if at else name
            return f"the gradient of {place} is {ours[worst]:.9g}, torch's is {theirs[worst]:.9g}"
    return None


def _parameters(recording: Recording) -> Iterator[TapeTensor]:
    return (t for _, t in recording.vertex_tensors() if t.kind == "parameter")


def _gradients(recording: Recording) -> Iterator[tuple[str, Floats]]:
    for tensor in _parameters(recording):
        yield tensor.name, recording.gradients[tensor.vertices].astype(np.float64)
