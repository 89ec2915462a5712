"""`lstm_lm`: a language model that is an LSTM (nn.LSTM) between an embedding and a linear decoder."""

from __future__ import annotations

from torch import nn

from . import Family
from ._language_model import LANGUAGE_MODEL
from ._recurrent import RecurrentHyperparameters, RecurrentLanguageModel


class LSTMLanguageModel(RecurrentLanguageModel):
    """A language model with the submodules `embedding`, `lstm` and `decoder`."""

    def __init__(self, vocabulary_size: int, sizes: RecurrentHyperparameters) -> None:
        super().__init__(vocabulary_size, sizes, "lstm", nn.LSTM)


FAMILY = Family(RecurrentHyperparameters, LSTMLanguageModel, LANGUAGE_MODEL)
