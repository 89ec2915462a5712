"""Roles found in graphs that others wrote out: norms and additive attention, and what only looks like them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from gradtrace.exporters.edges.conservation import conservation_error
from gradtrace.exporters.models import ModelError
from gradtrace.exporters.onnx_graph.reader import read_graph
from gradtrace.exporters.recording.recorder import Recorder, Recording

from ..torch_export.shown_models import show

UNITS, KEYS = 6, 5
X = torch.linspace(-1.0, 2.0, 4 * UNITS).sin().reshape(1, 4, UNITS)


def roles_of(recording: Recording, but: str = "") -> list[tuple[str, str]]:
    """Operator and role of every operator with a role, in order; copies make no edges and are left out."""
    calls = [c for c in recording.tape.calls if c.primitive.kind != "copies"]
    return [(c.primitive.name, c.label.role) for c in calls if c.label.role not in ("", but)]


# Norms, as torch exports what people write


class Written(nn.Module):
    """A linear layer, then a norm written out."""

    def __init__(self, norm: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(UNITS, UNITS), norm
        self.scale, self.bias = nn.Parameter(torch.rand(UNITS) + 0.5), nn.Parameter(torch.rand(UNITS))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x), self.scale, self.bias).square().sum() + 0.1 * self.bias.sum()


def _layer_norm(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / ((x - mean) ** 2).mean(-1, keepdim=True).add(1e-5).sqrt() * scale + bias


def _layer_norm_of_var(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    spread = x.var(-1, keepdim=True, unbiased=False)
    return scale * ((x - x.mean(-1, keepdim=True)) / (spread + 1e-5).sqrt()) + bias


def _layer_norm_of_a_power(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return bias + scale * (centred * (1e-5 + (centred * centred).mean(-1, keepdim=True)) ** -0.5)


def _rms_norm(x: Tensor, scale: Tensor, _: Tensor) -> Tensor:
    """As Llama's and T5's."""
    return scale * (x * torch.rsqrt(x.to(torch.float32).pow(2).mean(-1, keepdim=True) + 1e-6))


def _rms_norm_of_one_and_more(x: Tensor, scale: Tensor, _: Tensor) -> Tensor:
    """As Gemma's."""
    return x * (1.0 / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6)) * (1.0 + scale)


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum()


