"""Functions that are written out before the translation to ONNX: torch's numbers, also where they are special."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from .shown_models import show

POINTS = torch.tensor([[0.0, -0.0, 2.5, -1.25, 0.5, -3.0]])


class Of(nn.Module):
    """Functions of one parameter each; their elements weighted so that none is like another."""

    def __init__(self, functions: list[Callable[[Tensor], Tensor]], *sizes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.functions = functions
        self.values = nn.ParameterList([torch.randn(sizes) for _ in functions])

    def forward(self, x: Tensor) -> Tensor:
        total = x.sum()
        for function, value in zip(self.functions, self.values, strict=True):
            y = function(value).reshape(-1)
            total = total + (y * (torch.arange(y.shape[0]) + 1.0).to(y.dtype).cos()).sum()
        return total


class At(nn.Module):
    """Functions at POINTS."""

    def __init__(self, functions: list[Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.functions, self.shift = functions, nn.Parameter(torch.zeros(1, 6))

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.arange(1.0, 7.0).to(x.dtype)
        return sum(((f(x + self.shift) * weights).sum() for f in self.functions), torch.zeros((), dtype=x.dtype))


def test_signs_and_zeros() -> None:
    """A negative zero has a sign; a product over zeros has a gradient."""
    functions = [
        lambda x: torch.copysign(x + 1, x.detach()),
        lambda x: torch.copysign(x, -2.0),
        lambda x: torch.cumprod(x, 1),
        lambda x: torch.cumprod(x.T, 0).T,
        lambda x: torch.searchsorted(torch.tensor([-1.25, 0.5]), x.detach(), right=True) * x,
        lambda x: torch.searchsorted(torch.tensor([-1.25, 0.5]), x.detach()) * x,
        F.rrelu,
    ]
    show(At(functions), [{"x": POINTS}])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_matrices(dtype: torch.dtype) -> None:
    """Pivots other than the diagonal; several matrices at once, each with its own."""

    def definite(a: Tensor) -> Tensor:
        return a @ a.mT + torch.eye(4, dtype=a.dtype)

    functions = [
        torch.linalg.det,
        torch.linalg.inv,
        lambda a: torch.linalg.slogdet(a).logabsdet,
        lambda a: torch.linalg.solve(a, a.mT[..., :2]),
        lambda a: torch.linalg.solve(a, a[..., 0]),
        lambda a: torch.linalg.solve(a, a[..., :2, :], left=False),
        lambda a: torch.linalg.cholesky(definite(a)),
        lambda a: torch.linalg.cholesky(definite(a), upper=True),
        lambda a: torch.linalg.solve_triangular(definite(a).triu(), a, upper=True),
        lambda a: torch.linalg.solve_triangular(definite(a).tril(), a, upper=False, left=False),
        lambda a: torch.linalg.householder_product(a, a[..., 0, :3]),
    ]
    show(Of(functions, 3, 4, 4), [{"x": torch.ones(1)}], dtype)


def test_pixels() -> None:
    functions = [
        lambda x: F.pixel_shuffle(x, 2),
        lambda x: F.pixel_unshuffle(x, 2),
        lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic"),
        lambda x: F.interpolate(x, size=(3, 7), mode="bilinear", align_corners=True),
        lambda x: F.grid_sample(x, x[:, :2].movedim(1, -1), align_corners=False),
        lambda x: F.fold(F.unfold(x, 2, padding=1), (4, 6), 2, padding=1),
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    ]
    show(Of(functions, 1, 4, 4, 6), [{"x": torch.ones(1)}])


def test_a_mask_that_nobody_calls_causal() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), 1)

        def forward(self, x: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
            return self.layer(x, mask=mask).square().mean()

    torch.manual_seed(0)
    show(Encoder(), [{"x": torch.randn(1, n, 6)} for n in (4, 6)])


def test_variances_below_the_least() -> None:
    """One that is below eps counts as eps, and has the gradient of one that is not."""

    class Gaussian(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.variance = nn.Parameter(torch.tensor([0.5, 1e-9, 0.0, 2.0]))

        def forward(self, x: Tensor) -> Tensor:
            return F.gaussian_nll_loss(x, torch.zeros_like(x), self.variance.expand_as(x), eps=0.1, full=True)

    show(Gaussian(), [{"x": torch.tensor([[0.3, 0.2, 0.1, 0.7]])}])
