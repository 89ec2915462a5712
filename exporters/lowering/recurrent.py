"""ONNX RNN, LSTM and GRU, unrolled into their gates, step by step.

    gate = f((x_t W^T + Wb) + (h_{t-1} R^T + Rb))

T steps, D directions, B batch, I input units, H hidden units:
X : T x B x I    W : D x GH x I    R : D x GH x H    bias : D x 2GH    initial states : D x B x H
(with layout 1, X : B x T x I and initial states : B x D x H)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..models import ModelError
from ..operators.registry import composite, facts_of
from ..tape.tape import Tape
from ..tape.values import Value


@dataclass
class Gate:
    """One gate's share of the stacked weights: W^T, R^T and the two biases (None without biases)."""

    name: str
    w: Value
    r: Value
    w_bias: Value | None
    r_bias: Value | None


@dataclass(frozen=True)
class Setting:
    """What every recurrent operator of ONNX takes."""

    hidden_size: int
    direction: str
    activations: list[str]
    layout: int


def _gates(tape: Tape, names: Sequence[str], w: Value, r: Value, bias: Value | None, d: int, size: int) -> list[Gate]:
    """The gates of direction d; `names` in the order in which ONNX stacks them."""
    gates = []
    for g, name in enumerate(names):
        parts = [_rows(tape, weight, d, g * size, (g + 1) * size) for weight in (w, r)]
        biases: list[Value | None] = [None, None]
        if bias is not None:
            at = [g * size, (len(names) + g) * size]
            biases = [_rows(tape, bias, d, start, start + size) for start in at]
        if len(names) > 1:
            for part in [*parts, *(b for b in biases if b is not None)]:
                tape.name_part(part, name)
        turned = [tape("Transpose", part, perm=[1, 0]) for part in parts]
        gates.append(Gate(name, turned[0], turned[1], biases[0], biases[1]))
    return gates


def _rows(tape: Tape, stacked: Value, d: int, start: int, stop: int) -> Value:
    """Rows start..stop of direction d of a stacked weight or bias."""
    low, high, axes = tape.integers([d, start]), tape.integers([d + 1, stop]), tape.integers([0, 1])
    return tape("Squeeze", tape("Slice", stacked, low, high, axes), tape.integers([0]))


def _affine(tape: Tape, x: Value, weight: Value, bias: Value | None) -> Value:
    y: Value = tape("MatMul", x, weight)
    return y if bias is None else tape("Add", y, bias)


def _preactivation(tape: Tape, gate: Gate, x: Value, h: Value) -> Value:
    return tape("Add", _affine(tape, x, gate.w, gate.w_bias), _affine(tape, h, gate.r, gate.r_bias))


def _setting(
    op_type: str, activations: list[str] | None, default: list[str], hidden_size: int, direction: str, layout: int
) -> Setting:
    n_directions = 2 if direction == "bidirectional" else 1
    chosen = list(activations) if activations else default * n_directions
    unknown = sorted(name for name in set(chosen) if not facts_of(name).activates)
    if unknown:
        raise ModelError(f"operator {op_type} with activation {', '.join(unknown)} is not supported")
    if len(chosen) != len(default) * n_directions:
        raise ModelError(f"operator {op_type} has {len(chosen)} activations; {len(default) * n_directions} are wanted")
    return Setting(hidden_size, direction, chosen, layout)


def _refuse_clip(op_type: str, clip: float | None) -> None:
    if clip:
        raise ModelError(f"operator {op_type} with clip={clip} is not supported; export the model without it")


def _layer(value: Value, tape: Tape) -> int | None:
    """The layer in torch's parameter names (`weight_ih_l1`)."""
    name = tape.parameter_of(value)
    found = re.search(r"_l(\d+)(_reverse)?$", name or "")
    return int(found.group(1)) if found else None


def _initial(tape: Tape, state: Value | None, d: int, batch: int, setting: Setting) -> Value:
    """The initial state of direction d, B x H; zeros, a constant, when left out."""
    if state is None:
        return tape("Expand", tape.number(0.0), tape.integers([batch, setting.hidden_size]))
    return tape("Gather", state, tape.constant_integer(d), axis=1 if setting.layout else 0)


