"""`rnn_lm`: a language model that is an Elman network (nn.RNN, tanh) between an embedding and a linear decoder."""

from __future__ import annotations

from torch import nn

from . import Family
from ._language_model import LANGUAGE_MODEL
from ._recurrent import RecurrentHyperparameters, RecurrentLanguageModel


class RNNLanguageModel(RecurrentLanguageModel):
    """A language model with the submodules `embedding`, `rnn` and `decoder`."""

    def __init__(self, vocabulary_size: int, sizes: RecurrentHyperparameters) -> None:
        super().__init__(vocabulary_size, sizes, "rnn", nn.RNN)


FAMILY = Family(RecurrentHyperparameters, RNNLanguageModel, LANGUAGE_MODEL)
