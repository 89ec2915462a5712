"""Families that `hf:` does not open, as file.py:factory would build them, and those of gradtrace's own zoo."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradtrace.exporters.models import Encoded, Traceable

from ..pipeline.training.families import CASES, of_lengths, trial
from .folders import BOTH, ENCODER, VOCABULARY

IMAGE = {**ENCODER, "image_size": 8, "patch_size": 4}
SOUND = {**BOTH, "num_mel_bins": 4, "max_source_positions": 8, "max_target_positions": 32}


class Scored(nn.Module):
    """A model of transformers with the cross-entropy of its logits at `labels` as its output."""

    def __init__(self, architecture: str, settings: dict[str, Any]) -> None:
        super().__init__()
        made = getattr(transformers, architecture)
        torch.manual_seed(0)
        self.model = made(made.config_class(**settings, attn_implementation="eager"))
        for parameter in self.model.parameters():
            nn.init.normal_(parameter, std=0.4)

    def forward(self, labels: Tensor, **inputs: Tensor) -> Tensor:
        logits = self.model(**inputs).logits
        return cross_entropy(logits.flatten(0, -2), labels.flatten())


def _whisper(text: str) -> Encoded:
    """Eight frames of sound made up of the text, and a number for each of its words to write down."""
    words = torch.tensor([[4 + _number(word) % 20 for word in text.split()]])
    read = torch.cat([torch.tensor([[3]]), words[:, :-1]], dim=1)
    inputs = {"input_features": _noise(text, 1, 4, 16), "decoder_input_ids": read, "labels": words}
    return Encoded(inputs, text.split(), {"decoder_input_ids": 0})


def _picture(text: str) -> Encoded:
    return Encoded({"pixel_values": _noise(text, 1, 3, 8, 8), "labels": torch.tensor([_number(text) % 2])})


def _classified(text: str) -> Encoded:
    words = text.split()
    inputs = {"input_ids": torch.tensor([[4 + _number(word) % 20 for word in words]])}
    return Encoded({**inputs, "labels": torch.tensor([_number(text) % 2])}, words)


def _number(text: str) -> int:
    return zlib.crc32(text.encode())


def _noise(text: str, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(_number(text)))


# name -> class, settings, encoder
_SCORED: dict[str, tuple[str, dict[str, Any], Callable[[str], Encoded]]] = {
    "Whisper, by a factory": (
        "WhisperForConditionalGeneration",
        {**VOCABULARY, **SOUND, "decoder_start_token_id": 3},
        _whisper,
    ),
    "ViT, by a factory": ("ViTForImageClassification", IMAGE, _picture),
    "BERT as a classifier, by a factory": ("BertForSequenceClassification", {**VOCABULARY, **ENCODER}, _classified),
}


def factories() -> Iterator[tuple[str, str, Callable[[], Traceable], tuple[str, str]]]:
    """Name, class or file, how to build it, and lines of two lengths."""
    lines = ("the cat sleeps", "the old dog sees a small cat")
    for name, (architecture, settings, encode) in _SCORED.items():
        yield name, architecture, partial(_scored, architecture, settings, encode), lines
    for family, hyperparameters in CASES:
        tried = trial(family, hyperparameters)
        first, second = of_lengths(tried, 2)
        said = ", ".join(f"{k}={v}" for k, v in hyperparameters.items() if isinstance(v, str | bool))
        build = partial(Traceable, tried.model, tried.encode)
        yield f"{family} ({said})" if said else family, f"zoo/{family}.py", build, (first, second)


def _scored(architecture: str, settings: dict[str, Any], encode: Callable[[str], Encoded]) -> Traceable:
    return Traceable(Scored(architecture, settings).eval(), encode)
