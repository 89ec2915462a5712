"""Functions of torch on numbers that lie exactly on their kinks: ties, bounds and zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

Case = tuple[Callable[..., Tensor], Any] | tuple[Callable[..., Tensor], Any, Any] | tuple[Any, Any, Any, Any]

# bounds of the functions below, in two signs
BOUNDS = [-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, -6.0, 2.0, 20.0, -20.0]
TIES = [[1.0, 3.0, 3.0, 2.0], [2.0, 2.0, 2.0, 2.0], [0.0, -1.0, 0.0, -1.0]]
SIGNAL = [[[1.0, 3.0, 3.0, 2.0, 3.0, 3.0, 2.0, 2.0]]]
IMAGE = [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0], [3.0, 0.0, 0.0, 3.0], [0.0, 3.0, 3.0, 0.0]]]]
LEFT, RIGHT = [-1.0, 0.0, 1.0, 2.0, 0.0], [-1.0, 1.0, 1.0, 0.0, 0.0]
SIGNS = [1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0, -1.0, -1.0]
LABELS = [[1, 2, -1, 0], [0, -1, 1, 1], [2, 0, 1, -1]]
INFINITY = float("inf")


def _like(x: Tensor, numbers: list[float]) -> Tensor:
    return torch.tensor(numbers).to(x)


# name -> function, its parameters
CASES: dict[str, Case] = {
    # bounded on one side or both
    "clamp": (lambda x: x.clamp(0, 1), BOUNDS),
    "clamp of one point": (lambda x: x.clamp(1, 1), BOUNDS),
    "clamp, bounds crossed": (lambda x: x.clamp(1, -1), BOUNDS),
    "clip": (lambda x: torch.clip(x, -1, 1), BOUNDS),
    "clamp min": (lambda x: x.clamp(min=0.5), BOUNDS),
    "clamp max": (lambda x: x.clamp(max=1), BOUNDS),
    "clamp_": (lambda x: (1 * x).clamp_(-1, 1), BOUNDS),
    "hinge": (lambda x: (1 - x).clamp(min=0), BOUNDS),
    "clamp by tensor": (lambda x, low: torch.clamp(x, min=low), LEFT, RIGHT),
    "clamp by two": (lambda x, low, high: torch.clamp(x, low, high), LEFT, RIGHT, [1.0, 2.0, 1.0, 0.0, 3.0]),
    "clamp max tensor": (lambda x, high: torch.clamp(x, max=high), LEFT, RIGHT),
    "relu": (F.relu, BOUNDS),
    "relu6": (F.relu6, BOUNDS),
    "hardtanh": (F.hardtanh, BOUNDS),
    "hardtanh of others": (lambda x: F.hardtanh(x, -3, 2), BOUNDS),
    "hardsigmoid": (F.hardsigmoid, BOUNDS),
    "hardswish": (F.hardswish, BOUNDS),
    "threshold": (lambda x: F.threshold(x, 0.5, 0.1), BOUNDS),
    "softshrink": (F.softshrink, BOUNDS),
    "hardshrink": (F.hardshrink, BOUNDS),
    "logit": (lambda x: torch.logit(x, eps=0.25), [0.25, 0.5, 0.75, 0.1]),
    # bent at zero
    "abs": (torch.abs, BOUNDS),
    "leaky relu": (lambda x: F.leaky_relu(x, 0.2), BOUNDS),
    "leaky relu, falling": (lambda x: F.leaky_relu(x, -0.2), BOUNDS),
    "prelu": (F.prelu, BOUNDS, [0.2]),
    "elu": (lambda x: F.elu(x, 0.7), BOUNDS),
    "celu": (lambda x: F.celu(x, 0.7), BOUNDS),
    "selu": (F.selu, BOUNDS),
    "softsign": (F.softsign, BOUNDS),
    "logsigmoid": (F.logsigmoid, [0.0, 1.0, -1.0, -800.0]),
    "relu twice": (lambda x: torch.relu(x) + torch.relu(-x), BOUNDS),
    # of two tensors
    "maximum": (torch.maximum, LEFT, RIGHT),
    "minimum": (torch.minimum, LEFT, RIGHT),
    "max of two": (torch.max, LEFT, RIGHT),
    "fmax": (torch.fmax, LEFT, RIGHT),
    "fmin": (torch.fmin, LEFT, RIGHT),
    "where": (lambda x, y: torch.where(x >= y, x, y), LEFT, RIGHT),
    # of many elements
    "amax": (lambda x: x.amax(1), TIES),
    "amin": (lambda x: x.amin(1), TIES),
    "amax, kept": (lambda x: x.amax(0, keepdim=True), TIES),
    "amax of two axes": (lambda x: x.amax((0, 1)), TIES),
    "amax of all": (lambda x: x.amax(), TIES),
    "amin of all": (lambda x: x.amin(), TIES),
    "max of all": (lambda x: x.max(), TIES),
    "min of all": (lambda x: x.min(), TIES),
    "max along": (lambda x: x.max(1).values, TIES),
    "min along": (lambda x: x.min(1).values, TIES),
    "max along, kept": (lambda x: x.max(0, keepdim=True).values, TIES),
    "max and its place": (lambda x: (lambda found: found[0] * found[1])(x.max(1)), TIES),
    "aminmax": (lambda x: (lambda found: found[0] * 2 + found[1])(torch.aminmax(x, dim=1)), TIES),
    "aminmax of all": (lambda x: (lambda found: found[0] * 2 + found[1])(torch.aminmax(x)), TIES),
    "cummax": (lambda x: x.cummax(1).values, TIES),
    "cummin": (lambda x: x.cummin(0).values, TIES),
    "cummax and its place": (lambda x: (lambda found: found[0] * found[1])(x.cummax(1)), TIES),
    "sort": (lambda x: x.sort(1).values, TIES),
    "sort down": (lambda x: x.sort(1, descending=True).values, TIES),
    "sort, stable": (lambda x: torch.sort(x, dim=1, stable=True).values, TIES),
    "msort": (torch.msort, TIES),
    "topk": (lambda x: x.topk(2, 1).values, TIES),
    "topk of the smallest": (lambda x: x.topk(2, 1, largest=False).values, TIES),
    "kthvalue": (lambda x: x.kthvalue(2, 1).values, TIES),
    "median": (lambda x: x.median(1).values, TIES),
    "median of all": (lambda x: x.median(), TIES),
    "nanmedian": (lambda x: x.nanmedian(1).values, TIES),
    "max pool": (lambda x: F.max_pool1d(x, 2, 1), SIGNAL),
    "max pool of two axes": (lambda x: F.max_pool2d(x, 3, 1, 1), IMAGE),
    "adaptive max pool": (lambda x: F.adaptive_max_pool1d(x, 2), SIGNAL),
    "adaptive max pool to one": (lambda x: F.adaptive_max_pool2d(x, 1), IMAGE),
    "adaptive max pool of planes": (lambda x: F.adaptive_max_pool2d(x, 2), IMAGE[0]),
    "product": (lambda x: x.prod(1), TIES),
    "product with zeros": (lambda x: x.prod(), [0.0, 0.0, 3.0]),
    "scattered largest": (lambda x, y: x.scatter_reduce(0, torch.tensor([0, 0, 1, 1, 2]), y, "amax"), [0.0] * 3, LEFT),
    # zeros of powers, roots and norms
    "norm": (lambda x: x.norm(), [0.0, 0.0]),
    "norm along": (lambda x: x.norm(dim=1), [[0.0, 0.0], [3.0, 4.0]]),
    "norm 1": (lambda x: x.norm(p=1, dim=1), TIES),
    "norm inf": (lambda x: x.norm(p=INFINITY, dim=1), TIES),
    "norm -inf": (lambda x: torch.linalg.vector_norm(x, ord=-INFINITY, dim=1), TIES),
    "norm 3": (lambda x: x.norm(p=3, dim=1), [[0.0, 0.0], [2.0, 2.0]]),
    "norm 1/2": (lambda x: x.norm(p=0.5, dim=1), [[0.0, 0.0], [4.0, 4.0]]),
    "norm of a matrix": (torch.linalg.norm, [[0.0, 0.0], [0.0, 0.0]]),
    "normalize": (lambda x: F.normalize(x, dim=1), [[0.0, 0.0]]),
    "distance": (torch.dist, LEFT, LEFT),
    "pow": (lambda x: x**3, BOUNDS),
    "pow 1.5": (lambda x: x**1.5, [0.0, 1.0, 4.0]),
    "pow of tensors": (torch.pow, [0.0, 1.0, 2.0], [2.0, 1.0, 0.0]),
    "0 to the power": (lambda y: 0**y, [2.0, 1.0, 0.5]),
    "xlogy": (torch.xlogy, [0.0, 0.0, 1.0, 2.0], [1.0, 2.0, 1.0, 3.0]),
    "sinc": (torch.sinc, [0.0, 1.0]),
    # losses
    "hinge embedding": (lambda x: F.hinge_embedding_loss(x, _like(x, SIGNS)), BOUNDS),
    "margin ranking": (lambda x, y: F.margin_ranking_loss(x, y, _like(x, SIGNS[:5]), margin=1.0), LEFT, RIGHT),
    "multi margin": (lambda x: F.multi_margin_loss(x, torch.tensor([1, 0, 2])), TIES),
    "multi margin 2": (
        lambda x: F.multi_margin_loss(x, torch.tensor([1, 0, 2]), p=2, weight=_like(x, SIGNS[:4]), reduction="sum"),
        TIES,
    ),
    "multi label margin": (lambda x: F.multilabel_margin_loss(x, torch.tensor(LABELS)), TIES),
    "multi label margin, single": (
        lambda x: F.multilabel_margin_loss(x[0], torch.tensor(LABELS[0]), reduction="none"),
        TIES,
    ),
    "triplet": (
        lambda x, y, z: F.triplet_margin_loss(x, y, z, margin=1.0, eps=0.0),
        [[3.0, 4.0], [1.0, 0.0]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[3.0, -1.0], [1.0, 1.0]],
    ),
    "cosine embedding": (
        lambda x, y: F.cosine_embedding_loss(x, y, _like(x, [-1.0, -1.0])),
        [[1.0, 0.0], [0.0, 2.0]],
        [[0.0, 1.0], [1.0, 0.0]],
    ),
    "l1": (F.l1_loss, LEFT, RIGHT),
    "smooth l1": (F.smooth_l1_loss, LEFT, RIGHT),
    "huber": (lambda x, y: F.huber_loss(x, y, delta=2.0), LEFT, RIGHT),
}
