"""Cases of Attention and RotaryEmbedding."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..operators.operator_cases import Array, Case, case, normal

Q, K, V = normal(1, 4, 3, 2), normal(1, 2, 5, 2, seed=1), normal(1, 2, 5, 3, seed=2)
SQUARE = [normal(2, 2, 3, 4, seed=i) for i in range(3)]
SEEN = np.array([[True, False, True, True, False], [True] * 5, [False, True, False, False, False]])
PART = np.where(SEEN, normal(3, 5), -np.inf)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, scale: float | None = None, cap: float = 0.0
) -> list[Tensor]:
    """Head by head; `bias` is added to the scores."""
    each = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(each, 1), v.repeat_interleave(each, 1)
    scores = torch.einsum("nhqe,nhke->nhqk", q, k) * (q.shape[3] ** -0.5 if scale is None else scale)
    scores = cap * torch.tanh(scores / cap) if cap else scores
    weights = torch.softmax(scores if bias is None else scores + bias, -1)
    return [torch.einsum("nhqk,nhkv->nhqv", weights, v), k, v, scores]


def _hidden(seen: Array | Tensor) -> Tensor:
    return torch.where(torch.as_tensor(seen), 0.0, -torch.inf).double()


def _causal(n_queries: int, n_keys: int, n_past: int = 0) -> Tensor:
    return _hidden(torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_past))


def _blind(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """The second query sees no key: its context is 0."""
    context = _attend(q, k, v, _hidden(seen | ~seen.any(-1, keepdim=True)))[0]
    return torch.where(seen.any(-1, keepdim=True), context, 0.0)


def _flat(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    heads = [x.unflatten(2, (n, -1)).transpose(1, 2) for x, n in ((q, 4), (k, 2), (v, 2))]
    return _attend(*heads)[0].transpose(1, 2).flatten(2)


def _with_past(q: Tensor, k: Tensor, v: Tensor, _: None, pk: Tensor, pv: Tensor) -> list[Tensor]:
    k, v = torch.cat([pk, k], 2), torch.cat([pv, v], 2)
    return [_attend(q, k, v, _causal(3, 5, 2))[0], k, v]


ROTATED = normal(1, 2, 3, 4)
ANGLES = normal(5, 2)
POSITIONS = np.array([[0, 3, 1]])


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None, *, interleaved: bool = False) -> Tensor:
    """As a multiplication of complex numbers; x : N x H x T x E."""
    cos, sin = (angle if positions is None else angle[positions] for angle in (cos, sin))
    half = cos.shape[-1]
    turning, rest = x[..., : 2 * half], x[..., 2 * half :]
    real, imaginary = (turning[..., 0::2], turning[..., 1::2]) if interleaved else turning.split(half, -1)
    z = torch.complex(real, imaginary) * torch.complex(cos, sin)[:, None]
    joined = torch.stack([z.real, z.imag], -1).flatten(-2) if interleaved else torch.cat([z.real, z.imag], -1)
    return torch.cat([joined, rest], -1)


ATTENTIONS: list[Case] = [
    case("Attention", SQUARE, lambda q, k, v: _attend(q, k, v), opset=23),
    case("Attention", [Q, K, V], lambda q, k, v: _attend(q, k, v, scale=0.25), scale=0.25, opset=23),
    case("Attention", SQUARE, lambda q, k, v: _attend(q, k, v, _causal(3, 3)), is_causal=1, opset=23),
    case("Attention", [Q, K, V, SEEN], lambda q, k, v, m: _attend(q, k, v, _hidden(m)), opset=23),
    case(
        "Attention",
        [Q, K, V, SEEN[:, :4]],
        lambda q, k, v, m: _attend(q, k[:, :, :4], v[:, :, :4], _hidden(m)),
        opset=23,
    ),
    case("Attention", [Q, K, V, normal(4, 3, 5)], lambda q, k, v, m: _attend(q, k, v, m), opset=23),
    case("Attention", [Q, K, V, normal(3, 4)], lambda q, k, v, m: _attend(q, k[:, :, :4], v[:, :, :4], m), opset=23),
    case("Attention", [Q, K, V, PART], lambda q, k, v, m: _attend(q, k, v, m), fixed=(3,), opset=23),
    case("Attention", [Q, K, V, np.eye(3, 5) > [[0], [1], [0]]], _blind, opset=23),
    case("Attention", [Q, K, V], lambda q, k, v: _attend(q, k, v, cap=0.5), softcap=0.5, opset=23),
    case(
        "Attention",
        [normal(1, 3, 8), normal(1, 5, 4), normal(1, 5, 6)],
        _flat,
        q_num_heads=4,
        kv_num_heads=2,
        opset=23,
    ),
    case(
        "Attention",
        [*(x[:1] for x in SQUARE), None, normal(1, 2, 2, 4, seed=7), normal(1, 2, 2, 4, seed=8)],
        _with_past,
        is_causal=1,
        n_outputs=3,
        opset=23,
    ),
    *[
        case(
            "Attention",
            [*SQUARE, normal(3, 3)],
            lambda q, k, v, m, mode=mode: _asked(q, k, v, m, mode),
            n_outputs=4,
            qk_matmul_output_mode=mode,
            softcap=2.0,
            opset=23,
        )
        for mode in (1, 2, 3)
    ],
    case("RotaryEmbedding", [ROTATED, ANGLES, normal(5, 2, seed=1), POSITIONS], _rotated, opset=23),
    case(
        "RotaryEmbedding",
        [ROTATED, ANGLES, normal(5, 2, seed=1), POSITIONS],
        lambda x, c, s, p: _rotated(x, c, s, p, interleaved=True),
        interleaved=1,
        opset=23,
    ),
    case(
        "RotaryEmbedding",
        [normal(1, 3, 12), normal(1, 3, 2), normal(1, 3, 2, seed=1)],
        lambda x, c, s: _rotated(x.unflatten(2, (2, 6)).transpose(1, 2), c, s, None).transpose(1, 2).flatten(2),
        num_heads=2,
        rotary_embedding_dim=4,
        opset=23,
    ),
]


def _asked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, mode: int) -> list[Tensor]:
    context, keys, values, capped = _attend(q, k, v, mask, cap=2.0)
    return [context, keys, values, [capped, capped + mask, torch.softmax(capped + mask, -1)][mode - 1]]


CASES = ATTENTIONS
