"""`lstm_variants`: the ablated LSTMs of Levy et al. 2018, "LSTM as a Dynamically Computed Element-wise Weighted Sum".

    variant            in the paper              what is left
    full               LSTM                      i, f, o and the content c~ = tanh(W x_t + U h_{t-1} + b)
    no_simple_rnn      LSTM - S-RNN              c~ = W x_t
    no_output_gate     LSTM - S-RNN - OUT        and h_t = tanh(c_t)
    memory_cell_only   LSTM - S-RNN - HIDDEN     c~ = W x_t, and gates that read x_t alone: c is the only recurrence
    no_gates           LSTM - GATES              h_t = tanh(W x_t + U h_{t-1} + b)

What runs along the memory cell is in `layers.N.cell`; what runs from h_{t-1} into a gate passes the gate's own
`recurrent`, as in `layers.N.forget_gate.recurrent`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from . import Family
from ._cells import Ablation, GatedLSTMCell, SimpleCell
from ._hyperparameters import choice
from ._language_model import LANGUAGE_MODEL
from ._loops import LoopedLanguageModel
from ._recurrent import RecurrentHyperparameters

NO_GATES = "no_gates"
ABLATIONS = {
    "full": Ablation(),
    "no_simple_rnn": Ablation(simple_rnn=False),
    "no_output_gate": Ablation(simple_rnn=False, output_gate=False),
    "memory_cell_only": Ablation(simple_rnn=False, gates_read_hidden=False),
}


@dataclass(frozen=True)
class VariantHyperparameters(RecurrentHyperparameters):
    """Those of a recurrent language model, and the ablation."""

    variant: str = choice(*ABLATIONS, NO_GATES, text="what is left of the LSTM (Levy et al. 2018)")


def _cell(variant: str) -> tuple[Callable[[int, int], nn.Module], int]:
    """How to make a cell, and how many tensors its state is."""
    if variant == NO_GATES:
        return SimpleCell, 1
    return lambda width, hidden: GatedLSTMCell(width, hidden, ABLATIONS[variant]), 2


class LSTMVariant(LoopedLanguageModel):
    """A language model of layers of one variant."""

    def __init__(self, vocabulary_size: int, sizes: VariantHyperparameters) -> None:
        super().__init__(vocabulary_size, sizes, *_cell(sizes.variant))


FAMILY = Family(VariantHyperparameters, LSTMVariant, LANGUAGE_MODEL)
