"""RNN, LSTM and GRU: values and Jacobians after ONNX's formulas, labels, parameter parts, and what is refused."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradtrace.exporters.models import ModelError
from gradtrace.exporters.recording.parameter_groups import partition
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.tape.tape import Call

from ..operators.operator_cases import Array, Case, case, normal
from ..taped import composed_jacobian, finish, weighted_sum
from . import recurrent_formulas

T, B, UNITS, H = 3, 2, 3, 2
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
FORMULAS = {"RNN": recurrent_formulas.rnn, "LSTM": recurrent_formulas.lstm, "GRU": recurrent_formulas.gru}
STATES = {"RNN": 1, "LSTM": 2, "GRU": 1}


def recurrent(op_type: str, *, bias: bool = True, initial: bool = True, **setting: Any) -> Case:
    """A case of random weights; `setting` are the operator's attributes."""
    d, g = (2 if setting.get("direction") == "bidirectional" else 1), GATES[op_type]
    batch_first = setting.get("layout") == 1
    inputs: list[Array | None] = [
        normal(B, T, UNITS) if batch_first else normal(T, B, UNITS),
        normal(d, g * H, UNITS, seed=1),
        normal(d, g * H, H, seed=2),
        normal(d, 2 * g * H, seed=3) if bias else None,
        None,
    ]
    states = [normal(*((B, d, H) if batch_first else (d, B, H)), seed=4 + i) for i in range(STATES[op_type])]
    inputs += states if initial else []
    formula: Callable[..., Any] = partial(FORMULAS[op_type], **setting)

    def without_lengths(*tensors: Tensor | None) -> Any:
        return formula(*tensors[:4], *tensors[5:])

    return case(op_type, inputs, without_lengths, n_outputs=1 + STATES[op_type], hidden_size=H, **setting)


PLAIN = [
    (op, {"direction": direction, "layout": layout, "bias": bias, "initial": initial})
    for op, direction, layout, (bias, initial) in itertools.product(
        GATES, ("forward", "reverse", "bidirectional"), (0, 1), ((True, True), (False, False))
    )
]
PLAIN += [("GRU", {**setting, "linear_before_reset": 1}) for op, setting in PLAIN if op == "GRU"]
ACTIVATED = [
    ("RNN", {"activations": ["Relu"]}),
    ("RNN", {"activations": ["Softsign", "HardSigmoid"], "direction": "bidirectional"}),
    ("LSTM", {"activations": ["HardSigmoid", "Softsign", "Relu"]}),
    (
        "LSTM",
        {"activations": ["Sigmoid", "Tanh", "Relu", "HardSigmoid", "Softplus", "Tanh"], "direction": "bidirectional"},
    ),
    ("GRU", {"activations": ["Sigmoid", "Tanh", "Softsign", "Relu"], "direction": "bidirectional"}),
    ("GRU", {"activations": ["HardSigmoid", "Relu"], "direction": "reverse", "linear_before_reset": 1}),
]


@pytest.mark.parametrize(("op_type", "setting"), PLAIN, ids=str)
def test_values_equal_the_reference(op_type: str, setting: dict[str, Any]) -> None:
    """ONNX's reference knows the default activations only."""
    chosen = recurrent(op_type, **setting)
    for number, expected in enumerate(chosen.expected()):
        _, y, _ = chosen.on_tape(f"y{number}")
        np.testing.assert_allclose(y.data.detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize(("op_type", "setting"), PLAIN + ACTIVATED, ids=str)
def test_edges_compose_to_the_jacobian(op_type: str, setting: dict[str, Any]) -> None:
    chosen = recurrent(op_type, **setting)
    tensors = [None if x is None else torch.from_numpy(x) for x in chosen.inputs]
    assert chosen.formula is not None
    values = chosen.formula(*tensors)
    for number in range(chosen.n_outputs):
        tape, y, leaves = chosen.on_tape(f"y{number}")
        np.testing.assert_allclose(y.data.detach().numpy(), values[number].numpy(), rtol=1e-10)
        found = composed_jacobian(finish(tape, weighted_sum(tape, y)), y, leaves)
        for jacobian, wanted in zip(found, chosen.jacobians(number), strict=True):
            np.testing.assert_allclose(jacobian, wanted, rtol=1e-10, atol=1e-10)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    *[(op, {"clip": 1.0}, "clip") for op in GATES],
    ("LSTM", {"input_forget": 1}, "input_forget"),
    ("RNN", {"activations": ["Affine"]}, "Affine"),
    ("GRU", {"activations": ["Sigmoid"]}, "activations"),
    ("LSTM", {"activations": ["Sigmoid", "Tanh", "Tanh"], "direction": "bidirectional"}, "activations"),
    ("RNN", {"activation_alpha": [0.5]}, "activation_alpha"),
    ("GRU", {"invented": 1}, "invented"),
]


