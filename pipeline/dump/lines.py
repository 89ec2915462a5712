"""The lines of a samples file, as text and as JSON. Whatever a line holds, it is that line's affair alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ...exporters.models import SampleError

LONGEST = 64 << 20  # bytes of one line; what it becomes takes a hundred times as many
_MARK = b"\xef\xbb\xbf"  # of UTF-8, which Windows' editors begin a file with


class Line(NamedTuple):
    """One line: its text, bytes that are no text written out, and what is wrong with it ('' for nothing)."""

    text: str
    fault: str = ""


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a UTF-8 file, which end at line feeds only, as editors count them. SampleError for UTF-16."""
    with path.open("rb") as file:
        start = file.read(len(_MARK))
        if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise SampleError(f"{path} is UTF-16 text; UTF-8 is wanted. Save it again in that encoding.")
        file.seek(len(_MARK) if start == _MARK else 0)
        while raw := file.readline(LONGEST + 1):
            whole = raw
            while len(whole) > LONGEST and not whole.endswith(b"\n"):  # the rest of it is not kept
                whole = file.readline(LONGEST + 1) or b"\n"
            yield _line(raw.removesuffix(b"\n").removesuffix(b"\r"))


def _line(raw: bytes) -> Line:
    if len(raw) > LONGEST:
        return Line("", f"has more than {LONGEST:,} bytes, the most that a line may have")
    try:
        return Line(raw.decode())
    except UnicodeDecodeError as error:
        fault = f"is not UTF-8 text ({error.reason} at byte {error.start} of the line)"
        return Line(raw.decode(errors="backslashreplace"), fault)


def parse_object(line: str) -> dict[str, Any]:
    """The JSON object that a line is. ValueError for what is none, and for one that cannot be stored as it stands."""
    try:
        value = json.loads(line, object_pairs_hook=_without_repetition)
        if not isinstance(value, dict):
            raise ValueError(f"it is of type {type(value).__name__}")
        if "\\u" in line:  # half of a pair of surrogates can be written so, and stands for no character
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("its lists are nested too deeply") from error
    except MemoryError as error:
        raise ValueError("it takes more memory than there is") from error
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[error.start : error.end]!r} is half of a character") from error
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return found
