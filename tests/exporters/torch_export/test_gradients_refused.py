"""Gradients that a model makes itself, which no export keeps, are refused by name; hooks that only look are no harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradtrace.exporters.models import ModelError
from gradtrace.exporters.recording.traced_model import TorchModel

X = {"x": torch.linspace(-1.0, 1.0, 6).reshape(1, 6)}


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient is turned round."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Any:
        return -gradients[0]


class Layered(nn.Module):
    """Two layers; `between` is applied to what the first one gives."""

    def __init__(self, between: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 3)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.first(x))).square().sum()


def _doubled(x: Tensor) -> Tensor:
    y = x.tanh()
    y.register_hook(lambda g: 2 * g)
    return y


def _look(*_: Any) -> None:
    """A hook of any kind that changes nothing."""


def _only_looked_at(x: Tensor) -> Tensor:
    y = x.tanh()
    y.register_hook(_look)
    return y


def _refused(model: nn.Module, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        TorchModel(model, torch.float32).record(X)
    assert "detach()" in str(caught.value)


def test_a_function_with_a_backward_of_its_own() -> None:
    _refused(Layered(lambda x: _Reversed.apply(x)), "_Reversed has a backward of its own")


def test_a_hook_on_an_activation() -> None:
    _refused(Layered(_doubled), r"a hook that forward registers \(_doubled.<locals>.<lambda>, line \d+ of .*\) changes")


def test_a_hook_on_a_parameter() -> None:
    model = Layered()
    rows = torch.tensor([1.0, 0.0, 1.0])[:, None]
    model.second.weight.register_hook(lambda g: g * rows)
    _refused(model, r"a hook on the parameter 'second.weight' \(.*\) changes its gradient")


@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_a_hook_on_a_module(kind: str) -> None:
    model = Layered()
    getattr(model.second, kind)(lambda _, *gradients: tuple(3 * g for g in gradients[0]))
    _refused(model, "a backward hook on the module 'second'")


def test_hooks_that_only_look() -> None:
    model = Layered(_only_looked_at)
    model.first.weight.register_hook(_look)
    model.second.register_full_backward_hook(_look)
    model.first.register_forward_hook(_look)
    recording = TorchModel(model, torch.float64).record(X)
    plain = Layered().double()
    (wanted,) = torch.autograd.grad(plain(X["x"].double()), [plain.first.weight])
    torch.testing.assert_close(torch.from_numpy(recording.gradient("first.weight")), wanted)


def test_a_parameter_that_forward_changes() -> None:
    class Renormed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(5, 3, max_norm=0.5)

        def forward(self, ids: Tensor) -> Tensor:
            return self.embedding(ids).square().sum()

    with pytest.raises(ModelError, match=r"changes its parameter embedding\.weight, as an embedding with max_norm"):
        TorchModel(Renormed(), torch.float32).record({"ids": torch.tensor([[1, 2]])})


def test_a_bag_whose_gradient_depends_on_the_sample() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag = nn.EmbeddingBag(5, 3, mode="sum", scale_grad_by_freq=True)

        def forward(self, ids: Tensor) -> Tensor:
            return self.bag(ids).square().sum()

    with pytest.raises(ModelError, match="embedding_bag with scale_grad_by_freq"):
        TorchModel(Bag(), torch.float32).record({"ids": torch.tensor([[1, 2]])})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parts_in_half_precision(dtype: torch.dtype) -> None:
    """Their rounding is part of what the model computes, and the recording has one precision."""
    with pytest.raises(ModelError, match=r"aten._to_copy.default .* are the first to differ|forward"):
        TorchModel(Layered(lambda x: x.bfloat16().tanh().to(x.dtype)), dtype).record(X)
