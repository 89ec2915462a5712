"""Conservation: at every vertex the contributions of its edges add up to its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..kernels import edges as kernels
from ..recording.recorder import Recording
from .slots import Contracted, contracted_slots, direct_slots, first_vertex


def conservation_error(recording: Recording) -> float:
    """The largest |sum of contributions - gradient| / sum of |contributions| over all vertices but the loss,
    and but the parameters where their gradients were not recorded.

    Sums over a row of targets are matrix products, so that no edge is made; the tests add up the edges themselves.
    """
    first = 0 if recording.has_parameter_gradients else recording.n_parameters
    total, size = np.zeros(recording.n_vertices - first), np.zeros(recording.n_vertices - first)
    for direct in direct_slots(recording.tape):
        gradient = recording.gradients[first_vertex(recording.tape, direct.call) + direct.target]
        contribution = gradient * direct.derivative
        _add(total, size, direct.vertex - first, contribution, np.abs(contribution))
    for slot in contracted_slots(recording.tape):
        if first > 0 and recording.are_parameters(slot.vertex):
            continue
        scores = _target_gradients(recording, slot)
        sums, sizes = scores @ slot.other.mT, scores.abs() @ slot.other.abs().mT
        _add(total, size, slot.vertex.reshape(-1).numpy() - first, sums.reshape(-1).numpy(), sizes.reshape(-1).numpy())
    total -= recording.gradients[first:]
    total[recording.loss_vertex - first] = 0.0
    np.maximum(size, np.finfo(recording.gradients.dtype).tiny, out=size)
    total /= size
    return float(np.abs(total, out=total).max())


def _target_gradients(recording: Recording, slot: Contracted) -> Tensor:
    """The gradients of a contraction's targets: batch x X x Z."""
    n_b, n_x, _ = slot.vertex.shape
    strides = (slot.stride_b, slot.stride_x, slot.stride_z)
    first = first_vertex(recording.tape, slot.call) + slot.offset
    return torch.from_numpy(recording.gradients).as_strided((n_b, n_x, slot.other.shape[2]), strides, first)


def _add(
    total: NDArray[Any], size: NDArray[Any], vertex: NDArray[np.int64], sums: NDArray[Any], sizes: NDArray[Any]
) -> None:
    """vertex: below 0 for what is not asked for"""
    kernels.add_at(total, vertex, sums)
    kernels.add_at(size, vertex, sizes)
