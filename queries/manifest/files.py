"""The files of a store against its manifest: there, inside its folder, of the size and the sum that it says."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import StoreError
from .manifest import ListedFile, Manifest

_THREADS = 2
_known: dict[tuple[int, ...], str] = {}  # the sums of the files read in this process, by `_state`


def file_sum(path: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listed_file(store: Path, path: Path) -> ListedFile:
    """A finished file of the store as its manifest lists it."""
    return ListedFile(path.relative_to(store).as_posix(), path.stat().st_size, file_sum(path))


def _state(found: os.stat_result) -> tuple[int, ...]:
    # Changes when the file does.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _known_sum(path: Path) -> str:
    # A file that is written while it is read is read again the next time.
    before = _state(path.stat())
    if before not in _known:
        found = file_sum(path)
        if _state(path.stat()) != before:
            return found
        _known[before] = found
    return _known[before]


class StoredFiles:
    """What is wrong with files of the store in the folder `store`, each as a sentence that names the file first."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._root = os.path.realpath(store)
        self._outside: dict[Path, bool] = {}  # of the folders looked at

    def _leads_outside(self, path: Path) -> bool:
        return os.path.commonpath([self._root, os.path.realpath(path)]) != self._root

    def _is_outside(self, path: Path) -> bool:
        if path.parent not in self._outside:
            self._outside[path.parent] = self._leads_outside(path.parent)
        return self._outside[path.parent] or (path.is_symlink() and self._leads_outside(path))

    def wrong_size(self, file: ListedFile) -> str:
        """'' for a file that is there with its size. No other file than one below the store's folder is looked at."""
        path = self._store / file.path
        try:
            found = path.stat()
        except OSError:
            return f"{file.path} is missing, the manifest says {file.bytes} bytes"
        if self._is_outside(path):
            return f"{file.path} is a link to a file outside the store"
        if not stat.S_ISREG(found.st_mode):
            return f"{file.path} is no file"
        if found.st_size != file.bytes:
            return f"{file.path} has {found.st_size} bytes, the manifest says {file.bytes} bytes"
        return ""

    def wrong_sum(self, file: ListedFile) -> str:
        """'' for a file whose every byte is the one that was written."""
        wrong = self.wrong_size(file)
        if wrong:
            return wrong
        try:
            found = _known_sum(self._store / file.path)
        except OSError as error:
            return f"{file.path} cannot be read: {error.strerror or error}"
        return (
            "" if found == file.sha256 else f"{file.path} holds other bytes than were written: its sum is another one"
        )

    def wrong_sums(self, files: Sequence[ListedFile]) -> Iterator[str]:
        """What `wrong_sum` says of each file, in their order. Files already read in this process are not read again."""
        if len(files) == 1:
            yield self.wrong_sum(files[0])
            return
        with ThreadPoolExecutor(_THREADS, "gradtrace-sums") as threads:
            yield from threads.map(self.wrong_sum, files)


def _refuse(store: Path, wrong: Iterable[str], manifest: Manifest) -> None:
    for reason in filter(None, wrong):
        what = "is damaged" if manifest.complete else "is damaged, or its dump has gone on since it was opened"
        raise StoreError(
            f"{store} {what}: {reason}. Make it again with `gradtrace repair {store}`, or restore the file."
        )


def check_files(store: Path, manifest: Manifest) -> None:
    """Raise StoreError when a shard is lost, or when a listed file is missing, elsewhere, or has another size."""
    lost = manifest.lost()
    if lost:
        raise StoreError(
            f"{store / 'manifest.json'} is damaged ({lost}). Restore it, or dump the store again into another folder."
        )
    files = StoredFiles(store)
    _refuse(store, map(files.wrong_size, manifest.all_files()), manifest)


def check_sums(store: Path, manifest: Manifest, listed: Sequence[ListedFile]) -> None:
    """Raise StoreError when one of these files of the store is not what was written, byte by byte."""
    _refuse(store, StoredFiles(store).wrong_sums(listed), manifest)
