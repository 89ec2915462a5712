"""Rows as aligned plain text, for terminals, pipes and notebooks."""

from __future__ import annotations

from collections.abc import Sequence


def cell(value: object) -> str:
    """One value as people read it: four significant digits, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value == round(value, 0) and abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, list):
        return "[" + ", ".join(map(cell, value)) + "]"
    if isinstance(value, dict):
        return ", ".join(f"{name} = {cell(content)}" for name, content in value.items())
    return str(value)


def is_number(value: object) -> bool:
    """Whether a value is aligned to the right."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def aligned(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A header and the rows, columns aligned, numbers to the right."""
    numeric = [all(is_number(row[i]) or row[i] is None for row in rows) for i in range(len(names))]
    lines = [list(names), *([cell(value) for value in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )
