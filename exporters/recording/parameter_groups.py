"""The finest partition of the parameters: each parameter tensor, a stacked recurrent one split by gate."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..tape.values import TapeTensor
from .recorder import Recording

Box = tuple[tuple[int, int], ...]  # start and stop along each axis


@dataclass(frozen=True)
class ParameterGroup:
    """A box of one parameter's elements; `slice` is in Python's notation, None for the whole parameter."""

    name: str
    parameter: str
    slice: str | None
    size: int


@dataclass(frozen=True)
class Partition:
    """All groups, and the number of the group of each of the P parameter vertices."""

    groups: list[ParameterGroup]
    group_of: NDArray[np.signedinteger[Any]]


def partition(recording: Recording) -> Partition:
    """Split the parameters along the gates that the lowering named; a parameter not wholly covered stays whole."""
    boxes = _named_boxes(recording)
    groups: list[ParameterGroup] = []
    most = sum(max(len(boxes.get(t.name, {})), 1) for t in recording.tape.tensors if t.kind == "parameter")
    dtype: type[np.signedinteger[Any]] = np.int16 if most <= np.iinfo(np.int16).max else np.int32
    group_of = np.empty(recording.n_parameters, dtype=dtype)
    for tensor in (t for t in recording.tape.tensors if t.kind == "parameter"):
        assert tensor.first_vertex is not None
        shape = tuple(tensor.value.shape)
        numbers = group_of[tensor.first_vertex : tensor.first_vertex + tensor.size].reshape(shape)
        parts = boxes.get(tensor.name, {})
        if sum(_volume(box) for box in parts) != tensor.size or len(parts) < 2:
            numbers[...] = len(groups)
            groups.append(ParameterGroup(tensor.name, tensor.name, None, tensor.size))
            continue
        for box, part in sorted(parts.items()):
            numbers[tuple(slice(*side) for side in box)] = len(groups)
            text = ", ".join(
                ":" if side == (0, n) else f"{side[0]}:{side[1]}" for side, n in zip(box, shape, strict=True)
            )
            groups.append(ParameterGroup(f"{tensor.name}.{part}", tensor.name, text, _volume(box)))
    return Partition(groups, group_of)


def _named_boxes(recording: Recording) -> dict[str, dict[Box, str]]:
    parameters = [t for t in recording.tape.tensors if t.kind == "parameter"]
    found: dict[str, dict[Box, str]] = {}
    for vertices, part in recording.tape.parts:
        tensor = _owner(parameters, vertices)
        box = None if tensor is None else _box(tensor, vertices)
        if tensor is not None and box is not None:
            found.setdefault(tensor.name, {}).setdefault(box, part)
    return found


def _owner(parameters: list[TapeTensor], vertices: Tensor) -> TapeTensor | None:
    low, high = int(vertices.min()), int(vertices.max())
    for tensor in parameters:
        assert tensor.first_vertex is not None
        if tensor.first_vertex <= low and high < tensor.first_vertex + tensor.size:
            return tensor
    return None


def _box(tensor: TapeTensor, vertices: Tensor) -> Box | None:
    """The box of a parameter that these vertices fill, if they do."""
    assert tensor.first_vertex is not None
    shape = tuple(tensor.value.shape)
    corners: list[Any] = [
        np.unravel_index(int(v) - tensor.first_vertex, shape) for v in (vertices.min(), vertices.max())
    ]
    box = tuple((int(a), int(b) + 1) for a, b in zip(*corners, strict=True))
    return box if _volume(box) == vertices.numel() else None


def _volume(box: Box) -> int:
    return prod(stop - start for start, stop in box)
