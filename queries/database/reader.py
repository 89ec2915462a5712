"""Reading a graph store: its tables through DuckDB, its graphs as arrays."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import finalize

from ..errors import StoreError
from ..manifest import Manifest, StoredFile, check_sums
from ..schema import OK, columns_on_request
from .connection import TIMEOUT, connect, describe, duckdb_errors, limited, read_relation, scan, select_statement
from .finest_groups import FinestGroup, read_finest_groups
from .graph import Graph, check_numbers, read_graph
from .library import Query, load_queries, load_query
from .tables_read import tables_read

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
        self._limited: dict[float, duckdb.DuckDBPyConnection] = {}  # by the seconds after which they stop a statement
        self._graph_of: dict[int, int] = {}
        self.remove_spilled: Callable[[], object] = lambda: None  # what did not fit in memory, from the disk
        self.flows: dict[tuple[str, int], Any] = {}  # the last few, kept by `queries.importance.flows`
        self.counted: dict[object, Any] = {}  # what the walker found, kept by `queries.importance.recounted`

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}{f', {self.manifest.unfinished}' if self.manifest.unfinished else ''})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB connection, opened when first needed: views and macros only, locked to the store's files."""
        spill = mkdtemp(prefix="gradtrace-")  # for what does not fit in memory; it goes when this reader goes
        self.remove_spilled = finalize(self, rmtree, spill, ignore_errors=True)
        return connect(self.path, self.manifest, Path(spill))

    def _connection_for(self, timeout: float | None) -> duckdb.DuckDBPyConnection:
        """A connection for SQL that others write: with a comment on every column, and limited in time."""
        seconds = TIMEOUT if timeout is None else timeout
        if not self._limited:
            describe(self.connection)
        if seconds not in self._limited:
            self._limited[seconds] = limited(self.connection, seconds)
        return self._limited[seconds]

    def close(self) -> None:
        """Close the DuckDB connection; relations of this store cannot be read any more."""
        if "connection" in self.__dict__:
            for connection in (*self._limited.values(), self.connection):
                connection.close()
            self.remove_spilled()

    def sql(
        self,
        text: str,
        params: Mapping[str, object] | Sequence[object] | None = None,
        timeout: float | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """Answer one SELECT over the store's tables, macros and nothing else.

        `params` are the values of its `?` (a sequence) or `$name` (a mapping). The relation has `.show()`, `.df()`,
        `.fetchall()`, `.to_arrow_table()`. Any other statement, and an error of DuckDB's, raises StoreError.
        timeout: seconds after which it is stopped, whenever it is run; 0: never; default: 300
        """
        connection = self._connection_for(timeout)
        statement = select_statement(connection, text)
        self.check_tables(text)
        with duckdb_errors("the SQL failed"):
            return connection.sql(statement, params=params or None)

    def rows(
        self,
        text: str,
        params: Mapping[str, object] | Sequence[object] | None = None,
        timeout: float | None = None,
    ) -> pa.Table:
        """The answer of `sql` as an Arrow table; errors that appear while reading raise StoreError too."""
        return read_relation(self.sql(text, params, timeout))

    def check_tables(self, text: str) -> None:
        """Raise StoreError where a file of a table that the statement `text` reads is not what was written."""
        files = [file for table in tables_read(text) for file in self.manifest.stored_files(table)]
        check_sums(self.path, self.manifest, files)

    def _errors(self) -> AbstractContextManager[None]:
        return duckdb_errors(f"{self.path} cannot be read, `gradtrace verify` says where", whole=False)

    def fetch(self, text: str, params: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of one of this package's own statements; an error of DuckDB's raises StoreError."""
        self.check_tables(text)
        with self._errors():
            return self.connection.execute(text, params).fetchall()

    def batches(self, text: str, params: Sequence[object], rows: int) -> Iterator[pa.RecordBatch]:
        """The answer of one of this package's own statements, `rows` at a time as they are found."""
        self.check_tables(text)
        with self._errors(), closing(self.connection.cursor()) as cursor:
            yield from cursor.sql(text, params=list(params)).to_arrow_reader(rows)

    def _of_sample(self, sample: int, table: str, columns: str, where: str) -> str:
        """A statement over the files of one sample's shard, which are checked."""
        files = self._files_of(sample, table)
        check_sums(self.path, self.manifest, files)
        source = scan(self.path, [file.path for file in files]) if files else f"(from stored.{table} where false)"
        if files and columns_on_request(table):  # null where the files leave them out
            source = f"(from {source} union all by name from stored.{table} where false)"
        return f"select {columns} from {source} where sample = ? and {where}"

    def sample_rows(
        self, sample: int, table: str, columns: str, where: str = "true", params: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        """Stored columns of a table of shards, of one sample's rows; `params` are the values of the `?` in `where`."""
        text = self._of_sample(sample, table, columns, where)
        with self._errors():
            return self.connection.execute(text, [sample, *params]).fetchall()

    def sample_arrays(
        self, sample: int, table: str, columns: str, where: str = "true", params: Sequence[object] = ()
    ) -> dict[str, NDArray[Any]]:
        """`sample_rows` as an array per column; what numbers vertices and operators numbers those of its graph."""
        text = self._of_sample(sample, table, columns, where)
        with self._errors():
            found = self.connection.execute(text, [sample, *params]).fetchnumpy()
        check_numbers(self.graph_of(sample), found)
        return found

    def query(self, name: str, timeout: float | None = None, **params: object) -> duckdb.DuckDBPyRelation:
        """Answer a question of the query library, `queries()`, with its parameters; timeout: see `sql`."""
        query = load_query(name)
        values = query.bind(params)
        if "method" in values:
            self.check_method(values["method"])
        return self.sql(query.sql, values, timeout)

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

    def _files_of(self, sample: int, table: str) -> list[StoredFile]:
        """The files of a table of shards that can hold rows of a sample: those of its shard."""
        shards = self.manifest.shards
        found = shards[max(bisect_right(shards, sample, key=lambda shard: shard.first) - 1, 0) :][:1]
        return [file for shard in found for file in shard.files.get(table, [])]

    def check_method(self, method: str) -> None:
        """Raise StoreError when the store holds no paths of this method."""
        methods = list(self.manifest.settings["methods"])
        if method not in methods:
            raise StoreError(f"the store has no paths of method {method!r}, it was dumped with {', '.join(methods)}.")
