"""The k best paths as a person reads them: a row per path, and each path hop by hop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc

from ..methods import BY_SHARE, method_of_ranking
from ..show.cells import cell
from ..show.files import columns_of
from ..show.shown import Layout, Shown
from .trace import Path

_SHOWN = ("rank", "product", "gradient_share", "probability", "edges", "path")
_WIDEST = 110  # letters of a path's components in a table


@dataclass(frozen=True)
class Paths(Shown):
    """The best paths from `start`, best first; `paths[0]` is the best as a Path, hop by hop.

    certain: they are all that were asked for, or all there are; if not, `note` says why, and those that are here are
        the best all the same
    summary: a row per path: rank (from 1), product of derivatives with its sign, log2_product (of its size, which is
        never out of range), gradient_share (its share of the gradient of `start`: product * gradient of the path's end
        / that gradient), probability (of paths ranked by share), edges, path (the components it runs through, @ steps)
    hops: a row per vertex on each path, as `Path.rows`, with the path's rank
    """

    start: str
    sample: int
    by: str
    restriction: str
    gradient: float | None
    certain: bool
    note: str
    end: str
    summary: pa.Table
    hops: pa.Table
    unfinished: str = ""

    def __len__(self) -> int:
        """The number of paths."""
        return int(self.summary.num_rows)

    @overload
    def __getitem__(self, i: int) -> Path: ...
    @overload
    def __getitem__(self, i: slice) -> list[Path]: ...
    def __getitem__(self, i: int | slice) -> Path | list[Path]:
        """One path, or several; paths[0] is the best."""
        if isinstance(i, slice):
            return [self[number] for number in range(*i.indices(len(self)))]
        rank = range(1, len(self) + 1)[i]
        rows = self.hops.filter(pc.equal(self.hops["rank"], rank)).drop_columns(["rank"])
        return Path(self.start, self.sample, method_of_ranking(self.by), self.end, rows, self.unfinished)

    def __iter__(self) -> Iterator[Path]:
        """The paths, best first."""
        return (self[i] for i in range(len(self)))

    def _title(self) -> str:
        n = len(self)
        gradient = "" if self.gradient is None else f", gradient {cell(self.gradient)}"
        counted = "best path" if n == 1 else f"{n} best paths" if n else "no paths"
        return f"{counted} of {self.start}{self.restriction} by {self.by}, sample {self.sample}{gradient}"

    def _layout(self) -> Layout:
        names = [name for name in _SHOWN if name != "probability" or self.by == BY_SHARE] if len(self) else []
        values = [[_shortened(value) for value in column] for column in columns_of(self.summary.select(names))]
        return Layout(self._title(), (), names, values, [self.note] if self.note else [])

    def to_arrow(self) -> pa.Table:
        """A row per edge of each path: the columns of `summary`, then those of the vertex the edge leads to."""
        edges = self.hops.filter(pc.greater(self.hops["hop"], 0))
        of_path = pc.subtract(edges["rank"], 1)
        paths = self.summary.drop_columns(["rank", "edges", "path"]).take(of_path)
        columns = {"rank": edges["rank"]} | {name: paths[name] for name in paths.column_names}
        return pa.table(columns | {name: edges[name] for name in edges.column_names if name != "rank"})

    def to_pandas(self) -> Any:
        """`to_arrow` as a pandas frame; needs pandas, which the extra `gradtrace[pandas]` installs."""
        return self.to_arrow().to_pandas()


def _shortened(value: object) -> object:
    if not isinstance(value, str) or len(value) <= _WIDEST:
        return value
    half = _WIDEST // 2
    return f"{value[:half]} … {value[-half:]}"
