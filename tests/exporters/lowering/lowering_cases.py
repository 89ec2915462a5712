"""Cases of the composites that networks other than recurrent ones need, and of control flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from ..onnx_graph.foreign_cases import foreign
from ..operators.operator_cases import Case, case, normal, positive

# Normalizations

CUBE, CHANNELS = normal(2, 3, 4), normal(2, 4, 3)
SCALE3, BIAS3 = positive(3), normal(3, seed=1)
SCALE4, BIAS4 = positive(4), normal(4, seed=1)
FAR = 1000.0 + normal(2, 3, 4)  # where E[x^2] - E[x]^2 loses its digits


def _standard(x: Tensor, dims: Sequence[int], epsilon: float = 1e-5) -> Tensor:
    centred = x - x.mean(tuple(dims), keepdim=True)
    return centred / torch.sqrt((centred**2).mean(tuple(dims), keepdim=True) + epsilon)


def _layer(x: Tensor, scale: Tensor, bias: Tensor | None = None, first: int = -1) -> list[Tensor]:
    dims = tuple(range(first % x.dim(), x.dim()))
    mean = x.mean(dims, keepdim=True)
    deviation = torch.sqrt(((x - mean) ** 2).mean(dims, keepdim=True) + 1e-5)
    y = (x - mean) / deviation * scale
    return [y if bias is None else y + bias, mean, 1 / deviation]


def _rms(x: Tensor, scale: Tensor, first: int = -1, epsilon: float = 1e-5) -> Tensor:
    dims = tuple(range(first % x.dim(), x.dim()))
    return x / torch.sqrt((x**2).mean(dims, keepdim=True) + epsilon) * scale


def _group(x: Tensor, scale: Tensor, bias: Tensor, groups: int = 2) -> Tensor:
    parts = [_standard(part, range(1, x.dim())) for part in x.chunk(groups, 1)]
    column = (-1, *[1] * (x.dim() - 2))
    return torch.cat(parts, 1) * scale.reshape(column) + bias.reshape(column)


def _batch(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    column = (-1, *[1] * (x.dim() - 2))
    a, b, m, v = (t.reshape(column) for t in (scale, bias, mean, variance))
    return (x - m) / torch.sqrt(v + 1e-5) * a + b


NORMS: list[Case] = [
    case("LayerNormalization", [CUBE, SCALE4, BIAS4], _layer),
    case("LayerNormalization", [FAR, SCALE4, BIAS4], _layer),
    case("LayerNormalization", [CUBE, SCALE4], _layer, n_outputs=3),
    case("LayerNormalization", [CUBE, positive(3, 4), BIAS4], lambda x, a, b: _layer(x, a, b, 1), axis=1, n_outputs=3),
    case("RMSNormalization", [CUBE, SCALE4], _rms, opset=23),
    case(
        "RMSNormalization",
        [CUBE, positive(3, 4)],
        lambda x, a: _rms(x, a, -2, 1e-3),
        axis=-2,
        epsilon=1e-3,
        opset=23,
    ),
    foreign("SimplifiedLayerNormalization", [CUBE, SCALE4], _rms, axis=-1, epsilon=1e-5),
    foreign("GroupNormalization", [CHANNELS, SCALE4, BIAS4], _group, num_groups=2, opset=21),
    foreign(
        "GroupNormalization",
        [normal(1, 4, 2, 3), positive(2), normal(2, seed=1)],
        lambda x, a, b: _group(x, a.repeat_interleave(2), b.repeat_interleave(2)),
        num_groups=2,
        opset=18,
    ),
    case(
        "InstanceNormalization",
        [CUBE, SCALE3, BIAS3],
        lambda x, a, b: _standard(x, [2]) * a[:, None] + b[:, None],
    ),
    case("BatchNormalization", [CUBE, SCALE3, BIAS3, normal(3, seed=2), positive(3, seed=2)], _batch, fixed=(3, 4)),
    case(
        "BatchNormalization",
        [normal(2, 3), SCALE3, BIAS3, normal(3, seed=2), positive(3, seed=2)],
        _batch,
        fixed=(3, 4),
    ),
    foreign(
        "MeanVarianceNormalization",
        [normal(2, 3, 2, 2)],
        lambda x: (x - x.mean((0, 2, 3), keepdim=True)) / (x.std((0, 2, 3), correction=0, keepdim=True) + 1e-9),
    ),
    case("LpNormalization", [CUBE], lambda x: x / (x**2).sum(-1, keepdim=True) ** 0.5),
    foreign("LpNormalization", [CUBE], lambda x: x / x.abs().sum(1, keepdim=True), axis=1, p=1),
]

# Activations

TABLE = normal(3, 4)
ACTIVATIONS: list[Case] = [
    case("Swish", [TABLE], lambda x: x / (1 + torch.exp(-x)), opset=24),
    case("Swish", [TABLE], lambda x: x / (1 + torch.exp(-0.5 * x)), alpha=0.5, opset=24),
    foreign("com.microsoft.QuickGelu", [TABLE], lambda x: x / (1 + torch.exp(-1.702 * x))),
    foreign("com.microsoft.QuickGelu", [TABLE], lambda x: x / (1 + torch.exp(-1.5 * x)), alpha=1.5),
    foreign("com.microsoft.FastGelu", [TABLE], lambda x: F.gelu(x, approximate="tanh")),
    foreign("com.microsoft.FastGelu", [TABLE, normal(4)], lambda x, b: F.gelu(x + b, approximate="tanh")),
    foreign("com.microsoft.BiasGelu", [TABLE, normal(4)], lambda x, b: F.gelu(x + b)),
    case("Celu", [TABLE], lambda x: torch.where(x > 0, x, 2 * (torch.exp(x / 2) - 1)), alpha=2.0),
    case("ThresholdedRelu", [TABLE], lambda x: torch.where(x > 0.3, x, 0.0), alpha=0.3),
    case("Shrink", [TABLE], lambda x: torch.sign(x) * torch.relu(x.abs() - 0.5), lambd=0.5, bias=0.5),
    case("Sinh", [TABLE], lambda x: (torch.exp(x) - torch.exp(-x)) / 2),
    case("Cosh", [TABLE], lambda x: (torch.exp(x) + torch.exp(-x)) / 2),
    case("Asinh", [TABLE], lambda x: torch.log(x + torch.sqrt(x**2 + 1))),
    case("Acosh", [1 + positive(3, 4)], lambda x: torch.log(x + torch.sqrt(x**2 - 1))),
    case("Atanh", [TABLE / 4], lambda x: torch.log((1 + x) / (1 - x)) / 2),
    case("Asin", [TABLE / 4], lambda x: torch.atan(x / torch.sqrt(1 - x**2))),
    case("Acos", [TABLE / 4], lambda x: math.pi / 2 - torch.atan(x / torch.sqrt(1 - x**2))),
    case("Atan", [TABLE], lambda x: torch.angle(torch.complex(torch.ones_like(x), x))),
]

# Convolutions

SIGNAL, IMAGE = normal(2, 4, 7), normal(1, 2, 5, 6)
CONVOLUTIONS: list[Case] = [
    case("Conv", [SIGNAL, normal(3, 4, 3)], F.conv1d),
    case("Conv", [SIGNAL, normal(6, 2, 3), normal(6)], lambda x, w, b: F.conv1d(x, w, b, groups=2), group=2),
    case(
        "Conv",
        [SIGNAL, normal(3, 4, 2), normal(3)],
        lambda x, w, b: F.conv1d(F.pad(x, (1, 2)), w, b, stride=2, dilation=3),
        kernel_shape=[2],
        strides=[2],
        pads=[1, 2],
        dilations=[3],
    ),
    case(
        "Conv",
        [SIGNAL, normal(4, 1, 3)],
        lambda x, w: F.conv1d(x, w, padding=1, groups=4),
        group=4,
        auto_pad="SAME_UPPER",
    ),
    case(
        "Conv",
        [normal(1, 1, 6), normal(1, 1, 2)],
        lambda x, w: F.conv1d(F.pad(x, (1, 0)), w),
        auto_pad="SAME_LOWER",
    ),
    case(
        "Conv",
        [IMAGE, normal(3, 2, 2, 3)],
        lambda x, w: F.conv2d(x, w, stride=(1, 2)),
        strides=[1, 2],
        auto_pad="VALID",
    ),
    case(
        "Conv",
        [IMAGE, normal(4, 1, 3, 2), normal(4)],
        lambda x, w, b: F.conv2d(x, w, b, padding=(1, 2), dilation=(2, 1), groups=2),
        pads=[1, 2, 1, 2],
        dilations=[2, 1],
        group=2,
    ),
    case("Conv", [normal(1, 1, 2, 3, 2), normal(2, 1, 2, 2, 2)], F.conv3d),
    case("ConvTranspose", [SIGNAL, normal(4, 3, 3)], F.conv_transpose1d),
    foreign(
        "ConvTranspose",
        [SIGNAL, normal(4, 2, 3), normal(4)],
        lambda x, w, b: F.conv_transpose1d(x, w, b, stride=2, padding=1, output_padding=1, groups=2),
        strides=[2],
        pads=[1, 1],
        output_padding=[1],
        group=2,
    ),
    case(
        "ConvTranspose",
        [IMAGE[..., :3], normal(2, 2, 2, 3), normal(2)],
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=(3, 1), padding=(0, 2), dilation=(1, 2)),
        strides=[3, 1],
        pads=[0, 2, 0, 2],
        dilations=[1, 2],
    ),
]

# Einsum

EINSUMS: list[Case] = [
    case(
        "Einsum",
        [normal(*shape, seed=i) for i, shape in enumerate(shapes)],
        lambda *xs, equation=equation: torch.einsum(equation, *xs),
        equation=equation,
    )
    for equation, shapes in (
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bij,bkj->bik", [(2, 3, 4), (2, 2, 4)]),
        ("bhqd,bhkd->bhqk", [(1, 2, 3, 2), (1, 2, 4, 2)]),
        ("ij->ji", [(2, 3)]),
        ("ijk->j", [(2, 3, 2)]),
        ("ii->i", [(3, 3)]),
        ("iji->j", [(3, 2, 3)]),
        ("ii", [(3, 3)]),
        ("i,j->ij", [(2,), (3,)]),
        ("ij,ij->ij", [(2, 3), (2, 3)]),
        ("ij,ij", [(2, 3), (2, 3)]),
        ("ij,kj", [(2, 3), (4, 3)]),
        ("ij,jk,kl->il", [(2, 3), (3, 2), (2, 4)]),
        ("bi,oij,bj->bo", [(2, 3), (2, 3, 4), (2, 4)]),
        ("...ij,...jk->...ik", [(2, 1, 3, 2), (3, 2, 4)]),
        ("...i,i->...", [(2, 3, 4), (4,)]),
        ("ij,kl->il", [(2, 3), (4, 2)]),
    )
]

CASES = [*NORMS, *ACTIVATIONS, *CONVOLUTIONS, *EINSUMS]
