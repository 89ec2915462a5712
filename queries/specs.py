"""TOML files that name components and parameter groups, written after the dump.

    [[component]]                       [[parameter_group]]
    name = "head 3"                     name = "recurrent"
    module = "h.*.attn"                 parameter = "*.weight_hh_*"
    op_type = ["MatMul", "Add"]         slice = "0:200, :"
    slice = "..., 3, :, :"

All conditions of an entry must hold; a list means any of its values; entries of one name are united.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from queries.names import nearest
from queries.schema import StoreError
from queries.slices import parse_slice

_GLOBS = ("module", "op_type", "role", "component", "parameter")
_NUMBERS = ("layer", "step")
_KEYS = {
    "component": ("name", "module", "op_type", "role", "layer", "component", "step", "slice"),
    "parameter_group": ("name", "parameter", "slice"),
}


@dataclass(frozen=True)
class Rule:
    """One entry of a file: a condition per key, each a tuple of accepted values, and a slice of what they match."""

    name: str
    conditions: tuple[tuple[str, tuple[str | int, ...]], ...]
    slice: str | None

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


def _rule(path: Path, kind: str, number: int, entry: dict[str, Any]) -> Rule:
    where = f"{path}, [[{kind}]] {number}"
    for key in entry:
        if key not in _KEYS[kind]:
            raise StoreError(
                f"{where}: there is no key {key!r}.{nearest(key, list(_KEYS[kind]))} Keys: {', '.join(_KEYS[kind])}."
            )
    if not isinstance(entry.get("name"), str):
        raise StoreError(f"{where} needs a name, a text.")
    if not isinstance(entry.get("slice", ""), str):
        raise StoreError(f"{where}: slice must be a text such as '..., 3, :', got {entry['slice']!r}.")
    conditions = tuple(
        (key, _values(where, key, entry[key])) for key in (*_GLOBS, *_NUMBERS) if key in entry and key in _KEYS[kind]
    )
    if not conditions:
        raise StoreError(f"{where} has no condition. Give at least one of {', '.join(_KEYS[kind][1:-1])}.")
    if "slice" in entry:
        parse_slice(entry["slice"])
    return Rule(entry["name"], conditions, entry.get("slice"))


def read_rules(path: str | Path, kind: str) -> tuple[Rule, ...]:
    """The entries of one kind, 'component' or 'parameter_group', of a TOML file that may hold both.

    Raises StoreError for a file that cannot be read, holds no such entry, or has an unknown key or a wrong value.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StoreError(f"{path} cannot be read as TOML: {error}.") from error
    for key in content:
        if key not in _KEYS:
            raise StoreError(f"{path}: there is no table {key!r}. Write [[component]] and [[parameter_group]] entries.")
    entries = content.get(kind, [])
    if not isinstance(entries, list) or not entries:
        raise StoreError(f"{path} has no [[{kind}]] entry.")
    return tuple(_rule(path, kind, number, entry) for number, entry in enumerate(entries, start=1))


def rule_names(rules: tuple[Rule, ...]) -> list[str]:
    """The names the rules define, each once, in the order of the file."""
    return list(dict.fromkeys(rule.name for rule in rules))
