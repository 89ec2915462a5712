"""The finest parameter groups of a store: what its dump counted paths by."""

from __future__ import annotations

from typing import NamedTuple

from .graph import Fetch


class FinestGroup(NamedTuple):
    """A parameter tensor, or a part of one, as the dump counted it."""

    name: str
    parameter: str
    slice: str | None
    size: int


def read_finest_groups(fetch: Fetch) -> list[FinestGroup]:
    """The store's finest parameter groups, in the order of their names."""
    rows = fetch("select parameter_group, parameter, slice, size from parameter_groups order by parameter_group", ())
    return [FinestGroup(*row) for row in rows]
