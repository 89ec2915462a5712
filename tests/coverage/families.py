"""Model families tried: saved, opened, recorded on texts of two lengths, every gradient compared with torch's own.

`python -m tests.coverage.families [NAME …]` prints the rows of those whose names have NAME in them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from gradtrace.exporters.models import Encoded, SampleError, Traceable
from gradtrace.pipeline.dump.hugging_face.opening import open_hugging_face
from gradtrace.queries.errors import GradtraceError, first_line

from ..exporters.torch_export.shown_models import show
from .factories import factories
from .folders import save_family
from .hugging_face import FAMILIES, Family

WORKS, PER_LENGTH, REFUSED = "works", "works, one export for each length", "refused"
WRONG, CRASHES = "WRONG", "CRASHES"  # faults of gradtrace, which the table must not have
LINES = [
    ("the cat sleeps", "the old dog sees a small cat"),
    ("the cat sleeps\tle chat", "the old dog sees a cat\tle chat sleeps ."),
    ("a a a", "a a a a a a"),  # Qwen2's tokenizer reads letters, whatever the folder's was made to read
]


class Row(NamedTuple):
    """What became of a family; why: the first line of a refusal."""

    family: str
    architecture: str
    status: str
    why: str


def rows(wanted: Sequence[str] = ()) -> Iterator[Row]:
    """One for each family, or for those whose names have one of `wanted` in them."""
    for family in FAMILIES:
        if _is_wanted(family.name, wanted):
            yield _of_transformers(family)
    for name, architecture, build, lines in factories():
        if _is_wanted(name, wanted):
            yield Row(name, architecture, *attempt(build, [lines]))


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return not wanted or any(part.lower() in name.lower() for part in wanted)


def _of_transformers(family: Family) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        save_family(Path(folder), family.architecture, family.settings)
        status, why = attempt(lambda: open_hugging_face(Path(folder)), LINES)
    return Row(family.name, family.architecture, status, why.replace(folder, "FOLDER"))


def attempt(build: Callable[[], Traceable], lines: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The status of a model on the first of `lines` that it takes, and why it does not work."""
    try:
        traceable = build()
        samples = _samples(traceable, lines)
        shown = show(traceable.model, [s.inputs for s in samples], torch.float64, [len(s.tokens) for s in samples])
    except GradtraceError as error:
        return REFUSED, first_line(error)
    except AssertionError as error:
        return WRONG, first_line(error)
    except Exception as error:  # what no user should see
        return CRASHES, f"{type(error).__name__}: {first_line(error)}"
    return (WORKS if shown.n_exports == 1 else PER_LENGTH), ""


def _samples(traceable: Traceable, lines: Sequence[tuple[str, str]]) -> list[Encoded]:
    """Those of the first pair of lines that the model takes, and whose first has not one token alone."""
    for pair in lines:
        with suppress(SampleError):
            samples = [traceable.encode(line) for line in pair]
            if len(samples[0].tokens) != 1:
                return samples
    raise AssertionError("no line is a sample")


if __name__ == "__main__":
    for row in rows(sys.argv[1:]):
        print(" | ".join(row), flush=True)  # noqa: T201
