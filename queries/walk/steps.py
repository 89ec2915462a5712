"""Which token of a sample an element of a tensor belongs to; in SQL it is the macro `step_at`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray


def element_steps(
    shape: Sequence[int], axis_names: Sequence[str | None], first_step: int | None, step: int | None
) -> NDArray[np.int32]:
    """The token of each element of a tensor, row-major: its operator's `step`, else that along the axis 'step', or -1.

    first_step: token of index 0 of that axis
    """
    size = prod(shape)
    if step is not None or first_step is None or "step" not in axis_names:
        return np.full(size, -1 if step is None else step, np.int32)
    axis = axis_names.index("step")
    along = np.arange(first_step, first_step + shape[axis], dtype=np.int32)
    return np.tile(np.repeat(along, prod(shape[axis + 1 :])), prod(shape[:axis]))