MEAN = [("ReduceMean", "mean"), ("Sub", "mean")]
NORMS = {
    _layer_norm: {"mean": 3, "variance": 4, "scale": 3},  # torch computes the difference twice
    _layer_norm_of_var: {"mean": 4, "variance": 4, "scale": 3},  # and here the mean too
    _layer_norm_of_a_power: {"mean": 2, "variance": 4, "scale": 3},
    _rms_norm: {"variance": 5, "scale": 2},
    _rms_norm_of_one_and_more: {"variance": 5, "scale": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.__name__)
def test_norms_written_in_torch(norm: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    found = roles_of(show(Written(norm), [{"x": X}]).recordings[0])
    assert {role: [r for _, r in found].count(role) for _, role in found} == NORMS[norm]
    operators = {role: {op for op, r in found if r == role} for _, role in found}
    assert operators.get("mean", {"ReduceMean", "Sub"}) == {"ReduceMean", "Sub"}
    assert {"ReduceMean", "Add"} < operators["variance"] <= {"ReduceMean", "Add", "Pow", "Mul", "Sqrt", "Reciprocal"}
    assert operators["scale"] <= {"Div", "Mul", "Add"}


@pytest.mark.slow
@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_the_same_roles_as_the_operator_has(norm: Any) -> None:
    """What the lowering gives LayerNormalization is what is found when it is written out."""
    own = nn.Sequential(nn.Linear(UNITS, UNITS), norm(UNITS, eps=1e-5), Squared())
    written = Written(_layer_norm if norm is nn.LayerNorm else _rms_norm)
    of_own = roles_of(show(own, [{"input": X}]).recordings[0])
    assert {role for _, role in of_own} == {role for _, role in roles_of(show(written, [{"x": X}]).recordings[0])}


def _no_epsilon(x: Tensor, scale: Tensor, _: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x - x.mean(-1, keepdim=True)).pow(2).mean(-1, keepdim=True).sqrt() * scale


def _of_a_cube(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return x / (x.abs().pow(3).mean(-1, keepdim=True) + 1e-5).sqrt() * scale + bias


def _of_two_factors(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return x / ((x * (x + 1)).mean(-1, keepdim=True).abs() + 1e-5).sqrt() * scale + bias


def _of_something_else(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return x.tanh() / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * scale + bias


def _deviation_alone(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return ((x - x.mean(-1, keepdim=True)).pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * scale + bias


def _cube_root(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5) ** 0.75 * scale + bias


def _divided_by_it(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() / (x + 5.0) * scale + bias


def _learned_epsilon(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + bias.square()).sqrt() * scale


def _sum_of_squares(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return x / (x.pow(2).sum(-1, keepdim=True) + 1e-5).sqrt() * scale + bias


@pytest.mark.slow
@pytest.mark.parametrize(
    "other",
    [
        _no_epsilon,
        _of_a_cube,
        _of_two_factors,
        _of_something_else,
        _deviation_alone,
        _cube_root,
        _divided_by_it,
        _learned_epsilon,
        _sum_of_squares,
    ],
    ids=lambda norm: norm.__name__,
)
def test_what_is_no_norm(other: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    assert roles_of(show(Written(other), [{"x": X}]).recordings[0]) == []


def test_a_mean_over_other_axes_is_not_the_norms() -> None:
    """What is left of it is an RMS norm of the difference."""

    def mixed(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * scale + bias

    assert {role for _, role in roles_of(show(Written(mixed), [{"x": X}]).recordings[0])} == {"variance", "scale"}


@pytest.mark.slow
def test_what_comes_behind_a_norm_is_not_its_scale() -> None:
    """A constant factor, a gate that depends on the input, and a norm that two operators read."""

    def halved(x: Tensor, _: Tensor, bias: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * 0.5 + bias

    def gated(x: Tensor, _: Tensor, bias: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * x.sigmoid() + bias

    def shared(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        y = x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return y * scale + y * bias

    for norm in (halved, gated, shared):
        found = roles_of(show(Written(norm), [{"x": X}]).recordings[0])
        assert [op for op, role in found if role == "scale"] == ["Div"]


# Graphs from other exporters

OnnxNode = tuple[str, list[str], list[str], dict[str, Any]]


def _recorded(
    nodes: list[OnnxNode], inputs: dict[str, Tensor], parameters: dict[str, Any], *, valid: bool = True
) -> Recording:
    """A model whose loss is the sum of squares of "y"; nothing is said of the shapes in between."""
    made = [
        helper.make_node(op, ins, outs, **attributes)
        for op, ins, outs, attributes in [*nodes, ("ReduceSumSquare", ["y"], ["loss"], {"keepdims": 0})]
    ]
    given = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, list(x.shape)) for n, x in inputs.items()]
    loss = [helper.make_tensor_value_info("loss", TensorProto.DOUBLE, [])]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in parameters.items()]
    graph = helper.make_graph(made, "foreign", given, loss, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    if valid:
        onnx.checker.check_model(model)
    learned = [name for name in parameters if name.islower()]
    recorder = Recorder(read_graph(model, torch.float64, learned), torch.float64)
    recording = recorder.record({name: x.double() for name, x in inputs.items()})
    assert conservation_error(recording) < 1e-12
    return recording


CONSTANTS = {"TWO": 2.0, "EPSILON": 1e-5, "ONE": 1.0, "NEXT": np.array([-1]), "KEY": np.array([1])}
LAST = {"axes": [-1]}


def _norm_nodes(*changes: OnnxNode) -> list[OnnxNode]:
    """The layer norm that older exporters write: one difference, casts in between."""
    nodes: list[OnnxNode] = [
        ("MatMul", ["x", "w"], ["h"], {}),
        ("ReduceMean", ["h"], ["m"], LAST),
        ("Sub", ["h", "m"], ["c"], {}),
        ("Cast", ["c"], ["cast"], {"to": TensorProto.DOUBLE}),
        ("Pow", ["cast", "TWO"], ["p"], {}),
        ("ReduceMean", ["p"], ["v"], LAST),
        ("Add", ["v", "EPSILON"], ["e"], {}),
        ("Sqrt", ["e"], ["r"], {}),
        ("Div", ["c", "r"], ["n"], {}),
        ("Mul", ["n", "gain"], ["s"], {}),
        ("Add", ["s", "shift"], ["y"], {}),
    ]
    changed = {node[2][0]: node for node in changes}
    return [changed.get(node[2][0], node) for node in nodes]


def _norm_recorded(*changes: OnnxNode) -> Recording:
    torch.manual_seed(0)
    parameters = {"w": torch.randn(UNITS, UNITS).double(), "gain": torch.rand(UNITS), "shift": torch.rand(UNITS)}
    arrays = {name: x.double().numpy() for name, x in parameters.items()}
    return _recorded(_norm_nodes(*changes), {"x": X[0]}, arrays | CONSTANTS)


def test_a_layer_norm_of_another_exporter() -> None:
    variance = ["Pow", "ReduceMean", "Add", "Sqrt"]
    wanted = [*MEAN, *((op, "variance") for op in variance), *((op, "scale") for op in ("Div", "Mul", "Add"))]
    assert roles_of(_norm_recorded()) == wanted


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (("Pow", ["cast", "ONE"], ["p"], {}), set[str]()),
        (("Mul", ["cast", "h"], ["p"], {}), set()),
        (("Add", ["v", "m"], ["e"], {}), set()),
        (("Div", ["r", "c"], ["n"], {}), set()),
        (("Div", ["h", "r"], ["n"], {}), set()),
        (("ReduceMean", ["h"], ["m"], {"axes": [0]}), {"variance", "scale"}),
    ],
    ids=["no square", "two factors", "no constant", "turned round", "not the centred", "another axis"],
)
def test_other_exporters_other_graphs(change: OnnxNode, left: set[str]) -> None:
    assert {role for _, role in roles_of(_norm_recorded(change))} == left


# Additive attention


class Additive(nn.Module):
    """One query per batch element, its scores v . tanh(q + k), summed as `score` and `average` say."""

    def __init__(self, score: Callable[..., Tensor], average: Callable[..., Tensor]) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(UNITS, UNITS, bias=False), nn.Linear(UNITS, UNITS)
        self.v = nn.Parameter(torch.randn(UNITS))
        self.score, self.average = score, average

    def forward(self, x: Tensor) -> Tensor:
        q, keys = self.query(x[:, -1]), self.key(x)
        return self.average(self.score(torch.tanh(q.unsqueeze(1) + keys), self.v), x).square().sum()


def _dot(h: Tensor, v: Tensor) -> Tensor:
    return h @ v


def _column(h: Tensor, v: Tensor) -> Tensor:
    return h @ v[:, None]


def _sum(h: Tensor, v: Tensor) -> Tensor:
    return (h * v).sum(-1)


def _kept_sum(h: Tensor, v: Tensor) -> Tensor:
    return (v * h).sum(2, keepdim=True)


def _matrix(scores: Tensor, values: Tensor) -> Tensor:
    return (scores.softmax(1).unsqueeze(1) @ values).squeeze(1)


def _unsqueezed(scores: Tensor, values: Tensor) -> Tensor:
    return (scores.softmax(-1).unsqueeze(-1) * values).sum(1)


def _in_front(scores: Tensor, values: Tensor) -> Tensor:
    return (values.transpose(1, 2) * scores.softmax(1)[:, None]).sum(-1)


def _as_they_are(scores: Tensor, values: Tensor) -> Tensor:
    return (scores.softmax(1) * values).sum(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("score", "average"),
    [
        *((score, average) for score in (_dot, _sum) for average in (_matrix, _unsqueezed, _in_front)),
        (_column, _as_they_are),
        (_kept_sum, _as_they_are),
    ],
    ids=lambda made: made.__name__,
)
def test_additive_attention(score: Callable[..., Tensor], average: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    shown = show(Additive(score, average), [{"x": X}, {"x": torch.randn(1, 3, UNITS)}])
    by_sum = score in (_sum, _kept_sum)
    contexts = ["MatMul"] if average is _matrix else ["Mul", "ReduceSum"]
    wanted = [(op, "scores") for op in (["Mul", "ReduceSum"] if by_sum else ["MatMul"])]
    wanted += [(op, "weights") for op in ("Sub", "Exp", "ReduceSum", "Div")]
    for recording in shown.recordings:
        assert roles_of(recording) == [*wanted, *((op, "context") for op in contexts)]


def test_additive_attention_has_no_heads() -> None:
    """Neither the samples of a batch nor the queries are taken for heads."""

    class All(Additive):
        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.query(x)[:, :, None] + self.key(x)[:, None])
            return ((h @ self.v).softmax(-1) @ x).square().sum()

    shown = show(All(_dot, _matrix), [{"x": torch.randn(2, 4, UNITS)}])
    assert shown.roles >= {"scores", "weights", "context"}
    assert all("head" not in tensor.axis_names for tensor in shown.recordings[0].tape.tensors)


def test_additive_attention_of_another_exporter() -> None:
    """As a framework with its batch in the middle writes it: keys x batch x units, energies keep their axis."""
    torch.manual_seed(0)
    keys = torch.randn(KEYS, 2, UNITS)
    parameters = {"w": torch.randn(UNITS, UNITS), "u": torch.randn(UNITS, UNITS), "v": torch.randn(UNITS, 1)}
    nodes: list[OnnxNode] = [
        ("MatMul", ["keys", "w"], ["k"], {}),
        ("MatMul", ["state", "u"], ["q"], {}),
        ("Add", ["k", "q"], ["sum"], {}),
        ("Tanh", ["sum"], ["h"], {}),
        ("MatMul", ["h", "v"], ["energy"], {}),
        ("Add", ["energy", "MASK"], ["masked"], {}),
        ("Softmax", ["masked"], ["weights"], {"axis": 0}),
        ("Mul", ["keys", "weights"], ["product"], {}),
        ("ReduceSum", ["product", "FIRST"], ["y"], {"keepdims": 0}),
    ]
    mask = np.where(np.arange(KEYS) < 4, 0.0, -1e9).reshape(KEYS, 1, 1)
    arrays = {n: x.double().numpy() for n, x in parameters.items()} | {"MASK": mask, "FIRST": np.array([0])}
    recording = _recorded(nodes, {"keys": keys, "state": torch.randn(2, UNITS)}, arrays)
    wanted = [("MatMul", "scores"), ("Add", "scores"), *((op, "weights") for op in ("Sub", "Exp", "ReduceSum", "Div"))]
    assert roles_of(recording) == [*wanted, ("Mul", "context"), ("ReduceSum", "context")]


class Plain(nn.Module):
    """Something with a softmax that averages nothing."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.mix, self.function = nn.Linear(UNITS, UNITS), nn.Parameter(torch.randn(4)), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer(x), x).square().sum() + self.mix.sum()


def _entropy(z: Tensor, _: Tensor) -> Tensor:
    p = z.softmax(-1)
    return -(p * p.log()).sum(-1)


def _entropy_of_logarithms(z: Tensor, _: Tensor) -> Tensor:
    return -(z.softmax(-1) * z.log_softmax(-1)).sum(-1)


def _squares(z: Tensor, _: Tensor) -> Tensor:
    return z.softmax(-1).square().sum(-1)


def _gate(z: Tensor, x: Tensor) -> Tensor:
    return z.softmax(-1) * x


def _expected_reward(z: Tensor, x: Tensor) -> Tensor:
    return (z.softmax(-1) * x).sum(-1)


def _expected_reward_at_last(z: Tensor, x: Tensor) -> Tensor:
    return (z[:, -1].softmax(1) * x[:, -1]).sum(1)


def _units_summed(z: Tensor, x: Tensor) -> Tensor:
    return (z.softmax(1)[..., None] * x[:, :, None]).sum(-1)


def _everything_summed(z: Tensor, x: Tensor) -> Tensor:
    return (z.softmax(1)[..., None] * x[:, :, None]).sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    "function",
    [
        _entropy,
        _entropy_of_logarithms,
        _squares,
        _gate,
        _expected_reward,
        _expected_reward_at_last,
        _units_summed,
        _everything_summed,
    ],
    ids=lambda made: made.__name__,
)
def test_what_is_no_attention(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    found = show(Plain(function), [{"x": X}]).roles
    assert not found & {"scores", "weights", "context"}
    assert "softmax" in found


def test_a_mixture_of_layers_is_no_attention() -> None:
    """Its weights are parameters: there are no scores."""

    class Mixed(Plain):
        def forward(self, x: Tensor) -> Tensor:
            layers = torch.stack([x, self.layer(x), self.layer(x).tanh(), x.square()])
            return (self.mix.softmax(0)[:, None, None, None] * layers).sum(0).square().sum()

    assert not show(Mixed(_gate), [{"x": X}]).roles & {"scores", "weights", "context"}


def test_a_softmax_is_not_told_its_role() -> None:
    """A role is found, not given: as any attribute that no rule reads, `role` is refused."""
    nodes: list[OnnxNode] = [("Softmax", ["x"], ["z"], {}), ("Mul", ["z", "w"], ["y"], {})]
    parameters = {"w": np.arange(1.0, UNITS + 1)}
    softmax = [(op, "softmax") for op in ("Sub", "Exp", "ReduceSum", "Div")]
    assert roles_of(_recorded(nodes, {"x": X}, parameters)) == softmax
    nodes[0] = ("Softmax", ["x"], ["z"], {"role": "weights"})
    with pytest.raises(ModelError, match="operator Softmax has attribute role, which its rule does not read"):
        _recorded(nodes, {"x": X}, parameters, valid=False)
