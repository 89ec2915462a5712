"""What is the same for every sample of a model: which vertices the copies of its parameters are.

A stacked recurrent weight is copied together from gates before every sample; the numbers of its elements never change.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from .values import Value

_FAR = 16  # numbers of vertices for each of them: from there on sorting them is faster than a list of all
_SMALL = 6  # elements of the axes, starts or sizes that make part of a key; more are a sample's own indices


class ParameterVertices:
    """The vertices of parameters and of their copies, and what was found out about them (`facts`).

    n_parameters: parameters have the vertices 0 .. n_parameters - 1
    """

    def __init__(self, n_parameters: int, vertices: Tensor | None = None) -> None:
        """vertices: of another model of the same size, to be shared with it"""
        self.n = n_parameters
        narrow = torch.int32 if n_parameters <= torch.iinfo(torch.int32).max else torch.int64
        self.vertices = torch.arange(n_parameters, dtype=narrow) if vertices is None else vertices
        self.facts: dict[Hashable, Any] = {}
        self._copies: dict[Hashable, Tensor] = {}
        self._storages = {_storage(self.vertices)}

    def holds(self, vertices: Tensor) -> bool:
        """Whether these are vertices of parameters that stay in memory, at the same place for every sample."""
        return _storage(vertices) in self._storages

    def copied(
        self, name: str, repeats: Callable[..., Tensor], numbers: Sequence[Tensor | None], attributes: dict[str, Any]
    ) -> Tensor:
        """The vertices that a copy's outputs repeat: `repeats`, run on element numbers, unless an equal one was.

        Not for copies whose vertices a sample chooses: other samples would have no use for them.
        """
        key = self._key(name, numbers, attributes)
        if key is None:
            return repeats(*numbers, **attributes)
        if key not in self._copies:
            made = repeats(*numbers, **attributes)
            if made.numel() == 0 or int(made.min()) < 0 or int(made.max()) >= self.n:
                return made  # some of it is padding, or activations so few that they look like an index
            self._copies[key] = made
            self._storages.add(_storage(made))
        return self._copies[key]

    def _key(self, name: str, inputs: Sequence[Tensor | None], attributes: dict[str, Any]) -> Hashable:
        parts: list[Hashable] = []
        found = False
        for x in inputs:
            if x is None:
                parts.append(None)
            elif self.holds(x):
                parts.append(place(x))
                found = True
            elif x.numel() <= _SMALL and not x.is_floating_point():
                parts.append((tuple(x.shape), tuple(x.reshape(-1).tolist())))
            else:
                return None
        return (name, tuple(parts), repr(sorted(attributes.items()))) if found else None

    def repeats_one(self, vertices: Tensor) -> bool:
        """Whether two elements are the same vertex."""
        if self.is_range(vertices):
            return overlaps(vertices)
        return bool(self.fact("repeats", vertices, lambda: _repeats(vertices[vertices >= 0])))

    def is_range(self, vertices: Tensor) -> bool:
        """Whether they are a view of the parameters' own vertices: number i of the storage is vertex i."""
        return _storage(vertices) == _storage(self.vertices)

    def count(self, vertices: Tensor) -> int:
        """The number of elements that are vertices, not constants."""
        return int(self.fact("count", vertices, lambda: int((vertices >= 0).sum())))

    def fact(self, what: str, vertices: Tensor, find: Callable[[], Any]) -> Any:
        """What `find` says of these vertices, remembered where they stay in memory."""
        if not self.holds(vertices):
            return find()
        key = what, place(vertices)
        if key not in self.facts:
            self.facts[key] = find()
        return self.facts[key]


def element_numbers(inputs: Sequence[Value | None]) -> list[Tensor | None]:
    """What a copy sees in place of its inputs when it is run on the numbers of vertices."""
    of_parameters = all(x is None or x.vertices is None or x.vertices.dtype == torch.int32 for x in inputs)
    dtype = torch.int32 if of_parameters else torch.int64
    return [None if x is None else _numbers(x, dtype) for x in inputs]


def _numbers(value: Value, dtype: torch.dtype) -> Tensor:
    """Vertices for a floating tensor, the data itself for indices and masks."""
    if value.vertices is not None:
        return value.vertices.to(dtype)
    if value.data.is_floating_point():
        return torch.full(value.shape, -1, dtype=dtype)
    return value.data


def overlaps(view: Tensor) -> bool:
    """Whether two elements of a view may be the same of its storage."""
    reach = 0
    for stride, size in sorted(zip(view.stride(), view.shape, strict=True)):
        if size > 1:
            if stride <= reach:
                return True
            reach += stride * (size - 1)
    return False


def _repeats(vertices: Tensor) -> bool:
    if vertices.numel() == 0:
        return False
    low, high = int(vertices.min()), int(vertices.max())
    if high - low > _FAR * vertices.numel():
        ordered = vertices.reshape(-1).sort().values
        return bool((ordered[1:] == ordered[:-1]).any())
    seen = torch.zeros(high - low + 1, dtype=torch.bool)
    seen[vertices - low] = True
    return int(seen.sum()) < vertices.numel()


def place(tensor: Tensor) -> Hashable:
    """Where a tensor lies in memory: alike for tensors that are the same elements in the same order."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
