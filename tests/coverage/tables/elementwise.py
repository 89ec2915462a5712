"""Functions of each element, and of pairs of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from ..trying import Case, Function


def _inside(x: Tensor) -> Tensor:
    """Between -1 and 1."""
    return 0.9 * torch.tanh(x)


def _positive(x: Tensor) -> Tensor:
    return x * x + 0.3


def _other(x: Tensor) -> Tensor:
    """Another tensor of x's shape, that depends on x."""
    return x.flip(-1) * 0.7 + 0.1


_OF_ANY: dict[str, Function] = {
    "torch.abs": torch.abs,
    "torch.angle": torch.angle,
    "torch.arctan": torch.arctan,
    "torch.asinh": torch.asinh,
    "torch.atan": torch.atan,
    "torch.ceil": lambda x: x * torch.ceil(x),
    "torch.clamp": lambda x: torch.clamp(x, -1.03, 0.91),
    "torch.clamp(min=Tensor)": lambda x: torch.clamp(x, min=_other(x)),
    "torch.clip": lambda x: torch.clip(x, max=0.52),
    "torch.copysign": lambda x: torch.copysign(x, _other(x)),
    "torch.cos": torch.cos,
    "torch.cosh": torch.cosh,
    "torch.deg2rad": torch.deg2rad,
    "torch.erf": torch.erf,
    "torch.erfc": torch.erfc,
    "torch.exp": torch.exp,
    "torch.exp2": torch.exp2,
    "torch.expm1": torch.expm1,
    "torch.fix": lambda x: x * torch.fix(x),
    "torch.float_power": lambda x: torch.float_power(x, 3).to(x.dtype),
    "torch.floor": lambda x: x * torch.floor(x),
    "torch.frac": torch.frac,
    "torch.frexp": lambda x: torch.frexp(x).mantissa,
    "torch.heaviside": lambda x: x * torch.heaviside(x, torch.ones_like(x)),
    "torch.i0": torch.i0,
    "torch.isfinite": lambda x: x * torch.isfinite(x),
    "torch.isnan": lambda x: torch.where(torch.isnan(x), 0.0, x),
    "torch.logit(eps)": lambda x: torch.logit(x, eps=0.2),
    "torch.nan_to_num": torch.nan_to_num,
    "torch.neg": torch.neg,
    "torch.positive": lambda x: torch.positive(x) * x,
    "torch.rad2deg": torch.rad2deg,
    "torch.relu": torch.relu,
    "torch.round": lambda x: x * torch.round(x),
    "torch.round(decimals)": lambda x: x * torch.round(x, decimals=1),
    "torch.sgn": lambda x: x * torch.sgn(x),
    "torch.sigmoid": torch.sigmoid,
    "torch.sign": lambda x: x * torch.sign(x),
    "torch.signbit": lambda x: torch.where(torch.signbit(x), x, 2 * x),
    "torch.sin": torch.sin,
    "torch.sinc": torch.sinc,
    "torch.sinh": torch.sinh,
    "torch.square": torch.square,
    "torch.tan": lambda x: torch.tan(0.6 * x),
    "torch.tanh": torch.tanh,
    "torch.trunc": lambda x: x * torch.trunc(x),
    "torch.special.bessel_j0": torch.special.bessel_j0,
    "torch.special.entr": lambda x: torch.special.entr(_positive(x)),
    "torch.special.erfcx": torch.special.erfcx,
    "torch.special.exp2": torch.special.exp2,
    "torch.special.expit": torch.special.expit,
    "torch.special.i0e": torch.special.i0e,
    "torch.special.i1": torch.special.i1,
    "torch.special.i1e": torch.special.i1e,
    "torch.special.log_ndtr": torch.special.log_ndtr,
    "torch.special.ndtr": torch.special.ndtr,
}

_OF_SOME: dict[str, Function] = {
    "torch.acos": lambda x: torch.acos(_inside(x)),
    "torch.acosh": lambda x: torch.acosh(1 + _positive(x)),
    "torch.asin": lambda x: torch.asin(_inside(x)),
    "torch.atanh": lambda x: torch.atanh(_inside(x)),
    "torch.digamma": lambda x: torch.digamma(_positive(x)),
    "torch.erfinv": lambda x: torch.erfinv(_inside(x)),
    "torch.lgamma": lambda x: torch.lgamma(_positive(x)),
    "torch.log": lambda x: torch.log(_positive(x)),
    "torch.log10": lambda x: torch.log10(_positive(x)),
    "torch.log1p": lambda x: torch.log1p(_positive(x)),
    "torch.log2": lambda x: torch.log2(_positive(x)),
    "torch.logit": lambda x: torch.logit(torch.sigmoid(2 * x)),
    "torch.mvlgamma": lambda x: torch.mvlgamma(_positive(x) + 1, 2),
    "torch.polygamma": lambda x: torch.polygamma(1, _positive(x)),
    "torch.reciprocal": lambda x: torch.reciprocal(_positive(x)),
    "torch.rsqrt": lambda x: torch.rsqrt(_positive(x)),
    "torch.sqrt": lambda x: torch.sqrt(_positive(x)),
    "torch.special.gammainc": lambda x: torch.special.gammainc(torch.full_like(x, 1.5), _positive(x)),
    "torch.special.gammaln": lambda x: torch.special.gammaln(_positive(x)),
    "torch.special.ndtri": lambda x: torch.special.ndtri(torch.sigmoid(x)),
    "torch.special.psi": lambda x: torch.special.psi(_positive(x)),
    "torch.special.zeta": lambda x: x * torch.special.zeta(torch.full_like(x, 3.0), torch.full_like(x, 2.0)),
}

