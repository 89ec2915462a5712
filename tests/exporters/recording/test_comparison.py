"""A recording compared with torch: rounding is no difference, however small the gradients; anything else is, too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from gradtrace.exporters.models import ExportDifferenceError, ModelError, SampleError
from gradtrace.exporters.recording import traced_model
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.torch_export.export import Exported, export

Changed = Callable[[onnx.ModelProto], None]


class Confident(nn.Module):
    """Its loss is 7e-5 and its gradients are p - 1, of which float32 keeps three digits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 4)
        with torch.no_grad():
            self.layer.bias.copy_(torch.tensor([0.0, 10.5, 0.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        return F.cross_entropy(self.layer(x)[0] + 0.0, torch.ones(x.shape[1], dtype=torch.int64))


class KeyBias(nn.Module):
    """The bias of an attention's keys has a gradient of 0, which rounding makes noise of."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x)[:, None] for layer in (self.query, self.key, self.value))
        return F.scaled_dot_product_attention(q, k, v, scale=8**-0.5).square().mean()


class ShiftBeforeNorm(nn.Module):
    """One number that a norm takes away again."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shift, self.norm = nn.Parameter(torch.tensor(0.3)), nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        return (self.norm(x * 1.7 + self.shift) ** 3).sum()


class Small(nn.Module):
    """The gradients of `small` are a hundred-millionth of those of `large`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.large, self.small = nn.Parameter(torch.randn(6)), nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.large).tanh().sum() + 1e-8 * (x * self.small).sin().sum()


X = {"x": torch.linspace(-1.0, 1.0, 24).reshape(1, 4, 6)}


@pytest.mark.parametrize("model", [Confident, KeyBias, ShiftBeforeNorm, Small])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_no_difference(model: type[nn.Module], dtype: torch.dtype) -> None:
    inputs = {"x": torch.linspace(-1.0, 1.0, 32).reshape(1, 4, 8)} if model is KeyBias else X
    TorchModel(model(), dtype, check="all").record(inputs)


def _changed_by(change: Changed) -> Callable[..., Exported]:
    """An export that gets something wrong."""

    def exported(module: nn.Module, inputs: dict[str, Tensor], *, dynamic: bool = True) -> Exported:
        found = export(module, inputs, dynamic=dynamic)
        change(found.model)
        return found

    return exported


def _constant(model: onnx.ModelProto, value: float) -> onnx.TensorProto:
    held = [a.t for node in model.graph.node if node.op_type == "Constant" for a in node.attribute]
    (found,) = [t for t in held if numpy_helper.to_array(t).size == 1 and np.isclose(numpy_helper.to_array(t), value)]
    return found


def _tenth_more(model: onnx.ModelProto) -> None:
    """A tenth more of the small part, which the loss does not show."""
    tensor = _constant(model, 1e-8)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.1), tensor.name))


def _cosine(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Sin").op_type = "Cos"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("change", "operator"),
    [(_tenth_more, r"aten.mul.Tensor \('mul_\d'\)"), (_cosine, r"aten.sin.default \('sin'\)")],
)
def test_a_wrong_small_gradient(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, change: Changed, operator: str
) -> None:
    monkeypatch.setattr(traced_model, "export", _changed_by(change))
    with pytest.raises(ExportDifferenceError, match=operator) as caught:
        TorchModel(Small(), dtype).record(X)
    assert caught.value.difference.startswith(("the gradient of small[", "the loss is"))


class Stopped(nn.Module):
    """The gradient of token 4 is stopped."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(60, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        return torch.where((ids == 4)[..., None], x.detach(), x).square().sum()


def _without_stopping(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "StopGradient":
            node.op_type, node.domain = "Identity", ""


def _recorded(model: TorchModel, ids: Tensor) -> str:
    """What is said of a sample."""
    try:
        model.record({"ids": ids})
    except SampleError as error:
        return str(error)
    return ""


def test_which_samples_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """All, one in twenty whatever their order, or those of a new shape; a sample that differs is a sample's affair."""
    monkeypatch.setattr(traced_model, "export", _changed_by(_without_stopping))
    bad = [torch.tensor([[4, i]]) for i in range(5, 60)]
    said: dict[str, list[str]] = {}
    for check in traced_model.CHECKS:
        model = TorchModel(Stopped(), torch.float32, check=check)
        assert not _recorded(model, torch.tensor([[1, 2]]))
        said[check] = [_recorded(model, ids) for ids in bad]
    assert all("the gradient of embedding.weight[4," in text for text in said["all"])
    assert not any(said["new"])
    assert 0 < sum(map(bool, said["some"])) < 10
    model = TorchModel(Stopped(), torch.float32)
    assert not _recorded(model, torch.tensor([[1, 2]]))
    assert [_recorded(model, ids) for ids in reversed(bad)] == said["some"][::-1]


def test_the_first_sample_is_the_models_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced_model, "export", _changed_by(_without_stopping))
    with pytest.raises(ModelError, match=r"aten.embedding.default \('embedding' in module 'embedding'\) sends"):
        TorchModel(Stopped(), torch.float32).record({"ids": torch.tensor([[1, 4]])})
