"""The Parquet files of one shard, written by threads while the next rows are computed."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from ...queries.manifest import Shard, StoredFile
from ...queries.schema import table_schema
from .rows import ENOUGH, CollectedRows, Rows

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ROW_GROUP = 262_144  # small: an edge is found fast by its source
# a value that stands in many rows, as along a chain of additions, is written once in each row group
WHOLE_SAMPLE = 1 << 21
PART_ROWS = 1 << 22  # rows after which a table goes on in another file, which another thread writes
SUFFIX = ".parquet"
TEMPORARY = ".tmp"  # must not end in .parquet: globs of other tools match hidden files too
# What finds its row groups by their smallest and largest value. Those of texts take 3 ns a row, of all columns 8 of 30;
# a method's rows are found by its vertices as fast.
_LOOKED_UP = ("sample", "src", "vertex")
# Integers that mostly repeat: to compress them as they are takes half the time of differences. At level 1 zstd
# does not see that an int64 repeats.
_ALIKE = ("sample", "rank", "slot")
_INTEGERS, _OTHERS = 3, 1  # how much is done to compress: of floats little more is gained
_WRITERS = 2
_AHEAD = 384 << 20  # bytes of rows that may wait to be written while the next are computed
_TO_DISK = 32 << 20  # bytes of a file that are sent to the disk at once: sent all at the end, they are waited for


class ShardWriter:
    """The Parquet files of one shard, a few parts for a table with many rows, under names that no other attempt uses.

    Threads write them while the caller computes the next rows. A part's rows are written in the order of the calls.
    """

    def __init__(self, folder: Path, number: int, dtype: str, row_group: int = ROW_GROUP) -> None:
        self._folder = folder
        self._row_group = row_group
        self._number = number
        self._dtype = dtype
        self._attempt = uuid4().hex[:12]
        self._parts: dict[str, list[_Part]] = {}
        self._collected: dict[str, CollectedRows] = {}
        self._threads = [ThreadPoolExecutor(1, "gradtrace-writer") for _ in range(_WRITERS)]
        self._waiting: deque[tuple[Future[None], int]] = deque()  # and their bytes

    def write(self, table: str, rows: pa.Table | Rows) -> None:
        """Append rows, which must continue the table's order (schema.GRAIN). They must not be changed afterwards.

        Rows of a small table wait for others. An error in writing is raised by this call or a later one, `finish` at
        the latest.
        """
        if isinstance(rows, Rows):
            collected = self._collected.setdefault(table, CollectedRows())
            collected.add(rows)
            if collected.n >= ENOUGH:
                self._write(table, self._collected.pop(table).table())
        else:
            self._write(table, rows)

    def _write(self, table: str, rows: pa.Table) -> None:
        part = self._part(table, rows.column_names)
        part.rows += rows.num_rows
        self._submit(part, lambda: part.write(rows), rows.nbytes)
        if part.rows >= PART_ROWS:
            self._submit(part, part.close)
        self._await(_AHEAD)

    def _part(self, table: str, names: list[str]) -> _Part:
        """The part of a table that its next rows go to, which have these columns."""
        parts = self._parts.setdefault(table, [])
        if not parts or parts[-1].rows >= PART_ROWS:
            folder = self._folder / table / f"shard={self._number:05d}"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"part-{len(parts)}{SUFFIX}.{self._attempt}{TEMPORARY}"
            thread = self._threads[len(self._all_parts()) % _WRITERS]
            parts.append(_Part(path, table_schema(table, self._dtype, names), self._row_group, thread))
        return parts[-1]

    def _submit(self, part: _Part, work: Callable[[], None], size: int = 0) -> None:
        self._waiting.append((part.thread.submit(work), size))

    def _await(self, left: int) -> None:
        """Wait until no more than `left` bytes of rows wait to be written."""
        while self._waiting and (left == 0 or sum(size for _, size in self._waiting) > left):
            self._waiting.popleft()[0].result()

    def finish(self) -> dict[str, list[StoredFile]]:
        """Flush and describe the files, which still have their temporary names; see `StoreWriter.enter`."""
        for table, collected in self._collected.items():
            self._write(table, collected.table())
        for part in self._all_parts():
            self._submit(part, part.close)
        self._await(0)
        for thread in self._threads:
            thread.shutdown()
        return {
            table: [
                StoredFile(part.path.relative_to(self._folder).as_posix(), part.bytes, part.sha256, part.rows)
                for part in parts
            ]
            for table, parts in self._parts.items()
        }

    def discard(self) -> None:
        """Remove everything that this shard wrote."""
        for thread in self._threads:
            thread.shutdown(cancel_futures=True)
        for part in self._all_parts():
            part.discard()

    def _all_parts(self) -> list[_Part]:
        return [part for parts in self._parts.values() for part in parts]


class _SummedFile(BufferedWriter):
    """A file that keeps the SHA-256 sum of what was written, which is then what is meant to be on the disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileIO(path, "w"))
        self.sum = hashlib.sha256()

    def write(self, data: ReadableBuffer) -> int:
        """Write all of `data`."""
        self.sum.update(data)
        return super().write(data)