def _check_lengths(tape: Tape, op_type: str, lengths: Value | None, n_steps: int) -> None:
    if lengths is not None and not tape.decide(lambda found: bool((found == n_steps).all()), lengths):
        raise ModelError(
            f"operator {op_type} with sequence_lens shorter than the input is not supported: do not pad samples"
        )


def _unroll(tape: Tape, x: Value, reverse: bool, step: Callable[[Value], Value]) -> list[Value]:
    """Call `step(x_t)` in the direction's order; the states h_t, in the order of time. A step is the token read."""
    n_steps, first = x.shape[0], (x.token_offsets[0] if x.token_offsets else None) or 0
    states: dict[int, Value] = {}
    for t in reversed(range(n_steps)) if reverse else range(n_steps):
        with tape.labelled(step=first + t):
            states[t] = step(tape("Gather", x, tape.constant_integer(t), axis=0))
    return [states[t] for t in range(n_steps)]


def _run(
    tape: Tape,
    x: Value,
    weights: Value,
    setting: Setting,
    direction: Callable[[int, Value, bool], tuple[list[Value], list[Value]]],
) -> list[Value]:
    """Run each direction on time-major X and lay the outputs out as ONNX wants them: Y, Y_h (and Y_c)."""
    if setting.layout:
        x = tape("Transpose", x, perm=[1, 0, 2])
    reverses = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[setting.direction]
    per_direction: list[Value] = []
    last_states: list[list[Value]] = []
    with tape.labelled(layer=_layer(weights, tape)):
        for d, reverse in enumerate(reverses):
            states, last = direction(d, x, reverse)
            per_direction.append(_stacked(tape, states))
            last_states.append(last)
    # T x B x H per direction -> T x D x B x H
    y = _concat(tape, [tape("Unsqueeze", states, tape.integers([1])) for states in per_direction], 1)
    finals = [_stacked(tape, [last[i] for last in last_states]) for i in range(len(last_states[0]))]
    if setting.layout:
        y = tape("Transpose", y, perm=[2, 0, 1, 3])
        finals = [tape("Transpose", final, perm=[1, 0, 2]) for final in finals]
    return [y, *finals]


def _stacked(tape: Tape, values: list[Value]) -> Value:
    return _concat(tape, [tape("Unsqueeze", value, tape.integers([0])) for value in values], 0)


def _concat(tape: Tape, values: list[Value], axis: int) -> Value:
    return values[0] if len(values) == 1 else tape("Concat", *values, axis=axis)


@composite("RNN")
def rnn(
    tape: Tape,
    x: Value,
    w: Value,
    r: Value,
    bias: Value | None = None,
    lengths: Value | None = None,
    initial_h: Value | None = None,
    *,
    hidden_size: int | None = None,
    direction: str = "forward",
    activations: list[str] | None = None,
    clip: float | None = None,
    layout: int = 0,
) -> list[Value]:
    """h_t = f((x_t W^T + Wb) + (h_{t-1} R^T + Rb)). Role: `hidden`."""
    _refuse_clip("RNN", clip)
    setting = _setting("RNN", activations, ["Tanh"], hidden_size or r.shape[2], direction, layout)
    _check_lengths(tape, "RNN", lengths, x.shape[layout])

    def run(d: int, x: Value, reverse: bool) -> tuple[list[Value], list[Value]]:
        (gate,) = _gates(tape, ["hidden"], w, r, bias, d, setting.hidden_size)
        h = _initial(tape, initial_h, d, x.shape[1], setting)

        def step(x_t: Value) -> Value:
            nonlocal h
            h = tape(setting.activations[d], _preactivation(tape, gate, x_t, h))
            return h

        with tape.labelled(role=_role("hidden", d)):
            return _unroll(tape, x, reverse, step), [h]

    return _run(tape, x, w, setting, run)


def _role(name: str, d: int) -> str:
    return name if d == 0 else f"reverse_{name}"


