"""Arguments that ONNX passes as an attribute in one opset and as an input tensor in the next."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

Integers = Tensor | Sequence[int]


def integers(values: Integers) -> list[int]:
    """The integers of an attribute or of an integer tensor, as a flat list."""
    if isinstance(values, Tensor):
        return [int(v) for v in values.reshape(-1).tolist()]
    return list(values)


def axes_of(axes: Integers | None, rank: int) -> list[int]:
    """The axes meant, none negative; all of them when `axes` is left out or empty."""
    chosen = [] if axes is None else integers(axes)
    return sorted(axis % rank for axis in chosen) if chosen else list(range(rank))
