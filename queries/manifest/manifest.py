"""A store's manifest: its format, its model and settings, and every finished file. What is not in it does not exist."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..schema import GRAPH_TABLES
from .fields import MANIFEST_FIELDS

FORMAT = "gradtrace"
FORMAT_VERSION = 3
_UPGRADED = 2  # see format_2.py
MANIFEST = "manifest.json"
MODEL = "model.onnx"
_LARGEST = 1 << 29  # bytes of a manifest: that of a million files has less


@dataclass
class ListedFile:
    """A finished file: its path relative to the store, its size in bytes and the SHA-256 sum of these."""

    path: str
    bytes: int
    sha256: str


@dataclass
class StoredFile(ListedFile):
    """A finished Parquet file, and how many rows it has."""

    rows: int


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
    settings: dict[str, Any]  # detail, dtype, keep, methods, statistics, parameter_vertices
    source: dict[str, str] = field(default_factory=dict)  # MODEL, the samples file and options, as they were given
    model_files: list[ListedFile] = field(default_factory=list)  # model.onnx, and its data where that is a file
    shards: list[Shard] = field(default_factory=list)
    graph_files: dict[str, StoredFile] = field(default_factory=dict)
    complete: bool = False
    format: str = FORMAT
    format_version: int = FORMAT_VERSION

    @property
    def dtype(self) -> str:
        return str(self.settings["dtype"])

    @property
    def n_samples(self) -> int:
        """Samples in finished shards."""
        return sum(shard.count for shard in self.shards)

    @property
    def unfinished(self) -> str:
        """What every answer says of a store whose dump has not ended; '' for a complete one."""
        if self.complete:
            return ""
        return f"unfinished store: {self.n_samples} of {self.samples['count']} samples are in; the rest is not counted"

    def stored_files(self, table: str) -> list[StoredFile]:
        """The finished files of `table` in the order of their samples."""
        if table in GRAPH_TABLES:
            return [self.graph_files[table]] if table in self.graph_files else []
        return [file for shard in self.shards for file in shard.files.get(table, [])]

    def graph_paths(self) -> list[str]:
        """The paths of the files of GRAPH_TABLES."""
        return [file.path for file in self.graph_files.values()]

    def files(self, table: str) -> list[str]:
        """The paths of `stored_files`, relative to the store."""
        return [file.path for file in self.stored_files(table)]

    def table_files(self) -> list[StoredFile]:
        """The files of all tables."""
        return [*self.graph_files.values(), *(file for shard in self.shards for file in shard.all_files())]

    def all_files(self) -> list[ListedFile]:
        """Every file the manifest lists."""
        return [*self.model_files, *self.table_files()]

    def lost(self) -> str:
        """What is missing of the shards and tables that there must be; '' where nothing is."""
        behind = 0
        for number, shard in enumerate(self.shards):
            if shard.shard != number or shard.first != behind:
                follows = f"shard {shard.shard} with sample {shard.first}"
                return f"shard {number} with sample {behind} is lost: {follows} stands there"
            behind += shard.count
        wanted = self.samples["count"]
        if behind > wanted or (self.complete and behind < wanted):
            return f"its shards hold {behind} samples, and it says it has {wanted}"
        tables = [table for table in GRAPH_TABLES if table not in self.graph_files] if self.shards else []
        tables += ["samples" for shard in self.shards if "samples" not in shard.files][:1]
        if tables:
            return f"it has no file of {', '.join(tables)}"
        paths = [file.path for file in self.all_files()]
        twice = next((path for path, n in Counter(paths).items() if n > 1), None)
        return f"it lists {twice} twice" if twice else ""

    def to_bytes(self) -> bytes:
        """The contents of `manifest.json`."""
        return sealed(asdict(self))


_SEAL = re.compile(rb'"sha256": "([0-9a-f]{64})"\n}\Z')
_SEALED = b'"sha256": "%s"\n}'


def sealed(values: Mapping[str, Any]) -> bytes:
    """A manifest as text, its last field the sum of all other bytes."""
    text = json.dumps({**values, "sha256": ""}, indent=1, ensure_ascii=False).encode()
    unsealed = text.removesuffix(_SEALED % b"")
    return unsealed + _SEALED % hashlib.sha256(unsealed).hexdigest().encode()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _read_json(content: bytes) -> dict[str, Any]:
    # Raises ValueError for what is no manifest of any version.
    try:
        raw = json.loads(content.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError("it does not say format = 'gradtrace'")
    return raw


def _check_seal(content: bytes) -> None:
    seal = _SEAL.search(content)
    if seal is None:
        raise ValueError("it does not end in its sum; earlier versions of gradtrace wrote none")
    if hashlib.sha256(content[: seal.start()]).hexdigest() != seal[1].decode():
        raise ValueError("it was changed after it was written: its sum is another one")


def _parse_manifest(raw: Mapping[str, Any]) -> Manifest:
    MANIFEST_FIELDS(raw, "the manifest")
    values = {name: value for name, value in raw.items() if name != "sha256"}
    values["model_files"] = [ListedFile(**file) for file in values["model_files"]]
    values["graph_files"] = {name: StoredFile(**file) for name, file in values["graph_files"].items()}
    values["shards"] = [
        Shard(**{**s, "files": {name: [StoredFile(**f) for f in parts] for name, parts in s["files"].items()}})
        for s in values["shards"]
    ]
    return Manifest(**values)


def check_name(store: Path) -> None:
    """Raise StoreError for a folder whose name is no text, which databases cannot open."""
    try:
        str(store).encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"{store} has a name that is not UTF-8 text. Choose another one, or rename it.") from error


def read_manifest(store: Path) -> Manifest:
    """Read and check `manifest.json` of the folder `store`.

    Raises StoreError when the folder is no store, when the manifest is damaged, or when its version is another one.
    What `Manifest.lost` and `check_files` find is not looked for.
    """
    check_name(store)
    path = store / MANIFEST
    if not path.is_file():
        what = "has no manifest.json" if store.is_dir() else "does not exist"
        raise StoreError(
            f"{store} is not a graph store: it {what}. Make one with `gradtrace dump MODEL --out {store}`."
        )
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        content = path.read_bytes()
        raw = _read_json(content)
        version = raw.get("format_version")
        if version == FORMAT_VERSION:
            _check_seal(content)
            return _parse_manifest(raw)
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} is damaged ({error}). Dump the store again into another folder.") from error
    found = f"{store} has format version {version!r:.20}; this gradtrace reads version {FORMAT_VERSION}."
    if version == _UPGRADED:
        raise StoreError(f"{found} `gradtrace upgrade {store}` writes it again in that version, beside this one.")
    raise StoreError(
        f"{found} Dump it again with this one, or read it with gradtrace {raw.get('tool_version', 'unknown')!s:.20}, "
        "which wrote it."
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
    replace_file(store / MANIFEST, manifest.to_bytes())
