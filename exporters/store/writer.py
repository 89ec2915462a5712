"""Writing a graph store: shards that appear whole or not at all, and a manifest that names only what is finished.

A shard's files are written and flushed to the disk under temporary names, by whoever makes the shard and on whatever
machine. The one who holds the store renames them and only then enters them in the manifest, which is itself replaced
atomically. Whatever the manifest does not name is the rest of an interrupted dump and is removed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import TracebackType

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
from ...queries.schema import GRAPH_TABLES, SHARD_TABLES
from .shard import SUFFIX, TEMPORARY, renumber_graphs

_MARK = 12  # digits of its sum that the name of a graph table has while the dump goes on
_LOCK = ".lock"
_PATIENCE = 1.0  # seconds: a dump that has just ended takes its lock file away, which another may have opened
_BEFORE_MANIFEST = (_LOCK, f".{MANIFEST}{TEMPORARY}")  # all that a dump killed at its very beginning leaves


class StoreWriter:
    """Creates or continues the store in `folder`. Use as a context manager: it holds the store's lock.

    damaged: whether files of the store may be, to be replaced
    Raises StoreError when the folder holds something else, or a store of another model, other samples or settings.
    """

    def __init__(self, folder: Path, wanted: Manifest, *, damaged: bool = False) -> None:
        self.folder = folder
        self._damaged = damaged
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
                if not self._damaged:
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
                f"Make it again with `gradtrace repair {self.folder}`, or restore the file."
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

    def enter(self, shard: Shard, graphs: Sequence[int], number: int | None = None) -> None:
        """Enter a shard whose files have their temporary names: afterwards it is finished, and has its number.

        number: of the shard in whose place it comes; None: behind all others
        graphs: the number in this store of each graph, by the number that the shard's rows give it
        Raises StoreError when the files are not there.
        """
        for file in shard.all_files():
            self._check_there(file)
        if list(graphs) != list(range(len(graphs))):
            shard = renumber_graphs(self.folder, shard, graphs, self.manifest.dtype)
        number = len(self.manifest.shards) if number is None else number
        files = {table: [self._rename(file, table, number) for file in parts] for table, parts in shard.files.items()}
        self.manifest.shards[number : number + 1] = [replace(shard, shard=number, files=files)]
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

    def _rename(self, file: StoredFile, table: str, number: int) -> StoredFile:
        """Give a file its place among those of the shard of this number."""
        path = self.folder / file.path
        final = self.folder / table / f"shard={number:05d}" / (path.name.partition(SUFFIX)[0] + SUFFIX)
        final.parent.mkdir(parents=True, exist_ok=True)
        path.replace(final)
        _sync_folder(final.parent)
        with suppress(OSError):  # others have files there
            path.parent.rmdir()
        return replace(file, path=final.relative_to(self.folder).as_posix())

    def finish(self, complete: bool = True) -> None:
        """Say in the manifest that every sample is in, and remove what attempts at its shards left behind.

        complete: False where samples are still missing; the graph tables then keep the names of an unfinished store
        """
        if self._graph_files:
            self._replace_graph_files()
        for table, file in self.manifest.graph_files.items() if complete else ():
            name = f"{table}{SUFFIX}"
            if file.path != name:
                replace_file(self.folder / name, (self.folder / file.path).read_bytes())
                self._graph_files[table] = replace(file, path=name)
        self.manifest.complete = complete
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
