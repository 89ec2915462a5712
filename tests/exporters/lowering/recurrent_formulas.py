"""ONNX's RNN, LSTM and GRU written out in torch after the formulas of the specification."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

State = list[Tensor]
Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "Sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "Tanh": lambda x: torch.tanh(x),
    "Relu": lambda x: x.clamp(min=0),
    "HardSigmoid": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "Softsign": lambda x: x / (1 + x.abs()),
    "Softplus": lambda x: torch.log(1 + torch.exp(x)),
}


def rnn(
    x: Tensor, w: Tensor, r: Tensor, bias: Tensor | None = None, h: Tensor | None = None, **setting: object
) -> State:
    """Y and Y_h."""

    def step(x_t: Tensor, state: State, weights: State, f: Sequence[Activation]) -> State:
        w_i, r_i, wb_i, rb_i = weights
        return [f[0](x_t @ w_i.T + state[0] @ r_i.T + wb_i + rb_i)]

    return _directions(x, w, r, bias, [h], ["Tanh"], step, **setting)


def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    bias: Tensor | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
    **setting: object,
) -> State:
    """Y, Y_h and Y_c; gates in the order i o f c."""

    def step(x_t: Tensor, state: State, weights: State, f: Sequence[Activation]) -> State:
        w_all, r_all, wb, rb = weights
        i, o, forget, candidate = (x_t @ w_all.T + state[0] @ r_all.T + wb + rb).chunk(4, -1)
        c_t = f[0](forget) * state[1] + f[0](i) * f[1](candidate)
        return [f[0](o) * f[2](c_t), c_t]

    return _directions(x, w, r, bias, [h, c], ["Sigmoid", "Tanh", "Tanh"], step, **setting)


def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    bias: Tensor | None = None,
    h: Tensor | None = None,
    linear_before_reset: int = 0,
    **setting: object,
) -> State:
    """Y and Y_h; gates in the order z r h."""

    def step(x_t: Tensor, state: State, weights: State, f: Sequence[Activation]) -> State:
        (w_z, w_r, w_h), (r_z, r_r, r_h), (wb_z, wb_r, wb_h), (rb_z, rb_r, rb_h) = (a.chunk(3) for a in weights)
        z = f[0](x_t @ w_z.T + state[0] @ r_z.T + wb_z + rb_z)
        reset = f[0](x_t @ w_r.T + state[0] @ r_r.T + wb_r + rb_r)
        if linear_before_reset:
            new = f[1](x_t @ w_h.T + reset * (state[0] @ r_h.T + rb_h) + wb_h)
        else:
            new = f[1](x_t @ w_h.T + (reset * state[0]) @ r_h.T + rb_h + wb_h)
        return [(1 - z) * new + z * state[0]]

    return _directions(x, w, r, bias, [h], ["Sigmoid", "Tanh"], step, **setting)


def _directions(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    bias: Tensor | None,
    initial: list[Tensor | None],
    default: list[str],
    step: Callable[[Tensor, State, State, Sequence[Activation]], State],
    direction: str = "forward",
    layout: int = 0,
    activations: list[str] | None = None,
) -> State:
    """Each direction by itself; then T x D x B x H and D x B x H, or batch first."""
    if layout:
        x, initial = x.transpose(0, 1), [None if s is None else s.transpose(0, 1) for s in initial]
    n_directions, size = w.shape[0], r.shape[2]
    names = activations or default * n_directions
    outputs: list[Tensor] = []
    finals: list[State] = []
    for d in range(n_directions):
        zeros = torch.zeros(x.shape[1], size, dtype=x.dtype)
        state = [zeros if s is None else s[d] for s in initial]
        biases = torch.zeros(2 * w.shape[1], dtype=x.dtype) if bias is None else bias[d]
        f = [ACTIVATIONS[name] for name in names[d * len(default) : (d + 1) * len(default)]]
        backwards = direction == "reverse" or d == 1
        hidden: dict[int, Tensor] = {}
        for t in sorted(range(len(x)), reverse=backwards):
            state = step(x[t], state, [w[d], r[d], *biases.chunk(2)], f)
            hidden[t] = state[0]
        outputs.append(torch.stack([hidden[t] for t in range(len(x))]))
        finals.append(state)
    y = torch.stack(outputs, 1)
    last = [torch.stack(parts) for parts in zip(*finals, strict=True)]
    return [y.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in last)] if layout else [y, *last]
