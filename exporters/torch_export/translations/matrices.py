"""Determinants, inverses and solutions of small matrices, written out step by step: ONNX has no operators for them.

Gaussian elimination with partial pivoting, as LAPACK does it; which row is the pivot is chosen by the numbers of each
sample, and is no path for a gradient. The graph has some ten operators for each row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

aten: Any = torch.ops.aten
_LARGEST = 64  # rows of a matrix that is written out


def _is_too_large(a: Tensor) -> bool:
    return not isinstance(a.shape[-1], int) or not isinstance(a.shape[-2], int) or max(a.shape[-2:]) > _LARGEST


def _eliminated(m: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """... x n x k -> zeros below the diagonal of the first n columns, and the sign of the rows' permutation: ..."""
    sign = torch.ones(m.shape[:-2], dtype=m.dtype)
    rows = torch.arange(n)
    for k in range(n - 1):
        pivot = k + m[..., k:, k].abs().argmax(-1, keepdim=True)  # ... x 1
        order = torch.where(rows == k, pivot, torch.where(rows == pivot, k, rows))  # ... x n
        m = m.gather(-2, order.unsqueeze(-1).expand(m.shape))
        sign = sign * torch.where(pivot.squeeze(-1) == k, 1.0, -1.0).to(m.dtype)
        below = m[..., k + 1 :, :] - m[..., k + 1 :, k : k + 1] / m[..., k : k + 1, k : k + 1] * m[..., k : k + 1, :]
        m = torch.cat([m[..., : k + 1, :], below], -2)
    return m, sign


def _substituted(a: Tensor, b: Tensor, *, upper: bool, unit: bool = False) -> Tensor:
    """The solution of a triangular system, row by row; a : ... x n x n, b : ... x n x m."""
    n = a.shape[-1]
    found: list[Tensor] = []  # from the row that is solved first
    for k in reversed(range(n)) if upper else range(n):
        row = b[..., k : k + 1, :]
        if found:
            known = torch.cat(found[::-1] if upper else found, -2)
            row = row - (a[..., k : k + 1, k + 1 :] if upper else a[..., k : k + 1, :k]) @ known
        found.append(row if unit else row / a[..., k : k + 1, k : k + 1])
    return torch.cat(found[::-1] if upper else found, -2)


def _solution(a: Tensor, b: Tensor) -> Tensor:
    n = a.shape[-1]
    batch = torch.broadcast_tensors(a[..., 0, 0], b[..., 0, 0])[0].shape  # type: ignore[no-untyped-call]
    both = torch.cat([a.expand(*batch, n, n), b.expand(*batch, n, b.shape[-1])], -1)
    done, _ = _eliminated(both, n)
    return _substituted(done[..., :n], done[..., n:], upper=True)


def _unused(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """In place of the factors, pivots and status that LAPACK gives beside what was asked for."""
    return a, torch.zeros(a.shape[:-1], dtype=torch.int32), torch.zeros(a.shape[:-2], dtype=torch.int32)


def _det(a: Tensor) -> Any:
    if _is_too_large(a):
        return NotImplemented
    done, sign = _eliminated(a, a.shape[-1])
    factors, pivots, _ = _unused(a)
    return sign * done.diagonal(0, -2, -1).prod(-1), factors, pivots


def _slogdet(a: Tensor) -> Any:
    if _is_too_large(a):
        return NotImplemented
    done, sign = _eliminated(a, a.shape[-1])
    diagonal = done.diagonal(0, -2, -1)
    factors, pivots, _ = _unused(a)
    return sign * diagonal.sign().prod(-1), diagonal.abs().log().sum(-1), factors, pivots


def _solve(a: Tensor, b: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    del check_errors
    if _is_too_large(a):
        return NotImplemented
    is_vector = b.dim() == 1 or (b.dim() == a.dim() - 1 and b.shape == a.shape[:-1])
    columns = b.unsqueeze(-1) if is_vector else b
    found = _solution(a, columns) if left else _solution(a.mT, columns.mT).mT
    return found.squeeze(-1) if is_vector else found, *_unused(a)


def _inverse(a: Tensor, *, check_errors: bool = False) -> Any:
    del check_errors
    if _is_too_large(a):
        return NotImplemented
    return _solution(a, torch.eye(a.shape[-1], dtype=a.dtype)), _unused(a)[2]


def _solve_triangular(a: Tensor, b: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    if _is_too_large(a):
        return NotImplemented
    if left:
        return _substituted(a, b, upper=upper, unit=unitriangular)
    return _substituted(a.mT, b.mT, upper=not upper, unit=unitriangular).mT


def _cholesky(a: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """Of a symmetric matrix, whose two halves have equal parts in the gradient."""
    del check_errors
    if _is_too_large(a):
        return NotImplemented
    n, a = a.shape[-1], (a + a.mT) / 2
    columns: list[Tensor] = []  # ... x n x 1
    for k in range(n):
        rest = a[..., k:, k : k + 1]
        if columns:
            known = torch.cat(columns, -1)
            rest = rest - known[..., k:, :] @ known[..., k : k + 1, :].mT
        column = rest / rest[..., :1, :].sqrt()
        columns.append(torch.nn.functional.pad(column, (0, 0, k, 0)))
    lower = torch.cat(columns, -1)
    return lower.mT if upper else lower, _unused(a)[2]


def _householder_product(vectors: Tensor, tau: Tensor) -> Any:
    """The first n columns of the product of reflections I - tau_i v_i v_i^T; vectors : ... x m x n, tau : ... x k."""
    if _is_too_large(vectors) or not isinstance(tau.shape[-1], int):
        return NotImplemented
    m, n = vectors.shape[-2:]
    product = torch.eye(m, n, dtype=vectors.dtype).expand(*vectors.shape[:-2], m, n)
    below = vectors.tril(-1)
    for i in reversed(range(tau.shape[-1])):
        v = below[..., i : i + 1] + torch.eye(m, dtype=vectors.dtype)[:, i : i + 1]
        product = product - tau[..., i : i + 1, None] * v @ (v.mT @ product)
    return product


def _first(found: Any) -> Any:
    """Without what LAPACK gives beside it, and without its check for errors, which ONNX has no words for."""
    return found if found is NotImplemented else found[0]


DECOMPOSITIONS: dict[Any, Any] = {
    aten._linalg_det.default: _det,
    aten._linalg_slogdet.default: _slogdet,
    aten._linalg_solve_ex.default: _solve,
    aten.det.default: lambda a: _first(_det(a)),
    aten.inverse.default: lambda a: _first(_inverse(a)),
    aten.linalg_cholesky.default: lambda a, upper=False: _first(_cholesky(a, upper=upper)),
    aten.linalg_det.default: lambda a: _first(_det(a)),
    aten.linalg_inv.default: lambda a: _first(_inverse(a)),
    aten.linalg_solve.default: lambda a, b, left=True: _first(_solve(a, b, left=left)),
    aten.linalg_cholesky_ex.default: _cholesky,
    aten.linalg_householder_product.default: _householder_product,
    aten.linalg_inv_ex.default: _inverse,
    aten.linalg_solve_triangular.default: _solve_triangular,
}
