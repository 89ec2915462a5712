"""A graph store opened for reading: SQL, traces, importance, checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .database.reader import StoreReader
from .manifest import check_files, read_manifest
from .methods import BY_PRODUCT, GREEDY

if TYPE_CHECKING:
    import duckdb

    from .importance.comparison import Between, Comparison
    from .paths.path_list import Paths
    from .paths.statistics import PathStatistics
    from .paths.stored_edges import MoreEdges
    from .paths.trace import Path as TracedPath
    from .verify.verify import Check


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


def compare(left: Store | str | Path, right: Store | str | Path, **asked: Any) -> Comparison:
    """Differences in importance between two stores, or their folders: `Store.compare` of the first with the second.

    Raises StoreError for a folder that is no store, and for what does not fit the stores.
    """
    first, second = (side if isinstance(side, Store) else open_store(side) for side in (left, right))
    return first.compare(second, **asked)


class Store(StoreReader):
    """A graph store: its tables in SQL, its traces and the importance of its components. Made by `open_store`."""

    def trace(
        self, parameter: str, sample: int = 0, method: str = GREEDY, through: str | Sequence[str] = ()
    ) -> TracedPath:
        """Follow one path of a sample from the element `parameter`, as in 'lstm.weight_hh_l0[3,17]', to the loss.

        through: components and vertices that it must pass: then it is the best such path, ranked as the k best paths of
            the method are, by share for those that rank none
        """
        from .paths.best_paths import best_path
        from .paths.trace import trace

        found = (
            best_path(self, parameter, sample, method, through) if through else trace(self, parameter, sample, method)
        )
        return replace(found, unfinished=self.manifest.unfinished)

    def k_best(
        self,
        start: str | int,
        sample: int = 0,
        k: int = 5,
        by: str = BY_PRODUCT,
        through: str | int | Sequence[str | int] = (),
        to: str | int | None = None,
        components: str | Path | None = None,
        more: MoreEdges | None = None,
    ) -> Paths:
        """The `k` best paths from a vertex, to the loss or another vertex; see `queries.paths.best_paths`."""
        from .paths.best_paths import best_paths

        found = best_paths(self, start, sample, k, by, through=through, to=to, components=components, more=more)
        return replace(found, unfinished=self.manifest.unfinished)

    def importance(
        self,
        by: str | Sequence[str] = ("parameter_group", "component"),
        components: str | Path | None = None,
        groups: str | Path | None = None,
        sample: int | None = None,
        method: str = GREEDY,
    ) -> duckdb.DuckDBPyRelation:
        """How much of the paths of each parameter group each component carries; see `queries.importance.importance`."""
        from .importance.importance import importance

        return importance(self, by, components=components, groups=groups, sample=sample, method=method)

    def stability(
        self,
        by: str = "component",
        group: str | None = None,
        measure: str = "edge_share",
        method: str = GREEDY,
        components: str | Path | None = None,
        groups: str | Path | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """Whether the samples rank the components alike, per parameter group; see `queries.importance.stability`."""
        from .importance.stability import stability

        return stability(self, by, group, measure, method=method, components=components, groups=groups)

    def compare(
        self,
        other: Store | None = None,
        between: Between | None = None,
        by: str | Sequence[str] = ("parameter_group", "component"),
        measure: str = "edge_share",
        method: str = GREEDY,
        components: str | Path | None = None,
        groups: str | Path | None = None,
    ) -> Comparison:
        """Differences to another store, or between 'condition=singular,plural'; see `queries.importance.comparison`."""
        from .importance.comparison import compare

        found = compare(
            self, other, between, by=by, measure=measure, method=method, components=components, groups=groups
        )
        sides = dict.fromkeys((self, other or self))
        return replace(found, unfinished="; ".join(filter(None, (side.manifest.unfinished for side in sides))))

    def path_statistics(self, start: str | int, sample: int = 0) -> PathStatistics:
        """How many paths lead from a vertex to the loss, and how their products are spread."""
        from .paths.statistics import path_statistics

        return path_statistics(self, start, sample)

    def info(self) -> dict[str, Any]:
        """What the store holds: model, settings, samples, sizes."""
        from .database.summary import summarise

        return summarise(self)

    def verify(self) -> list[Check]:
        """Check what must hold of the store; see `queries.verify.verify`. Failures are rows, not errors."""
        from .verify.verify import verify

        return verify(self)
