"""Losses with all their arguments: torch's own loss and gradients."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from gradtrace.exporters.recording.recorder import Recording

from .shown_models import show

CLASSES = 5
LENGTHS = (4, 6)
WEIGHT = torch.linspace(0.4, 1.7, CLASSES)


class Scored(nn.Module):
    """Rows of scores, and the sum of many losses of them: one export tells all."""

    def __init__(self, arguments: list[dict[str, Any]], soft: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.arguments, self.soft = nn.Linear(3, CLASSES), arguments, soft

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        loss = torch.zeros(())
        for number, arguments in enumerate(self.arguments, 1):
            scores = self.layer(number * x)[0]
            weight = arguments.get("weight")
            given = arguments if weight is None else {**arguments, "weight": weight.to(x.dtype)}
            target = F.one_hot(labels[0], CLASSES).to(x.dtype) * 0.7 + 0.06 if self.soft else labels[0]
            found = F.cross_entropy(scores, target, **given)
            if found.dim():
                loss = loss + (found * torch.arange(found.shape[0], dtype=x.dtype).cos()).sum()
            loss = loss + found.sum()
        return loss


def _samples() -> list[dict[str, Tensor]]:
    torch.manual_seed(1)
    return [{"x": torch.randn(1, n, 3), "labels": (torch.arange(n) * 3 % CLASSES)[None]} for n in LENGTHS]


def _every(**options: list[Any]) -> list[dict[str, Any]]:
    return [dict(zip(options, chosen, strict=True)) for chosen in itertools.product(*options.values())]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_smoothed_labels(dtype: torch.dtype) -> None:
    """torch's exporter drops label_smoothing without a word; every other argument beside it counts too."""
    options = _every(
        label_smoothing=[0.1], weight=[None, WEIGHT], ignore_index=[-100, 3], reduction=["mean", "sum", "none"]
    )
    assert len(options) == 12
    show(Scored(options), _samples(), dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_probabilities_as_targets(dtype: torch.dtype) -> None:
    options = _every(label_smoothing=[0.0, 0.2], weight=[None, WEIGHT], reduction=["mean", "sum", "none"])
    show(Scored(options, soft=True), _samples(), dtype)


def _shown(module: nn.Module) -> Recording:
    return show(module, _samples()).recordings[0]


class OfRows(Scored):
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.layer(x)[0], labels[0], reduction="none").sum()


def test_the_sum_of_unreduced_losses() -> None:
    """torch's exporter takes them for a scalar, and leaves the sum out."""
    recording = _shown(OfRows([]))
    assert recording.loss == pytest.approx(float(OfRows([]).double()(**_double(_samples()[0])).detach()), rel=1e-12)


class OfAxes(Scored):
    """N x C x D scores; a single row of C; and learned probabilities as targets."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scores = self.layer(x)
        smoothed = F.cross_entropy(scores.mT, labels, label_smoothing=0.2, weight=WEIGHT.to(x.dtype))
        one = F.cross_entropy(scores[0, 0], labels[0, 0], label_smoothing=0.1, reduction="none")
        plain = F.cross_entropy(scores[0, 1], labels[0, 1])
        learned = F.cross_entropy(scores[0], self.layer(x.flip(1))[0].softmax(1), label_smoothing=0.1)
        return smoothed + 2 * one + 3 * plain + 4 * learned


def test_more_axes_and_fewer() -> None:
    _shown(OfAxes([]))


def test_smoothed_labels_are_of_the_loss() -> None:
    """Its operators have the role of a loss, as those of the loss without smoothing have."""
    recording = _shown(Scored([{"label_smoothing": 0.1}]))
    computing = [call for call in recording.tape.calls if call.primitive.name in ("Exp", "Log", "Neg")]
    assert {call.label.component for call in computing} == {"loss"}


def _double(sample: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.double() if x.is_floating_point() else x for name, x in sample.items()}
