"""Matrix products of numpy's arrays on torch's threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[Any]


def matmul(left: Floats, right: Floats) -> Floats:
    """left @ right. By itself numpy computes it on as many threads as there are cores, and their number decides the
    last bits; nobody can tell it another one.
    """
    found: Floats = torch.matmul(_tensor(left), _tensor(right)).numpy()
    return found


def _tensor(array: Floats) -> torch.Tensor:
    return torch.from_numpy(np.require(array, requirements="W"))  # torch warns of others
