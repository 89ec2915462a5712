"""TopK and Compress: copies of elements that the numbers themselves, or a condition, choose."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value


@composite("TopK", kinks=("topk", "kthvalue", "median", "nanmedian"))
def top_k(
    tape: Tape,
    x: Value,
    k: Value,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,  # noqa: A002  ONNX's name
    subgradient: str = "",
) -> list[Value]:
    """Copies of the k largest (or smallest) elements along `axis`, and their indices; among equals the lowest first.

    subgradient: the function of torch that chooses among equals instead; `kthvalue` and the medians choose the last of
        the k smallest
    """
    n = tape.decide(int, k)

    def choose(data: Tensor) -> Tensor:
        if subgradient == "topk":
            return torch.topk(data, n, dim=axis, largest=bool(largest), sorted=bool(sorted)).indices
        order = torch.sort(data, dim=axis, descending=bool(largest), stable=True).indices
        if subgradient not in _LAST_OF_SMALLEST:
            return order.narrow(axis, 0, n)
        last = _LAST_OF_SMALLEST[subgradient](data, n, axis)
        return torch.cat([order.narrow(axis, 0, n - 1), last.unsqueeze(axis)], dim=axis)

    index = tape.compute(choose, x)
    return [tape("GatherElements", x, index, axis=axis), index]


_LAST_OF_SMALLEST: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "kthvalue": lambda x, k, axis: torch.kthvalue(x, k, dim=axis).indices,
    "median": lambda x, _, axis: torch.median(x, dim=axis).indices,
    "nanmedian": lambda x, _, axis: torch.nanmedian(x, dim=axis).indices,
}


@composite("Compress")
def compress(tape: Tape, x: Value, condition: Value, *, axis: int | None = None) -> Value:
    """The slices along `axis`, or the elements of the flattened tensor, where `condition` is true."""
    chosen = tape.constant(tape.decide_tensor(lambda data: data.nonzero().reshape(-1), condition))
    if axis is None:
        return tape("Gather", tape("Reshape", x, tape.integers([-1])), chosen, axis=0)
    return tape("Gather", x, chosen, axis=axis)
