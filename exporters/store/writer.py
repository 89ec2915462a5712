"""Writing a graph store: shards that appear whole or not at all, and a manifest that names only what is finished.

A shard's files are written and flushed to the disk under temporary names, by whoever makes the shard and on whatever
machine. The one who holds the store renames them and only then enters them in the manifest, which is itself replaced
atomically. Whatever the manifest does not name is the rest of an interrupted dump and is removed.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from io import BufferedWriter, BytesIO, FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from ...queries.errors import StoreError, first_line
from ...queries.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    StoredFile,
    check_files,
    check_sums,
    listed_file,
    read_manifest,
    replace_file,
    write_manifest,
)
from ...queries.schema import GRAPH_TABLES, SHARD_TABLES, table_schema

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ROW_GROUP = 262_144  # small: an edge is found fast by its source
# a value that stands in many rows, as along a chain of additions, is written once in each row group
WHOLE_SAMPLE = 1 << 21
PART_ROWS = 1 << 22  # rows after which a table goes on in another file, which another thread writes
SUFFIX = ".parquet"
TEMPORARY = ".tmp"  # must not end in .parquet: globs of other tools match hidden files too
_IDS = ("src", "dst", "vertex")
_WRITERS = 2
_AHEAD = 384 << 20  # bytes of rows that may wait to be written while the next are computed
_TO_DISK = 32 << 20  # bytes of a file that are sent to the disk at once: sent all at the end, they are waited for
_MARK = 12  # digits of its sum that the name of a graph table has while the dump goes on
_LOCK = ".lock"
_PATIENCE = 1.0  # seconds: a dump that has just ended takes its lock file away, which another may have opened
_BEFORE_MANIFEST = (_LOCK, f".{MANIFEST}{TEMPORARY}")  # all that a dump killed at its very beginning leaves


class StoreWriter:
    """Creates or continues the store in `folder`. Use as a context manager: it holds the store's lock.

    Raises StoreError when the folder holds something else, or a store of another model, other samples or settings.
    """

    def __init__(self, folder: Path, wanted: Manifest) -> None:
        self.folder = folder
        self._wanted = wanted
        self._held = ExitStack()
        self._graph_files: dict[str, StoredFile] = {}  # written since the manifest was
        self.manifest = wanted

    def __enter__(self) -> StoreWriter:
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"{self.folder} is a file; a folder is wanted. Choose another one for the store.")
        began = (self.folder / MANIFEST).exists()
        if not began and self.folder.is_dir() and any(p.name not in _BEFORE_MANIFEST for p in self.folder.iterdir()):
            raise StoreError(f"{self.folder} is not empty and holds no graph store. Choose another folder for --out.")
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            try:
                held.enter_context(FileLock(self.folder / _LOCK, timeout=_PATIENCE))
            except Timeout as error:
                raise StoreError(
                    f"another dump is writing {self.folder}. Wait for it, or choose another folder."
                ) from error
            if (self.folder / MANIFEST).exists():  # looked for again: another dump may have made it meanwhile
                self.manifest = read_manifest(self.folder)
                _check_same(self.folder, self.manifest, self._wanted)
                check_files(self.folder, self.manifest)
            else:
                write_manifest(self.folder, self.manifest)
            self._remove_unlisted()
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            with suppress(OSError, StoreError):  # what cannot be removed now is removed when the dump goes on
                self._remove_unlisted()
        self._held.close()
        if isinstance(error, OSError):
            raise StoreError(
                f"{self.folder} cannot be written: {error.strerror or error}. What was finished is kept: "
                "run the same command again to go on."
            ) from error

    def read(self, file: StoredFile) -> pa.Table:
        """The rows of a finished file; StoreError when it is damaged."""
        check_sums(self.folder, self.manifest, [file])
        try:
            return pq.read_table(self.folder / file.path, partitioning=None)
        except (pa.ArrowException, OSError) as error:
            reason = first_line(error)
            raise StoreError(
                f"{self.folder} is damaged: {file.path} cannot be read ({reason}). "
                "Restore the file, or dump the store again into another folder."
            ) from error

    def enter_model(self, files: Sequence[Path]) -> None:
        """Enter the files of the model, which are written: from now on the manifest names them."""
        self.manifest.model_files = [listed_file(self.folder, path) for path in files]
        write_manifest(self.folder, self.manifest)

    def write_graph_table(self, table: str, rows: pa.Table) -> None:
        """Write one of GRAPH_TABLES anew. The manifest lists the file of before until a shard is entered.

        A file is named after what it holds, so that none that the manifest lists is ever written again.
        """
        buffer = BytesIO()
        pq.write_table(rows.cast(GRAPH_TABLES[table]), buffer, compression="zstd", write_page_checksum=True)
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        name = f"{table}-{digest[:_MARK]}{SUFFIX}"
        replace_file(self.folder / name, data)
        self._graph_files[table] = StoredFile(name, len(data), digest, rows.num_rows)

    def enter(self, shard: Shard, graphs: Sequence[int]) -> None:
        """Enter a shard whose files have their temporary names: afterwards it is finished.

        graphs: the number in this store of each graph, by the number that the shard's rows give it
        Raises StoreError when the files are not there.
        """
        for file in shard.all_files():
            self._check_there(file)
        if list(graphs) != list(range(len(graphs))):
            shard = renumber_graphs(self.folder, shard, graphs, self.manifest.dtype)
        files = {table: [self._rename(file) for file in parts] for table, parts in shard.files.items()}
        self.manifest.shards.append(replace(shard, files=files))
        self._replace_graph_files()

    def _replace_graph_files(self) -> None:
        """Write the manifest with the graph tables that were written last, and remove those it listed before."""
        before = self.manifest.graph_files
        self.manifest.graph_files = {**before, **self._graph_files}
        self._graph_files = {}
        write_manifest(self.folder, self.manifest)
        for path in {file.path for file in before.values()} - set(self.manifest.graph_paths()):
            (self.folder / path).unlink(missing_ok=True)

    def _check_there(self, file: StoredFile) -> None:
        if not (self.folder / file.path).is_file():
            raise StoreError(
                f"{self.folder / file.path} is not there: the machine that wrote it has another folder of that name. "
                "Choose a folder for --out that all machines share."
            )

    def _rename(self, file: StoredFile) -> StoredFile:
        path = self.folder / file.path
        final = path.with_name(path.name.partition(SUFFIX)[0] + SUFFIX)
        path.replace(final)
        _sync_folder(final.parent)
        return replace(file, path=final.relative_to(self.folder).as_posix())

    def finish(self) -> None:
        """Say in the manifest that every sample is in, and remove what attempts at its shards left behind."""
        if self._graph_files:
            self._replace_graph_files()
        for table, file in self.manifest.graph_files.items():
            name = f"{table}{SUFFIX}"
            if file.path != name:
                replace_file(self.folder / name, (self.folder / file.path).read_bytes())
                self._graph_files[table] = replace(file, path=name)
        self.manifest.complete = True
        self._replace_graph_files()
        self._remove_unlisted()

    def _remove_unlisted(self) -> None:
        """Remove what an interrupted dump left behind: whatever the manifest on the disk does not list."""
        listed = {file.path for file in read_manifest(self.folder).all_files()}
        ours = [
            *(f".*{TEMPORARY}", *(f"{table}{end}{SUFFIX}" for table in GRAPH_TABLES for end in ("", "-*"))),
            *(f"{table}/shard=*/part-*{SUFFIX}*" for table in SHARD_TABLES),
        ]
        for path in [path for pattern in ours for path in self.folder.glob(pattern)]:
            if path.relative_to(self.folder).as_posix() not in listed:
                path.unlink()
        for table in SHARD_TABLES:
            for folder in (self.folder / table).glob("shard=*"):
                if not any(folder.iterdir()):
                    folder.rmdir()


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
        self._threads = [ThreadPoolExecutor(1, "gradtrace-writer") for _ in range(_WRITERS)]
        self._waiting: deque[tuple[Future[None], int]] = deque()  # and their bytes

    def write(self, table: str, rows: pa.Table) -> None:
        """Append rows, which must continue the table's order (schema.GRAIN). They must not be changed afterwards.

        An error in writing is raised by this call or a later one, `finish` at the latest.
        """
        part = self._part(table)
        part.rows += rows.num_rows
        self._submit(part, lambda: part.write(rows), rows.nbytes)
        if part.rows >= PART_ROWS:
            self._submit(part, part.close)
        self._await(_AHEAD)

    def _part(self, table: str) -> _Part:
        """The part of a table that its next rows go to."""
        parts = self._parts.setdefault(table, [])
        if not parts or parts[-1].rows >= PART_ROWS:
            folder = self._folder / table / f"shard={self._number:05d}"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"part-{len(parts)}{SUFFIX}.{self._attempt}{TEMPORARY}"
            thread = self._threads[len(self._all_parts()) % _WRITERS]
            parts.append(_Part(path, table, table_schema(table, self._dtype), self._row_group, thread))
        return parts[-1]

    def _submit(self, part: _Part, work: Callable[[], None], size: int = 0) -> None:
        self._waiting.append((part.thread.submit(work), size))

    def _await(self, left: int) -> None:
        """Wait until no more than `left` bytes of rows wait to be written."""
        while self._waiting and (left == 0 or sum(size for _, size in self._waiting) > left):
            self._waiting.popleft()[0].result()

    def finish(self) -> dict[str, list[StoredFile]]:
        """Flush and describe the files, which still have their temporary names; see `StoreWriter.enter`."""
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

    def __init__(self, path: Path, table: str, schema: pa.Schema, row_group: int, thread: ThreadPoolExecutor) -> None:
        self.path = path
        self.thread = thread
        self.rows = 0
        self.bytes = 0
        self._table = table
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
            self._writer = pq.ParquetWriter(self._file, self._schema, **_encoding(self._table, self._schema))
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
    """The shard with other numbers for its graphs, `numbers[old]`, in new files."""
    writer = ShardWriter(folder, shard.shard, dtype, WHOLE_SAMPLE)
    try:
        for table, file in [(table, file) for table, parts in shard.files.items() for file in parts]:
            with pq.ParquetFile(folder / file.path) as parquet:
                for group in range(parquet.num_row_groups):
                    rows = parquet.read_row_group(group)
                    graph = pa.array(numbers, pa.int32()).take(rows["graph"].combine_chunks())
                    writer.write(table, rows.set_column(rows.schema.get_field_index("graph"), "graph", graph))
        files = writer.finish()
    except BaseException:
        writer.discard()
        raise
    return replace(shard, files=files)


def _encoding(table: str, schema: pa.Schema) -> dict[str, object]:
    """Sorted ids as differences, floats byte by byte, everything else by dictionary; measured at 3.4 bytes an edge."""
    encodings = {}
    for column in schema:
        if column.name in _IDS:
            encodings[column.name] = "DELTA_BINARY_PACKED"
        elif pa.types.is_floating(column.type):
            encodings[column.name] = "BYTE_STREAM_SPLIT"
    return {
        "compression": "zstd",
        "compression_level": 1 if table == "edges" else 3,
        "use_dictionary": [column.name for column in schema if column.name not in encodings],
        "column_encoding": encodings,
        "data_page_size": 8 << 20,
        "max_rows_per_page": 10**9,
        "write_statistics": True,
        "write_page_checksum": True,
    }


def _sync_folder(folder: Path) -> None:
    """See the names in a folder on the disk, where folders can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_same(folder: Path, found: Manifest, wanted: Manifest) -> None:
    """Refuse to mix: the store must hold the same model, samples and settings."""
    for part in ("model", "samples", "settings"):
        theirs, ours = getattr(found, part), getattr(wanted, part)
        different = [key for key in sorted({*theirs, *ours}) if theirs.get(key) != ours.get(key)]
        if different:
            got = ", ".join(f"{part} {key} {theirs.get(key)!r}" for key in different)
            want = ", ".join(f"{ours.get(key)!r}" for key in different)
            raise StoreError(
                f"{folder} holds another dump: it has {got}; this command has {want}. "
                "Choose another folder for --out, or give the same model, samples and settings to continue it."
            )
