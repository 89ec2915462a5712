"""`lstm_cell_lm`: an LSTM language model as a Python loop over cells, with every gate a submodule or as nn.LSTMCell."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from . import Family
from ._cells import GatedLSTMCell
from ._hyperparameters import choice
from ._language_model import LANGUAGE_MODEL
from ._loops import LoopedLanguageModel
from ._recurrent import RecurrentHyperparameters


@dataclass(frozen=True)
class LSTMCellHyperparameters(RecurrentHyperparameters):
    """Those of a recurrent language model, and the cell."""

    cell: str = choice("gates", "torch", text="gates: a submodule for every gate; torch: nn.LSTMCell")


class LSTMCellLanguageModel(LoopedLanguageModel):
    """The components of layer N are `layers.N.input_gate`, `forget_gate`, `cell_gate`, `output_gate`, `cell`, `hidden`.

    With `cell` torch, a layer is one component.
    """

    def __init__(self, vocabulary_size: int, sizes: LSTMCellHyperparameters) -> None:
        cell = nn.LSTMCell if sizes.cell == "torch" else GatedLSTMCell
        super().__init__(vocabulary_size, sizes, cell, n_states=2)


FAMILY = Family(LSTMCellHyperparameters, LSTMCellLanguageModel, LANGUAGE_MODEL)
