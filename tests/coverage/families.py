"""Model families tried: saved, opened, recorded on texts of two lengths, every gradient compared with torch's own.

`python -m tests.coverage.families [NAME …]` prints the rows of those whose names have NAME in them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from gradtrace.exporters.models import Traceable
from gradtrace.pipeline.dump.hugging_face.opening import open_hugging_face
from gradtrace.queries.errors import GradtraceError, first_line

from ..exporters.torch_export.shown_models import show
from .folders import save_family
from .hugging_face import FAMILIES, Family

WORKS, PER_LENGTH, REFUSED = "works", "works, one export for each length", "refused"
LINES = ["the cat sleeps", "the old dog sees a small cat"]
PAIRS = ["the cat sleeps\tle chat", "the old dog sees a cat\tle chat sleeps ."]


class Row(NamedTuple):
    """What became of a family; why: of one that is refused, the first line of the refusal."""

    family: str
    architecture: str
    status: str
    why: str


def rows(wanted: Sequence[str] = ()) -> Iterator[Row]:
    """One for each family, or for those whose names have one of `wanted` in them."""
    for family in FAMILIES:
        if not wanted or any(part.lower() in family.name.lower() for part in wanted):
            yield _row(family)


def _row(family: Family) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        save_family(Path(folder), family.architecture, family.settings)
        status, why = attempt(lambda: open_hugging_face(Path(folder)))
    return Row(family.name, family.architecture, status, why.replace(folder, "FOLDER"))


def attempt(build: Callable[[], Traceable]) -> tuple[str, str]:
    """The status of a model, and why it is refused. A gradient that differs from torch's is an AssertionError."""
    try:
        traceable = build()
        samples = [traceable.encode(line) for line in _lines(traceable)]
        shown = show(traceable.model, [s.inputs for s in samples], torch.float64, [len(s.tokens) for s in samples])
    except GradtraceError as error:
        return REFUSED, first_line(error)
    return (WORKS if shown.n_exports == 1 else PER_LENGTH), ""


def _lines(traceable: Traceable) -> list[str]:
    try:
        traceable.encode(LINES[0])
    except GradtraceError:
        return PAIRS
    return LINES


if __name__ == "__main__":
    for row in rows(sys.argv[1:]):
        print(" | ".join(row), flush=True)  # noqa: T201
