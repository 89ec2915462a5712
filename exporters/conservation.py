"""Conservation: at every vertex the contributions of its edges add up to its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters import kernels
from exporters.recorder import Recording
from exporters.slots import Contracted, contracted_slots, direct_slots, first_vertex


def conservation_error(recording: Recording) -> float:
    """The largest |sum of contributions - gradient| / sum of |contributions| over all vertices but the loss,
    and but the parameters where their gradients were not recorded.

    Sums over a row of targets are matrix products, so that no edge is made; the tests add up the edges themselves.
    """
    total, size = np.zeros(recording.n_vertices), np.zeros(recording.n_vertices)
    for direct in direct_slots(recording.tape):
        gradient = recording.gradients[first_vertex(recording.tape, direct.call) + direct.target]
        _add(total, size, direct.vertex, gradient * direct.derivative, np.abs(gradient * direct.derivative))
    for slot in contracted_slots(recording.tape):
        scores = _target_gradients(recording, slot)
        sums, sizes = scores @ slot.other.mT, scores.abs() @ slot.other.abs().mT
        _add(total, size, slot.vertex.reshape(-1).numpy(), sums.reshape(-1).numpy(), sizes.reshape(-1).numpy())
    difference = np.abs(total - recording.gradients)
    difference[recording.loss_vertex] = 0.0
    if not recording.has_parameter_gradients:
        difference[: recording.n_parameters] = 0.0
    return float(np.max(difference / np.maximum(size, np.finfo(recording.gradients.dtype).tiny)))


def _target_gradients(recording: Recording, slot: Contracted) -> Tensor:
    """The gradients of a contraction's targets: batch x X x Z."""
    n_b, n_x, _ = slot.vertex.shape
    strides = (slot.stride_b, slot.stride_x, slot.stride_z)
    first = first_vertex(recording.tape, slot.call) + slot.offset
    return torch.from_numpy(recording.gradients).as_strided((n_b, n_x, slot.other.shape[2]), strides, first)


def _add(
    total: NDArray[Any], size: NDArray[Any], vertex: NDArray[np.int64], sums: NDArray[Any], sizes: NDArray[Any]
) -> None:
    kernels.add_at(total, vertex, sums)
    kernels.add_at(size, vertex, sizes)
