"""A store's manifest: its format, its model and settings, and every finished file. What is not in it does not exist."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import StoreError
from .schema import GRAPH_TABLES

FORMAT = "gradtrace"
FORMAT_VERSION = 3
MANIFEST = "manifest.json"
MODEL = "model.onnx"


@dataclass
class StoredFile:
    """One finished Parquet file: its path relative to the store, its rows and its size in bytes."""

    path: str
    rows: int
    bytes: int


@dataclass
class Shard:
    """A finished range of samples [first, first + count) and, for each table with rows, its files in their order."""

    shard: int
    first: int
    count: int
    files: dict[str, list[StoredFile]]

    def all_files(self) -> list[StoredFile]:
        """Those of all tables."""
        return [file for parts in self.files.values() for file in parts]


@dataclass
class Manifest:
    """What `manifest.json` holds. `model` and `settings` decide whether a dump may continue this store."""

    tool_version: str
    model: dict[str, str]  # name, fingerprint
    samples: dict[str, Any]  # source, fingerprint, count
    settings: dict[str, Any]  # detail, dtype, keep, methods, shard_size, parameter_vertices
    shards: list[Shard] = field(default_factory=list)
    graph_files: dict[str, StoredFile] = field(default_factory=dict)
    complete: bool = False
    format: str = FORMAT
    format_version: int = FORMAT_VERSION

    @property
    def dtype(self) -> str:
        return str(self.settings["dtype"])

    def files(self, table: str) -> list[str]:
        """The finished files of `table`, relative to the store, in the order of their samples."""
        if table in GRAPH_TABLES:
            return [self.graph_files[table].path] if table in self.graph_files else []
        return [file.path for shard in self.shards for file in shard.files.get(table, [])]

    def all_files(self) -> list[StoredFile]:
        """Every file the manifest lists."""
        return [*self.graph_files.values(), *(file for shard in self.shards for file in shard.all_files())]

    def accepts(self, file: StoredFile, wanted: int, found: int | None) -> bool:
        """Whether a listed file may have `found` bytes or rows where the manifest says `wanted`.

        The tables of GRAPH_TABLES may have grown since: a dump in progress replaces them before the manifest.
        """
        growing = not self.complete and file in self.graph_files.values()
        return found is not None and (found == wanted or (growing and found > wanted))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def _parse_manifest(raw: Mapping[str, Any]) -> Manifest:
    values = dict(raw)
    values["graph_files"] = {name: StoredFile(**f) for name, f in values["graph_files"].items()}
    values["shards"] = [
        Shard(**{**s, "files": {name: [StoredFile(**f) for f in parts] for name, parts in s["files"].items()}})
        for s in values["shards"]
    ]
    return Manifest(**values)


def read_manifest(store: Path) -> Manifest:
    """Read and check `manifest.json` of the folder `store`.

    Raises StoreError when the folder is no store, when the manifest is damaged, or when its version is another one.
    """
    path = store / MANIFEST
    if not path.is_file():
        what = "has no manifest.json" if store.is_dir() else "does not exist"
        raise StoreError(
            f"{store} is not a graph store: it {what}. Make one with `gradtrace dump MODEL --out {store}`."
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise ValueError("it does not say format = 'gradtrace'")
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}). Dump the store again into another folder.") from error
    version = raw.get("format_version")
    if version != FORMAT_VERSION:
        raise StoreError(
            f"{store} has format version {version}; this gradtrace reads version {FORMAT_VERSION}. Dump it again with "
            f"this one, or read it with gradtrace {raw.get('tool_version', 'unknown')}, which wrote it."
        )
    try:
        return _parse_manifest(raw)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged (field {error}). Dump the store again into another folder.") from error


def file_size(path: Path) -> int | None:
    """Bytes of a file, None when there is none."""
    return path.stat().st_size if path.is_file() else None


def check_files(store: Path, manifest: Manifest) -> None:
    """Raise StoreError when a file that the manifest lists is missing, or has another size than the manifest says."""
    for file in manifest.all_files():
        size = file_size(store / file.path)
        if not manifest.accepts(file, file.bytes, size):
            got = "is missing" if size is None else f"has {size} bytes"
            raise StoreError(
                f"{store} is damaged: {file.path} {got}, the manifest says {file.bytes} bytes. "
                "Restore the file, or dump the store again into another folder."
            )


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a crash, sees the old file or the new one and nothing between."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Replace `manifest.json` atomically."""
    replace_file(store / MANIFEST, manifest.to_json().encode())
