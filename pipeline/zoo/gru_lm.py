"""`gru_lm`: a language model that is a GRU (nn.GRU; Cho et al. 2014) between an embedding and a linear decoder."""

from __future__ import annotations

from torch import nn

from . import Family
from ._language_model import LANGUAGE_MODEL
from ._recurrent import RecurrentHyperparameters, RecurrentLanguageModel


class GRULanguageModel(RecurrentLanguageModel):
    """A language model with the submodules `embedding`, `gru` and `decoder`."""

    def __init__(self, vocabulary_size: int, sizes: RecurrentHyperparameters) -> None:
        super().__init__(vocabulary_size, sizes, "gru", nn.GRU)


FAMILY = Family(RecurrentHyperparameters, GRULanguageModel, LANGUAGE_MODEL)
