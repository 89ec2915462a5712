"""What cuts or alters gradients in torch does so in the export, on every sample; changed states are reset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from gradtrace.exporters.onnx_graph.reader import read_graph
from gradtrace.exporters.recording.recorder import Recorder
from gradtrace.exporters.recording.traced_model import TorchModel

Body = Callable[["Tried", Tensor, Tensor], Tensor]
FIRST, SECOND = torch.tensor([[0, 1, 2]]), torch.tensor([[1, 4, 4]])


class Tried(nn.Module):
    """An embedding and a vector of weights, put together by `body` (self, embedded, ids)."""

    def __init__(self, body: Body, padding_idx: int | None = None, by_frequency: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(5, 3, padding_idx=padding_idx, scale_grad_by_freq=by_frequency)
        self.weight = nn.Parameter(torch.randn(3))
        self.register_buffer("calls", torch.zeros(()))
        self.body = body

    def forward(self, ids: Tensor) -> Tensor:
        return self.body(self, self.embedding(ids), ids).square().sum()


def _no_grad(m: Tried, x: Tensor, _: Tensor) -> Tensor:
    with torch.no_grad():
        scaled = (x * m.weight).exp()
        with torch.enable_grad():
            kept = x * m.weight * 7
        both = scaled + kept
    return both * x + kept


def _inference_mode(m: Tried, x: Tensor, _: Tensor) -> Tensor:
    with torch.inference_mode():
        scaled = (x * m.weight).cos()
    return scaled + x * m.weight


def _decorated(m: Tried, x: Tensor, _: Tensor) -> Tensor:
    @torch.no_grad()
    def sinusoid() -> Tensor:
        return (x * m.weight).sin()

    return sinusoid() * x


def _switched(m: Tried, x: Tensor, _: Tensor) -> Tensor:
    torch.set_grad_enabled(False)
    y = x * m.weight
    torch.set_grad_enabled(True)
    return y * x


def _in_place(m: Tried, x: Tensor, _: Tensor) -> Tensor:
    copied = m.weight.clone()
    copied.detach_()
    return copied * x


def _of_function(m: Tried, x: Tensor, ids: Tensor) -> Tensor:
    return F.embedding(ids, m.embedding.weight * m.weight, padding_idx=1) * x


CUT: dict[str, Body] = {
    "detach": lambda m, x, _: x.detach() * x * m.weight,
    "torch.detach": lambda m, x, _: torch.detach(m.weight) * x,
    "detach_": _in_place,
    "data": lambda m, x, _: x.data * x + m.weight.data * x,
    "no_grad": _no_grad,
    "a decorated method": _decorated,
    "inference_mode": _inference_mode,
    "set_grad_enabled": _switched,
    "straight through": lambda m, x, _: x * m.weight + ((x * m.weight).round() - x * m.weight).detach(),
    "some tokens": lambda m, x, ids: torch.where((ids == 4)[..., None], x.detach(), x) * m.weight,
    "F.embedding(padding_idx)": _of_function,
    "a state that counts": lambda m, x, _: x * m.weight * m.calls.add_(1),
    "a part of a list": lambda m, x, _: torch.stack([x.detach(), x * m.weight, x])[:2].sum(0),
}


def _check(model: Tried, dtype: torch.dtype, *samples: Tensor) -> None:
    """Every sample's gradients are torch's, number for number."""
    traced = TorchModel(model, dtype)
    for ids in samples:
        recording = traced.record({"ids": ids})
        fresh = Tried(model.body, model.embedding.padding_idx, model.embedding.scale_grad_by_freq).to(dtype)
        wanted = torch.autograd.grad(fresh(ids), list(fresh.parameters()), allow_unused=True, materialize_grads=True)
        found = {t.name for _, t in recording.vertex_tensors()}
        for (name, _), gradient in zip(fresh.named_parameters(), wanted, strict=True):
            ours = recording.gradient(name) if name in found else np.zeros(tuple(gradient.shape))
            np.testing.assert_allclose(ours, gradient.numpy(), rtol=1e-12 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("how", CUT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuts(how: str, dtype: torch.dtype) -> None:
    _check(Tried(CUT[how]), dtype, FIRST, SECOND, torch.tensor([[4, 4, 1]]))


@pytest.mark.parametrize(("padding_idx", "by_frequency"), [(1, False), (-1, False), (None, True), (4, True)])
def test_embeddings_that_alter_their_gradients(padding_idx: int | None, by_frequency: bool) -> None:
    model = Tried(lambda m, x, _: x * m.weight, padding_idx, by_frequency)
    _check(model, torch.float64, FIRST, SECOND, torch.tensor([[1, 1, 4, 4, 4]]))


def test_a_subclass_of_the_embedding() -> None:
    class Own(nn.Embedding):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
            return F.embedding(input, self.weight, padding_idx=4)

    model = Tried(lambda m, x, _: x * m.weight)
    own = Own(5, 3)
    own.weight = model.embedding.weight
    model.embedding = own
    (wanted,) = torch.autograd.grad(model(SECOND), [own.weight])
    assert not wanted[4].any()
    recording = TorchModel(model, torch.float32).record({"ids": SECOND})
    np.testing.assert_allclose(recording.gradient("embedding.weight"), wanted.numpy(), rtol=1e-6)


def test_an_input_changed_in_place_is_the_samples_again() -> None:
    class Changing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([2.0, 3.0]))

        def forward(self, x: Tensor) -> Tensor:
            return (x.add_(1.0) * self.weight).sum()

    x = torch.tensor([[1.0, 2.0]])
    recording = TorchModel(Changing(), torch.float32).record({"x": x})
    assert recording.loss == 2 * 2.0 + 3 * 3.0
    assert x.tolist() == [[1.0, 2.0]]


def test_the_saved_model_is_run_by_other_tools_and_read_again() -> None:
    """The two operators are functions whose bodies hand the input on; their gradients survive saving."""
    model = Tried(lambda m, x, _: x.detach() * x * m.weight, 1, by_frequency=True)
    traced = TorchModel(model, torch.float32)
    recording = traced.record({"ids": SECOND})
    saved = onnx.ModelProto.FromString(traced.model.SerializeToString())
    onnx.checker.check_model(saved)
    assert {f.name for f in saved.functions} == {"StopGradient", "ScaleGradient"}
    (loss,) = onnx.reference.ReferenceEvaluator(saved).run(None, {"ids": SECOND.numpy()})
    assert float(loss) == pytest.approx(recording.loss, rel=1e-6)
    again = Recorder(read_graph(saved, torch.float32), torch.float32).record({"ids": SECOND})
    for name in ("embedding.weight", "weight"):
        np.testing.assert_array_equal(again.gradient(name), recording.gradient(name))


@pytest.mark.filterwarnings("ignore")  # of torch's own, when it compiles the branches
def test_cuts_within_control_flow() -> None:
    def chosen(m: Tried, x: Tensor, ids: Tensor) -> Tensor:
        return torch.cond(ids.sum() > 5, lambda a: a.detach() * a * m.weight, lambda a: a * 3 * m.weight, (x,))

    _check(Tried(chosen), torch.float32, FIRST, SECOND)
