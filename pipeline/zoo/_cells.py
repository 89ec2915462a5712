"""Recurrent cells written by hand: every gate is a submodule, so that its path is a component of its own.

Inside a gate, `input` is what it reads of the input and `recurrent` what it reads of h_{t-1}. `cell` is the memory cell
and `hidden` what becomes h_t. A cell takes (x_t, state) and returns the new state, whose first tensor is h_t, as
nn.LSTMCell does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]  # each B x H


class Gate(nn.Module):
    """activation(W x_t + U h_{t-1} + b): x_t B x I, h_{t-1} B x H, the result B x H; without U if not `recurrent`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: Callable[[Tensor], Tensor] = torch.sigmoid,
        recurrent: bool = True,
    ) -> None:
        super().__init__()
        self.input = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False) if recurrent else None
        self._activation = activation

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """The gate's B x H values."""
        total: Tensor = self.input(x)
        if self.recurrent is not None:
            total = total + self.recurrent(h)
        return self._activation(total)


class MemoryCell(nn.Module):
    """c_t = f_t * c_{t-1} + i_t * content: the path through time that no matrix is on."""

    def forward(self, forget: Tensor, before: Tensor, write: Tensor, content: Tensor) -> Tensor:
        """The new memory, B x H."""
        return forget * before + write * content


class Hidden(nn.Module):
    """h_t = o_t * tanh(c_t), or tanh(c_t) without an output gate."""

    def forward(self, memory: Tensor, gate: Tensor | None) -> Tensor:
        """The output of the cell, B x H."""
        return torch.tanh(memory) if gate is None else gate * torch.tanh(memory)


@dataclass(frozen=True)
class Ablation:
    """What an LSTM has.

    simple_rnn:  its content reads h_{t-1} and goes through tanh; else it is W x_t
    gates_read_hidden: the gates read h_{t-1}
    output_gate: o_t
    """

    simple_rnn: bool = True
    gates_read_hidden: bool = True
    output_gate: bool = True


class GatedLSTMCell(nn.Module):
    """An LSTM (Hochreiter and Schmidhuber 1997, with forget gates), or less of one. Its state is (h, c)."""

    def __init__(self, input_size: int, hidden_size: int, ablation: Ablation = Ablation()) -> None:
        super().__init__()

        def gate() -> Gate:
            return Gate(input_size, hidden_size, recurrent=ablation.gates_read_hidden)

        self.input_gate, self.forget_gate = gate(), gate()
        self.cell_gate = (
            Gate(input_size, hidden_size, torch.tanh)
            if ablation.simple_rnn
            else nn.Linear(input_size, hidden_size, bias=False)
        )
        self.output_gate = gate() if ablation.output_gate else None
        self.cell = MemoryCell()
        self.hidden = Hidden()

    def forward(self, x: Tensor, state: State) -> State:
        """(h_t, c_t) from x_t (B x I) and (h_{t-1}, c_{t-1})."""
        h, c = state
        content = self.cell_gate(x, h) if isinstance(self.cell_gate, Gate) else self.cell_gate(x)
        c = self.cell(self.forget_gate(x, h), c, self.input_gate(x, h), content)
        gate = None if self.output_gate is None else self.output_gate(x, h)
        return self.hidden(c, gate), c


class NewGate(nn.Module):
    """n_t = tanh(W x_t + b + r_t * (U h_{t-1} + b'))."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, h: Tensor, reset: Tensor) -> Tensor:
        """The candidate state, B x H."""
        return torch.tanh(self.input(x) + reset * self.recurrent(h))


class Interpolation(nn.Module):
    """h_t = (1 - z_t) * n_t + z_t * h_{t-1}."""

    def forward(self, update: Tensor, new: Tensor, before: Tensor) -> Tensor:
        """The new state, B x H."""
        return (1 - update) * new + update * before


class GatedGRUCell(nn.Module):
    """A GRU (Cho et al. 2014, as torch computes it). Its state is (h,)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.reset_gate = Gate(input_size, hidden_size)
        self.update_gate = Gate(input_size, hidden_size)
        self.new_gate = NewGate(input_size, hidden_size)
        self.hidden = Interpolation()

    def forward(self, x: Tensor, state: State) -> State:
        """(h_t,) from x_t (B x I) and (h_{t-1},)."""
        (h,) = state
        new = self.new_gate(x, h, self.reset_gate(x, h))
        return (self.hidden(self.update_gate(x, h), new, h),)


class SimpleCell(nn.Module):
    """An Elman network: h_t = tanh(W x_t + U h_{t-1} + b). Its state is (h,)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden = Gate(input_size, hidden_size, torch.tanh)

    def forward(self, x: Tensor, state: State) -> State:
        """(h_t,) from x_t (B x I) and (h_{t-1},)."""
        return (self.hidden(x, state[0]),)
