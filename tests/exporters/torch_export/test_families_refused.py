"""What torch exports wrongly or not at all is refused with words that say what differs and what to do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from gradtrace.exporters.models import ModelError, SampleError
from gradtrace.exporters.recording.traced_model import TorchModel

from .shown_models import show

pytestmark = pytest.mark.slow

X = torch.linspace(-1.0, 1.0, 24).reshape(1, 4, 6)
LABELS = torch.tensor([[1, 0, 2, 2]])


class Smoothed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.layer(x).flatten(0, 1), labels.flatten(), label_smoothing=0.1)


class AlwaysDropping(Smoothed):
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(F.dropout(self.layer(x), 0.5, training=True).flatten(0, 1), labels.flatten())


class ChangesItsActivations(Smoothed):
    """In place, but harmless: exported right."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scores = self.layer(x).clone()
        scores[:, 0] = 0.5
        scores.mul_(2.0)
        return F.cross_entropy(scores.flatten(0, 1), labels.flatten())


class CountsItsCalls(Smoothed):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return F.cross_entropy(self.layer(x * self.calls).flatten(0, 1), labels.flatten())


@pytest.mark.parametrize("model", [CountsItsCalls, AlwaysDropping])
def test_another_loss_each_time(model: type[nn.Module]) -> None:
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=r"gave the loss .* and then .* for the same sample"):
        TorchModel(model(), torch.float32).record({"x": X.clone(), "labels": LABELS})


class NoBackward(Smoothed):
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scores = self.layer(x).sigmoid()
        return F.cross_entropy((scores.mul_(2.0)).flatten(0, 1), labels.flatten())


def test_a_backward_that_fails() -> None:
    with pytest.raises(ModelError, match="torch's own backward of this model failed: one of the variables"):
        TorchModel(NoBackward(), torch.float32).record({"x": X, "labels": LABELS})


class WrittenTwice(Smoothed):
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scores = self.layer(x).clone()
        scores[0, torch.tensor([1, 1])] = self.layer(x)[0, 2:]
        return F.cross_entropy(scores.flatten(0, 1), labels.flatten())


def test_an_element_written_twice() -> None:
    with pytest.raises(SampleError, match="written twice"):
        TorchModel(WrittenTwice(), torch.float32).record({"x": X, "labels": LABELS})


class Projected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(6, 3, proj_size=2, batch_first=True)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.layer(x)[0].sum() + 0 * labels.sum()


class Deciding(Smoothed):
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        y = self.layer(x)
        return (y if bool((y > 0).any()) else y.square()).sum() + 0 * labels.sum()


class Unknown(nn.Module):
    """Within a module, a function that ONNX has no operator for."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Smoothed()
        self.part.forward = self._decomposed  # type: ignore[assignment]

    def _decomposed(self, x: Tensor) -> Tensor:
        return torch.linalg.svdvals(self.part.layer(x))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.part(x).sum() + 0 * labels.sum()


class RenormalisesItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 6, max_norm=0.5)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return (self.embedding(labels) * x).sum()


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(
    ("model", "advice"),
    [
        (Projected, "proj_size"),
        (Deciding, r"decides something by the numbers in a tensor.*use torch.where"),
        (
            Unknown,
            r"cannot export linalg_svd\w* in module 'part' \(test_families_refused.py, line \d+: return",
        ),
        (RenormalisesItself, r"forward changes its parameter embedding.weight, as an embedding with max_norm does"),
    ],
)
def test_advice(model: type[nn.Module], advice: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=advice):
        TorchModel(model(), torch.float32).record({"x": X.clone(), "labels": LABELS})


class WeightNorm(Smoothed):
    """The older one, whose module holds a weight that is no leaf; and numbers that the exporter rounds to float32."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.utils.weight_norm(nn.Linear(6, 6))  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        y = self.hidden(x)
        y = F.softplus(y, beta=0.3) + torch.addcmul(y, y, y, value=0.7)
        y = y + F.scaled_dot_product_attention(y[None], y[None], y[None], scale=0.3)[0]
        return F.cross_entropy(self.layer(y).flatten(0, 1), labels.flatten())


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_weight_norm_and_numbers() -> None:
    model = WeightNorm()
    show(model, [{"x": X, "labels": LABELS}])
    show(model.float(), [{"x": X, "labels": LABELS}], torch.float32)


class AddsUp(Smoothed):
    """Experts that each add to their own tokens; a token's scores added to those of another."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scores = self.layer(x)
        again = scores.index_add(1, torch.tensor([0, 0, 3]), scores[:, 1:])
        copied = torch.zeros_like(scores).scatter_add(2, labels[..., None].expand(1, 4, 2), scores[..., :2])
        return F.cross_entropy((again + copied).flatten(0, 1), labels.flatten())


def test_scatters_that_add() -> None:
    show(AddsUp(), [{"x": X, "labels": LABELS}])


def test_changes_of_activations_are_exported() -> None:
    show(ChangesItsActivations(), [{"x": X, "labels": LABELS}])
