"""A recording compared with torch: the loss, and every element of every parameter's gradient.

What rounding explains is no difference. It is measured, not guessed: the same exported graph computes in float32 and in
float64, and torch in float64 too. Gradients of 0 that come out as noise (an attention's key bias) and losses next to 0
then pass, and a wrong gradient does not, however small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
_PIECE = 1 << 22  # numbers looked at together
_LOSS = ""  # in place of a parameter's name

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
    found = _differences(recording, wanted, TOLERANCE[recorder.dtype], Noise())
    if not found:
        return None
    asked = [name for name in found if name != _LOSS]
    wanted = Reference(wanted.loss, {name: g for name, g in wanted.gradients.items() if name in asked})
    if recorder.dtype == torch.float64:
        noise = _noise(recorder.in_dtype(torch.float32), inputs, recording, asked).times(_WIDER)
        return _first(_differences(recording, wanted, TOLERANCE[torch.float64], noise))
    exact = recorder.in_dtype(torch.float64).record(inputs, parameter_gradients=asked)
    noise = _noise(recorder, inputs, exact, asked)
    found = _differences(recording, wanted, TOLERANCE[torch.float32], noise)
    if found:  # more than rounding to float32 explains, as where the model rounds to half of that
        return _first(found)
    try:
        wide = reference.in_float64().run(inputs)
    except GradtraceError:  # a model that cannot compute in float64
        return None
    wide = Reference(wide.loss, {name: g for name, g in wide.gradients.items() if name in asked})
    return _first(_differences(exact, wide, TOLERANCE[torch.float32], noise.times(_WIDER)))


def _first(found: Mapping[str, str]) -> str | None:
    return next(iter(found.values()), None)


def loss_agrees(recording: Recording, loss: float) -> bool:
    """Whether the losses are equal but for what rounding does to every loss."""
    return _agrees(recording.loss, loss, TOLERANCE[recording.tape.dtype])


def _agrees(found: float, wanted: float, tolerance: float, noise: float = 0.0) -> bool:
    both = not math.isfinite(found) and not math.isfinite(wanted)
    return both or abs(found - wanted) <= tolerance * abs(wanted) + noise


def _noise(narrow: Recorder, inputs: Mapping[str, Tensor], exact: Recording, asked: Sequence[str]) -> Noise:
    """What to allow for in float32: what that does to the same graph, at its parameters and close to them.

    asked: the parameters whose gradients are looked at
    """
    losses, gradients = [0.0], dict.fromkeys(asked, 0.0)
    for recorder in (narrow, narrow.perturbed(_PERTURBED)):
        recording = recorder.record(inputs, parameter_gradients=asked)
        losses.append(abs(recording.loss - exact.loss))
        rights = {tensor.name: exact.gradients[tensor.vertices] for tensor in _parameters(exact)}
        for tensor in _parameters(recording):
            if tensor.name in gradients:
                off = (_largest(x - y) for x, y in _pieces(recording.gradients[tensor.vertices], rights[tensor.name]))
                gradients[tensor.name] = max([gradients[tensor.name], *off])
    return Noise(_finite(max(losses)), {name: _finite(x) for name, x in gradients.items()}).times(_SURE)


def _pieces(*arrays: NDArray[Any]) -> Iterator[list[Floats]]:
    """Flat arrays of one length side by side in float64, piece by piece: some are as large as the model."""
    for start in range(0, len(arrays[0]), _PIECE):
        yield [array[start : start + _PIECE].astype(np.float64) for array in arrays]


def _largest(numbers: Floats) -> float:
    return float(np.abs(numbers).max(initial=0.0))


def _finite(x: float) -> float:
    """A measure that overflowed in float32 measures nothing, and allows for nothing."""
    return x if math.isfinite(x) else 0.0


def _differences(recording: Recording, wanted: Reference, tolerance: float, noise: Noise) -> dict[str, str]:
    """In one sentence each: the loss, where it differs, and every parameter whose gradient does."""
    found: dict[str, str] = {}
    if not _agrees(recording.loss, wanted.loss, tolerance, noise.loss):
        found[_LOSS] = f"the loss is {recording.loss:.9g}, torch's is {wanted.loss:.9g}"
    ours = {tensor.name: recording.gradients[tensor.vertices] for tensor in _parameters(recording)}
    for name, gradient in wanted.gradients.items():
        theirs = gradient.detach().reshape(-1).numpy()
        largest = max((_largest(piece) for (piece,) in _pieces(theirs)), default=0.0)
        if name not in ours:
            if largest:
                found[name] = f"{name} has a gradient of up to {largest:.3g} in torch and is not in it"
            continue
        rounding = _ROUNDED[recording.tape.dtype] * largest + noise.of(name)
        worst = _worst(ours[name], theirs, tolerance, rounding)
        if worst is not None:
            at = ",".join(str(i) for i in np.unravel_index(worst, tuple(gradient.shape)))
            place = f"{name}[{at}]" if at else name
            found[name] = f"the gradient of {place} is {ours[name][worst]:.9g}, torch's is {theirs[worst]:.9g}"
    return found


def _worst(ours: NDArray[Any], theirs: NDArray[Any], tolerance: float, rounding: float) -> int | None:
    """Where two flat gradients differ most, of the places where they do by more than is allowed."""
    worst, most = None, -1.0
    for i, (x, y) in enumerate(_pieces(ours, theirs)):
        with np.errstate(invalid="ignore"):
            off = np.abs(x - y)
            wrong = ~((off <= tolerance * np.abs(y) + rounding) | (~np.isfinite(x) & ~np.isfinite(y)))
        if wrong.any():
            off = np.where(wrong, np.nan_to_num(off, nan=np.inf), -1.0)
            if off.max() > most:
                worst, most = i * _PIECE + int(off.argmax()), float(off.max())
    return worst


def _parameters(recording: Recording) -> Iterator[TapeTensor]:
    return (t for _, t in recording.vertex_tensors() if t.kind == "parameter")
