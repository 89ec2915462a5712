"""`isan_lm`: an input-switched affine network (Foerster et al. 2017): h_t = W_{x_t} h_{t-1} + b_{x_t}.

Every word has a matrix and a bias of its own, and nothing is nonlinear: the logits are a sum of one term per word read.
V words take V * H * (H + 1) parameters, so this is a model for small vocabularies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import Family
from ._hyperparameters import Hyperparameters, count
from ._language_model import LANGUAGE_MODEL, LanguageModel


@dataclass(frozen=True)
class ISANHyperparameters(Hyperparameters):
    """The size of an input-switched affine network."""

    hidden_size: int = count(32, "units of the state")


class Transition(nn.Module):
    """One affine map per word: `weight` V x H x H, at first near the identity, and `bias` V x H."""

    def __init__(self, vocabulary_size: int, hidden_size: int) -> None:
        super().__init__()
        noise = 0.1 / hidden_size**0.5
        eye = torch.eye(hidden_size).expand(vocabulary_size, -1, -1)
        self.weight = nn.Parameter(0.9 * eye + noise * torch.randn(vocabulary_size, hidden_size, hidden_size))
        self.bias = nn.Parameter(0.1 * torch.randn(vocabulary_size, hidden_size))

    def forward(self, word: Tensor, h: Tensor) -> Tensor:
        """h_t, B x H, after the words (B, int64) from h_{t-1}."""
        return torch.matmul(self.weight[word], h.unsqueeze(2)).squeeze(2) + self.bias[word]


class ISANLanguageModel(LanguageModel):
    """The submodules are `transition` and `decoder`; `start` is h_0."""

    def __init__(self, vocabulary_size: int, sizes: ISANHyperparameters) -> None:
        super().__init__()
        self.start = nn.Parameter(0.1 * torch.randn(sizes.hidden_size))
        self.transition = Transition(vocabulary_size, sizes.hidden_size)
        self.decoder = nn.Linear(sizes.hidden_size, vocabulary_size)

    def logits(self, input_ids: Tensor) -> Tensor:
        """See LanguageModel."""
        h = self.start.expand(input_ids.shape[0], -1)
        states = []
        for t in range(input_ids.shape[1]):
            h = self.transition(input_ids[:, t], h)
            states.append(h)
        scores: Tensor = self.decoder(torch.stack(states, dim=1))
        return scores


FAMILY = Family(ISANHyperparameters, ISANLanguageModel, LANGUAGE_MODEL)
