"""What may stand in a manifest: its fields, their types and ranges. A store may come from anyone."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..methods import METHODS
from ..schema import DETAILS, DTYPES, GRAPH_TABLES, SHARD_TABLES

_MOST = 2**62  # of a count, a number or a size: their sums stay integers of 64 bits
_SHOWN = 60  # letters of a wrong value that an error quotes
_PATH = re.compile(r"[\w=.-]+(/[\w=.-]+)*", re.ASCII)

Kind = Callable[[Any, str], None]  # a value and where it stands; raises ValueError


def _refuse(value: object, where: str, wanted: str) -> None:
    got = repr(value)
    raise ValueError(f"{where} is {got if len(got) <= _SHOWN else got[:_SHOWN] + '…'}, wanted {wanted}")


def text(value: Any, where: str) -> None:
    """A text that can be written as UTF-8."""
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        _refuse(value, where, "a text")


def boolean(value: Any, where: str) -> None:
    """true or false."""
    if not isinstance(value, bool):
        _refuse(value, where, "true or false")


def whole(least: int, most: int = _MOST) -> Kind:
    """A whole number from `least` to `most`."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            _refuse(value, where, f"a whole number from {least}" + (f" to {most}" if most < _MOST else " on"))

    return check


def one_of(values: Collection[str]) -> Kind:
    """One of some texts, those that there are when it is asked."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str) or value not in values:
            _refuse(value, where, f"one of {', '.join(values)}")

    return check


def matching(pattern: str, wanted: str) -> Kind:
    """A text that a regular expression matches as a whole."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            _refuse(value, where, wanted)

    return check


def path_inside(value: Any, where: str) -> None:
    """A path below the store's folder, as the writer names files: no way up, nothing that a glob or a shell reads."""
    if not isinstance(value, str) or not _PATH.fullmatch(value) or any(set(part) == {"."} for part in value.split("/")):
        _refuse(value, where, "the path of a file in the store, relative to its folder")


def list_of(kind: Kind, least: int = 0) -> Kind:
    """At least `least` values of one kind."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list) or len(value) < least:
            _refuse(value, where, "a list" if least == 0 else f"a list of at least {least}")
        for number, item in enumerate(value):
            kind(item, f"{where}[{number}]")

    return check


def names_of(names: Collection[str]) -> Kind:
    """A list, not empty, of different ones of some names."""
    each = list_of(one_of(names), least=1)

    def check(value: Any, where: str) -> None:
        each(value, where)
        if len(set(value)) < len(value):
            _refuse(value, where, "each name once")

    return check


def map_of(keys: Kind, kind: Kind) -> Kind:
    """Names of one kind, each with a value of another."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, where, "an object")
        for key, item in value.items():
            keys(key, f"a name in {where}")
            kind(item, f"{where}.{key}")

    return check


def fields(required: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None) -> Kind:
    """An object with these fields and no other."""
    known = {**required, **(optional or {})}

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, where, "an object")
        for name in required:
            if name not in value:
                raise ValueError(f"{where} has no {name!r}")
        for name, item in value.items():
            if name not in known:
                raise ValueError(f"{where} has a field {name[:_SHOWN]!r} that this format does not have")
            known[name](item, f"{where}.{name}")

    return check


SUM = matching("[0-9a-f]{64}", "a SHA-256 sum")
_LISTED = {"path": path_inside, "bytes": whole(0), "sha256": SUM}
_STORED = fields({**_LISTED, "rows": whole(0)})
_SHARD = {
    "shard": whole(0),
    "first": whole(0),
    "count": whole(1),
    "files": map_of(one_of(SHARD_TABLES), list_of(_STORED, least=1)),
}
SOURCE = ("model", "samples", "checkpoint", "checkpoints", "objective", "check")
SETTINGS = {
    "detail": one_of(DETAILS),
    "dtype": one_of(DTYPES),
    "keep": whole(1, 2**15 - 1),
    "methods": names_of(METHODS),
    "parameter_vertices": boolean,
}

MANIFEST_FIELDS = fields(
    {
        "format": text,
        "format_version": whole(0),
        "tool_version": text,
        "model": fields({"name": text, "fingerprint": text}, {"checkpoints": text}),
        "samples": fields({"source": text, "fingerprint": text, "count": whole(0)}),
        "settings": fields(SETTINGS, {"statistics": boolean}),
        "model_files": list_of(fields(_LISTED)),
        "graph_files": map_of(one_of(GRAPH_TABLES), _STORED),
        "shards": list_of(fields(_SHARD)),
        "complete": boolean,
        "sha256": SUM,
    },
    {"source": map_of(one_of(SOURCE), text)},
)
