"""Functions that ONNX has no operator for: their edges are the derivatives that torch takes by another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gradtrace.exporters.operators.registry import DOMAIN, PRIMITIVES
from gradtrace.exporters.operators.special import SPECIAL
from gradtrace.exporters.tape.tape import Tape

from ..taped import composed_jacobian, finish, leaf, weighted_sum

POSITIVE = torch.tensor([0.3, 0.8, 1.7, 2.9], dtype=torch.float64)
BETWEEN = torch.tensor([0.1, 0.35, 0.6, 0.85], dtype=torch.float64)
ANY = torch.tensor([-1.4, -0.3, 0.6, 2.2], dtype=torch.float64)

# inputs, of which those without a derivative in torch are constants, and attributes
INPUTS: dict[str, tuple[list[Tensor], dict[str, int]]] = {
    "digamma": ([POSITIVE], {}),
    "erfinv": ([BETWEEN], {}),
    "i0": ([ANY], {}),
    "igamma": ([POSITIVE.flip(0), POSITIVE], {}),
    "igammac": ([POSITIVE.flip(0), POSITIVE], {}),
    "lgamma": ([POSITIVE], {}),
    "polygamma": ([POSITIVE], {"n": 1}),
    "special_erfcx": ([ANY], {}),
    "special_i0e": ([ANY], {}),
    "special_i1": ([ANY], {}),
    "special_i1e": ([ANY], {}),
    "special_log_ndtr": ([ANY], {}),
    "special_ndtri": ([BETWEEN], {}),
}


def test_each_is_tried() -> None:
    assert set(INPUTS) == set(SPECIAL)


@pytest.mark.parametrize("name", INPUTS)
def test_edges(name: str) -> None:
    """Against differences of the function itself."""
    inputs, attributes = INPUTS[name]
    tape = Tape(torch.float64)
    x = leaf(tape, "x", inputs[-1])
    others = [tape.constant(each) for each in inputs[:-1]]
    y = tape(f"{DOMAIN}.{name}", *others, x, **attributes)
    (found,) = composed_jacobian(finish(tape, weighted_sum(tape, y)), y, [x])
    compute, step = PRIMITIVES[f"{DOMAIN}.{name}"].compute, 1e-6
    above, below = (compute(*inputs[:-1], inputs[-1] + d, **attributes) for d in (step, -step))
    slopes = ((above - below) / (2 * step)).numpy()
    np.testing.assert_allclose(found, np.diag(slopes), rtol=1e-7, atol=1e-8)