@composite("LSTM")
def lstm(
    tape: Tape,
    x: Value,
    w: Value,
    r: Value,
    bias: Value | None = None,
    lengths: Value | None = None,
    initial_h: Value | None = None,
    initial_c: Value | None = None,
    peepholes: Value | None = None,
    *,
    hidden_size: int | None = None,
    direction: str = "forward",
    activations: list[str] | None = None,
    clip: float | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> list[Value]:
    """Roles: `input_gate`, `forget_gate`, `cell_gate`, `output_gate`, `cell` (c_t), `hidden` (h_t)."""
    _refuse_clip("LSTM", clip)
    if input_forget or peepholes is not None:
        raise ModelError("operator LSTM with input_forget or peepholes is not supported")
    setting = _setting("LSTM", activations, ["Sigmoid", "Tanh", "Tanh"], hidden_size or r.shape[2], direction, layout)
    _check_lengths(tape, "LSTM", lengths, x.shape[layout])

    def run(d: int, x: Value, reverse: bool) -> tuple[list[Value], list[Value]]:
        names = ["input_gate", "output_gate", "forget_gate", "cell_gate"]
        gates = {gate.name: gate for gate in _gates(tape, names, w, r, bias, d, setting.hidden_size)}
        f, g, squash = setting.activations[3 * d : 3 * d + 3]
        h = _initial(tape, initial_h, d, x.shape[1], setting)
        c = _initial(tape, initial_c, d, x.shape[1], setting)

        def gate(name: str, activation: str, x_t: Value) -> Value:
            with tape.labelled(role=_role(name, d)):
                return tape(activation, _preactivation(tape, gates[name], x_t, h))

        def step(x_t: Value) -> Value:
            nonlocal h, c
            i = gate("input_gate", f, x_t)
            forget = gate("forget_gate", f, x_t)
            candidate = gate("cell_gate", g, x_t)
            o = gate("output_gate", f, x_t)
            with tape.labelled(role=_role("cell", d)):
                c = tape("Add", tape("Mul", forget, c), tape("Mul", i, candidate))
            with tape.labelled(role=_role("hidden", d)):
                h = tape("Mul", o, tape(squash, c))
            return h

        return _unroll(tape, x, reverse, step), [h, c]

    return _run(tape, x, w, setting, run)


@composite("GRU")
def gru(
    tape: Tape,
    x: Value,
    w: Value,
    r: Value,
    bias: Value | None = None,
    lengths: Value | None = None,
    initial_h: Value | None = None,
    *,
    hidden_size: int | None = None,
    direction: str = "forward",
    activations: list[str] | None = None,
    clip: float | None = None,
    linear_before_reset: int = 0,
    layout: int = 0,
) -> list[Value]:
    """Roles: `reset_gate`, `update_gate`, `new_gate`, `hidden` (h_t)."""
    _refuse_clip("GRU", clip)
    setting = _setting("GRU", activations, ["Sigmoid", "Tanh"], hidden_size or r.shape[2], direction, layout)
    _check_lengths(tape, "GRU", lengths, x.shape[layout])

    def run(d: int, x: Value, reverse: bool) -> tuple[list[Value], list[Value]]:
        names = ["update_gate", "reset_gate", "new_gate"]
        gates = {gate.name: gate for gate in _gates(tape, names, w, r, bias, d, setting.hidden_size)}
        f, g = setting.activations[2 * d : 2 * d + 2]
        h = _initial(tape, initial_h, d, x.shape[1], setting)

        def new(x_t: Value, reset: Value) -> Value:
            gate = gates["new_gate"]
            from_x = _affine(tape, x_t, gate.w, gate.w_bias)
            if linear_before_reset:
                from_h = tape("Mul", reset, _affine(tape, h, gate.r, gate.r_bias))
            else:
                from_h = _affine(tape, tape("Mul", reset, h), gate.r, gate.r_bias)
            return tape(g, tape("Add", from_x, from_h))

        def step(x_t: Value) -> Value:
            nonlocal h
            with tape.labelled(role=_role("reset_gate", d)):
                reset = tape(f, _preactivation(tape, gates["reset_gate"], x_t, h))
            with tape.labelled(role=_role("update_gate", d)):
                update = tape(f, _preactivation(tape, gates["update_gate"], x_t, h))
            with tape.labelled(role=_role("new_gate", d)):
                candidate = new(x_t, reset)
            with tape.labelled(role=_role("hidden", d)):
                fresh = tape("Mul", tape("Sub", tape.number(1.0), update), candidate)
                h = tape("Add", fresh, tape("Mul", update, h))
            return h

        return _unroll(tape, x, reverse, step), [h]

    return _run(tape, x, w, setting, run)
