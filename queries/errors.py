"""Errors that a user can mend. Their messages say what was got, what was wanted, and what to do."""

from __future__ import annotations


class GradtraceError(Exception):
    """Base of every error that gradtrace raises about its input."""


class StoreError(GradtraceError):
    """A store cannot be read or written as asked."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
