"""What torch exports wrongly or not at all is refused with words that say what differs and what to do."""

from __future__ import annotations

import pytest
import torch
from shown_models import show
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name
from torch.nn.utils.rnn import pack_padded_sequence

from exporters.models import ModelError
from exporters.traced_model import TorchModel

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


class ChangesItsInput(Smoothed):
    """Its second run is another one than its first."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        x.add_(1.0)
        return F.cross_entropy(self.layer(x).flatten(0, 1), labels.flatten())


class ChangesItsActivations(Smoothed):
    """In place, but harmless: exported right."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scores = self.layer(x).clone()
        scores[:, 0] = 0.5
        scores.mul_(2.0)
        return F.cross_entropy(scores.flatten(0, 1), labels.flatten())


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(3, 6, padding_idx=0), nn.Linear(6, 3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.layer(self.embedding(labels)).square().mean() + 0.0 * x.sum()


@pytest.mark.parametrize("model", [Smoothed, ChangesItsInput, Padded])
def test_refused_by_comparison(model: type[nn.Module]) -> None:
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=r"(the loss is|the gradient of) .*torch's"):
        TorchModel(model(), torch.float32).record({"x": X.clone(), "labels": LABELS})


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(6, 3, batch_first=True)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, torch.tensor([4]), batch_first=True)
        return self.layer(packed)[1][0].sum() + 0 * labels.sum()


class Projected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(6, 3, proj_size=2, batch_first=True)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.layer(x)[0].sum() + 0 * labels.sum()


class Masked(nn.Module):
    """nn.TransformerEncoder looks into a mask to find out whether it is causal, unless it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.layer(x, mask=mask).square().mean() + 0 * labels.sum()


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(
    ("model", "advice"),
    [
        (AlwaysDropping, r"model.eval\(\)"),
        (Packed, "one sentence at a time"),
        (Projected, "proj_size"),
        (Masked, "is_causal"),
    ],
)
def test_advice(model: type[nn.Module], advice: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=advice):
        TorchModel(model(), torch.float32).record({"x": X.clone(), "labels": LABELS})


def test_changes_of_activations_are_exported() -> None:
    show(ChangesItsActivations(), [{"x": X, "labels": LABELS}])
