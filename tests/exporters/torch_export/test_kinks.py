"""At ties, bounds and zeros the subgradient is torch's own, function by function."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

import gradtrace as gt
from gradtrace.exporters.onnx_graph.reader import SUBGRADIENT_KEY, read_graph
from gradtrace.exporters.recording.recorder import Recorder, Recording
from gradtrace.exporters.torch_export.export import export, for_tracing
from gradtrace.exporters.torch_export.translations.kinks import TRANSLATIONS

from .kink_cases import CASES, TIES

PARTS = 3  # exports are made of many cases at once: each costs a second


class Functions(nn.Module):
    """The sum of several functions of its parameters, every element of their outputs with a weight of its own."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = names
        for name in names:
            for i, numbers in enumerate(CASES[name][1:]):
                self.register_parameter(parameter(name, i), nn.Parameter(torch.tensor(numbers)))

    def forward(self, scale: Tensor) -> Tensor:
        total = scale.sum()
        for name in self.names:
            function, *numbers = CASES[name]
            y = function(*(getattr(self, parameter(name, i)) for i in range(len(numbers))))
            total = total + (y * torch.arange(1, y.numel() + 1).to(y).reshape(y.shape)).sum()
        return total


def parameter(name: str, number: int) -> str:
    """A name that a module may give."""
    return "".join(c if c.isalnum() else "_" for c in f"{name} {number}")


@cache
def gradients(part: int, dtype: torch.dtype) -> tuple[dict[str, Tensor], Recording]:
    """torch's own gradients of one part of the cases, and the recording."""
    names = list(CASES)[part::PARTS]
    module = for_tracing(Functions(names), dtype)
    inputs = {"scale": torch.ones(1, dtype=dtype)}
    parameters = dict(module.named_parameters())
    found = torch.autograd.grad(module(**inputs), list(parameters.values()))
    exported = export(module, inputs)
    recorder = Recorder(read_graph(exported.model, dtype, exported.parameters), dtype)
    return dict(zip(parameters, found, strict=True)), recorder.record(inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_the_subgradient_is_torchs(name: str, dtype: torch.dtype) -> None:
    wanted, recording = gradients(list(CASES).index(name) % PARTS, dtype)
    for i in range(len(CASES[name]) - 1):
        own = wanted[parameter(name, i)].numpy()
        found = recording.gradient(parameter(name, i))
        np.testing.assert_allclose(found, own, rtol=4 * torch.finfo(dtype).eps, atol=0)


def test_the_numbers_lie_on_kinks() -> None:
    """Where one element moves, gradients jump for most of the functions: else the table would say nothing."""
    moved = 0
    for name, (function, *numbers) in CASES.items():
        leaves = [torch.tensor(x, dtype=torch.float64).requires_grad_() for x in numbers]
        jumps = []
        for step in (-1e-7, 0.0, 1e-7):
            shifted = [leaves[0] + step * torch.arange(1, leaves[0].numel() + 1).reshape(leaves[0].shape), *leaves[1:]]
            y = function(*shifted)
            weights = torch.arange(1, y.numel() + 1).to(y).reshape(y.shape)
            jumps.append(torch.autograd.grad((y * weights).sum(), leaves[0])[0].nan_to_num())
        moved += any(float((jump - jumps[1]).abs().max()) > 0.01 for jump in jumps)
        assert torch.isfinite(jumps[1]).all(), name
    assert moved > 0.7 * len(CASES)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_hinge_at_its_bound_is_recorded(dtype: str) -> None:
    """Through the public door, where the export is compared with torch."""

    class Hinge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.E = nn.Parameter(torch.tensor([[0.5, 2.0], [3.0, -1.0], [1.0, 0.0], [0.0, 1.0]]))

        def forward(self, ids: Tensor) -> Tensor:
            return (1 - self.E[ids]).clamp(min=0).sum()

    recording = gt.record(Hinge(), {"ids": torch.tensor([[0, 2, 3]])}, dtype=dtype)  # type: ignore[arg-type]
    assert recording.gradient("E").tolist() == [[-1, 0], [0, 0], [-1, -1], [-1, -1]]


# Files from elsewhere: the counterpart of torch that docs/operators.md names


def _of_file(op_type: str, x: list[float], *more: list[float], **attributes: object) -> list[float]:
    """The gradient by the first input of the sum of an operator's outputs."""
    names = [f"x{i}" for i in range(1 + len(more))]
    arrays = [np.asarray(value, dtype=np.float64) for value in (x, *more)]
    initializers = [onnx.numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)]
    nodes = [helper.make_node(op_type, names, ["y"], **attributes), helper.make_node("ReduceSum", ["y"], ["loss"])]
    nodes[1].attribute.append(helper.make_attribute("keepdims", 0))
    loss = helper.make_tensor_value_info("loss", TensorProto.DOUBLE, [])
    graph = helper.make_graph(nodes, "file", [], [loss], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    recording = Recorder(read_graph(model, torch.float64), torch.float64).record({})
    gradient: list[float] = recording.gradient("x0").reshape(-1).tolist()
    return gradient


def test_kinks_of_files() -> None:
    assert _of_file("ReduceMax", TIES[0]) == [0, 0.5, 0.5, 0]
    assert _of_file("ReduceMin", TIES[1]) == [0.25] * 4
    assert _of_file("Max", [1.0, 2.0], [1.0, 1.0]) == [0.5, 1]
    assert _of_file("PRelu", [0.0, -1.0, 1.0], [0.2]) == [0.2, 0.2, 1]
    assert _of_file("ReduceL2", [0.0, 0.0]) == [0, 0]
    assert _of_file("MaxPool", [[[1.0, 1.0, 0.0]]], kernel_shape=[2]) == [1, 1, 0]  # type: ignore[list-item]
    assert _of_file("GlobalMaxPool", [[[1.0, 1.0, 0.0]]]) == [1, 0, 0]  # type: ignore[list-item]


def test_a_subgradient_that_nobody_knows_is_refused() -> None:
    module = for_tracing(Functions(["max along"]), torch.float64)
    exported = export(module, {"scale": torch.ones(1, dtype=torch.float64)})
    (node,) = [node for node in exported.model.graph.node if node.op_type == "ReduceMax"]
    (entry,) = [entry for entry in node.metadata_props if entry.key == SUBGRADIENT_KEY]
    assert entry.value == "first"
    entry.value = "middle"
    with pytest.raises(gt.ModelError, match=r"subgradient 'middle'; for ReduceMax the choices are first, last"):
        read_graph(exported.model, torch.float64, exported.parameters)


def test_every_translation_is_of_a_function_that_torch_has() -> None:
    assert len(TRANSLATIONS) > 20
    assert all(isinstance(function, torch._ops.OpOverload) for function in TRANSLATIONS)
