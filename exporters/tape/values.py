"""Tensors on the tape: their numbers, the vertices they are, and the tokens their axes run over."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

# of each axis the token at index 0, or None where it does not run over tokens; empty when none does
TokenOffsets = tuple[int | None, ...]


@dataclass(eq=False)
class Value:
    """A tensor on the tape.

    data: its numbers
    vertices: int64 of the same shape, the vertex each element is (-1: a constant); None when every element is constant
    tensor: its number among the tape's tensors; None for constants
    token_offsets, token: where the sample's tokens lie in it: along axes, or the one token that all of it belongs to
    """

    data: Tensor
    vertices: Tensor | None = None
    tensor: int | None = None
    token_offsets: TokenOffsets = ()
    token: int | None = None

    @property
    def shape(self) -> torch.Size:
        return self.data.shape


@dataclass(eq=False)
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
