"""No rewrite of the export changes a number: constants below any tolerance stay, with all their digits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from gradtrace.exporters.recording.traced_model import TorchModel

Function = Callable[[Tensor], Tensor]
WEIGHT = torch.tensor([[0.7, -1.9, 3.0, 0.4], [1e-5, 2.0, -1e-5, 1.0], [0.2, 0.3, -0.8, 1.1]])


class Of(nn.Module):
    """A function of a matrix of weights, summed up with weights of its own."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.weight = nn.Parameter(WEIGHT.clone())
        self.function = function
        self.norm = nn.RMSNorm(4, elementwise_affine=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(self.weight * x)
        return (y * torch.linspace(0.3, 1.7, y.numel(), dtype=y.dtype).reshape(y.shape)).sum()


def _attended(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None], scale=6**-0.5)


# small next to what they are added to, or close to 1
TINY: dict[str, Function] = {
    "x**2 + 1e-9": lambda x: torch.sqrt(x**2 + 1e-9),
    "1e-14 + x**2": lambda x: torch.sqrt(1e-14 + x**2),
    "x - 1e-10": lambda x: (x - 1e-10).abs().sqrt(),
    "x * (1 + 1e-6)": lambda x: x * (1 + 1e-6),
    "x / (1 - 1e-6)": lambda x: x / (1 - 1e-6),
    "a tensor of 1e-12": lambda x: (x**2 + torch.tensor(1e-12, dtype=x.dtype)).sqrt(),
    "max(x, 1e-12)": lambda x: x.clamp(min=1e-12).log(),
    "RMSNorm": lambda x: F.rms_norm(x * 1e-7, (4,)),
    "LayerNorm(eps=1e-12)": lambda x: F.layer_norm(x * 1e-6, (4,), eps=1e-12),
}
# of which float32 knows other digits
DIGITS: dict[str, Function] = {
    "log2": lambda x: torch.log2(x.abs()),
    "log10": lambda x: torch.log10(x.abs()),
    "deg2rad": torch.deg2rad,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "norm(p=3)": lambda x: x.norm(p=3, dim=-1),
    "sinc": lambda x: torch.sinc(x + 0.1),
    "gelu(tanh)": lambda x: F.gelu(x, approximate="tanh"),
    "attention's scale": _attended,
    "leaky_relu(1/3)": lambda x: F.leaky_relu(x, 1 / 3),
    "elu(1/3)": lambda x: F.elu(x, 1 / 3),
    "celu(1/3)": lambda x: F.celu(x, 1 / 3),
    "selu": F.selu,
    "softplus(1/3)": lambda x: F.softplus(x, 1 / 3, 7.3),
    "softshrink(1/7)": lambda x: F.softshrink(x, 1 / 7),
    "huber(1/3)": lambda x: F.huber_loss(x, x.detach() * 0.5, reduction="none", delta=1 / 3),
    "x / 3 + pi": lambda x: x * (1 / 3) + math.pi,
    "addcmul(1/3)": lambda x: torch.addcmul(x, x, x, value=1 / 3),
    "full(1/3)": lambda x: x * torch.full((4,), 1 / 3, dtype=x.dtype),
}


def _gradients(function: Function, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    x = torch.tensor([[1.0, 0.9, 1.1, 1.3]])
    plain = Of(function).to(dtype)
    (wanted,) = torch.autograd.grad(plain(x.to(dtype)), [plain.weight])
    return TorchModel(Of(function), dtype).record({"x": x}).gradient("weight"), wanted.numpy()


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_constants(name: str, dtype: torch.dtype) -> None:
    found, wanted = _gradients(TINY[name], dtype)
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("name", DIGITS)
def test_all_digits(name: str) -> None:
    found, wanted = _gradients(DIGITS[name], torch.float64)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14 * np.abs(wanted).max())


def test_the_value_known_by_hand() -> None:
    """sqrt(e**2 + 1e-9) at e = 1e-5 has the derivative 0.3015; without the constant it has 1."""

    class Smooth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1e-5]))

        def forward(self, x: Tensor) -> Tensor:
            return torch.sqrt((self.weight * x) ** 2 + 1e-9).sum()

    recording = TorchModel(Smooth(), torch.float32).record({"x": torch.ones(1, 1)})
    assert recording.gradient("weight").item() == pytest.approx(1e-5 / math.sqrt(1e-10 + 1e-9), rel=1e-6)