@pytest.mark.parametrize(("op_type", "setting", "named"), REFUSED)
def test_refused_attributes(op_type: str, setting: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=f"{op_type}.*{named}"):
        recurrent(op_type, **setting).on_tape()


@pytest.mark.parametrize("op_type", GATES)
def test_lengths(op_type: str) -> None:
    """Accepted where they say nothing, refused where a sequence is shorter."""
    chosen = recurrent(op_type)
    full, short = ([*chosen.inputs[:4], np.array(n, np.int32), *chosen.inputs[5:]] for n in ([T, T], [T, T - 1]))
    _, y, _ = case(op_type, full).on_tape()  # hidden_size may be left out
    np.testing.assert_allclose(y.data.detach().numpy(), chosen.expected()[0], rtol=1e-10)
    with pytest.raises(ModelError, match=f"{op_type}.*sequence_lens"):
        case(op_type, short, hidden_size=H).on_tape()


def test_peepholes_are_refused() -> None:
    chosen = recurrent("LSTM")
    with pytest.raises(ModelError, match=r"LSTM.*peepholes"):
        case("LSTM", [*chosen.inputs, normal(1, 3 * H)], hidden_size=H).on_tape()


# Labels

ROLES = {
    "RNN": {"hidden"},
    "LSTM": {"input_gate", "forget_gate", "cell_gate", "output_gate", "cell", "hidden"},
    "GRU": {"reset_gate", "update_gate", "new_gate", "hidden"},
}


def _operators(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.primitive.kind != "copies"]


@pytest.mark.parametrize("op_type", GATES)
def test_roles_and_steps(op_type: str) -> None:
    tape, _, _ = recurrent(op_type, direction="bidirectional").on_tape()
    labels = Counter((call.label.role, call.label.step) for call in _operators(tape.calls))
    roles = ROLES[op_type] | {f"reverse_{role}" for role in ROLES[op_type]}
    assert set(labels) == {(role, step) for role in roles for step in range(T)}
    for role in roles:
        assert len({labels[role, step] for step in range(T)}) == 1  # every step is made of the same operators
    order = [call.label.step for call in _operators(tape.calls) if call.label.role == "reverse_hidden"]
    assert order == sorted(order, reverse=True)


# Parameter parts


class LastState(nn.Module):
    """A loss on top of a recurrent module."""

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        self.rnn = module

    def forward(self, x: Tensor) -> Tensor:
        """1 x T x UNITS -> scalar"""
        return self.rnn(x)[0].pow(2).mean()


TORCH_ORDER = {  # how torch stacks the gates, from its documentation
    nn.LSTM: ["input_gate", "forget_gate", "cell_gate", "output_gate"],
    nn.GRU: ["reset_gate", "update_gate", "new_gate"],
}


def _recorded(module: nn.RNNBase) -> Recording:
    return TorchModel(LastState(module), torch.float64).record({"x": torch.from_numpy(normal(1, 4, UNITS))}, 4)


@pytest.mark.parametrize("kind", list(TORCH_ORDER))
def test_parts_of_torch_parameters(kind: type[nn.RNNBase]) -> None:
    """Names and row slices are torch's, in both directions of both layers."""
    torch.manual_seed(0)
    recording = _recorded(kind(UNITS, H, num_layers=2, bidirectional=True, batch_first=True))
    groups = partition(recording).groups
    found = {group.name: group for group in groups}
    wanted = set()
    for side, layer, way in itertools.product(
        ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (0, 1), ("", "_reverse")
    ):
        name = f"rnn.{side}_l{layer}{way}"
        for number, gate in enumerate(TORCH_ORDER[kind]):
            rows = f"{number * H}:{(number + 1) * H}"
            group = found[f"{name}.{gate}"]
            wanted.add(group.name)
            assert group.parameter == name
            assert group.slice == (rows if side.startswith("bias") else f"{rows}, :")
    assert set(found) == wanted
    layers = {call.label.layer for call in _operators(recording.tape.calls) if call.label.step is not None}
    assert layers == {0, 1}


def test_parts_are_what_their_gate_reads() -> None:
    """The first operator that a part's elements lead to belongs to that gate: the names are not merely in order."""
    torch.manual_seed(0)
    recording = _recorded(nn.LSTM(UNITS, H, batch_first=True))
    found = partition(recording)
    owners: dict[int, str] = {}
    for call in _operators(recording.tape.calls):
        for x in call.inputs:
            if x is not None and x.vertices is not None:
                owners |= {int(v): call.label.role for v in x.vertices.unique() if 0 <= v < recording.n_parameters}
    assert set(owners) == set(range(recording.n_parameters))
    for vertex, role in owners.items():
        assert found.groups[found.group_of[vertex]].name.endswith(f".{role}")


def test_one_gate_is_not_split() -> None:
    groups = partition(_recorded(nn.RNN(UNITS, H, batch_first=True))).groups
    assert {g.name: g.slice for g in groups} == {
        f"rnn.{name}_l0": None for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
