"""Layer norms and RMS norms that an exporter wrote out in primitives, found in a graph.

    c = x - mean(x)  (an RMS norm: c = x)    r = sqrt(mean(c^2) + epsilon)    y = c / r * scale + bias

They get the roles that exporters/lowering/normalization.py gives its own: `mean`, `variance` and `scale`.
"""

from __future__ import annotations

from exporters.wiring import Wiring

MEAN, VARIANCE, SCALE = "mean", "variance", "scale"


def norm_roles(wiring: Wiring) -> dict[int, str]:
    """The role of each operator (by position) that is part of a norm."""
    roles: dict[int, str] = {}
    for i, node in enumerate(wiring.nodes):
        spread = _spread(wiring, i)
        if spread is None:
            continue
        centred, reduction, inside = spread
        reciprocals, roots = _roots(wiring, i)
        scaled = _scaled(wiring, centred, reduction, roots, reciprocals)
        if not scaled:
            continue
        roles |= dict.fromkeys([*inside, i, *_before(wiring, [n for r in roots | reciprocals for n in [r]])], VARIANCE)
    return roles
