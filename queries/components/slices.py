"""Slices as people write them, `0:200, :` or `..., 3, :`, applied to the elements of a tensor."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError

_ITEM = re.compile(r"(?P<index>-?\d+)|(?P<start>-?\d+)?:(?P<stop>-?\d+)?(?::(?P<step>-?\d+)?)?|(?P<dots>\.\.\.)")


def _item(text: str, whole: str) -> slice | None:
    # A slice, or None for `...`. An index is a slice of one element, so that one out of range selects nothing.
    match = _ITEM.fullmatch(text.strip())
    if match is None:
        raise StoreError(f"the slice {whole!r} has the item {text.strip()!r}; write indices, `a:b`, `:` and `...`.")
    if match["dots"]:
        return None
    if match["index"]:
        index = int(match["index"])
        return slice(index, index + 1 if index != -1 else None)
    start, stop, step = (None if match[part] is None else int(match[part]) for part in ("start", "stop", "step"))
    if step == 0:
        raise StoreError(f"the slice {whole!r} has a step of 0.")
    return slice(start, stop, step)


def parse_slice(text: str) -> list[slice | None]:
    """The items of a slice in Python's syntax, None for `...`; StoreError when it is none."""
    items = [_item(item, text) for item in text.split(",")]
    if items.count(None) > 1:
        raise StoreError(f"the slice {text!r} has more than one `...`.")
    return items


def selected(text: str, shape: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    """Which elements of the tensor `name` a slice selects, as a flat mask; axes behind the last item are whole.

    Raises StoreError when the slice has more items than the tensor has axes.
    """
    items = parse_slice(text)
    given = [item for item in items if item is not None]
    if len(given) > len(shape):
        raise StoreError(
            f"the slice {text!r} has {len(given)} items, but {name} has shape {list(shape)}. "
            "Narrow the conditions to tensors it fits, or give fewer items."
        )
    at = items.index(None) if None in items else len(items)
    whole = [slice(None)] * (len(shape) - len(given))
    index = [*(i for i in items[:at] if i is not None), *whole, *(i for i in items[at + 1 :] if i is not None)]
    mask = np.zeros(shape, np.bool_)
    mask[tuple(index)] = True
    return mask.reshape(-1)
