"""Tensors on the tape: their numbers, the vertices they are, and the tokens their axes run over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

# of each axis the token at index 0, or None where it does not run over tokens; empty when none does
TokenOffsets = tuple[int | None, ...]


@dataclass(eq=False, slots=True)
class Value:
    """A tensor on the tape.

    data: its numbers
    vertices: of the same shape, the vertex each element is (-1: a constant); None when every element is constant.
        int64, but those of parameters, as many as the model has, are int32 where that is enough
    tensor: its number among the tape's tensors; None for constants
    token_offsets, token: where the sample's tokens lie in it: along axes, or the one token that all of it belongs to
    number: its place among the tape's values
    varies: whether other samples of the graph may have other numbers in it, or it has a gradient
    picked: whether the sample chooses which vertices it has: the rows of its words, the scores of its targets
    """

    data: Tensor
    vertices: Tensor | None = None
    tensor: int | None = None
    token_offsets: TokenOffsets = ()
    token: int | None = None
    number: int = -1
    varies: bool = False
    picked: bool = False

    @property
    def shape(self) -> torch.Size:
        return self.data.shape


def without_data(value: Value) -> Value:
    """The same with its shape in place of its numbers."""
    return replace(value, data=torch.empty(value.shape, dtype=value.data.dtype, device="meta"))


@dataclass(eq=False, slots=True)
class TapeTensor:
    """A differentiable tensor: a parameter, an input, an operator's output (activation) or a copy of those.

    first_step: the token at index 0 of the axis named 'step'; None without such an axis
    """

    name: str
    kind: str
    value: Value
    node: int | None = None
    first_vertex: int | None = None  # None for copies, which are not vertices
    axis_names: list[str | None] = field(default_factory=list)
    first_step: int | None = None

    @property
    def vertices(self) -> slice:
        """Those that its elements are; a copy has none of its own."""
        assert self.first_vertex is not None
        return slice(self.first_vertex, self.first_vertex + self.size)

    @property
    def size(self) -> int:
        return self.value.data.numel()
