"""Attention and RotaryEmbedding of ONNX (opset 23). Roles: `scores`, `weights` and `context`.

N samples, H heads (G of keys and values, H a multiple of G), Q queries, K keys, E and V units per head:
scores = Q K^T * scale + mask : N x H x Q x K     context = softmax(scores) V : N x H x Q x V
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models import ModelError
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value
from .softmax import softmax


@composite("Attention")
def attention(
    tape: Tape,
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None = None,
    past_key: Value | None = None,
    past_value: Value | None = None,
    nonpad_lengths: Value | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> list[Value]:
    """query, key and value with 4 axes, N x heads x length x units, or 3, N x length x (heads units).

    mask: added to the scores where it is a float, and True where a key may be seen where it is boolean
    Returns the context in the query's layout; for models that read them also the keys and values with the past ones
    in front, and what `qk_matmul_output_mode` says: 0 scores, 1 capped scores, 2 masked scores, 3 weights.
    """
    del softmax_precision  # that of the recording
    if nonpad_lengths is not None:
        raise ModelError("operator Attention with nonpad_kv_seqlen is not supported: do not pad samples")
    n_outputs, flat = tape.n_outputs, query.data.dim() == 3
    query, key, value = (
        _by_head(tape, x, heads) for x, heads in ((query, q_num_heads), (key, kv_num_heads), (value, kv_num_heads))
    )
    n_past = 0 if past_key is None else past_key.shape[2]
    key = key if past_key is None else tape("Concat", past_key, key, axis=2)
    value = value if past_value is None else tape("Concat", past_value, value, axis=2)
    present = [key, value]
    key, value = (_for_each_query_head(tape, x, query.shape[1]) for x in (key, value))
    with tape.labelled(role="scores"):
        product = tape("MatMul", query, tape("Transpose", key, perm=[0, 1, 3, 2]))
        scaled = tape("Mul", product, tape.number(1 / math.sqrt(query.shape[3]) if scale is None else scale))
        capped = _capped(tape, scaled, softcap)
        masked, blind = _masked(tape, capped, mask, n_past if is_causal else None)
    with tape.labelled(role="weights"):
        weights = softmax(tape, masked)
    if blind is not None:
        weights = tape("Where", blind, tape.number(0.0), weights)
    with tape.labelled(role="context"):
        context = tape("MatMul", weights, value)
    asked = (scaled, capped, masked, weights)[qk_matmul_output_mode]
    if flat:
        n, _, length, _ = context.shape
        context = tape("Reshape", tape("Transpose", context, perm=[0, 2, 1, 3]), tape.integers([n, length, -1]))
    return [context, *present, asked][:n_outputs]


def _by_head(tape: Tape, x: Value, heads: int | None) -> Value:
    """N x length x (heads units), or with four axes already, as N x heads x length x units."""
    if x.data.dim() == 4:
        return x
    if heads is None:
        raise ModelError("operator Attention with three-dimensional inputs needs q_num_heads and kv_num_heads")
    split = tape("Reshape", x, tape.integers([x.shape[0], x.shape[1], heads, -1]))
    return tape("Transpose", split, perm=[0, 2, 1, 3])


def _for_each_query_head(tape: Tape, x: Value, heads: int) -> Value:
    """N x G x K x E -> N x H x K x E: every head of keys or values serves H / G heads of queries in a row."""
    n, groups, length, units = x.shape
    if heads == groups:
        return x
    wide = tape(
        "Expand", tape("Unsqueeze", x, tape.integers([2])), tape.integers([n, groups, heads // groups, length, units])
    )
    return tape("Reshape", wide, tape.integers([n, heads, length, units]))


def _capped(tape: Tape, scores: Value, softcap: float) -> Value:
    """softcap * tanh(scores / softcap)."""
    if softcap <= 0:
        return scores
    return tape("Mul", tape("Tanh", tape("Div", scores, tape.number(softcap))), tape.number(softcap))


def _masked(tape: Tape, scores: Value, mask: Value | None, n_past: int | None) -> tuple[Value, Value | None]:
    """The scores with the mask, minus infinity where a key must not be seen.

    n_past: keys in front that every query of a causal attention sees; None: not causal
    Also, where a query may see no key at all (their scores stay as they are): N x H x Q x 1, or None.
    """
    n_queries, n_keys = scores.shape[-2:]
    seen = torch.ones(n_queries, n_keys, dtype=torch.bool)
    allowed = tape.constant(seen if n_past is None else seen.tril(n_past))
    if mask is not None:
        missing = n_keys - mask.shape[-1]
        if mask.data.dtype != torch.bool:
            scores = tape("Add", scores, _filled_up(tape, mask, missing))
        allowed = tape.compute(lambda allowed, mask: allowed & _shown(mask, missing), allowed, mask)
    if tape.decide(lambda allowed: bool(allowed.all()), allowed):
        return scores, None
    shape = scores.shape
    shown = tape.compute(lambda allowed: (allowed | _blind(allowed)).expand(shape), allowed)
    masked = tape("Where", shown, scores, tape.number(-math.inf))
    if not tape.decide(lambda allowed: bool(_blind(allowed).any()), allowed):
        return masked, None
    return masked, tape.compute(lambda allowed: _blind(allowed).expand(*shape[:-1], 1), allowed)


def _shown(mask: Tensor, missing: int) -> Tensor:
    """Which keys a mask lets a query see; none of the `missing` ones behind it."""
    return torch.nn.functional.pad(mask if mask.dtype == torch.bool else mask != -math.inf, (0, missing), value=False)


def _blind(allowed: Tensor) -> Tensor:
    """Which queries may see no key at all: ... x Q x 1"""
    return ~allowed.any(-1, keepdim=True)


def _filled_up(tape: Tape, mask: Value, missing: int) -> Value:
    """A mask for fewer keys than there are; the rest is hidden elsewhere."""
    if not missing:
        return mask
    pads = [0] * (2 * mask.data.dim() - 1) + [missing]
    return tape("Pad", mask, tape.integers(pads), tape.number(0.0))


@composite("RotaryEmbedding")
def rotary_embedding(
    tape: Tape,
    x: Value,
    cosines: Value,
    sines: Value,
    positions: Value | None = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> Value:
    """Pairs of units of each head turned by an angle that grows with the position.

    x: N x H x T x E, or N x T x HE with `num_heads`
    cosines, sines: positions x R / 2 with `positions` (N x T), else N x T x R / 2; R = rotary_embedding_dim or E
    """
    flat = x.data.dim() == 3
    if flat and not num_heads:
        raise ModelError("operator RotaryEmbedding with a three-dimensional input needs num_heads")
    heads = _by_head(tape, x, num_heads)
    turning = rotary_embedding_dim or heads.shape[3]
    first, second = _pairs(tape, heads, turning, interleaved)
    cos, sin = (
        tape("Unsqueeze", angle if positions is None else tape("Gather", angle, positions), tape.integers([1]))
        for angle in (cosines, sines)
    )
    real = tape("Sub", tape("Mul", cos, first), tape("Mul", sin, second))
    imaginary = tape("Add", tape("Mul", sin, first), tape("Mul", cos, second))
    y = _joined(tape, real, imaginary, interleaved)
    if turning < heads.shape[3]:
        y = tape("Concat", y, _units(tape, heads, turning, heads.shape[3], 1), axis=3)
    return tape("Reshape", tape("Transpose", y, perm=[0, 2, 1, 3]), tape.integers(x.shape)) if flat else y


def _pairs(tape: Tape, x: Value, turning: int, interleaved: int) -> tuple[Value, Value]:
    """The first and the second of each pair of units: neighbours, or from the two halves."""
    if interleaved:
        return _units(tape, x, 0, turning, 2), _units(tape, x, 1, turning, 2)
    return _units(tape, x, 0, turning // 2, 1), _units(tape, x, turning // 2, turning, 1)


def _units(tape: Tape, x: Value, start: int, stop: int, stride: int) -> Value:
    return tape("Slice", x, tape.integers([start]), tape.integers([stop]), tape.integers([3]), tape.integers([stride]))


def _joined(tape: Tape, first: Value, second: Value, interleaved: int) -> Value:
    """The pairs laid out as they came."""
    if not interleaved:
        return tape("Concat", first, second, axis=3)
    last = tape.integers([4])
    pairs = tape("Concat", tape("Unsqueeze", first, last), tape("Unsqueeze", second, last), axis=4)
    return tape("Reshape", pairs, tape.integers([*first.shape[:3], -1]))
