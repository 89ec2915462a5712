"""Conservation: at every vertex the contributions of its edges add up to its gradient."""

from __future__ import annotations

import numpy as np
import torch

from ..recording.recorder import Recording
from .derive import all_slots


def conservation_error(recording: Recording) -> float:
    """The largest |sum of contributions - gradient| / sum of |contributions| over all vertices but the loss,
    and but the parameters where their gradients were not recorded.

    Sums over a row of targets are matrix products, so that no edge is made; the tests add up the edges themselves.
    """
    first = 0 if recording.has_parameter_gradients else recording.n_parameters
    total, size = np.zeros(recording.n_vertices - first), np.zeros(recording.n_vertices - first)
    for slot in all_slots(recording.tape):
        vertex = slot.vertices()
        if first > 0 and recording.are_parameters(torch.from_numpy(vertex)):
            continue
        gradient = recording.gradients[slot.call.outputs]
        recording.kernels.add_at(total, vertex - first, slot.sums(gradient))  # below 0: a constant, or not asked for
        recording.kernels.add_at(size, vertex - first, slot.sums(np.abs(gradient), absolute=True))
    total -= recording.gradients[first:]
    total[recording.loss_vertex - first] = 0.0
    np.maximum(size, np.finfo(recording.gradients.dtype).tiny, out=size)
    total /= size
    return float(np.abs(total, out=total).max())
