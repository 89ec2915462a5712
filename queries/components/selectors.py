"""TOML files that name components and parameter groups, written after the dump.

    [[component]]                       [[parameter_group]]
    name = "head 3"                     name = "recurrent"
    module = "h.*.attn"                 parameter = "*.weight_hh_*"
    op_type = ["MatMul", "Add"]         slice = "0:200, :"
    slice = "..., 3, :, :"

All conditions of an entry must hold; a list means any of its values; entries of one name are united. An entry with
`split = "head"` stands for one entry per index along the axis of that name, `head{index}` each; of parameters, which
have no such axis, for as many equal parts along `axis`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import StoreError, nearest
from .bundled import find_file
from .slices import parse_slice

_GLOBS = ("module", "op_type", "role", "component", "parameter")
_NUMBERS = ("layer", "step")
_KEYS = {
    "component": ("name", "module", "op_type", "role", "layer", "component", "step", "slice", "split"),
    "parameter_group": ("name", "parameter", "slice", "split", "axis"),
}
_CONDITIONS = (*_GLOBS, *_NUMBERS)
INDEX = "{index}"


@dataclass(frozen=True)
class Selector:
    """One entry of a file: a condition per key, each a tuple of accepted values, and a slice of what they match.

    split: the name of the axis by which the entry is several; `axis`: the axis of a parameter that is cut accordingly
    """

    name: str
    conditions: tuple[tuple[str, tuple[str | int, ...]], ...]
    slice: str | None
    split: str | None = None
    axis: int = 0

    def part_name(self, index: int) -> str:
        """The name of one of the entries that a split makes."""
        template = self.name if INDEX in self.name else f"{self.name}.{self.split}{INDEX}"
        return template.replace(INDEX, str(index))

    def __str__(self) -> str:
        return f"{self.name!r} ({', '.join(f'{key} = {list(values)}' for key, values in self.conditions)})"


def matches(accepted: tuple[str | int, ...], value: str | int | None) -> bool:
    """Whether a value is one of the accepted: globs for text, equality for numbers; a null is never."""
    if value is None:
        return False
    if isinstance(value, str):
        return any(fnmatchcase(value, str(glob)) for glob in accepted)
    return value in accepted


def _values(where: str, key: str, given: object) -> tuple[str | int, ...]:
    values = given if isinstance(given, list) else [given]
    wanted = int if key in _NUMBERS else str
    for value in values:
        if not isinstance(value, wanted) or isinstance(value, bool):
            what = "a whole number" if wanted is int else "a text"
            raise StoreError(f"{where}: {key} must be {what} or a list of them, got {given!r}.")
    if not values:
        raise StoreError(f"{where}: {key} is an empty list, which nothing matches.")
    return tuple(values)


def _selector(path: Path, kind: str, number: int, entry: dict[str, Any]) -> Selector:
    where = f"{path}, [[{kind}]] {number}"
    for key in entry:
        if key not in _KEYS[kind]:
            raise StoreError(
                f"{where}: there is no key {key!r}.{nearest(key, list(_KEYS[kind]))} Keys: {', '.join(_KEYS[kind])}."
            )
    if not isinstance(entry.get("name"), str):
        raise StoreError(f"{where} needs a name, a text.")
    conditions = tuple((key, _values(where, key, entry[key])) for key in _CONDITIONS if key in entry)
    if not conditions:
        choices = [key for key in _KEYS[kind] if key in _CONDITIONS]
        raise StoreError(f"{where} has no condition. Give at least one of {', '.join(choices)}.")
    _check_parts(where, kind, entry)
    return Selector(entry["name"], conditions, entry.get("slice"), entry.get("split"), entry.get("axis", 0))


def _check_parts(where: str, kind: str, entry: dict[str, Any]) -> None:
    # slice, split and axis: which elements of what the conditions match
    if not isinstance(entry.get("slice", ""), str):
        raise StoreError(f"{where}: slice must be a text such as '..., 3, :', got {entry['slice']!r}.")
    if "slice" in entry:
        parse_slice(entry["slice"])
    split, axis = entry.get("split"), entry.get("axis", 0)
    if split is not None and (not isinstance(split, str) or not split):
        raise StoreError(f"{where}: split must be the name of an axis, such as 'head', got {split!r}.")
    if not isinstance(axis, int) or isinstance(axis, bool) or axis < 0:
        raise StoreError(f"{where}: axis must be a whole number from 0 on, got {axis!r}.")
    if split is None and ("axis" in entry or INDEX in entry["name"]):
        raise StoreError(f"{where}: {'axis' if 'axis' in entry else INDEX} goes with split, the name of an axis.")
    if split is not None and kind == "parameter_group" and "slice" in entry:
        raise StoreError(f"{where} has a slice and a split; give a parameter group one of them.")


def read_selectors(path: str | Path, kind: str) -> tuple[Selector, ...]:
    """The entries of one kind, 'component' or 'parameter_group', of a TOML file that may hold both.

    path: of a file, or the name of one that comes along, such as 'lstm_gates'
    Raises StoreError for a file that cannot be read, holds no such entry, or has an unknown key or a wrong value.
    """
    path = Path(path)
    try:
        content = tomllib.loads(find_file(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StoreError(f"{path} cannot be read as TOML: {error}.") from error
    for key in content:
        if key not in _KEYS:
            raise StoreError(f"{path}: there is no table {key!r}. Write [[component]] and [[parameter_group]] entries.")
    entries = content.get(kind, [])
    if not isinstance(entries, list) or not entries:
        raise StoreError(f"{path} has no [[{kind}]] entry.")
    return tuple(_selector(path, kind, number, entry) for number, entry in enumerate(entries, start=1))


def selector_names(selectors: tuple[Selector, ...]) -> list[str]:
    """The names that selectors without split define, each once, in the order of the file."""
    return list(dict.fromkeys(selector.name for selector in selectors))
