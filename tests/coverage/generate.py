"""Write docs/coverage.md: what is found when every function, and every family of models, is tried.

`python -m tests.coverage.generate --functions --families [NAME …]` tries those whose names have NAME in them, and keeps
the page's rows of the others. All functions take half an hour of one core, the families a quarter.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from .functions import CASES, TABLES
from .trying import WORKS, try_all

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
FUNCTIONS, FAMILIES = "functions", "families"
DTYPES = {"float64": torch.float64, "float32": torch.float32}

Rows = dict[str, tuple[str, ...]]  # by the first cell, all cells


def read(text: str) -> Rows:
    """The rows of all tables in a part of the page."""
    lines = (line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---"))
    cells = (tuple(_plain(cell.strip()) for cell in line[2:-2].split(" | ")) for line in lines)
    return {row[0].strip("`"): row for row in cells}


def section(page: str, name: str) -> str:
    """What stands between the markers of a section."""
    begin, end = _markers(name)
    return page.partition(begin)[2].partition(end)[0]


def replaced(page: str, name: str, text: str) -> str:
    """The page with another section of that name."""
    begin, end = _markers(name)
    head, found, rest = page.partition(begin)
    if not found:
        raise ValueError(f"{PAGE} has no line {begin}")
    return f"{head}{begin}\n\n{text.strip()}\n\n{end}{rest.partition(end)[2]}"


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: made by tests/coverage/generate.py -->", f"<!-- end of {name} -->"


def functions(before: Rows, wanted: Sequence[str]) -> str:
    """A table for each kind of function, those of `wanted` tried anew."""
    found = {name: {} for name in CASES}
    chosen = {name: case for name, case in CASES.items() if _is_wanted(name, wanted)}
    for dtype_name, dtype in DTYPES.items():
        for name, status in try_all(chosen, dtype):
            found[name][dtype_name] = status
            if status != WORKS:
                print(dtype_name, name, status, file=sys.stderr, flush=True)  # noqa: T201
    rows = {name: _row(name, found[name]) if found[name] else before.get(name, (f"`{name}`", "", "")) for name in CASES}
    works = sum(row[1].startswith(WORKS) for row in rows.values())
    parts = [f"{len(rows)} are tried; {works} work."]
    for title, cases in TABLES.items():
        parts.append(f"### {title}\n\n{_table(('function', 'status', 'why'), (rows[name] for name in cases))}")
    return "\n\n".join(parts)


def _row(name: str, found: Mapping[str, str]) -> tuple[str, ...]:
    parts = {dtype: status.partition(": ") for dtype, status in found.items()}
    heads = {part[0] for part in parts.values()}
    why = next((part[2] for part in parts.values() if part[2]), "")
    status = heads.pop() if len(heads) == 1 else ", ".join(f"{part[0]} ({dtype})" for dtype, part in parts.items())
    return f"`{name}`", status, why


def families(before: Rows, wanted: Sequence[str]) -> str:
    """A table of model families, those of `wanted` tried anew."""
    from .families import rows as tried  # transformers takes seconds to import

    rows = {**before, **{row[0]: tuple(row) for row in tried(wanted)}}
    works = sum(row[2].startswith(WORKS) for row in rows.values())
    table = _table(("family", "architecture", "status", "why"), rows.values())
    return f"{len(rows)} are tried; {works} work.\n\n{table}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(cell: str) -> str:
    """Without what Markdown would take for the next cell, or for a link."""
    return cell.replace("|", "\\|").replace("](", "]\\(")


def _plain(cell: str) -> str:
    return cell.replace("\\|", "|").replace("]\\(", "](")


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return not wanted or any(part in name for part in wanted)


def main(arguments: Sequence[str]) -> None:
    """Try, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", action="store_true")
    parser.add_argument("--families", action="store_true")
    parser.add_argument("name", nargs="*")
    given = parser.parse_args(arguments)
    for name, make in _chosen(given.functions, given.families):
        before = read(section(PAGE.read_text(encoding="utf-8"), name))
        text = make({key: row for key, row in before.items() if key != name.removesuffix("s")}, given.name)
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), name, text), encoding="utf-8")


def _chosen(with_functions: bool, with_families: bool) -> Iterator[tuple[str, object]]:
    if with_functions:
        yield FUNCTIONS, functions
    if with_families:
        yield FAMILIES, families


if __name__ == "__main__":
    main(sys.argv[1:])
