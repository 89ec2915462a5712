"""Matrix products of numpy's arrays on torch's threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[Any]
_ALIGNED = 64  # bytes


def matmul(left: Floats, right: Floats) -> Floats:
    """left @ right. By itself numpy computes it on as many threads as there are cores, and their number decides the
    last bits; nobody can tell it another one.
    """
    found: Floats = torch.matmul(aligned(left), aligned(right)).numpy()
    return found


def aligned(array: Floats) -> torch.Tensor:
    """The array as a tensor that begins where torch's own do; a copy where it has to be.

    Where numbers lie in memory decides the last bits of a product of matrices.
    """
    found = torch.from_numpy(np.require(array, requirements="W"))  # torch warns of others
    return found if found.data_ptr() % _ALIGNED == 0 else found.clone()
