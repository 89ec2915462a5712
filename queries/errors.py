"""Errors that a user can mend. Their messages say what was got, what was wanted, and what to do."""

from __future__ import annotations

import difflib


class GradtraceError(Exception):
    """Base of every error that gradtrace raises about its input."""


class StoreError(GradtraceError):
    """A store cannot be read or written as asked."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def nearest(name: str, names: list[str]) -> str:
    """' Did you mean a, b?' for the names closest to `name`, or '' where none is close."""
    names = list(dict.fromkeys(names))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    close += [other for other in names if name and name in other and other not in close][: 3 - len(close)]
    return f" Did you mean {', '.join(close)}?" if close else ""
