"""Contractions: MatMul with batch dimensions, the only kind with a large fan-out.

    Y[b, m, n] = sum over k of A[b, m, k] B[b, k, n]

A's element (b, m, k) has the N targets (b, m, :) with derivatives B[b, k, :]; B's element (b, k, n) has the M targets
(b, :, n) with derivatives A[b, :, k]. Both are the same pattern, once with everything transposed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .registry import Facts, Primitive, primitive


class Contraction(NamedTuple):
    """One operand of a matrix product, seen from its elements (b, x, y) towards their targets (b, x, z).

    batch: sizes of the batch axes
    other: ... x Y x Z   derivative of target (b, x, z) by element (b, x, y) is other[b, y, z]
    stride_x, stride_z:  target (b, x, z) is element b * M * N + x * stride_x + z * stride_z of the output
    transposed: whether (x, y) are the operand's last two axes swapped
    """

    batch: tuple[int, ...]
    x: int
    y: int
    z: int
    other: Tensor
    stride_x: int
    stride_z: int
    transposed: bool


def contraction(a: Tensor, b: Tensor, slot: int) -> Contraction:
    """The contraction seen from operand `slot` of A @ B. A vector is a row of A or a column of B."""
    a, b = as_matrix(a, 0), as_matrix(b, 1)
    batch = tuple(a.shape[:-2])
    if batch != b.shape[:-2]:
        batch = np.broadcast_shapes(batch, b.shape[:-2])
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    if slot == 0:
        return Contraction(batch, m, k, n, b.expand(*batch, k, n), n, 1, False)
    return Contraction(batch, n, k, m, a.expand(*batch, m, k).transpose(-1, -2), 1, n, True)


def as_matrix(operand: Tensor, slot: int) -> Tensor:
    """The operand with at least two axes; anything of its shape (its element numbers) can be seen so."""
    return operand if operand.dim() > 1 else operand.unsqueeze(0 if slot == 0 else 1)


primitive(Primitive("MatMul", "contracts", torch.matmul, tokens="product", facts=Facts(multiplies=True)))
