"""Products, convolutions, pooling, attention, decompositions of matrices, Fourier transforms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from ..trying import Case, Function


def _square(x: Tensor) -> Tensor:
    """1 x 4 x 4, well conditioned, not symmetric."""
    return x[:, :4, :4] * 0.3 + torch.eye(4, dtype=x.dtype) * 2


def _definite(x: Tensor) -> Tensor:
    """1 x 4 x 4, symmetric with positive eigenvalues."""
    return _square(x) @ _square(x).mT


def _image(x: Tensor) -> Tensor:
    """1 x 2 x T x 4."""
    return x.unflatten(2, (2, 4)).transpose(1, 2)


def _volume(x: Tensor) -> Tensor:
    """1 x 2 x T x 2 x 2."""
    return x.unflatten(2, (2, 2, 2)).transpose(1, 2)


def _heads(x: Tensor) -> Tensor:
    """1 x 2 x T x 4."""
    return _image(x)


def _filter(*shape: int) -> Tensor:
    n = torch.Size(shape).numel()
    return torch.linspace(-1, 1, n, dtype=torch.float64).cos().reshape(shape)


def _with(x: Tensor, *shape: int) -> Tensor:
    return _filter(*shape).to(x.dtype)


_PRODUCTS: dict[str, Function] = {
    "torch.addbmm": lambda x: torch.addbmm(x[0] @ x[0].mT, x, x.mT, beta=0.3, alpha=0.7),
    "torch.addmm": lambda x: torch.addmm(x[0, 0], x[0, :, :4], _with(x, 4, 8), beta=0.3, alpha=0.7),
    "torch.addmv": lambda x: torch.addmv(x[0, :, 0], x[0], x[0, 0]),
    "torch.addr": lambda x: torch.addr(x[0], x[0, :, 0], x[0, 0]),
    "torch.baddbmm": lambda x: torch.baddbmm(x[:, :1], x[..., :4], _with(x, 1, 4, 8), beta=0.3, alpha=0.7),
    "torch.bmm": lambda x: torch.bmm(x, x.mT),
    "torch.cdist": lambda x: torch.cdist(x, x.exp()),
    "torch.cdist(p=1)": lambda x: torch.cdist(x, x.exp(), p=1),
    "torch.cdist(p=3)": lambda x: torch.cdist(x, x.exp(), p=3),
    "torch.chain_matmul": lambda x: torch.linalg.multi_dot([x[0], x[0].mT, x[0]]),
    "torch.cross": lambda x: torch.cross(x[..., :3], x[..., 3:6], dim=-1),
    "torch.dot": lambda x: torch.dot(x[0, 0], x[0, 1]),
    "torch.einsum": lambda x: torch.einsum("bij,bkj->bik", x, x.exp()),
    "torch.einsum (trace)": lambda x: torch.einsum("bii->b", _square(x)),
    "torch.einsum (ellipsis)": lambda x: torch.einsum("...i,...j->...ij", x, x),
    "torch.ger": lambda x: torch.ger(x[0, 0], x[0, 1]),
    "torch.inner": lambda x: torch.inner(x, x[:, :2]),
    "torch.matmul": lambda x: torch.matmul(x, x.mT),
    "torch.matmul (vector)": lambda x: torch.matmul(x, x[0, 0]),
    "torch.matrix_power": lambda x: torch.matrix_power(_square(x), 3),
    "torch.mm": lambda x: torch.mm(x[0], x[0].T),
    "torch.mv": lambda x: torch.mv(x[0], x[0, 0]),
    "torch.outer": lambda x: torch.outer(x[0, 0], x[0, 1]),
    "torch.pairwise_distance": lambda x: F.pairwise_distance(x, x.exp()),
    "torch.pdist": lambda x: F.pdist(x[0]),
    "torch.tensordot": lambda x: torch.tensordot(x, _with(x, 8, 3), 1),
    "torch.trace": lambda x: torch.trace(x[0]),
    "torch.vdot": lambda x: torch.vdot(x[0, 0], x[0, 1]),
    "F.bilinear": lambda x: F.bilinear(x, x.exp(), _with(x, 3, 8, 8)),
    "F.cosine_similarity": lambda x: F.cosine_similarity(x, x.exp(), dim=-1),
    "F.linear": lambda x: F.linear(x, _with(x, 3, 8), _with(x, 3)),
    "F.scaled_dot_product_attention": lambda x: F.scaled_dot_product_attention(_heads(x), _heads(x).exp(), _heads(x)),
    "F.scaled_dot_product_attention(is_causal)": lambda x: F.scaled_dot_product_attention(
        _heads(x), _heads(x), _heads(x), is_causal=True
    ),
    "F.scaled_dot_product_attention(scale)": lambda x: F.scaled_dot_product_attention(
        _heads(x), _heads(x), _heads(x), scale=8**-0.5
    ),
    "F.scaled_dot_product_attention(attn_mask)": lambda x: F.scaled_dot_product_attention(
        _heads(x), _heads(x), _heads(x), attn_mask=torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
    ),
    "F.scaled_dot_product_attention(enable_gqa)": lambda x: F.scaled_dot_product_attention(
        _heads(x), _heads(x)[:, :1], _heads(x)[:, :1], enable_gqa=True
    ),
}

_MATRICES: dict[str, Function] = {
    "torch.cholesky_inverse": lambda x: torch.cholesky_inverse(torch.linalg.cholesky(_definite(x))),
    "torch.cholesky_solve": lambda x: torch.cholesky_solve(x[:, :4], torch.linalg.cholesky(_definite(x))),
    "torch.det": lambda x: torch.det(_square(x)),
    "torch.inverse": lambda x: torch.inverse(_square(x)),
    "torch.logdet": lambda x: torch.logdet(_definite(x)),
    "torch.pinverse": lambda x: torch.pinverse(_square(x)),
    "torch.slogdet": lambda x: torch.slogdet(_square(x)).logabsdet,
    "torch.linalg.cholesky": lambda x: torch.linalg.cholesky(_definite(x)),
    "torch.linalg.cond": lambda x: torch.linalg.cond(_square(x)),
    "torch.linalg.cross": lambda x: torch.linalg.cross(x[..., :3], x[..., 3:6]),
    "torch.linalg.det": lambda x: torch.linalg.det(_square(x)),
    "torch.linalg.diagonal": lambda x: torch.linalg.diagonal(_square(x)),
    "torch.linalg.eigh": lambda x: torch.linalg.eigh(_definite(x)).eigenvalues,
    "torch.linalg.eigvalsh": lambda x: torch.linalg.eigvalsh(_definite(x)),
    "torch.linalg.householder_product": lambda x: torch.linalg.householder_product(_square(x), x[:, 0, :3]),
    "torch.linalg.inv": lambda x: torch.linalg.inv(_square(x)),
    "torch.linalg.lstsq": lambda x: torch.linalg.lstsq(_square(x), x[:, :4]).solution,
    "torch.linalg.lu": lambda x: torch.linalg.lu(_square(x)).U,
    "torch.linalg.matmul": lambda x: torch.linalg.matmul(x, x.mT),
    "torch.linalg.matrix_exp": lambda x: torch.linalg.matrix_exp(_square(x)),
    "torch.linalg.matrix_norm": torch.linalg.matrix_norm,
    "torch.linalg.matrix_norm(nuc)": lambda x: torch.linalg.matrix_norm(_square(x), "nuc"),
    "torch.linalg.matrix_power": lambda x: torch.linalg.matrix_power(_square(x), 3),
    "torch.linalg.matrix_power(-2)": lambda x: torch.linalg.matrix_power(_square(x), -2),
    "torch.linalg.multi_dot": lambda x: torch.linalg.multi_dot([x[0], x[0].mT, x[0]]),
    "torch.linalg.norm": torch.linalg.norm,
    "torch.linalg.norm(2)": lambda x: torch.linalg.norm(_square(x)[0], 2),
    "torch.linalg.pinv": lambda x: torch.linalg.pinv(_square(x)),
    "torch.linalg.qr": lambda x: torch.linalg.qr(_square(x)).R,
    "torch.linalg.slogdet": lambda x: torch.linalg.slogdet(_square(x)).logabsdet,
    "torch.linalg.solve": lambda x: torch.linalg.solve(_square(x), x[:, :4]),
    "torch.linalg.solve_triangular": lambda x: torch.linalg.solve_triangular(_square(x).tril(), x[:, :4], upper=False),
    "torch.linalg.svd": lambda x: torch.linalg.svd(_square(x)).S,
    "torch.linalg.svdvals": lambda x: torch.linalg.svdvals(_square(x)),
    "torch.linalg.vander": lambda x: torch.linalg.vander(x[0, 0], N=3),
    "torch.linalg.vecdot": lambda x: torch.linalg.vecdot(x, x.exp()),
    "torch.linalg.vector_norm": torch.linalg.vector_norm,
    "torch.linalg.vector_norm(1.5)": lambda x: torch.linalg.vector_norm(x, 1.5, dim=2),
    "torch.linalg.vector_norm(0)": lambda x: x * torch.linalg.vector_norm(x, 0, dim=2, keepdim=True),
}

_WINDOWS: dict[str, Function] = {
    "F.conv1d": lambda x: F.conv1d(x.mT, _with(x, 3, 8, 2), stride=1, padding=1),
    "F.conv1d(same)": lambda x: F.conv1d(x.mT, _with(x, 3, 8, 3), padding="same"),
    "F.conv2d": lambda x: F.conv2d(_image(x), _with(x, 3, 2, 2, 3), _with(x, 3), stride=(1, 2), padding=1),
    "F.conv2d(groups, dilation)": lambda x: F.conv2d(_image(x), _with(x, 4, 1, 2, 2), groups=2, dilation=2, padding=2),
    "F.conv3d": lambda x: F.conv3d(_volume(x), _with(x, 3, 2, 2, 2, 2)),
    "F.conv_transpose1d": lambda x: F.conv_transpose1d(x.mT, _with(x, 8, 3, 2), stride=2),
    "F.conv_transpose2d": lambda x: F.conv_transpose2d(
        _image(x), _with(x, 2, 3, 2, 3), stride=2, padding=1, output_padding=1
    ),
    "F.conv_transpose3d": lambda x: F.conv_transpose3d(_volume(x), _with(x, 2, 3, 2, 2, 2)),
    "F.avg_pool1d": lambda x: F.avg_pool1d(x, 2),
    "F.avg_pool2d": lambda x: F.avg_pool2d(_image(x), 3, stride=2, padding=1, count_include_pad=False),
    "F.avg_pool2d(divisor_override)": lambda x: F.avg_pool2d(_image(x), 2, divisor_override=3),
    "F.avg_pool2d(ceil_mode)": lambda x: F.avg_pool2d(_image(x), 3, stride=2, ceil_mode=True),
    "F.avg_pool3d": lambda x: F.avg_pool3d(_volume(x), 2),
    "F.max_pool1d": lambda x: F.max_pool1d(x, 3, stride=2),
    "F.max_pool2d": lambda x: F.max_pool2d(_image(x), 2, padding=1),
    "F.max_pool2d(dilation)": lambda x: F.max_pool2d(_image(x), 2, stride=1, dilation=2),
    "F.max_pool2d(return_indices)": lambda x: F.max_pool2d(_image(x), 2, return_indices=True)[0],
    "F.max_pool3d": lambda x: F.max_pool3d(_volume(x), 2),
    "F.max_unpool1d": lambda x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2),
    "F.lp_pool1d": lambda x: F.lp_pool1d(x.exp(), 2, 2),
    "F.lp_pool2d": lambda x: F.lp_pool2d(_image(x).exp(), 3, 2),
    "F.adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x, 3),
    "F.adaptive_avg_pool1d(1)": lambda x: F.adaptive_avg_pool1d(x, 1),
    "F.adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(_image(x), (1, 2)),
    "F.adaptive_avg_pool3d": lambda x: F.adaptive_avg_pool3d(_volume(x), 1),
    "F.adaptive_max_pool1d": lambda x: F.adaptive_max_pool1d(x, 3),
    "F.adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(_image(x), (1, 2)),
    "F.fractional_max_pool2d": lambda x: F.fractional_max_pool2d(_image(x), 2, (2, 2)),
    "F.interpolate(nearest)": lambda x: F.interpolate(_image(x), scale_factor=2),
    "F.interpolate(nearest-exact)": lambda x: F.interpolate(_image(x), scale_factor=1.5, mode="nearest-exact"),
    "F.interpolate(linear)": lambda x: F.interpolate(x, scale_factor=2, mode="linear"),
    "F.interpolate(bilinear)": lambda x: F.interpolate(_image(x), size=(5, 7), mode="bilinear"),
    "F.interpolate(bilinear, align_corners)": lambda x: F.interpolate(
        _image(x), size=(5, 7), mode="bilinear", align_corners=True
    ),
    "F.interpolate(bicubic)": lambda x: F.interpolate(_image(x), scale_factor=2, mode="bicubic"),
    "F.interpolate(trilinear)": lambda x: F.interpolate(_volume(x), scale_factor=2, mode="trilinear"),
    "F.interpolate(area)": lambda x: F.interpolate(_image(x), size=(2, 2), mode="area"),
    "F.interpolate(antialias)": lambda x: F.interpolate(_image(x), size=(2, 2), mode="bilinear", antialias=True),
    "F.affine_grid": lambda x: F.affine_grid(x[:, :2, :3], [1, 1, 3, 3], align_corners=False),
    "F.grid_sample": lambda x: F.grid_sample(_image(x), torch.tanh(_image(x)[..., :2]), align_corners=False),
    "F.grid_sample(nearest, border)": lambda x: F.grid_sample(
        _image(x), torch.tanh(_image(x)[..., :2]), "nearest", "border", align_corners=True
    ),
}

_FOURIER: dict[str, Function] = {
    "torch.complex": lambda x: torch.complex(x, x.exp()).abs(),
    "torch.polar": lambda x: torch.polar(x.exp(), x).real,
    "torch.view_as_complex": lambda x: (torch.view_as_complex(x.unflatten(2, (4, 2))) ** 2).imag,
    "torch.fft.fft": lambda x: torch.fft.fft(x).abs(),
    "torch.fft.fft2": lambda x: torch.fft.fft2(x).real,
    "torch.fft.fftn": lambda x: torch.fft.fftn(x, dim=(1, 2)).real,
    "torch.fft.ifft": lambda x: torch.fft.ifft(torch.fft.fft(x) * 2).real,
    "torch.fft.rfft": lambda x: torch.fft.rfft(x).real,
    "torch.fft.irfft": lambda x: torch.fft.irfft(torch.fft.rfft(x)),
    "torch.stft": lambda x: torch.stft(x[:, 0], 4, return_complex=True).real,
}

CASES = {name: Case(f) for table in (_PRODUCTS, _MATRICES, _WINDOWS, _FOURIER) for name, f in table.items()}
