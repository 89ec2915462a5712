"""A graph store opened for reading: SQL, traces, importance, checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queries.manifest import check_files, read_manifest
from queries.reader import StoreReader

if TYPE_CHECKING:
    import duckdb

    from queries.path import Path as TracedPath
    from queries.verify import Check


def open_store(path: str | Path, *, check: bool = True) -> Store:
    """Open the graph store in the folder `path` for reading.

    Raises StoreError when the folder is no store, is of another format version, or, unless `check` is off, when a file
    of its manifest is missing or has another size.
    """
    folder = Path(path).absolute()
    manifest = read_manifest(folder)
    if check:
        check_files(folder, manifest)
    return Store(folder, manifest)


class Store(StoreReader):
    """A graph store: its tables in SQL, its traces and the importance of its components. Made by `open_store`."""

    def trace(self, parameter: str, sample: int = 0, method: str = "greedy") -> TracedPath:
        """Follow one path of a sample from the element `parameter`, as in 'lstm.weight_hh_l0[3,17]', to the loss."""
        from queries.path import trace

        return trace(self, parameter, sample, method)

    def importance(
        self,
        by: Sequence[str] = ("parameter_group", "component"),
        components: str | Path | None = None,
        groups: str | Path | None = None,
        sample: int | None = None,
        method: str = "greedy",
    ) -> duckdb.DuckDBPyRelation:
        """How much of the paths of each parameter group each component carries; see `queries.importance`."""
        from queries.importance import importance

        return importance(self, by, components=components, groups=groups, sample=sample, method=method)

    def info(self) -> dict[str, Any]:
        """What the store holds: model, settings, samples, sizes."""
        from queries.summary import summarise

        return summarise(self)

    def verify(self) -> list[Check]:
        """Check every claim the store makes; see `queries.verify`. Failures are rows, not errors."""
        from queries.verify import verify

        return verify(self)
