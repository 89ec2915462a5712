"""Reading a graph store: its tables through DuckDB, its graphs as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..errors import StoreError
from ..manifest import Manifest
from ..schema import OK
from .connection import connect, describe, duckdb_errors, read_relation, scan, select_statement
from .finest_groups import FinestGroup, read_finest_groups
from .graph import Graph, read_graph
from .library import Query, load_queries, load_query

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from numpy.typing import NDArray


class StoreReader:
    """A graph store's tables in SQL, and its graphs; everything that answers a question of its own reads through it."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._graphs: dict[int, Graph] = {}
        self._graph_of: dict[int, int] = {}
        self.flows: dict[tuple[str, int], Any] = {}  # the last few, kept by `queries.importance.flows`
        self.counted: dict[object, Any] = {}  # what the walker found, kept by `queries.importance.recounted`

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB connection, opened when first needed: views and macros only, locked to the store's files."""
        return connect(self.path, self.manifest)

    @cached_property
    def _described(self) -> duckdb.DuckDBPyConnection:
        """The same, with a comment on every column: for SQL that others write."""
        describe(self.connection)
        return self.connection

    def close(self) -> None:
        """Close the DuckDB connection; relations of this store cannot be read any more."""
        if "connection" in self.__dict__:
            self.connection.close()

    def sql(self, text: str, params: Mapping[str, object] | Sequence[object] | None = None) -> duckdb.DuckDBPyRelation:
        """Answer one SELECT over the store's tables, macros and nothing else.

        `params` are the values of its `?` (a sequence) or `$name` (a mapping). The relation has `.show()`, `.df()`,
        `.fetchall()`, `.to_arrow_table()`. Any other statement, and an error of DuckDB's, raises StoreError.
        """
        statement = select_statement(self._described, text)
        with duckdb_errors("the SQL failed"):
            return self._described.sql(statement, params=params or None)

    def rows(self, text: str, params: Mapping[str, object] | Sequence[object] | None = None) -> pa.Table:
        """The answer of `sql` as an Arrow table; errors that appear while reading raise StoreError too."""
        return read_relation(self.sql(text, params))

    def fetch(self, text: str, params: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of one of this package's own statements; an error of DuckDB's raises StoreError."""
        with duckdb_errors(f"{self.path} cannot be read, `gradtrace verify` says where"):
            return self.connection.execute(text, params).fetchall()

    def arrays(self, text: str, params: Mapping[str, object] | Sequence[object] = ()) -> dict[str, NDArray[Any]]:
        """All rows of one of this package's own statements as an array per column."""
        with duckdb_errors(f"{self.path} cannot be read, `gradtrace verify` says where"):
            return self.connection.execute(text, params).fetchnumpy()

    def _of_sample(self, sample: int, table: str, columns: str, where: str) -> str:
        return f"select {columns} from {self.table_of(sample, table)} where sample = ? and {where}"

    def sample_rows(
        self, sample: int, table: str, columns: str, where: str = "true", params: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        """Columns of a table of shards, of one sample's rows; `params` are the values of the `?` in `where`."""
        return self.fetch(self._of_sample(sample, table, columns, where), [sample, *params])

    def sample_arrays(
        self, sample: int, table: str, columns: str, where: str = "true", params: Sequence[object] = ()
    ) -> dict[str, NDArray[Any]]:
        """`sample_rows` as an array per column."""
        return self.arrays(self._of_sample(sample, table, columns, where), [sample, *params])

    def query(self, name: str, **params: object) -> duckdb.DuckDBPyRelation:
        """Answer a question of the query library, `queries()`, with the values of its parameters."""
        query = load_query(name)
        values = query.bind(params)
        if "method" in values:
            self.check_method(values["method"])
        return self.sql(query.sql, values)

    def queries(self) -> list[Query]:
        """The questions the query library can answer."""
        return list(load_queries().values())

    @cached_property
    def finest_groups(self) -> list[FinestGroup]:
        """The parameter groups the dump counted, in the order of their names."""
        return read_finest_groups(self.fetch)

    @cached_property
    def sentences(self) -> dict[int, tuple[str | None, int]]:
        """Of every sample, its text and how often that stood before: alike for a sentence at several checkpoints."""
        return {sample: (text, number) for sample, text, number in self.fetch("from sentences()")}

    def graph(self, graph: int) -> Graph:
        """The operators and tensors of one graph."""
        if graph not in self._graphs:
            self._graphs[graph] = read_graph(self.fetch, graph)
        return self._graphs[graph]

    def graph_of(self, sample: int) -> Graph:
        """The graph of a sample; StoreError when the sample is not in the store or was not recorded."""
        if sample in self._graph_of:
            return self.graph(self._graph_of[sample])
        found = self.sample_rows(sample, "samples", "graph, status, message")
        if not found:
            ((n,),) = self.fetch("select count(*) from samples")
            raise StoreError(f"the store has no sample {sample}; it holds {n} samples, numbered from 0.")
        graph, status, message = found[0]
        if status != OK:
            raise StoreError(f"sample {sample} was not recorded: {status}{f' ({message})' if message else ''}.")
        self._graph_of[sample] = graph
        return self.graph(graph)

    def table_of(self, sample: int, table: str) -> str:
        """What to put behind `from` to read a table of shards for one sample: its shard's files, not all of them."""
        for shard in self.manifest.shards:
            if shard.first <= sample < shard.first + shard.count and table in shard.files:
                return scan(self.path, [file.path for file in shard.files[table]], table)
        return table

    def check_method(self, method: str) -> None:
        """Raise StoreError when the store holds no paths of this method."""
        methods = list(self.manifest.settings["methods"])
        if method not in methods:
            raise StoreError(f"the store has no paths of method {method!r}, it was dumped with {', '.join(methods)}.")
