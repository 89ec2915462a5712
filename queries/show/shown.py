"""What an answer shows of itself: a title, notes and a table, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .cells import escaped


class Layout(NamedTuple):
    """The title, what is said before the table, the columns of the table, and what is said behind it."""

    title: str
    before: Sequence[str]
    names: Sequence[str]
    values: Sequence[Sequence[object]]
    behind: Sequence[str] = ()


class Shown:
    """An answer that prints as text and shows as HTML in a notebook.

    unfinished: what is said of an answer from a store whose dump has not ended; see `queries.manifest`
    """

    unfinished: str = ""

    def _layout(self) -> Layout:
        raise NotImplementedError

    def text(self, width: int | None = None) -> str:
        """The answer as text, its table no wider than `width` letters where that is given."""
        from .text import plain_lines

        title, before, names, values, behind = self._layout()
        table = plain_lines(names, values, width) if names else ()
        return "\n".join([*map(escaped, (title, *before)), *table, *map(escaped, behind)])

    def __str__(self) -> str:
        return "\n".join(filter(None, [self.text(), escaped(self.unfinished)]))

    def _repr_html_(self) -> str:
        from .html import html_table

        title, before, names, values, behind = self._layout()
        notes = [*behind, *filter(None, [self.unfinished])]
        return html_table(" ".join([title, *before]), names, values, notes)
