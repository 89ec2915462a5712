"""Conservation: at every vertex the contributions of its edges add up to its gradient."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from ...queries.schema import CANCELLING, NOISE, TINY
from ..recording.recorder import Recording
from .derive import all_slots


def conservation_error(recording: Recording) -> float:
    """The largest |sum of contributions - gradient| / sum of |contributions| over all vertices but the loss, and but
    the parameters where their gradients were not recorded. What rounding explains (`queries/schema/`) is left out.

    Sums over a row of targets are matrix products, so that no edge is made; the tests add up the edges themselves.
    """
    first = 0 if recording.has_parameter_gradients else recording.n_parameters
    dtype = recording.gradients.dtype.name
    total, size, noise = np.zeros((3, recording.n_vertices - first))
    for slot in all_slots(recording.tape):
        vertex = slot.vertices()
        if first > 0 and recording.are_parameters(torch.from_numpy(vertex)):
            continue
        gradient = recording.gradients[slot.call.outputs]
        add = partial(recording.kernels.add_at, vertex=vertex - first)  # below 0: a constant, or not asked for
        add(total, amount=slot.sums(gradient))
        add(size, amount=slot.sums(np.abs(gradient), absolute=True))
        add(noise, amount=np.broadcast_to(TINY[dtype] * slot.fan_out(), vertex.shape))
        if slot.call.primitive.name in CANCELLING:
            noise_of = NOISE[dtype] * np.abs(gradient, dtype=np.float64)
            for edges in slot.pairs():
                add(noise, amount=noise_of[edges.target])
    total -= recording.gradients[first:]
    total[recording.loss_vertex - first] = 0.0
    excess = np.maximum(np.abs(total) - noise, 0.0)
    share = np.divide(excess, size, out=np.where(excess > 0, np.inf, 0.0), where=size > 0)
    return float(share.max())