class _Part:
    """One Parquet file. rows: those given to it, written or waiting; bytes: those on the disk"""

    def __init__(self, path: Path, schema: pa.Schema, row_group: int, thread: ThreadPoolExecutor) -> None:
        self.path = path
        self.thread = thread
        self.rows = 0
        self.bytes = 0
        self._schema = schema
        self._row_group = row_group
        self._file = _SummedFile(path)
        self._writer: pq.ParquetWriter | None = None

    @property
    def sha256(self) -> str:
        """The sum of a closed file."""
        return self._file.sum.hexdigest()

    def write(self, rows: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, self._schema, **_encoding(self._schema))
        self._writer.write_table(rows.cast(self._schema), row_group_size=self._row_group)
        if self._file.tell() - self.bytes > _TO_DISK:
            self._to_disk()

    def close(self) -> None:
        """Write the end of the file and see it on the disk."""
        if self._file.closed:
            return
        if self._writer is not None:
            self._writer.close()
        self._to_disk()
        self._file.close()

    def _to_disk(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self.bytes = self._file.tell()

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.is_open = False  # no footer, now or when it is collected: it may be what does not fit
        with suppress(OSError):  # as may be the last bytes
            self._file.close()
        self.path.unlink(missing_ok=True)


def renumber_graphs(folder: Path, shard: Shard, numbers: Sequence[int], dtype: str) -> Shard:
    """The shard with other numbers for its graphs, `numbers[old]`: new files of the tables that have a graph."""
    named = {name: files for name, files in shard.files.items() if "graph" in table_schema(name, dtype).names}
    writer = ShardWriter(folder, shard.shard, dtype, WHOLE_SAMPLE)
    try:
        for table, file in [(table, file) for table, parts in named.items() for file in parts]:
            with pq.ParquetFile(folder / file.path) as parquet:
                for group in range(parquet.num_row_groups):
                    rows = parquet.read_row_group(group)
                    if "graph" in rows.column_names:
                        graph = pa.array(numbers, pa.int32()).take(rows["graph"].combine_chunks())
                        rows = rows.set_column(rows.schema.get_field_index("graph"), "graph", graph)
                    writer.write(table, rows)
        files = writer.finish()
    except BaseException:
        writer.discard()
        raise
    return replace(shard, files=shard.files | files)


def _encoding(schema: pa.Schema) -> dict[str, object]:
    """Integers as differences, floats byte by byte, texts by dictionary; smallest and largest of what is looked up."""
    encodings = {}
    for column in schema:
        if column.name in _ALIKE:
            encodings[column.name] = "PLAIN"
        elif pa.types.is_integer(column.type):
            encodings[column.name] = "DELTA_BINARY_PACKED"
        elif pa.types.is_floating(column.type):
            encodings[column.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type):
            encodings[f"{column.name}.list.element"] = "BYTE_STREAM_SPLIT"
    return {
        "compression": "zstd",
        "compression_level": {
            column.name: _INTEGERS if pa.types.is_integer(column.type) else _OTHERS for column in schema
        },
        "use_dictionary": [column.name for column in schema if column.name not in encodings],
        "column_encoding": encodings,
        "data_page_size": 8 << 20,
        "max_rows_per_page": 10**9,
        "write_statistics": [column.name for column in schema if column.name in _LOOKED_UP],
        "write_page_checksum": True,
    }
