"""`rational_lm`: rational recurrences (Peng et al. 2018): the hidden state is what a weighted automaton has read.

Every unit is an automaton of its own: a chain of states in which state j+1 is reached from state j by reading a word,
and every state may be stayed in. With x_t the embedding of word t,

    f_t^j = sigmoid(W_f^j x_t + b^j)              to stay in state j
    u_t^j = (1 - f_t^j) * W_u^j x_t               to enter state j
    c_t^1 = f_t^1 * c_{t-1}^1 + u_t^1
    c_t^j = f_t^j * c_{t-1}^j + u_t^j * c_{t-1}^{j-1}
    h_t   = sigmoid(W_o x_t + b_o) * tanh(c_t^1 + ... + c_t^n)

Two states score bigrams with gaps, as the paper's two-state model does; the sum lets single words through as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import Family
from ._cells import Gate, State
from ._hyperparameters import count
from ._language_model import LANGUAGE_MODEL
from ._loops import LoopedLanguageModel
from ._recurrent import RecurrentHyperparameters


@dataclass(frozen=True)
class RationalHyperparameters(RecurrentHyperparameters):
    """Those of a recurrent language model, and the size of the automata."""

    states: int = count(2, "states of every automaton that weights are counted in, beside the one it starts in")


class Entry(nn.Module):
    """u_t = (1 - f_t) * W x_t."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input = nn.Linear(input_size, hidden_size, bias=False)

    def forward(self, x: Tensor, forget: Tensor) -> Tensor:
        """The weight of the transition that enters a state, B x H."""
        weight: Tensor = self.input(x)
        return (1 - forget) * weight


class Accumulator(nn.Module):
    """c_t^j = f_t * c_{t-1}^j + u_t * c_{t-1}^{j-1}; the state before the first has weight 1."""

    def forward(self, forget: Tensor, before: Tensor, enter: Tensor, previous: Tensor | None) -> Tensor:
        """The new weight of the state, B x H."""
        arriving = enter if previous is None else enter * previous
        return forget * before + arriving


class Output(nn.Module):
    """h_t = o_t * tanh(c_t^1 + ... + c_t^n)."""

    def forward(self, states: list[Tensor], gate: Tensor) -> Tensor:
        """The output of the layer, B x H."""
        total = states[0]
        for state in states[1:]:
            total = total + state
        return gate * torch.tanh(total)


class RationalCell(nn.Module):
    """H automata of n states. The cell's state is (h, c^1, ..., c^n)."""

    def __init__(self, input_size: int, hidden_size: int, n: int) -> None:
        super().__init__()
        self.forget_gate = nn.ModuleList([Gate(input_size, hidden_size, recurrent=False) for _ in range(n)])
        self.entry = nn.ModuleList([Entry(input_size, hidden_size) for _ in range(n)])
        self.state = nn.ModuleList([Accumulator() for _ in range(n)])
        self.output_gate = Gate(input_size, hidden_size, recurrent=False)
        self.hidden = Output()

    def forward(self, x: Tensor, state: State) -> State:
        """(h_t, c_t^1, ...) from x_t (B x I) and (h_{t-1}, c_{t-1}^1, ...)."""
        h, before = state[0], state[1:]
        after = []
        for j, (forget_gate, entry, update) in enumerate(zip(self.forget_gate, self.entry, self.state, strict=True)):
            forget = forget_gate(x, h)
            after.append(update(forget, before[j], entry(x, forget), before[j - 1] if j else None))
        return self.hidden(after, self.output_gate(x, h)), *after


class RationalLanguageModel(LoopedLanguageModel):
    """Components of layer N: `layers.N.forget_gate.J`, `entry.J`, `state.J` of state J, `output_gate`, `hidden`."""

    def __init__(self, vocabulary_size: int, sizes: RationalHyperparameters) -> None:
        n = sizes.states
        super().__init__(vocabulary_size, sizes, lambda width, hidden: RationalCell(width, hidden, n), n + 1)


FAMILY = Family(RationalHyperparameters, RationalLanguageModel, LANGUAGE_MODEL)
