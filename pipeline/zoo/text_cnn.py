"""`text_cnn`: convolutions of several widths over a text, the maximum of each over time, and a label (Kim 2014)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from . import Family
from ._classification import CLASSIFICATION
from ._hyperparameters import Hyperparameters, count, share
from ._targets import words_or_first


@dataclass(frozen=True)
class TextCNNHyperparameters(Hyperparameters):
    """Sizes of a convolutional classifier. Raises ValueError when the narrowest filter is wider than the widest."""

    embedding_size: int = count(64, "units of a word's embedding")
    filters: int = count(32, "filters of each width")
    narrowest: int = count(3, "words that the narrowest filters see")
    widest: int = count(5, "words that the widest filters see")
    dropout: float = share(0.0, "features dropped in training")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.narrowest > self.widest:
            raise ValueError(f"narrowest is {self.narrowest}; it must not be above widest, {self.widest}.")


class Convolution(nn.Module):
    """Filters of one width w over every window that holds a word, those that reach over an end included."""

    def __init__(self, embedding_size: int, filters: int, width: int) -> None:
        super().__init__()
        self.filter = nn.Conv1d(embedding_size, filters, width, padding=width - 1)
        self.activation = nn.ReLU()

    def forward(self, embedded: Tensor, are_words: Tensor) -> Tensor:
        """B x F x (T + w - 1), from B x E x T; 0, the least value of a ReLU, for a window without words."""
        features = self.activation(self.filter(embedded))
        seen = pad(are_words, (features.shape[2] - are_words.shape[1], 0), value=True)
        return torch.where(seen[:, None], features, 0.0)


class MaxOverTime(nn.Module):
    """The largest value of every filter."""

    def forward(self, features: Tensor) -> Tensor:
        """B x F, from B x F x T."""
        return features.amax(dim=2)


class TextCNN(nn.Module):
    """The submodules are `embedding`, `convolutions.I` (each `filter` and `activation`), `pooling` and `output`."""

    def __init__(self, labels: int, vocabulary_size: int, sizes: TextCNNHyperparameters) -> None:
        super().__init__()
        widths = range(sizes.narrowest, sizes.widest + 1)
        self.embedding = nn.Embedding(vocabulary_size, sizes.embedding_size)
        self.convolutions = nn.ModuleList([Convolution(sizes.embedding_size, sizes.filters, w) for w in widths])
        self.pooling = MaxOverTime()
        self.output = nn.Linear(sizes.filters * len(widths), labels)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy, a scalar in nats, of `targets` (B, int64) for `input_ids` (B x T, padding -100)."""
        ids, are_words = words_or_first(input_ids)
        embedded = torch.where(are_words[:, :, None], self.embedding(ids), 0.0).transpose(1, 2)
        found = [self.pooling(convolution(embedded, are_words)) for convolution in self.convolutions]
        return cross_entropy(self.output(self.dropout(torch.cat(found, dim=1))), targets)


FAMILY = Family(TextCNNHyperparameters, TextCNN, CLASSIFICATION)
