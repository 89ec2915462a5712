"""Rows as a text table, for terminals, pipes and notebooks: aligned columns without lines, numbers to the right.

A table that is wider than the terminal folds its texts, and leaves columns out, from the right, where that is not
enough; it says which. Numbers are never torn.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

from .cells import cell, escaped, is_number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_GAP = 2  # spaces between columns
_NARROWEST = 24  # a text is folded to no less
_BLOCK = 1000  # rows made at a time, to bound memory


@dataclass(frozen=True)
class Column:
    """One column: its name and cells as texts, whether they are numbers, and how wide it is shown."""

    name: str
    cells: Sequence[str]
    is_number: bool
    width: int

    @property
    def narrowest(self) -> int:
        """The least width it can be shown with."""
        return self.width if self.is_number else min(self.width, _NARROWEST)


def _column(name: str, values: Sequence[object]) -> Column:
    from rich.cells import cell_len

    cells = [cell(value) for value in values]
    numbers = all(is_number(value) or value is None for value in values)
    return Column(escaped(name), cells, numbers, max(1, *map(cell_len, [escaped(name), *cells])))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * max(len(widths) - 1, 0)


def _fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[Column]]:
    # Those that there is room for, with the widths they get, and those left out; the first is always there.
    kept = list(columns[:1])
    for column in columns[1:]:
        if _total([other.narrowest for other in [*kept, column]]) > width:
            break
        kept.append(column)
    widths = [column.width for column in kept]
    while _total(widths) > width:
        widest = max(range(len(kept)), key=lambda i: widths[i] - kept[i].narrowest)
        if widths[widest] <= kept[widest].narrowest:
            break
        widths[widest] = max(kept[widest].narrowest, widths[widest] - (_total(widths) - width))
    shown = [Column(c.name, c.cells, c.is_number, w) for c, w in zip(kept, widths, strict=True)]
    return shown, list(columns[len(kept) :])


def _blocks(columns: Sequence[Column]) -> Iterator[Table]:
    from rich.table import Table

    n_rows = len(columns[0].cells) if columns else 0
    for first in range(0, max(n_rows, 1), _BLOCK):
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", show_header=first == 0)
        for c in columns:
            justify: Literal["left", "right"] = "right" if c.is_number else "left"
            table.add_column(c.name, justify=justify, width=c.width, no_wrap=c.is_number, overflow="fold")
        for row in zip(*(c.cells[first : first + _BLOCK] for c in columns), strict=True):
            table.add_row(*row)
        yield table


def _console(file: IO[str], width: int | None, *, plain: bool) -> Console:
    from rich.console import Console

    asked: dict[str, Any] = {"color_system": None, "force_terminal": False} if plain else {}
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False, **asked)


def _said(left_out: Sequence[Column]) -> str:
    names = ", ".join(column.name for column in left_out)
    return f"left out for want of room: {names}; another --format has every column" if left_out else ""


def plain_lines(names: Sequence[str], values: Sequence[Sequence[object]], width: int | None = None) -> Iterator[str]:
    """The lines of a table of columns of values; `width`: letters there are, None: as many as it takes."""
    columns, left_out = [_column(*column) for column in zip(names, values, strict=True)], list[Column]()
    if width is not None:
        columns, left_out = _fitting(columns, width)
    total = max(_total([column.width for column in columns]), 1)
    for table in _blocks(columns):
        written = io.StringIO()
        _console(written, total, plain=True).print(table)
        yield from (line.rstrip() for line in written.getvalue().splitlines())
    if left_out:
        yield _said(left_out)


def print_on_terminal(names: Sequence[str], values: Sequence[Sequence[object]], file: IO[str]) -> None:
    """Print a table on the terminal that `file` is, as wide as that is."""
    console = _console(file, None, plain=False)
    columns, left_out = _fitting([_column(*column) for column in zip(names, values, strict=True)], console.width)
    for table in _blocks(columns):
        console.print(table)
    if left_out:
        console.print(_said(left_out), style="dim")
