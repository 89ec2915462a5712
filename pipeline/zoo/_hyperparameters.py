"""How a family declares its hyperparameters: fields that know their range, their choices and what they are."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ...queries.errors import nearest


def count(default: int, text: str, least: int = 1) -> Any:
    """A field for a whole number of at least `least`."""
    return field(default=default, metadata={"text": text, "least": least})


def share(default: float, text: str) -> Any:
    """A field for a number in [0, 1)."""
    return field(default=default, metadata={"text": text, "share": True})


def choice(*names: str, text: str) -> Any:
    """A field for one of `names`, the first by default."""
    return field(default=names[0], metadata={"text": text, "choices": names})


def switch(default: bool, text: str) -> Any:
    """A field for yes or no."""
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True)
class Hyperparameters:
    """The base of every family's hyperparameters. Raises ValueError for a value outside its field's range."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value, known = getattr(self, item.name), item.metadata
            if "least" in known and value < known["least"]:
                raise ValueError(f"{item.name} is {value}; it must be {known['least']} or more.")
            if "share" in known and not 0 <= value < 1:
                raise ValueError(f"{item.name} is {value}; it must be at least 0 and below 1.")
            if "choices" in known and value not in known["choices"]:
                names = list(known["choices"])
                raise ValueError(f"{item.name} is {value!r}; it is one of {', '.join(names)}.{nearest(value, names)}")