_OF_PAIRS: dict[str, Function] = {
    "torch.add": lambda x: torch.add(x, _other(x)),
    "torch.add(alpha)": lambda x: torch.add(x, _other(x), alpha=0.3),
    "torch.addcdiv": lambda x: torch.addcdiv(x, _other(x), _positive(x), value=0.7),
    "torch.addcmul": lambda x: torch.addcmul(x, _other(x), x, value=0.7),
    "torch.atan2": lambda x: torch.atan2(x, _other(x)),
    "torch.div": lambda x: torch.div(x, _positive(_other(x))),
    "torch.div(floor)": lambda x: x * torch.div(x, 0.37, rounding_mode="floor"),
    "torch.div(trunc)": lambda x: x * torch.div(x, 0.37, rounding_mode="trunc"),
    "torch.dist": lambda x: torch.dist(x, _other(x)),
    "torch.eq": lambda x: x * torch.eq(x, x),
    "torch.floor_divide": lambda x: x * torch.floor_divide(x, 0.37),
    "torch.fmax": lambda x: torch.fmax(x, _other(x)),
    "torch.fmin": lambda x: torch.fmin(x, _other(x)),
    "torch.fmod": lambda x: torch.fmod(x, 0.37),
    "torch.ge": lambda x: x * torch.ge(x, 0.2),
    "torch.gt": lambda x: x * torch.gt(x, _other(x)),
    "torch.hypot": lambda x: torch.hypot(x, _other(x)),
    "torch.isclose": lambda x: x * torch.isclose(x, x),
    "torch.ldexp": lambda x: torch.ldexp(x, torch.tensor(3)),
    "torch.le": lambda x: x * torch.le(x, 0.2),
    "torch.lerp": lambda x: torch.lerp(x, _other(x), 0.3),
    "torch.lerp(weight=Tensor)": lambda x: torch.lerp(x, _other(x), torch.sigmoid(x)),
    "torch.logaddexp": lambda x: torch.logaddexp(x, _other(x)),
    "torch.logaddexp2": lambda x: torch.logaddexp2(x, _other(x)),
    "torch.logical_and": lambda x: x * torch.logical_and(x > 0, x < 1),
    "torch.lt": lambda x: x * torch.lt(x, 0.2),
    "torch.maximum": lambda x: torch.maximum(x, _other(x)),
    "torch.minimum": lambda x: torch.minimum(x, _other(x)),
    "torch.mul": lambda x: torch.mul(x, _other(x)),
    "torch.ne": lambda x: x * torch.ne(x, 0.2),
    "torch.nextafter": lambda x: x * torch.nextafter(x.detach(), torch.ones_like(x)),
    "torch.pow": lambda x: torch.pow(x, 3),
    "torch.pow(0.7)": lambda x: torch.pow(_positive(x), 0.7),
    "torch.pow(Tensor)": lambda x: torch.pow(_positive(x), _other(x)),
    "torch.pow(base number)": lambda x: torch.pow(2.3, x),
    "torch.remainder": lambda x: torch.remainder(x, 0.37),
    "torch.rsub": lambda x: torch.rsub(x, 1.7),
    "torch.sub": lambda x: torch.sub(x, _other(x), alpha=2),
    "torch.true_divide": lambda x: torch.true_divide(x, 3.1),
    "torch.where": lambda x: torch.where(x > 0.1, x, _other(x)),
    "torch.xlogy": lambda x: torch.xlogy(x, _positive(x)),
    "torch.special.xlog1py": lambda x: torch.special.xlog1py(x, _positive(x)),
    "Tensor.masked_fill": lambda x: x.masked_fill(x > 0.4, -1.5),
    "Tensor.clamp_": lambda x: (2 * x).clamp_(-1.1, 1.2),
    "Tensor.exp_": lambda x: (0.5 * x).exp_(),
    "Tensor.mul_": lambda x: (0.5 * x).mul_(3.0),
    "Tensor.type(float64)": lambda x: x.type(torch.float64).type(x.dtype),
}

_ACTIVATIONS: dict[str, Function] = {
    "F.celu": lambda x: F.celu(x, 0.7),
    "F.elu": lambda x: F.elu(x, 0.7),
    "F.gelu": F.gelu,
    "F.gelu(tanh)": lambda x: F.gelu(x, approximate="tanh"),
    "F.glu": F.glu,
    "F.hardshrink": F.hardshrink,
    "F.hardsigmoid": F.hardsigmoid,
    "F.hardswish": F.hardswish,
    "F.hardtanh": F.hardtanh,
    "F.leaky_relu": lambda x: F.leaky_relu(x, 0.07),
    "F.logsigmoid": F.logsigmoid,
    "F.mish": F.mish,
    "F.relu6": lambda x: F.relu6(4 * x),
    "F.rrelu": F.rrelu,
    "F.selu": F.selu,
    "F.silu": F.silu,
    "F.softplus": F.softplus,
    "F.softplus(beta)": lambda x: F.softplus(x, beta=0.3, threshold=1.1),
    "F.softshrink": F.softshrink,
    "F.softsign": F.softsign,
    "F.tanhshrink": F.tanhshrink,
    "F.threshold": lambda x: F.threshold(x, 0.1, -3.0),
    "F.dropout (eval)": lambda x: F.dropout(x, 0.5, training=False),
    "F.dropout (training)": lambda x: F.dropout(x, 0.5, training=True),
    "F.alpha_dropout (eval)": lambda x: F.alpha_dropout(x, 0.5, training=False),
    "F.feature_dropout (training)": lambda x: torch.feature_dropout(x, 0.5, train=True),
}

CASES = {name: Case(f) for table in (_OF_ANY, _OF_SOME, _OF_PAIRS, _ACTIVATIONS) for name, f in table.items()}
