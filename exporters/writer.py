"""Writing a graph store: shards that appear whole or not at all, and a manifest that names only what is finished.

A shard's files are written and flushed to the disk under temporary names, by whoever makes the shard and on whatever
machine. The one who holds the store renames them and only then enters them in the manifest, which is itself replaced
atomically. Whatever the manifest does not name is the rest of an interrupted dump and is removed.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from queries.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    StoredFile,
    check_files,
    read_manifest,
    replace_file,
    write_manifest,
)
from queries.schema import GRAPH_TABLES, SHARD_TABLES, StoreError, table_schema

ROW_GROUP = 262_144  # small: an edge is found fast by its source
# a value that stands in many rows, as along a chain of additions, is written once in each row group
WHOLE_SAMPLE = 1 << 21
PART = "part-0.parquet"
TEMPORARY = ".tmp"  # must not end in .parquet: globs of other tools match hidden files too
_IDS = ("src", "dst", "vertex")
_AHEAD = 256 << 20  # bytes of rows that may wait to be written while the next are computed
_TO_DISK = 32 << 20  # bytes of a file that are sent to the disk at once: sent all at the end, they are waited for
_LOCK = ".lock"
_BEFORE_MANIFEST = (_LOCK, f".{MANIFEST}{TEMPORARY}")  # all that a dump killed at its very beginning leaves


class StoreWriter:
    """Creates or continues the store in `folder`. Use as a context manager: it holds the store's lock.

    Raises StoreError when the folder holds something else, or a store of another model, other samples or settings.
    """

    def __init__(self, folder: Path, wanted: Manifest) -> None:
        self.folder = folder
        self._wanted = wanted
        self._held = ExitStack()
        self.manifest = wanted

    def __enter__(self) -> StoreWriter:
        began = (self.folder / MANIFEST).exists()
        if not began and self.folder.is_dir() and any(p.name not in _BEFORE_MANIFEST for p in self.folder.iterdir()):
            raise StoreError(f"{self.folder} is not empty and holds no graph store. Choose another folder for --out.")
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            lock = held.enter_context((self.folder / _LOCK).open("wb"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
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
            with suppress(OSError):  # what cannot be removed now is removed when the dump goes on
                self._remove_unlisted()
        self._held.close()
        if isinstance(error, OSError):
            raise StoreError(
                f"{self.folder} cannot be written: {error.strerror or error}. What was finished is kept: "
                "run the same command again to go on."
            ) from error

    def read(self, file: str) -> pa.Table:
        """The rows of a finished file, given relative to the store; StoreError when it is damaged."""
        try:
            return pq.read_table(self.folder / file, partitioning=None)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise StoreError(
                f"{self.folder} is damaged: {file} cannot be read ({reason}). "
                "Restore the file, or dump the store again into another folder."
            ) from error

    def write_graph_table(self, table: str, rows: pa.Table) -> None:
        """Replace one of GRAPH_TABLES; rows are only ever added, so the manifest of before remains true."""
        buffer = BytesIO()
        pq.write_table(rows.cast(GRAPH_TABLES[table]), buffer, compression="zstd")
        name = f"{table}.parquet"
        replace_file(self.folder / name, buffer.getvalue())
        self.manifest.graph_files[table] = StoredFile(name, rows.num_rows, len(buffer.getvalue()))

    def enter(self, shard: Shard, graphs: Sequence[int]) -> None:
        """Enter a shard whose files have their temporary names: afterwards it is finished.

        graphs: the number in this store of each graph, by the number that the shard's rows give it
        Raises StoreError when the files are not there.
        """
        for file in shard.files.values():
            self._check_there(file)
        if list(graphs) != list(range(len(graphs))):
            shard = renumber_graphs(self.folder, shard, graphs, self.manifest.dtype)
        files = {table: self._rename(file) for table, file in shard.files.items()}
        self.manifest.shards.append(replace(shard, files=files))
        write_manifest(self.folder, self.manifest)

    def _check_there(self, file: StoredFile) -> None:
        if not (self.folder / file.path).is_file():
            raise StoreError(
                f"{self.folder / file.path} is not there: the machine that wrote it has another folder of that name. "
                "Choose a folder for --out that all machines share."
            )

    def _rename(self, file: StoredFile) -> StoredFile:
        path = self.folder / file.path
        final = path.with_name(PART)
        path.replace(final)
        _sync_folder(final.parent)
        return replace(file, path=final.relative_to(self.folder).as_posix())

    def finish(self) -> None:
        """Say in the manifest that every sample is in, and remove what attempts at its shards left behind."""
        self.manifest.complete = True
        write_manifest(self.folder, self.manifest)
        self._remove_unlisted()

    def _remove_unlisted(self) -> None:
        """Remove what an interrupted dump left behind."""
        listed = {file.path for file in self.manifest.all_files()}
        ours = [
            *(f".*{TEMPORARY}", *(f"{table}.parquet" for table in GRAPH_TABLES)),
            *(f"{table}/shard=*/{PART}*" for table in SHARD_TABLES),
        ]
        for path in [path for pattern in ours for path in self.folder.glob(pattern)]:
            if path.relative_to(self.folder).as_posix() not in listed:
                path.unlink()
        for table in SHARD_TABLES:
            for folder in (self.folder / table).glob("shard=*"):
                if not any(folder.iterdir()):
                    folder.rmdir()


class ShardWriter:
    """The open Parquet files of one shard, one per table that has rows, under names that no other attempt uses.

    A thread writes them, in the order of the calls, while the caller computes the next rows.
    """

    def __init__(self, folder: Path, number: int, dtype: str, row_group: int = ROW_GROUP) -> None:
        self._folder = folder
        self._row_group = row_group
        self._number = number
        self._dtype = dtype
        self._open: dict[str, tuple[Path, IO[bytes], pq.ParquetWriter]] = {}
        self._rows: dict[str, int] = {}
        self._on_disk: dict[str, int] = {}  # bytes of each file
        self._name = f"{PART}.{uuid4().hex[:12]}{TEMPORARY}"
        self._thread = ThreadPoolExecutor(1, "gradtrace-writer")
        self._waiting: deque[tuple[Future[None], int]] = deque()  # and their bytes

    def write(self, table: str, rows: pa.Table) -> None:
        """Append rows, which must continue the table's order (schema.GRAIN). They must not be changed afterwards.

        An error in writing is raised by this call or a later one, `finish` at the latest.
        """
        self._waiting.append((self._thread.submit(self._write, table, rows), rows.nbytes))
        self._await(_AHEAD)

    def _await(self, left: int) -> None:
        """Wait until no more than `left` bytes of rows wait to be written."""
        while self._waiting and (left == 0 or sum(size for _, size in self._waiting) > left):
            self._waiting.popleft()[0].result()

    def _write(self, table: str, rows: pa.Table) -> None:
        schema = table_schema(table, self._dtype)
        if table not in self._open:
            self._open[table] = self._create(table, schema)
        self._open[table][2].write_table(rows.cast(schema), row_group_size=self._row_group)
        self._rows[table] = self._rows.get(table, 0) + rows.num_rows
        file = self._open[table][1]
        if file.tell() - self._on_disk.get(table, 0) > _TO_DISK:
            file.flush()
            os.fdatasync(file.fileno())
            self._on_disk[table] = file.tell()

    def finish(self) -> dict[str, StoredFile]:
        """Flush and describe the files, which still have their temporary names; see `StoreWriter.enter`."""
        self._await(0)
        self._thread.shutdown()
        files = {}
        for table, (path, file, writer) in self._open.items():
            writer.close()
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
            file.close()
            files[table] = StoredFile(path.relative_to(self._folder).as_posix(), self._rows[table], size)
        return files

    def discard(self) -> None:
        """Remove everything that this shard wrote."""
        self._thread.shutdown(cancel_futures=True)
        for path, file, writer in self._open.values():
            writer.is_open = False  # no footer, now or when it is collected: it may be what does not fit on the disk
            with suppress(OSError):  # as may be the last bytes
                file.close()
            path.unlink(missing_ok=True)

    def _create(self, table: str, schema: pa.Schema) -> tuple[Path, IO[bytes], pq.ParquetWriter]:
        folder = self._folder / table / f"shard={self._number:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self._name
        file = path.open("wb")
        return path, file, pq.ParquetWriter(file, schema, **_encoding(table, schema))


def renumber_graphs(folder: Path, shard: Shard, numbers: Sequence[int], dtype: str) -> Shard:
    """The shard with other numbers for its graphs, `numbers[old]`, in new files."""
    writer = ShardWriter(folder, shard.shard, dtype, WHOLE_SAMPLE)
    try:
        for table, old in shard.files.items():
            with pq.ParquetFile(folder / old.path) as file:
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group)
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
    }


def _sync_folder(folder: Path) -> None:
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
